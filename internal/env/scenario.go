package env

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/sluicegate/sluice/internal/agent/pb"
	"github.com/sluicegate/sluice/internal/learn"
)

// The defaults of a scenario.
const (
	defaultTraffic  = "mmpp:5/s@2s,500/s@200ms"
	defaultLatency  = "20ms"
	defaultCallCost = 25 * time.Millisecond
	defaultHold     = 50 * time.Millisecond
	defaultMaxBatch = 128
	defaultRequests = 2000
)

// The bounds of one.
const (
	maxRequests = 1_000_000
	maxMaxBatch = 100_000
	longest     = time.Hour
	// maxSearch bounds the search for the best schedule: the requests of an episode times those that may share a call. It takes some seconds.
	maxSearch = 500_000_000
)

// scenario is one that has been checked.
type scenario struct {
	learn.Config
	optimum bool
}

// parse reads a scenario, nil for one that says nothing. The error names what is wrong.
func (s *service) parse(m *pb.Scenario) (*scenario, error) {
	if m == nil {
		m = new(pb.Scenario)
	}
	c := &scenario{Config: learn.Config{Relaxed: m.GetRelaxed(), MaxBatch: defaultMaxBatch}, optimum: m.GetOptimum()}
	var err error
	if c.Arrivals, err = s.traffic(cmp.Or(m.GetTraffic(), defaultTraffic)); err != nil {
		return nil, fmt.Errorf("traffic: %w", err)
	}
	if c.Latency, err = learn.ParseLatency(cmp.Or(m.GetLatency(), defaultLatency)); err != nil {
		return nil, fmt.Errorf("latency: %w", err)
	}
	if c.CallCost, err = duration(m.CallCostMs, defaultCallCost); err != nil {
		return nil, fmt.Errorf("call_cost_ms: %w", err)
	}
	if c.Hold, err = duration(m.HoldMs, defaultHold); err != nil {
		return nil, fmt.Errorf("hold_ms: %w", err)
	}
	if m.MaxBatch != nil {
		c.MaxBatch = int(m.GetMaxBatch())
	}
	if c.MaxBatch > maxMaxBatch {
		return nil, fmt.Errorf("max_batch: %d is out of range, expected 0 to %d", c.MaxBatch, maxMaxBatch)
	}
	c.Requests = int(cmp.Or(m.GetRequests(), defaultRequests))
	return c, c.checkWork()
}

// checkWork says what would take too much memory or time.
func (c *scenario) checkWork() error {
	if c.Requests > maxRequests {
		return fmt.Errorf("requests: %d is out of range, expected 1 to %d", c.Requests, maxRequests)
	}
	share := c.Requests
	if c.MaxBatch > 0 && !c.Relaxed {
		share = min(share, c.MaxBatch)
	}
	if c.optimum && c.Requests*share > maxSearch {
		return fmt.Errorf("optimum: of %d requests of which %d may share a call, it takes too long to find: expected fewer", c.Requests, share)
	}
	return nil
}

// traffic reads a source. Files are only those that the server knows.
func (s *service) traffic(spelling string) (learn.Source, error) {
	name, recorded := strings.CutPrefix(spelling, "trace:")
	if !recorded {
		return learn.Parse(spelling)
	}
	if source := s.recordings[name]; source != nil {
		return source, nil
	}
	var known []string
	for other := range s.recordings {
		known = append(known, other)
	}
	slices.Sort(known)
	return nil, fmt.Errorf("there is no recording %q: expected one that the server was started with, which are %q", name, known)
}

// duration reads a time above 0.
func duration(ms *float32, otherwise time.Duration) (time.Duration, error) {
	if ms == nil {
		return otherwise, nil
	}
	d := math.Round(float64(*ms) * float64(time.Millisecond))
	if !(d >= 1 && d <= float64(longest)) {
		return 0, fmt.Errorf("%v is out of range, expected more than 0 and at most %v", *ms, longest.Milliseconds())
	}
	return time.Duration(d), nil
}
