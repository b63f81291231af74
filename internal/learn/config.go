package learn

import (
	"math/rand/v2"
	"time"
)

// Config is a setting to play in: a route's options and the traffic of one of its keys.
type Config struct {
	Arrivals Source
	Latency  Latency       // of the upstream's calls; the zero value is none at all
	CallCost time.Duration // what a call is worth, in waiting of one request; above 0
	Hold     time.Duration // coalesce.Options.Hold
	MaxBatch int           // coalesce.Options.MaxBatch; 0: no cap
	Relaxed  bool          // coalesce.Options.Relaxed
	Requests int           // arrivals of an episode; 0 means 20,000
	Seed     uint64        // of the traffic that Run draws
}

// Requests of an episode, if Config doesn't say.
const defaultRequests = 20_000

func (c *Config) requests() int {
	if c.Requests > 0 {
		return c.Requests
	}
	return defaultRequests
}

// Traffic is what happens to a policy whatever it does: the same for all that are compared.
type Traffic struct {
	Times []time.Duration // of the arrivals, ascending, from 0 on
	Calls []time.Duration // how long a call takes whose slot was opened by the arrival of the same index
}

// Draw returns the traffic of the seed. It is the same each time.
func (c *Config) Draw(seed uint64) Traffic {
	var t Traffic
	c.draw(&t, seed)
	return t
}

// draw is Draw, into memory that is there.
func (c *Config) draw(t *Traffic, seed uint64) {
	t.Times = c.Arrivals.Times(t.Times[:0], c.requests(), rand.New(rand.NewPCG(seed, 1)))
	t.Calls = c.Latency.calls(t.Calls[:0], t.Times, rand.New(rand.NewPCG(seed, 2)))
}
