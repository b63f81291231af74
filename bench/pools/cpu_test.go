package pools

import (
	"syscall"
	"testing"
)

// cpuTime reports the processor time by operation, which on a busy machine says more than the wall time. Call it when the timer is reset,
// and what it returns at the end.
func cpuTime(b *testing.B) (done func()) {
	start := usage(b)
	return func() { b.ReportMetric(float64(usage(b)-start)/float64(b.N), "cpu-ns/op") }
}

func usage(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
