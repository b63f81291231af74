// Package jobs accepts work now and does it later, on any of many nodes: what was accepted is done, once as far as anyone can tell, in a fair
// order, or ends in a list of dead letters where somebody sees it.
//
//	log, err := jobs.OpenLog(ctx, broker, journal.Config{Name: "jobs", Dir: dir})
//	s, err := jobs.Open(ctx, jobs.Options{Log: log, Blobs: blobs, Node: dir.ID()})
//	s.Handle("reports", handler, 32)
//	view, existed, err := s.Enqueue(ctx, jobs.Spec{Queue: "reports", Tenant: "team-a", Payload: body})
//
// # Two halves
//
// [State] is a machine for [github.com/sluicegate/sluice/internal/journal]: a pure function of commands, which carry their time. It knows the
// jobs, whose turn it is, who holds a claim and what is remembered of keys and results. A State may be part of a larger machine, which puts a
// tag in front of the commands that are the State's and passes them on.
//
// [Service] is a node's shell around it: it claims jobs for its workers, says that it is alive, runs what others left when they died, sends the
// time along when something is due, and answers questions.
//
// # The life of a job
//
//	enqueue ─► queued ─► running ─► done ─► forgotten after KeepResult
//	             ▲  ▲        │ │
//	             │  └─retry──┘ └──► failed ─► forgotten after KeepDead, or purged
//	             └────────── Retry ──┘
//
// A claim makes a queued job running and begins an attempt. Each claim of a job has a higher fence number than the one before, and whoever
// finishes, fails or gives back a job says which claim it has: a node that was thought dead changes nothing any more.
//
// # Claims and sessions
//
// A claim belongs to a session, a run of a node. A node renews its session every [BeatEvery]. A node that has renewed its own three times, over
// [ReapAfter] of its own clock, without seeing another's renewed, reaps that one: its jobs are queued again in front of the others, their
// attempts counted. The command says which beat it saw last and has no effect if there was one since. So no clock is compared with another,
// and while the log is away nobody is reaped.
//
// # Turns
//
// The jobs of a queue wait in lanes, one for each tenant. A claim takes from the lanes in turn (deficit round robin, after Shreedhar and
// Varghese, SIGCOMM 1995, with jobs of cost 1): from each as many as the tenant's weight, then from the next. So a tenant that comes with one
// job waits for one round, whatever others have queued. Ordered jobs of a tenant have a lane of their own, of which one is running at most,
// or waiting to be tried again.
package jobs
