//go:build unix

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// startTime is how long all of a group may take to be ready.
const startTime = 60 * time.Second

// A cluster is processes that are started and ended together. It is for one goroutine.
type cluster struct {
	plan    *plan
	restart time.Duration
	log     *logger
	running map[string]*process // by the member's name
	ended   chan *process
}

func newCluster(p *plan, restart time.Duration, stderr io.Writer) *cluster {
	return &cluster{plan: p, restart: restart, log: &logger{w: stderr}, running: map[string]*process{}, ended: make(chan *process)}
}

// start starts all, group by group.
func (c *cluster) start(ctx context.Context) error {
	for _, group := range c.plan.groups {
		for _, m := range group {
			if err := c.launch(m); err != nil {
				return err
			}
		}
		if err := c.awaitReady(ctx, group); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) launch(m member) error {
	p, err := startProcess(m, c.log, c.ended)
	if err != nil {
		return fmt.Errorf("starting %s: %w", m.name, err)
	}
	c.running[m.name] = p
	return os.WriteFile(c.pidFile(m), []byte(strconv.Itoa(p.pid())+"\n"), 0o644)
}

func (c *cluster) pidFile(m member) string { return filepath.Join(c.plan.dir, m.name+".pid") }

// awaitReady waits until all of a group say that they are ready. Whoever ends before that has failed.
func (c *cluster) awaitReady(ctx context.Context, group []member) error {
	limit := time.After(startTime)
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	waiting := group
	var last error
	for len(waiting) > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limit:
			return fmt.Errorf("%s isn't ready after %v: %w", waiting[0].name, startTime, last)
		case p := <-c.ended:
			c.over(p)
			return fmt.Errorf("%s has ended before all were ready (%v); what it said stands above", p.member.name, p.state())
		case <-poll.C:
		}
		if last = waiting[0].ready(ctx); last == nil {
			waiting = waiting[1:]
		}
	}
	return nil
}

// over notes that a process has ended.
func (c *cluster) over(p *process) {
	if c.running[p.member.name] == p {
		delete(c.running, p.member.name)
		os.Remove(c.pidFile(p.member))
	}
}

// watch reports what ends, and starts it again if that is wanted, until ctx ends.
func (c *cluster) watch(ctx context.Context) {
	due := make(chan member)
	var timers sync.WaitGroup
	defer timers.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-c.ended:
			c.over(p)
			if c.restart == 0 {
				c.log.line("cluster", fmt.Sprintf("%s has ended (%v); -restart 5s would start it again", p.member.name, p.state()))
				continue
			}
			c.log.line("cluster", fmt.Sprintf("%s has ended (%v) and is started again in %v", p.member.name, p.state(), c.restart))
			timers.Go(func() { after(ctx, c.restart, due, p.member) })
		case m := <-due:
			if err := c.launch(m); err != nil {
				c.log.line("cluster", err.Error())
				timers.Go(func() { after(ctx, c.restart, due, m) })
			}
		}
	}
}

// after sends m in a while, unless ctx ends before that.
func after(ctx context.Context, d time.Duration, due chan<- member, m member) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return
	case <-t.C:
	}
	select {
	case due <- m:
	case <-ctx.Done():
	}
}

// stop ends all, those first that were started last. Another interrupt ends them at once.
func (c *cluster) stop() {
	hurry, cancel := interrupted()
	defer cancel()
	if len(c.running) > 0 {
		c.log.line("cluster", "stopping")
	}
	for i := range c.plan.groups {
		c.stopGroup(c.plan.groups[len(c.plan.groups)-1-i], hurry.Done())
	}
}

// stopGroup ends some, with a signal and, if that takes too long, without.
func (c *cluster) stopGroup(group []member, hurry <-chan struct{}) {
	left := 0
	var grace time.Duration
	for _, m := range group {
		if p := c.running[m.name]; p != nil {
			p.signal(m.stop)
			left++
			grace = max(grace, m.grace)
		}
	}
	limit := time.After(grace)
	for left > 0 {
		select {
		case p := <-c.ended:
			for _, m := range group {
				if c.running[m.name] == p {
					left--
				}
			}
			c.over(p)
		case <-limit:
			c.kill(group, fmt.Sprintf("is still running after %v", grace))
		case <-hurry:
			c.kill(group, "has no time to end")
			hurry = nil // once
		}
	}
}

func (c *cluster) kill(group []member, why string) {
	for _, m := range group {
		if p := c.running[m.name]; p != nil {
			c.log.line("cluster", fmt.Sprintf("%s %s and is killed", m.name, why))
			p.kill()
		}
	}
}

// pids are the numbers of the processes.
func (c *cluster) pids() map[string]int {
	pids := map[string]int{}
	for name, p := range c.running {
		pids[name] = p.pid()
	}
	return pids
}
