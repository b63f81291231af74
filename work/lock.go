package work

// lock takes the lock. It is held for some 50 ns, so it is worth trying again for a moment. sync.Mutex doesn't if other goroutines are ready to
// run, and workers are, by the dozen: they would all queue up in front of it, to be switched to one by one. With 64 workers this makes 5 million
// tasks a second of 1.5 (BenchmarkNoop); with more tries processors get in each other's way.
func (p *Pool[T]) lock() {
	for range 30 {
		if p.mu.TryLock() {
			return
		}
	}
	p.mu.Lock()
}
