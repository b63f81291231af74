// Package work runs tasks later, with a bounded queue and a number of workers, in an order that is fair to those for whom they are: tenants, as
// they are called here, which may be customers, routes, or whatever must not be in each other's way.
//
//	p := work.New(work.Options[Mail]{
//		Run:     func(ctx context.Context, m Mail) { send(ctx, m) },
//		Workers: 8,
//		Queue:   10_000,
//		Full:    work.Fail,
//	})
//	...
//	err := p.Submit(ctx, mail.Customer, mail) // returns at once: nil means that it will be sent
//	...
//	err = p.Close(ctx) // sends what is left, as long as ctx lasts
//
// It is for tasks that may be lost with the process. A [Pool] is in memory.
//
// # A fair order
//
// Each tenant has a line of its own, in which tasks keep their order. Lines have turns: in a round, each of them starts one task, or as many as
// Options.Weight says. So what starts is shared as the weights say while all have tasks, and who comes when another has 100,000 tasks in
// the queue waits for one round, not for these. A turn that isn't used is lost; nobody saves up.
//
// What is shared out is starts, not time. Tasks of one tenant that run for hours occupy the workers that they have got; nothing is interrupted.
//
// A tenant is known as long as it has tasks in the queue. Then it is forgotten, so that there may be any number of them, over time.
//
// # When the queue is full
//
// Options.Full chooses who feels it. With [Block], Submit waits for a place: right for tasks that come from a file, or another queue, and can
// come more slowly. Places are given in rounds too, so that a thousand goroutines that submit for one tenant don't keep the others out.
// With [Fail], Submit says [ErrFull], and the caller says, for example, 503. With [Shed] there is a place for whoever has few
// tasks in the queue, at the cost of whoever has most: its newest one is dropped, and Options.OnDrop is told, to tell its owner.
//
// In all cases a task has one of two fates. Submit returned an error: then it was never in. Submit returned nil: then it will be run or, if
// it is shed or Close runs out of time, OnDrop is told of it. It's never both, and never twice.
//
// # Workers
//
// As many tasks run at once as there are workers, and [Pool.Resize] changes that at any time. Without any the pool pauses: it takes tasks and
// starts none.
//
// A task that panics doesn't take the program with it, or the worker. Options.OnPanic is told, and Stats.Panics counts. Nothing is tried
// again: what became of a task, its Run has to know.
//
// # The end
//
// [Pool.Close] lets nothing new in and waits until the queue is empty and the last task has returned. If its context ends before, it drops what
// is in the queue, cancels the context of what is running, and says how many of each there were. A task should heed its context: it is the only
// way to make it stop.
//
// # What to look at
//
// [Pool.Stats] has the figures. Depth near Options.Queue or an Oldest that grows mean that there are too few workers, if Busy equals Workers. Each
// task that was accepted is in exactly one of Depth, Busy, Done, Shed and Dropped, at any time.
//
// # Costs
//
// A task costs some 300 ns of processor time beside what it does, for Submit and the worker together, with one tenant or a thousand; that is above
// 3 million tasks a second on two cores (BenchmarkNoop; make bench-work compares it with a channel and with ants, which have no
// tenants). One that waits takes some 60 bytes beside itself. In a steady state nothing is allocated. There is one lock, held for the few steps it
// takes to put a task in or get one out, whatever the number of tasks and tenants; only with Shed these steps grow, with the
// logarithm of the number of tenants. Run, Weight, OnPanic and OnDrop are called without it.
package work
