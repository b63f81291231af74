package admit_test

import (
	"fmt"
	"math/big"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/internal/admit"
	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/rate"
)

// A model is what a gate should be, in the plainest way: a list, searched from end to end.
type model struct {
	cfg    *config.Upstream
	now    time.Duration
	all    []*modelled
	closed bool
}

type modelled struct {
	price             int64
	arrived, deadline time.Duration
	fate              string // as of story.expect, or out
}

// worth is what a request bids now: its price, and what that has risen by. With order fifo it is nothing.
func (m *model) worth(r *modelled) *big.Rat {
	q := &m.cfg.Queue
	if q.Order == config.OrderFIFO {
		return new(big.Rat)
	}
	worth := new(big.Rat).SetInt64(r.price)
	if q.Age.Count > 0 {
		risen := new(big.Rat).SetFrac64(q.Age.Count, int64(q.Age.Period))
		worth.Add(worth, risen.Mul(risen, new(big.Rat).SetInt64(int64(m.now-r.arrived))))
	}
	return worth
}

func (m *model) with(fate string) (list []*modelled) {
	for _, r := range m.all {
		if r.fate == fate {
			list = append(list, r)
		}
	}
	return list
}

// serve gives free slots to those who bid most.
func (m *model) serve() {
	for len(m.with("in")) < m.cfg.MaxInFlight {
		var best *modelled
		for _, r := range m.with("waits") {
			if best == nil || m.worth(r).Cmp(m.worth(best)) > 0 {
				best = r
			}
		}
		if best == nil {
			return
		}
		best.fate = "in"
	}
}

func (m *model) enter(price int64) {
	r := &modelled{price: price, arrived: m.now, deadline: m.now + m.cfg.Queue.Timeout, fate: "waits"}
	m.all = append(m.all, r)
	if m.serve(); r.fate == "in" {
		return
	}
	var last *modelled
	others := m.with("waits")
	others = others[:len(others)-1]
	for _, o := range others {
		if last == nil || m.worth(o).Cmp(m.worth(last)) <= 0 {
			last = o
		}
	}
	switch {
	case m.closed:
		r.fate = "closed"
	case len(others) < m.cfg.Queue.Max:
	case last != nil && m.worth(r).Cmp(m.worth(last)) > 0:
		last.fate = "displaced"
	default:
		r.fate = "full"
	}
}

func (m *model) pass(d time.Duration) {
	m.now += d
	for _, r := range m.with("waits") {
		if r.deadline <= m.now {
			r.fate = "timeout"
		}
	}
}

func (m *model) close() {
	m.closed = true
	for _, r := range m.with("waits") {
		r.fate = "closed"
	}
}

// step is one thing that happens to a gate.
type step struct {
	what string
	n    int
	cfg  *config.Upstream
}

func (s step) String() string {
	if s.cfg != nil {
		return fmt.Sprintf("%s %d %+v", s.what, s.cfg.MaxInFlight, s.cfg.Queue)
	}
	return fmt.Sprintf("%s %d", s.what, s.n)
}

// upstreams draws rules whose ageing makes a price worth whole milliseconds, as all times of the test are.
func upstreams() *rapid.Generator[*config.Upstream] {
	return rapid.Custom(func(t *rapid.T) *config.Upstream {
		u := &config.Upstream{MaxInFlight: rapid.IntRange(1, 4).Draw(t, "slots")}
		u.Queue.Max = rapid.IntRange(0, 6).Draw(t, "max")
		u.Queue.Timeout = time.Duration(rapid.IntRange(1, 20_000).Draw(t, "timeout")) * time.Millisecond
		u.Queue.Order = rapid.SampledFrom([]config.QueueOrder{config.OrderPrice, config.OrderPrice, config.OrderFIFO}).Draw(t, "order")
		u.Queue.Age.Rate = rapid.SampledFrom([]rate.Rate{
			{}, {Count: 1, Period: time.Second}, {Count: 2, Period: time.Second}, {Count: 20, Period: time.Second}, {Count: 1000, Period: time.Second},
		}).Draw(t, "age")
		return u
	})
}

// steps draws what happens: more comes than goes, and time passes in small pieces and in large ones.
func steps() *rapid.Generator[[]step] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
		s := step{what: rapid.SampledFrom([]string{
			"enter", "enter", "enter", "enter", "release", "release", "release", "leave", "pass", "pass", "pass", "seldom",
		}).Draw(t, "what"), n: rapid.IntRange(0, 9).Draw(t, "n")}
		switch {
		case s.what == "pass":
			s.n = rapid.IntRange(0, rapid.SampledFrom([]int{2, 50, 2000}).Draw(t, "scale")).Draw(t, "ms")
		case s.what == "seldom" && s.n < 4:
			s.what, s.cfg = "apply", upstreams().Draw(t, "rules")
		case s.what == "seldom" && s.n == 9:
			s.what = "close"
		}
		return s
	}), 20, 150)
}

// A gate does what the model does, whatever happens.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cfg, todo := upstreams().Draw(rt, "rules"), steps().Draw(rt, "steps")
		var failure string
		synctest.Test(t, func(t *testing.T) { failure = compare(cfg, todo) })
		if failure != "" {
			rt.Fatal(failure)
		}
	})
}

// compare says where a gate and the model differ first.
func compare(cfg *config.Upstream, todo []step) string {
	m, g := &model{cfg: cfg}, admit.New(cfg)
	var real []*request
	defer func() { // so that no goroutine is left
		g.Close()
		synctest.Wait()
		for _, r := range real {
			if r.ticket != nil {
				r.ticket.Release()
			}
		}
	}()
	for _, s := range todo {
		switch s.what {
		case "enter":
			m.enter(int64(s.n))
			real = append(real, enter(g, int64(s.n)))
		case "release":
			if in := m.with("in"); len(in) > 0 {
				i := index(m.all, in[s.n%len(in)])
				m.all[i].fate = "out"
				m.serve()
				real[i].ticket.Release()
				real[i].ticket = nil
			}
		case "leave":
			if waits := m.with("waits"); len(waits) > 0 {
				i := index(m.all, waits[s.n%len(waits)])
				m.all[i].fate = "gone"
				real[i].leave()
			}
		case "pass":
			m.pass(time.Duration(s.n) * time.Millisecond)
			time.Sleep(time.Duration(s.n) * time.Millisecond)
		case "apply":
			m.cfg = s.cfg
			m.serve()
			g.Apply(s.cfg)
		case "close":
			m.close()
			g.Close()
		}
		synctest.Wait()
		if failure := differ(m, g, real); failure != "" {
			return fmt.Sprintf("after %v: %s", s, failure)
		}
	}
	return ""
}

func index(all []*modelled, r *modelled) int {
	for i := range all {
		if all[i] == r {
			return i
		}
	}
	panic("not in the list")
}

func differ(m *model, g *admit.Gate, real []*request) string {
	for i, r := range real {
		got := "waits"
		switch {
		case !r.done.Load():
		case r.err != nil:
			got = r.refusal().Reason.String()
		case r.ticket == nil:
			got = "out"
		default:
			got = "in"
		}
		if got != m.all[i].fate {
			return fmt.Sprintf("request %d: %s, expected %s", i, got, m.all[i].fate)
		}
	}
	if st := g.Stats(); st.InFlight != len(m.with("in")) || st.Waiting != len(m.with("waits")) {
		return fmt.Sprintf("%d in flight and %d wait, expected %d and %d", st.InFlight, st.Waiting, len(m.with("in")), len(m.with("waits")))
	}
	return ""
}
