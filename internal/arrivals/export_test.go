package arrivals

// SetRandom makes the recorder draw with random instead of chance.
func (r *Recorder) SetRandom(random func(n uint64) uint64) { r.random = random }
