package config

import "time"

// Meter says how requests are counted, per route and per client.
type Meter struct {
	// Timeframe is how far back the counts look, 100ms to 24h. Default 1m.
	Timeframe Duration `yaml:"timeframe"`
	// Precision is the length of the buckets that a timeframe is made of, by which a count may be too low: 1ms to
	// Timeframe. Default 100ms.
	Precision Duration `yaml:"precision"`
	// MaxClients is how many clients are counted by name, 1 to 1000000; past it idle ones go first. A client takes
	// 8 bytes for each bucket and about 500 more; all together may take 1GiB. Default 10000.
	MaxClients int `yaml:"max_clients"`
	// SyncInterval is how often the counts are written to Config.DataDir, 10ms to 1m: what a crash may lose. Default 1s.
	SyncInterval Duration `yaml:"sync_interval"`
}

func (m *Meter) defaults() {
	*m = Meter{Timeframe: time.Minute, Precision: 100 * time.Millisecond, MaxClients: 10_000, SyncInterval: time.Second}
}

// maxMeterMemory bounds what the counts of all clients may take.
const maxMeterMemory = GiB

// memory returns how much the counts of all clients can take.
func (m *Meter) memory() Size {
	buckets := Size((m.Timeframe-1)/m.Precision + 1)
	return Size(m.MaxClients) * (8*buckets + 500)
}

func (m *Meter) validate(at *node, r *report) {
	before := len(r.errs)
	r.durationBetween(at.get("timeframe"), m.Timeframe, 100*time.Millisecond, 24*time.Hour)
	r.durationBetween(at.get("precision"), m.Precision, time.Millisecond, 24*time.Hour)
	r.between(at.get("max_clients"), m.MaxClients, 1, 1_000_000)
	r.durationBetween(at.get("sync_interval"), m.SyncInterval, 10*time.Millisecond, time.Minute)
	if len(r.errs) > before {
		return
	}
	if m.Precision > m.Timeframe {
		r.errorf(at.get("precision"), "%v is longer than the timeframe, %v: expected at most that", m.Precision, m.Timeframe)
	} else if m.memory() > maxMeterMemory {
		r.errorf(at, "counting %d clients over %v in buckets of %v takes up to %d MiB, expected at most 1024: "+
			"choose a coarser precision, a shorter timeframe or fewer max_clients",
			m.MaxClients, m.Timeframe, m.Precision, m.memory()/MiB)
	}
}
