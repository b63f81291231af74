package config

import (
	"time"

	"github.com/sluicegate/sluice/internal/rate"
)

// Queue is where requests wait for an upstream that has as many in flight as it may.
type Queue struct {
	// Max is how many may wait; 0 lets none wait. 0 to 1000000, default 1000.
	Max int `yaml:"max"`
	// Timeout is how long one may wait, more than 0. Default 2s.
	Timeout Duration `yaml:"timeout"`
	// Order says who goes first. Default price.
	Order QueueOrder `yaml:"order"`
	// Age is by how much the price of a waiting request rises, only with OrderPrice. Default 0: not at all.
	Age Ageing `yaml:"age"`
	// PriceHeader is a request field that says the price, believed from trusted proxies alone; only with OrderPrice. Default "": none.
	PriceHeader string `yaml:"price_header"`
}

// QueueOrder says who goes first.
type QueueOrder string

// Who goes first.
const (
	OrderPrice QueueOrder = "price" // who bids most, and of those the first that came
	OrderFIFO  QueueOrder = "fifo"  // the first that came
)

func (QueueOrder) values() []string { return []string{"price", "fifo"} }

// Ageing is by how much a price rises in a time: 1/s. The zero Ageing is none, and is written 0.
type Ageing struct{ rate.Rate }

// String returns the ageing as it is written.
func (a Ageing) String() string {
	if a == (Ageing{}) {
		return "0"
	}
	return a.Rate.String()
}

func parseAgeing(text string) (Ageing, error) {
	if text == "0" {
		return Ageing{}, nil
	}
	r, err := rate.Parse(text)
	return Ageing{r}, err
}

func (q *Queue) defaults() { *q = Queue{Max: 1000, Timeout: 2 * time.Second, Order: OrderPrice} }

func (q *Queue) validate(at *node, r *report) {
	r.between(at.get("max"), q.Max, 0, 1_000_000)
	r.positive(at.get("timeout"), q.Timeout)
	if q.PriceHeader != "" {
		r.fieldName(at.get("price_header"), q.PriceHeader)
	}
	if q.Order != OrderFIFO {
		return
	}
	for _, key := range []string{"age", "price_header"} {
		if at.find(key) != nil {
			r.errorf(at.get(key), "prices don't matter in the order of arrival: expected no %s with order: fifo", key)
		}
	}
}

// validateQueue reports a bound on calls that is out of range, and a queue without one, in which nobody would ever wait.
func (u *Upstream) validateQueue(at *node, r *report) {
	r.between(at.get("max_in_flight"), u.MaxInFlight, 0, 1_000_000)
	if queue := at.find("queue"); queue != nil && u.MaxInFlight == 0 {
		r.errorf(queue, "nobody waits for an upstream without a bound: expected max_in_flight beside it")
	}
}

// warnOfUnheard finds fields of prices that nobody may fill in.
func (c *Config) warnOfUnheard(upstreams *node, r *report) {
	for _, name := range c.UpstreamNames {
		if c.Upstreams[name].Queue.PriceHeader != "" && len(c.Identify.TrustedProxies) == 0 {
			r.warnf(upstreams.get(name).get("queue").get("price_header"),
				"never believed: identify.trusted_proxies is empty, and prices are taken from those alone")
		}
	}
}
