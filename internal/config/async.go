package config

import (
	"slices"
	"strings"
	"time"
)

// Async has a route accept requests now and send them later: each becomes a job that survives restarts.
type Async struct {
	// MaxAttempts is how often a job is sent at most, 1 to 1000. Default 8.
	MaxAttempts int `yaml:"max_attempts"`
	// Timeout bounds one attempt, in place of the upstream's own Header and Total; 1ms to 24h. Default 5m.
	Timeout Duration `yaml:"timeout"`
	// KeepResult is how long a job that is done can be asked for, 1s to 720h. Default 24h.
	KeepResult Duration `yaml:"keep_result"`
	// Workers is how many jobs of the route this node sends at once, 1 to 1000. Default 16.
	Workers int `yaml:"workers"`
	// Order says whether the jobs of one client run one after the other. Default none.
	Order JobOrder `yaml:"order"`
	// Deadline is how long after it was accepted a job may still be tried, up to 720h. Default 0: as long as attempts are left.
	Deadline Duration `yaml:"deadline"`
}

// JobOrder says what order the jobs of a route keep.
type JobOrder string

// The orders.
const (
	JobOrderNone   JobOrder = "none"   // as many at once as there are workers
	JobOrderTenant JobOrder = "tenant" // those of a client one after the other, as they were accepted
)

func (JobOrder) values() []string { return []string{"none", "tenant"} }

func (a *Async) defaults() {
	*a = Async{MaxAttempts: 8, Timeout: 5 * time.Minute, KeepResult: 24 * time.Hour, Workers: 16, Order: JobOrderNone}
}

// maxJobTime bounds how long jobs and their results are kept.
const maxJobTime = 30 * 24 * time.Hour

func (a *Async) validate(at *node, r *report) {
	r.between(at.get("max_attempts"), a.MaxAttempts, 1, 1000)
	r.durationBetween(at.get("timeout"), a.Timeout, time.Millisecond, 24*time.Hour)
	r.durationBetween(at.get("keep_result"), a.KeepResult, time.Second, maxJobTime)
	r.between(at.get("workers"), a.Workers, 1, 1000)
	r.durationBetween(at.get("deadline"), a.Deadline, 0, maxJobTime)
}

// JobsPath is the path below which clients ask for their jobs, where a route is async.
const JobsPath = "/jobs/"

// maxAsyncPath bounds the path of an async route, in bytes: it names the route's jobs.
const maxAsyncPath = 256

// Queues reports whether this node accepts jobs: a route is async.
func (c *Config) Queues() bool {
	return slices.ContainsFunc(c.Routes, func(t *Route) bool { return t != nil && t.Async != nil })
}

// validateAsync reports what doesn't go with accepting jobs.
func (c *Config) validateAsync(at *node, r *report) {
	for i, t := range c.Routes {
		if t == nil || t.Async == nil {
			continue
		}
		item := at.get("routes").item(i)
		section := item.get("async")
		if c.DataDir == "" && at.find("data_dir") == nil {
			r.errorf(section, "jobs are kept on disk: expected the key data_dir as well")
		}
		t.validateAsync(item, r)
		same := func(e *Route) bool { return e != nil && e.Async != nil && e.Path == t.Path }
		if earlier := slices.IndexFunc(c.Routes[:i], same); earlier >= 0 && t.Path != "" {
			r.errorf(section, "the jobs of %s are those of the route in line %d already: expected one async route with the methods of both",
				t.Path, at.get("routes").item(earlier).line)
		}
	}
	if c.Queues() {
		c.warnOfJobs(at.get("routes"), r)
	}
}

func (t *Route) validateAsync(item *node, r *report) {
	section := item.get("async")
	for _, key := range []string{"cache", "coalesce", "merge"} {
		if other := item.find(key); other != nil {
			r.errorf(other, "a job has a call of its own, and its client doesn't wait for the answer: expected no %s with async", key)
		}
	}
	if item.find("methods") == nil {
		r.errorf(section, "GET is answered by what it asks for and not by a job: expected methods beside it, as in [POST]")
	}
	for i, m := range t.Methods {
		if slices.Contains([]string{"GET", "HEAD", "OPTIONS", "TRACE"}, m) {
			r.errorf(item.get("methods").item(i), "%s is answered by what it asks for and not by a job: expected none of GET, HEAD, OPTIONS and TRACE with async", m)
		}
	}
	if len(t.Path) > maxAsyncPath {
		r.errorf(item.get("path"), "%d bytes name the route's jobs, expected at most %d", len(t.Path), maxAsyncPath)
	}
}

// warnOfJobs finds routes for paths under which clients ask for jobs.
func (c *Config) warnOfJobs(routes *node, r *report) {
	for i, t := range c.Routes {
		if t != nil && strings.HasPrefix(t.Path, JobsPath) {
			r.warnf(routes.item(i).get("path"), "%sID and what is below it tells clients about their jobs, where ID is that of a job: this route doesn't get those", JobsPath)
		}
	}
}
