package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/flush"
	"github.com/sluicegate/sluice/internal/agent"
	"github.com/sluicegate/sluice/internal/agent/pb"
)

// scripted is an agent in the process.
type scripted func(ctx context.Context, m *pb.BatchState) (*pb.FlushDecision, error)

func (f scripted) Decide(ctx context.Context, m *pb.BatchState, _ ...grpc.CallOption) (*pb.FlushDecision, error) {
	return f(ctx, m)
}

// A world is a group whose slots an agent decides about, on a virtual clock.
type world struct {
	t      *testing.T
	start  time.Time
	client *agent.Client
	group  *coalesce.Group[int, string]
	log    bytes.Buffer // read it when nothing goes on
	opt    coalesce.Options[int, string]

	mu       sync.Mutex // guards what follows
	asked    []time.Duration
	outcomes map[agent.Outcome]int
	flushes  []coalesce.Flush
}

// play runs a test with an agent that has 5 ms to answer; a slot is held for 50 ms, a call costs 25 ms, and balance is at hand.
func play(t *testing.T, a scripted, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, start: time.Now(), outcomes: map[agent.Outcome]int{}}
		w.client = agent.New(w.note(a), agent.Options{Log: slog.New(slog.NewTextHandler(&w.log, nil)), Observe: func(o agent.Outcome, _ time.Duration) {
			w.mu.Lock()
			w.outcomes[o]++
			w.mu.Unlock()
		}})
		w.group = coalesce.New[int, string](coalesce.Config{Observe: func(f coalesce.Flush) {
			w.mu.Lock()
			w.flushes = append(w.flushes, f)
			w.mu.Unlock()
		}})
		w.opt = coalesce.Options[int, string]{
			Policy: w.client.Policy(agent.Terms{Timeout: 5 * ms, CallCost: 25 * ms, Instead: flush.Balance{CallCost: 25 * ms}}),
			Hold:   50 * ms,
			Fetch:  func(context.Context, *coalesce.Call[int, string]) (string, error) { return "v", nil },
		}
		test(t, w)
		if err := w.group.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := w.client.Close(); err != nil || w.client.UnderWay() != 0 {
			t.Errorf("%v, and %d questions are open", err, w.client.UnderWay())
		}
	})
}

// note has the agent's questions noted.
func (w *world) note(a scripted) scripted {
	return func(ctx context.Context, m *pb.BatchState) (*pb.FlushDecision, error) {
		w.mu.Lock()
		w.asked = append(w.asked, time.Since(w.start))
		w.mu.Unlock()
		return a(ctx, m)
	}
}

// request sends one and returns how long it waited.
func (w *world) request() time.Duration {
	w.t.Helper()
	v, o, err := w.group.Do(context.Background(), "key", 1, &w.opt)
	if v != "v" || err != nil {
		w.t.Errorf("%q, %v", v, err)
	}
	return o.Waited
}

// seen returns when the agent was asked, and how many calls were made, since it was called last.
func (w *world) seen() (asked []time.Duration, calls int) {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	asked, calls = w.asked, len(w.flushes)
	w.asked, w.flushes = nil, nil
	return asked, calls
}

// expect compares what became of the questions, as in "map[answered:1]", and the fallbacks that the slots have counted.
func (w *world) expect(outcomes string, fallbacks int) {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if got := fmt.Sprint(w.outcomes); got != outcomes {
		w.t.Errorf("%s, want %s", got, outcomes)
	}
	sum := 0
	for _, f := range w.flushes {
		sum += f.Fallbacks
	}
	if sum != fallbacks {
		w.t.Errorf("%d fallbacks, want %d", sum, fallbacks)
	}
}

func serve(context.Context, *pb.BatchState) (*pb.FlushDecision, error) {
	return &pb.FlushDecision{ShouldFlush: true}, nil
}

// silent is an agent that does not answer.
func silent(ctx context.Context, _ *pb.BatchState) (*pb.FlushDecision, error) {
	<-ctx.Done()
	return nil, status.FromContextError(ctx.Err()).Err()
}

func TestTheAgentDecides(t *testing.T) {
	slowly := func(ctx context.Context, m *pb.BatchState) (*pb.FlushDecision, error) {
		time.Sleep(2 * ms)
		return serve(ctx, m)
	}
	play(t, slowly, func(t *testing.T, w *world) {
		if waited := w.request(); waited != 2*ms {
			t.Errorf("waited %v", waited)
		}
		w.expect("map[answered:1]", 0)
	})
}

