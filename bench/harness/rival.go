package harness

import (
	"fmt"
	"syscall"
	"time"
)

// A Rival is a server of a comparison in which each gets a load of its own.
type Rival struct {
	Subject
	Load Load

	Rests bool // the server is stopped (SIGSTOP) while others are measured, for it would go on with what it has accepted
}

// settle is how long a server that was stopped has to find out: what it was at then is late.
const settle = 500 * time.Millisecond

// measure drives the rival once.
func (r *Rival) measure(l Load) Result {
	if r.Rests {
		Fatal(r.Server.Process.Signal(syscall.SIGCONT))
		time.Sleep(settle)
		defer func() { Fatal(r.Server.Process.Signal(syscall.SIGSTOP)) }()
	}
	return r.Measure(l)
}

// Alternate drives the rivals in turn after a short warm-up, each round beginning with another, because a shared machine's speed drifts.
// It prints every run as it ends.
func Alternate(rivals []*Rival, rounds int) {
	for _, r := range rivals {
		warm := r.Load
		warm.Duration = time.Second
		r.measure(warm)
		r.Runs = nil
	}
	for round := range rounds {
		for i := range rivals {
			r := rivals[(round+i)%len(rivals)]
			run := r.measure(r.Load)
			fmt.Printf("  round %-2d  %-24s %9.0f req/s  p50 %-9v p99 %-9v cpu %5.2f µs/req  errors %d\n",
				round+1, r.Name, run.PerSecond, run.P50, run.P99, micros(run.CPU), run.Errors)
		}
	}
}

// ReportRivals is Report for rivals.
func ReportRivals(rivals []*Rival) {
	subjects := make([]*Subject, len(rivals))
	for i, r := range rivals {
		subjects[i] = &r.Subject
	}
	Report(subjects)
}
