package admit_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicegate/sluice/internal/admit"
	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/rate"
)

// story is a gate in virtual time, and what has entered it.
type story struct {
	*testing.T
	gate *admit.Gate
	all  []*request
}

func tell(t *testing.T, cfg *config.Upstream, run func(s *story)) {
	synctest.Test(t, func(t *testing.T) {
		s := &story{T: t, gate: admit.New(cfg)}
		defer s.gate.Close() // so that nobody waits in vain when the test fails
		run(s)
	})
}

// enter lets requests enter, one after the other, and returns the last.
func (s *story) enter(prices ...int64) (last *request) {
	for _, p := range prices {
		last = enter(s.gate, p)
		s.all = append(s.all, last)
		synctest.Wait()
	}
	return last
}

// expect fails the test unless this became of the requests, in the order in which they have entered: in, waits, or why it was refused.
func (s *story) expect(want ...string) {
	s.Helper()
	synctest.Wait()
	var got []string
	for _, r := range s.all {
		switch {
		case !r.done.Load():
			got = append(got, "waits")
		case r.err == nil:
			got = append(got, "in")
		default:
			got = append(got, r.refusal().Reason.String())
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		s.Fatalf("%v, expected %v", got, want)
	}
}

// release ends the call of a request, and forgets it.
func (s *story) release(i int) {
	s.all[i].ticket.Release()
	s.all = append(s.all[:i:i], s.all[i+1:]...)
	synctest.Wait()
}

// end lets all who are in, or will be, out again, and checks that nothing is left.
func (s *story) end() {
	s.Helper()
	for {
		synctest.Wait()
		i := 0
		for i < len(s.all) && (!s.all[i].done.Load() || s.all[i].err != nil) {
			i++
		}
		if i == len(s.all) {
			break
		}
		s.release(i)
	}
	if st := s.gate.Stats(); st.InFlight != 0 || st.Waiting != 0 {
		s.Errorf("in the end %+v", st)
	}
}

func TestNotLimited(t *testing.T) {
	g := admit.New(&config.Upstream{Queue: config.Queue{Max: 1, Timeout: 1}})
	ticket, err := g.Enter(nil, 0)
	if g != nil || ticket != nil || err != nil {
		t.Errorf("%v, %v, %v", g, ticket, err)
	}
	ticket.Retain()
	ticket.Release()
	ticket.Release()
	g.Close()
}

func TestHighestPriceFirst(t *testing.T) {
	tell(t, limited(2, nil), func(s *story) {
		s.enter(0, 0, 1, 3, 2, 3)
		s.expect("in", "in", "waits", "waits", "waits", "waits")
		s.release(0)
		s.expect("in", "waits", "in", "waits", "waits")
		s.release(0)
		s.release(1)
		s.expect("waits", "in", "in")
		s.end()
	})
}

func TestFIFO(t *testing.T) {
	tell(t, limited(1, func(q *config.Queue) { q.Order = config.OrderFIFO }), func(s *story) {
		s.enter(0, 1, 3, 2)
		for len(s.all) > 1 {
			s.release(0)
			s.expect(append([]string{"in"}, []string{"waits", "waits"}[:len(s.all)-1]...)...)
		}
		s.end()
	})
}

func TestTimeout(t *testing.T) {
	tell(t, limited(1, nil), func(s *story) {
		s.enter(0, 5)
		time.Sleep(time.Second)
		s.enter(0)
		time.Sleep(time.Second - 1)
		s.expect("in", "waits", "waits")
		time.Sleep(time.Nanosecond)
		s.expect("in", "timeout", "waits")
		if r := s.all[1].refusal(); r.Waited != 2*time.Second || r.RetryAfter < time.Second {
			t.Errorf("%+v", r)
		}
		s.release(0)
		s.expect("timeout", "in")
		if w := s.all[1].ticket.Waited(); w != time.Second {
			t.Errorf("waited %v", w)
		}
		s.end()
	})
}

// No wait is longer than the exchange as a whole may be.
func TestTimeoutWithinTotal(t *testing.T) {
	cfg := limited(1, nil)
	cfg.Timeouts.Total = time.Second
	tell(t, cfg, func(s *story) {
		s.enter(0, 0)
		time.Sleep(time.Second)
		s.expect("in", "timeout")
		s.end()
	})
}

func TestClientLeaves(t *testing.T) {
	tell(t, limited(1, nil), func(s *story) {
		s.enter(0, 1, 2)
		s.all[2].leave()
		s.expect("in", "waits", "gone")
		s.all[2].leave()
		s.release(0)
		s.expect("in", "gone")
		s.end()
	})
}

// A client that has left before it had to wait is told so at once, and one for which there is a slot is not held up.
func TestClientLeftBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := admit.New(limited(1, nil))
		left := &client{left: true}
		ticket, err := g.Enter(left, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Enter(left, 0); err.(*admit.Refusal).Reason != admit.Gone {
			t.Error(err)
		}
		ticket.Release()
	})
}