// TestOldAgent: one that knows no fields but the first of the answer is asked again by the gateway's own clock.
func TestOldAgent(t *testing.T) {
	old := func(_ context.Context, m *pb.BatchState) (*pb.FlushDecision, error) {
		return &pb.FlushDecision{ShouldFlush: m.BatchAgeMs >= 10}, nil
	}
	play(t, old, func(t *testing.T, w *world) {
		if waited := w.request(); waited < 10*ms || waited > 12*ms {
			t.Errorf("waited %v, want 10 ms and at most one more question", waited)
		}
		asked, _ := w.seen()
		w.expect(fmt.Sprintf("map[answered:%d]", len(asked)), 0)
	})
}

// TestAskedWhenItLikes: the time at which to ask again counts from the question on.
func TestAskedWhenItLikes(t *testing.T) {
	likes := func(_ context.Context, m *pb.BatchState) (*pb.FlushDecision, error) {
		time.Sleep(3 * ms)
		return &pb.FlushDecision{ShouldFlush: m.BatchAgeMs >= 20, RecheckAfterMs: 10}, nil
	}
	play(t, likes, func(t *testing.T, w *world) {
		if waited := w.request(); waited != 23*ms {
			t.Errorf("waited %v", waited)
		}
		if got, _ := w.seen(); fmt.Sprint(got) != "[0s 10ms 20ms]" {
			t.Errorf("asked at %v", got)
		}
	})
}

// TestHoldOverAnAgentThatNeverServes, however often it wants to be asked.
func TestHoldOverAnAgentThatNeverServes(t *testing.T) {
	for _, after := range []float32{0, 1e-9, 1, math.MaxFloat32} {
		play(t, func(context.Context, *pb.BatchState) (*pb.FlushDecision, error) {
			return &pb.FlushDecision{RecheckAfterMs: after}, nil
		}, func(t *testing.T, w *world) {
			if waited := w.request(); waited != 50*ms {
				t.Errorf("waited %v", waited)
			}
			if asked, _ := w.seen(); len(asked) > 200 {
				t.Errorf("asked %d times after %g ms each", len(asked), after)
			}
		})
	}
}

// TestRuleInstead: where the answer makes no sense the rule decides at that moment, and it is counted.
func TestRuleInstead(t *testing.T) {
	nan, minus, inf := float32(math.NaN()), float32(-1), float32(math.Inf(1))
	for _, c := range []struct {
		answer   *pb.FlushDecision
		err      error
		outcomes string
	}{
		{nil, status.Error(codes.Unavailable, "gone"), "map[error:2]"},
		{nil, errors.New("oops"), "map[error:2]"},
		{&pb.FlushDecision{RecheckAfterMs: nan}, nil, "map[invalid:2]"},
		{&pb.FlushDecision{RecheckAfterMs: minus}, nil, "map[invalid:2]"},
		{&pb.FlushDecision{RecheckAfterMs: inf}, nil, "map[invalid:2]"},
	} {
		t.Run(fmt.Sprint(c.answer, c.err), func(t *testing.T) {
			play(t, func(context.Context, *pb.BatchState) (*pb.FlushDecision, error) { return c.answer, c.err }, func(t *testing.T, w *world) {
				if waited := w.request(); waited != 25*ms {
					t.Errorf("waited %v, want what balance has one request wait", waited)
				}
				w.expect(c.outcomes, 2)
			})
		})
	}
}

// TestSilence: the rule decides when the agent's time is up, about the slot as it is then.
func TestSilence(t *testing.T) {
	play(t, silent, func(t *testing.T, w *world) {
		if waited := w.request(); waited != 30*ms { // balance wants to be asked at 25 ms, and so is the agent, which takes 5 ms not to answer
			t.Errorf("waited %v", waited)
		}
		w.expect("map[timeout:2]", 2)
		var wg sync.WaitGroup
		for range 6 { // together they have waited for 25 ms before the agent's time is up
			wg.Go(func() {
				if waited := w.request(); waited != 5*ms {
					t.Errorf("one of six waited %v", waited)
				}
			})
		}
		wg.Wait()
	})
}

