package work

// lock takes the lock. It is held for some 50 ns, so that it is worth to try again for as long: sync.Mutex doesn't if other goroutines are ready to
// run, and workers are, by the dozen. They would all queue up in front of it and be switched to one by one (BenchmarkNoop, workers=64).
func (p *Pool[T]) lock() {
	for range 30 {
		if p.mu.TryLock() {
			return
		}
	}
	p.mu.Lock()
}