// handover is a client that leaves at the very moment when it has been given a slot, but does not know.
type handover struct {
	client
	give func()
}

func (h *handover) WhenGone(a http1.Aborter) {
	if a != nil {
		h.give()
		h.leave()
	}
	h.client.WhenGone(a)
}

func TestSlotGivenToClientThatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := admit.New(limited(1, nil))
		defer g.Close() // so that nobody waits in vain when the test fails
		first, _ := g.Enter(&client{}, 0)
		next := enter(g, 0)
		synctest.Wait()
		ticket, err := g.Enter(&handover{give: first.Release}, 1)
		if ticket != nil || err == nil || err.(*admit.Refusal).Reason != admit.Gone {
			t.Fatalf("%v, %v", ticket, err)
		}
		synctest.Wait()
		if !next.done.Load() || next.err != nil {
			t.Fatal("the slot is lost")
		}
		if st := g.Stats(); st.InFlight != 1 {
			t.Errorf("%d in flight", st.InFlight)
		}
		next.ticket.Release()
	})
}

func TestFullQueue(t *testing.T) {
	tell(t, limited(1, func(q *config.Queue) { q.Max = 2 }), func(s *story) {
		s.enter(9, 1, 2)
		s.enter(1) // would be last
		s.expect("in", "waits", "waits", "full")
		s.enter(3)
		s.expect("in", "displaced", "waits", "full", "waits")
		s.end()
	})
	tell(t, limited(1, func(q *config.Queue) { q.Max, q.Order = 1, config.OrderFIFO }), func(s *story) {
		s.enter(9, 1, 2)
		s.expect("in", "waits", "full")
		s.end()
	})
	tell(t, limited(1, func(q *config.Queue) { q.Max = 0 }), func(s *story) {
		s.enter(9, 10)
		s.expect("in", "full")
		s.end()
	})
}

// A request that bids 0 waits for as long as it takes to bid as much as the newcomers, and goes before them then.
func TestAgeing(t *testing.T) {
	age := func(q *config.Queue) {
		q.Age, q.Timeout = config.Ageing{Rate: rate.Rate{Count: 1, Period: time.Second}}, time.Hour
	}
	tell(t, limited(1, age), func(s *story) {
		s.enter(0, 0) // in, and poor
		time.Sleep(4*time.Second - 1)
		s.enter(4) // bids a nanosecond more
		time.Sleep(time.Nanosecond)
		s.enter(4) // bids the same
		time.Sleep(time.Nanosecond)
		s.enter(4, 5) // bids less, and more
		var order []int
		names := []string{"first", "poor", "before", "same", "after", "rich"}
		for len(s.all) > 1 {
			s.release(0)
			names = names[1:]
			for i, r := range s.all {
				if r.done.Load() {
					s.all[0], s.all[i] = s.all[i], s.all[0]
					names[0], names[i] = names[i], names[0]
					order = append(order, int(names[0][0]))
				}
			}
		}
		if got := fmt.Sprintf("%c", order); got != "[r b p s a]" {
			t.Errorf("served in the order %s", got)
		}
		s.end()
	})
}

// With ageing, an old request is not displaced by a new one that bids the same, or as much as it has come to bid.
func TestAgeProtectsFromDisplacement(t *testing.T) {
	age := func(q *config.Queue) {
		q.Max, q.Age, q.Timeout = 1, config.Ageing{Rate: rate.Rate{Count: 2, Period: time.Second}}, time.Hour
	}
	tell(t, limited(1, age), func(s *story) {
		s.enter(0, 1)
		time.Sleep(time.Second)
		s.enter(3)
		s.expect("in", "waits", "full")
		s.enter(4)
		s.expect("in", "displaced", "full", "waits")
		s.end()
	})
}

