package learn

import (
	"fmt"
	"strconv"
	"time"

	"github.com/sluicegate/sluice/coalesce"
)

// Hindsight serves a slot as soon as it has N waiters, or nothing has come for Gap, or it has waited Budget in all. With the three numbers that are
// best for a piece of traffic, as [BestHindsight] finds them, it is what rules can reach that don't change: nobody could have chosen
// them before. It is a [coalesce.Policy]; a number of 0 or less means at once.
type Hindsight struct {
	N           int
	Gap, Budget time.Duration
}

// String returns the three numbers, and "any" for one that no slot reaches.
func (h Hindsight) String() string {
	n, gap, budget := "any", "any", "any"
	if h.N < noSize {
		n = strconv.Itoa(h.N)
	}
	if h.Gap < noTime {
		gap = h.Gap.Round(time.Microsecond).String()
	}
	if h.Budget < noTime {
		budget = h.Budget.Round(time.Microsecond).String()
	}
	return fmt.Sprintf("n=%s,gap=%s,budget=%s", n, gap, budget)
}

// Decide implements [coalesce.Policy].
func (h Hindsight) Decide(s coalesce.State) coalesce.Decision {
	quiet := s.SinceArrival
	if s.Arrival {
		quiet = 0
	}
	after := h.after(s.Size, s.Waiting, quiet)
	if after <= 0 {
		return coalesce.Decision{Serve: true}
	}
	return coalesce.Decision{After: after}
}

// after returns when the slot is served if nothing comes.
func (h Hindsight) after(size int, waiting, quiet time.Duration) time.Duration {
	if size >= h.N {
		return 0
	}
	n := time.Duration(size)
	left := h.Budget - waiting
	budget := left / n
	if left > 0 && left%n > 0 {
		budget++
	}
	return min(h.Gap-quiet, budget)
}

// cost is what the rule costs in the setting, as Run says, but much sooner: nothing is learned on the way, and no state made. As soon as it is
// least or more it returns never. It also returns how many waiters the largest slot had until then.
func (h Hindsight) cost(cfg *Config, t *Traffic, least time.Duration) (cost time.Duration, largest int) {
	for i := 0; i < len(t.Times); {
		waited, size, then := h.slot(cfg, t, i)
		if cost += cfg.CallCost + waited; cost >= least {
			return never, largest
		}
		largest = max(largest, size)
		i = then
	}
	return cost, largest
}

// slot returns what those wait whom the slot that arrival i opens answers, how many were in it, and which arrival opens the next.
func (h Hindsight) slot(cfg *Config, t *Traffic, i int) (waited time.Duration, size, next int) {
	opened := t.Times[i]
	now := opened
	size = 1
	for next = i + 1; ; next++ {
		serve := now
		if (cfg.MaxBatch == 0 || size < cfg.MaxBatch) && now-opened < cfg.Hold {
			if after := h.after(size, waited, 0); after > 0 {
				serve = min(now+max(after, shortest), opened+cfg.Hold)
			}
		}
		if serve == now || next == len(t.Times) || t.Times[next] > serve {
			waited += time.Duration(size) * (serve - now)
			now = serve
			break
		}
		waited += time.Duration(size) * (t.Times[next] - now)
		now = t.Times[next]
		size++
	}
	if !cfg.Relaxed {
		return waited, size, next
	}
	end := now + t.Calls[i]
	waited += time.Duration(size) * t.Calls[i]
	for ; next < len(t.Times) && t.Times[next] <= end; next++ {
		waited += end - t.Times[next]
	}
	return waited, size, next
}

// BestHindsight returns the triple that costs least, in the sum over all pieces of traffic. It tries a grid, and then the neighbourhood of the
// best point on a finer one.
func BestHindsight(cfg Config, traffic []Traffic) Hindsight {
	sample := traffic[:min(len(traffic), coarseSample)]
	var best Hindsight
	least := never
	for _, gap := range parts(cfg.Hold) {
		for _, budget := range parts(4 * cfg.CallCost) {
			h := Hindsight{N: noSize, Gap: gap, Budget: budget}
			_, largest := h.total(&cfg, sample, never)
			for _, h.N = range sizes() {
				if h.N > largest && h.N < noSize {
					continue // it makes no difference
				}
				if c, _ := h.total(&cfg, sample, least); c < least {
					best, least = h, c
				}
			}
		}
	}
	return best.refined(&cfg, traffic)
}

// coarseSample is on how many pieces of the traffic the grid is tried.
const coarseSample = 3

func sizes() []int { return []int{1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, noSize} }

// noSize is a number of waiters that no slot reaches, and noTime longer than any hold, but can be added to times.
const (
	noSize = 1 << 30
	noTime = time.Duration(1) << 60
)

// parts returns 1/128 to 1 of d, in steps of a factor of two, and noTime.
func parts(d time.Duration) []time.Duration {
	all := []time.Duration{noTime}
	for shift := range 8 {
		all = append(all, d>>shift)
	}
	return all
}

// total is the cost of all pieces, or never if it is least or more.
func (h Hindsight) total(cfg *Config, traffic []Traffic, least time.Duration) (cost time.Duration, largest int) {
	for i := range traffic {
		c, size := h.cost(cfg, &traffic[i], least-cost)
		if c == never {
			return never, largest
		}
		cost += c
		largest = max(largest, size)
	}
	return cost, largest
}

// refined goes from the rule to better ones nearby, in ever smaller steps, on all the traffic.
func (h Hindsight) refined(cfg *Config, traffic []Traffic) Hindsight {
	least, _ := h.total(cfg, traffic, never)
	for _, step := range []float64{1.5, 1.25, 1.1} {
		for range 4 {
			before := least
			for _, near := range h.near(step) {
				if c, _ := near.total(cfg, traffic, least); c < least {
					h, least = near, c
				}
			}
			if least == before {
				break
			}
		}
	}
	return h
}

// near returns rules of which one number differs by the factor, and the size by 1 at least.
func (h Hindsight) near(step float64) []Hindsight {
	var all []Hindsight
	if h.N < noSize {
		by := max(1, int(float64(h.N)*(step-1)))
		all = append(all, Hindsight{h.N + by, h.Gap, h.Budget}, Hindsight{h.N - by, h.Gap, h.Budget})
	}
	if h.Gap < noTime {
		gap := float64(h.Gap)
		all = append(all, Hindsight{h.N, time.Duration(gap * step), h.Budget}, Hindsight{h.N, time.Duration(gap / step), h.Budget})
	}
	if h.Budget < noTime {
		budget := float64(h.Budget)
		all = append(all, Hindsight{h.N, h.Gap, time.Duration(budget * step)}, Hindsight{h.N, h.Gap, time.Duration(budget / step)})
	}
	return all
}
