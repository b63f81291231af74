//go:build unix

package main

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// A process is one run of a member.
type process struct {
	member member
	cmd    *exec.Cmd
	out    *prefixed
}

// startProcess runs a member in a process group of its own: an interrupt from the terminal is for the cluster, which ends its members in order. When
// it has ended, it is sent to ended.
func startProcess(m member, log *logger, ended chan<- *process) (*process, error) {
	p := &process{member: m, cmd: exec.Command(m.args[0], m.args[1:]...), out: &prefixed{log: log, name: m.name}}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.WaitDelay = time.Second // children of its own may have its output open
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.cmd.Wait() // how it ended says state
		p.kill()     // nginx's workers outlive a master that was killed, and keep its port
		p.out.flush()
		ended <- p
	}()
	return p, nil
}

func (p *process) pid() int                { return p.cmd.Process.Pid }
func (p *process) state() fmt.Stringer     { return p.cmd.ProcessState }
func (p *process) signal(s syscall.Signal) { p.cmd.Process.Signal(s) } // one that has ended needs none

// kill ends a process and what it has started, as nginx its workers.
func (p *process) kill() { syscall.Kill(-p.pid(), syscall.SIGKILL) }

// A logger writes lines of many. Its methods are safe for concurrent use.
type logger struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *logger) line(name, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.w, "%-7s | %s\n", name, text)
}

// maxLine is after how many bytes a line is broken.
const maxLine = 64 << 10

// prefixed writes lines with a name in front. It is for one goroutine, as exec.Cmd uses it if it is both outputs.
type prefixed struct {
	log  *logger
	name string
	part []byte // of a line
}

// Write implements [io.Writer].
func (p *prefixed) Write(b []byte) (int, error) {
	p.part = append(p.part, b...)
	for {
		i := bytes.IndexByte(p.part, '\n')
		if i < 0 {
			break
		}
		p.log.line(p.name, string(p.part[:i]))
		p.part = p.part[i+1:]
	}
	if len(p.part) > maxLine {
		p.flush()
	}
	return len(b), nil
}

// flush writes what has no end of a line.
func (p *prefixed) flush() {
	if len(p.part) > 0 {
		p.log.line(p.name, string(p.part))
		p.part = nil
	}
}