func TestClose(t *testing.T) {
	tell(t, limited(1, nil), func(s *story) {
		s.enter(0, 1, 2)
		s.gate.Close()
		s.expect("in", "closed", "closed")
		s.enter(5)
		s.expect("in", "closed", "closed", "closed")
		s.gate.Close()
		s.end()
	})
}

// Whoever holds a ticket holds the slot.
func TestRetain(t *testing.T) {
	tell(t, limited(1, nil), func(s *story) {
		held := s.enter(0).ticket
		held.Retain()
		s.enter(0)
		held.Release()
		s.expect("in", "waits")
		held.Release()
		s.expect("in", "in")
		s.all = s.all[1:]
		s.end()
		defer func() {
			if recover() == nil {
				t.Error("a ticket can be released twice")
			}
		}()
		held.Release()
	})
}

func TestApply(t *testing.T) {
	tell(t, limited(1, nil), func(s *story) {
		s.enter(0, 0, 3, 1, 3)
		s.gate.Apply(limited(2, nil)) // one more
		s.expect("in", "waits", "in", "waits", "waits")
		s.gate.Apply(limited(1, func(q *config.Queue) { q.Order, q.Max = config.OrderFIFO, 0 })) // one less, and another order
		s.enter(9)
		s.expect("in", "waits", "in", "waits", "waits", "full")
		s.release(0)
		s.expect("waits", "in", "waits", "waits", "full")
		s.release(1)
		s.expect("in", "waits", "waits", "full")
		s.gate.Apply(limited(1, nil)) // and back again
		s.release(0)
		s.expect("waits", "in", "full")
		s.end()
		s.gate.Apply(limited(3, nil))
		s.gate.Apply(limited(2, nil))
		s.all = nil
		s.enter(0, 0, 0)
		s.expect("in", "in", "waits")
		s.end()
	})
}

// How long to stay away is estimated from how fast slots come free, and from how long the last has not.
func TestRetryAfter(t *testing.T) {
	tell(t, limited(1, func(q *config.Queue) { q.Max, q.Timeout = 9, time.Hour }), func(s *story) {
		s.enter(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
		retry := func() time.Duration { return s.enter(0).refusal().RetryAfter }
		if got := retry(); got != time.Second {
			t.Errorf("%v, with nothing known, expected a second", got)
		}
		for range 5 {
			time.Sleep(700 * time.Millisecond)
			s.release(0)
			s.enter(0)
		}
		if got := retry(); got != 7*time.Second {
			t.Errorf("%v, with 9 before it that take 700 ms each, expected 7s", got)
		}
		time.Sleep(2 * time.Second)
		if got := retry(); got != 20*time.Second {
			t.Errorf("%v, after 2 s without a slot, expected 20s", got)
		}
		time.Sleep(time.Minute)
		if got := retry(); got != time.Minute {
			t.Errorf("%v, after a minute without a slot, expected a minute", got)
		}
		s.end()
	})
}

func TestStats(t *testing.T) {
	tell(t, limited(2, func(q *config.Queue) { q.Max = 3 }), func(s *story) {
		s.enter(0, 0, 0, 0, 0, 0)
		time.Sleep(30 * time.Millisecond)
		s.release(0)
		s.all[2].leave()
		s.enter(0, 0)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		st := s.gate.Stats()
		if st.MaxInFlight != 2 || st.InFlight != 2 || st.MaxWaiting != 3 || st.Waiting != 0 {
			t.Errorf("%+v", st)
		}
		if got, want := fmt.Sprint(st.Refused), fmt.Sprint(map[admit.Reason]uint64{
			admit.Full: 1, admit.Displaced: 0, admit.TimedOut: 3, admit.Gone: 1, admit.Closed: 0,
		}); got != want {
			t.Errorf("refused %s, expected %s", got, want)
		}
		w := st.Waited
		if w.Count != 3 || w.Sum != 30*time.Millisecond || w.Buckets[time.Millisecond] != 2 || w.Buckets[25*time.Millisecond] != 2 ||
			w.Buckets[50*time.Millisecond] != 3 || w.Buckets[30*time.Second] != 3 {
			t.Errorf("waited %+v", w)
		}
		s.end()
	})
}