// TestLeftAlone: after three failures in a row the agent is not asked for a while, then by one question now and then, until it answers.
func TestLeftAlone(t *testing.T) {
	var dead atomic.Bool
	dead.Store(true)
	a := func(ctx context.Context, m *pb.BatchState) (*pb.FlushDecision, error) {
		if dead.Load() {
			return silent(ctx, m)
		}
		return serve(ctx, m)
	}
	play(t, a, func(t *testing.T, w *world) {
		w.opt.Hold = 6 * ms // so a slot asks once, and a moment later the hold serves it
		end := 12 * time.Second
		for time.Since(w.start) < end {
			w.request()
		}
		asked, _ := w.seen()
		var gaps []time.Duration
		for i := 1; i < len(asked); i++ {
			gaps = append(gaps, (asked[i] - asked[i-1]).Round(100*ms))
		}
		want := "[0s 0s 100ms 200ms 400ms 800ms 1.6s 3.2s 5s]"
		if got := fmt.Sprint(gaps); got != want {
			t.Errorf("asked after %s, want %s", got, want)
		}
		dead.Store(false)
		time.Sleep(5 * time.Second)
		w.seen()
		for range 10 {
			if waited := w.request(); waited != 0 {
				t.Errorf("waited %v", waited)
			}
		}
		if asked, calls := w.seen(); len(asked) != 10 || calls != 10 {
			t.Errorf("asked %d times of 10 when it was back, for %d calls", len(asked), calls)
		}
		if log := w.log.String(); strings.Count(log, "\n") != 2 || !strings.Contains(log, "fails") || !strings.Contains(log, "answers again") {
			t.Errorf("the log: %s", log)
		}
	})
}

// TestAFewFailuresAreForgiven: what counts is failures in a row.
func TestAFewFailuresAreForgiven(t *testing.T) {
	n := 0
	a := func(ctx context.Context, m *pb.BatchState) (*pb.FlushDecision, error) {
		if n++; n%3 != 0 {
			return nil, errors.New("oops")
		}
		return serve(ctx, m)
	}
	play(t, a, func(t *testing.T, w *world) {
		for range 30 {
			w.request()
		}
		w.expect("map[answered:15 error:30]", 30) // half of them are served by balance, at the second failure
	})
}

// TestOneQuestionOfASlot: many arrive while the agent thinks; no arrival waits for it, and no slot has two questions open.
func TestOneQuestionOfASlot(t *testing.T) {
	open, most, sizes := 0, 0, []uint32(nil)
	var mu sync.Mutex
	a := func(_ context.Context, m *pb.BatchState) (*pb.FlushDecision, error) {
		mu.Lock()
		open++
		most, sizes = max(most, open), append(sizes, m.BatchSize)
		mu.Unlock()
		time.Sleep(2 * ms)
		mu.Lock()
		defer mu.Unlock()
		open--
		return &pb.FlushDecision{ShouldFlush: m.BatchSize >= 95}, nil
	}
	play(t, a, func(t *testing.T, w *world) {
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { w.request() })
			time.Sleep(100 * time.Microsecond)
		}
		wg.Wait()
		if _, calls := w.seen(); most != 1 || sizes[0] != 1 || len(sizes) != 6 || calls != 1 {
			t.Errorf("asked about %v, %d at once; %d calls", sizes, most, calls)
		}
	})
}

// TestBounded: no more questions are open than there may be, whatever the number of slots.
func TestBounded(t *testing.T) {
	play(t, silent, func(t *testing.T, w *world) {
		var wg sync.WaitGroup
		for i := range 300 {
			wg.Go(func() {
				if _, _, err := w.group.Do(context.Background(), fmt.Sprint(i), 1, &w.opt); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if n := w.client.UnderWay(); n != 256 {
			t.Errorf("%d questions open", n)
		}
		w.expect("map[busy:44]", 0)
		wg.Wait()
	})
}

// TestClosedClient leaves everything to the rule, also what is open.
func TestClosedClient(t *testing.T) {
	play(t, silent, func(t *testing.T, w *world) {
		time.AfterFunc(2*ms, func() { w.client.Close() })
		if waited := w.request(); waited != 25*ms {
			t.Errorf("waited %v", waited)
		}
		w.expect("map[error:1 away:1]", 2)
	})
}

// TestDecide: who has no time to ask has the rule.
func TestDecide(t *testing.T) {
	play(t, silent, func(t *testing.T, w *world) {
		want := coalesce.Decision{After: 25 * ms, Fallback: true}
		if d := w.opt.Policy.Decide(coalesce.State{Size: 1}); d != want {
			t.Errorf("%+v", d)
		}
	})
}
