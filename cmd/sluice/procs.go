package main

import (
	"os"
	"runtime"
)

// moreProcs lets two threads run Go code for each processor, unless the environment says how many.
//
// A gateway spends four fifths of its time in system calls. A thread that the kernel interrupts in one keeps its place
// in the runtime until the runtime's monitor takes it away, and the connections that wait for that place wait with it.
// docs/decisions/0002-procs.md has the figures.
func moreProcs() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(2 * runtime.GOMAXPROCS(0))
	}
}
