package coalesce_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/coalesce"
)

// The tests in this file drive a group with whatever may come, and check every answer against what the calls have recorded: that it is of a
// call for this key that may answer this request, that no call's value goes to more or fewer requests than the call was told, that there
// is an event for everything, and that nothing is left.

// An end is how a call of the model goes on and ends.
type end int

const (
	returns end = iota
	fails
	panics
	exits
	publishes    // then it goes on for a while, and returns
	publishFails // the same, and fails
	publishSeals // the same, but lets nobody join meanwhile
	private      // for the leader, then it goes on
	ends
)

var errModel = errors.New("the model says so")

// A modelCall is what is recorded of one run of fetch.
type modelCall struct {
	key       string
	leader    *modelRequest
	items     map[*modelRequest]bool
	began     int64 // ticks
	end       end
	abandoned bool
	stillborn bool // abandoned before it began
	given     int  // to how many the call was told that it was given
}

// A modelRequest is one call of Do.
type modelRequest struct {
	key       string
	relaxed   bool
	came, got int64 // ticks
	cancelled bool
	call      *modelCall
	outcome   coalesce.Outcome
	err       error
}

type modelGroup = coalesce.Group[*modelRequest, *modelCall]

// A model is a group and what is known of it.
type model struct {
	group    *modelGroup
	relaxed  bool // all requests are
	fate     func() (end, time.Duration)
	clock    atomic.Int64
	mu       sync.Mutex
	inFlight map[string]map[*modelCall]context.Context
	faults   []string
	calls    []*modelCall
	requests []*modelRequest
	events   []coalesce.Flush
}

func newModel(cfg coalesce.Config, relaxed bool, fate func() (end, time.Duration)) *model {
	m := &model{inFlight: map[string]map[*modelCall]context.Context{}, relaxed: relaxed, fate: fate}
	cfg.Observe = func(f coalesce.Flush) {
		m.mu.Lock()
		m.events = append(m.events, f)
		m.mu.Unlock()
	}
	m.group = coalesce.New[*modelRequest, *modelCall](cfg)
	return m
}

func (m *model) fault(format string, args ...any) {
	m.mu.Lock()
	m.faults = append(m.faults, fmt.Sprintf(format, args...))
	m.mu.Unlock()
}

// begin notes that a call may be joined. In relaxed mode there is never more than one for a key, but for those that were abandoned.
func (m *model) begin(mine context.Context, k *modelCall) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = append(m.calls, k)
	k.stillborn = mine.Err() != nil
	if m.inFlight[k.key] == nil {
		m.inFlight[k.key] = map[*modelCall]context.Context{}
	}
	for other, ctx := range m.inFlight[k.key] {
		if m.relaxed && ctx.Err() == nil && !k.stillborn {
			m.faults = append(m.faults, fmt.Sprintf("two calls in flight: %+v and %+v", other, k))
		}
	}
	m.inFlight[k.key][k] = mine
}

// end notes that a call is over, or about to let nobody join any more.
func (m *model) end(k *modelCall) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.inFlight[k.key], k)
}

// fetch is a call.
func (m *model) fetch(ctx context.Context, c *coalesce.Call[*modelRequest, *modelCall]) (*modelCall, error) {
	items := c.Items()
	k := &modelCall{key: items[0].key, leader: items[0], items: map[*modelRequest]bool{}, began: m.clock.Add(1)}
	for _, r := range items {
		k.items[r] = true
	}
	var d time.Duration
	k.end, d = m.fate()
	m.begin(ctx, k)
	defer m.end(k)
	select {
	case <-time.After(d):
	case <-ctx.Done():
		k.abandoned = true
		return nil, context.Cause(ctx)
	}
	return m.answer(c, k, d)
}

// answer is the second half of a call.
func (m *model) answer(c *coalesce.Call[*modelRequest, *modelCall], k *modelCall, d time.Duration) (*modelCall, error) {
	switch k.end {
	case fails:
		return nil, errModel
	case panics:
		panic(errModel)
	case exits:
		runtime.Goexit()
	case publishes, publishFails:
		c.Publish(k)
		time.Sleep(d)
		m.end(k) // before Seal lets the next one begin
		k.given = c.Seal()
		if k.end == publishFails {
			return nil, errModel
		}
	case publishSeals:
		c.Publish(k)
		m.end(k)
		k.given = c.Seal()
		time.Sleep(d)
	case private:
		m.end(k)
		if c.PublishPrivate(k) {
			k.given = 1
		}
		time.Sleep(d)
	}
	return k, nil
}

// do is one request.
func (m *model) do(ctx context.Context, r *modelRequest, opt coalesce.Options[*modelRequest, *modelCall]) {
	opt.Relaxed, opt.Fetch = r.relaxed, m.fetch
	r.came = m.clock.Add(1)
	r.call, r.outcome, r.err = m.group.Do(ctx, r.key, r, &opt)
	r.got = m.clock.Add(1)
	r.cancelled = ctx.Err() != nil
	m.mu.Lock()
	m.requests = append(m.requests, r)
	m.mu.Unlock()
}

// check ends the group and looks at all that was recorded.
func (m *model) check(sent int) []string {
	if err := m.group.Close(context.Background()); err != nil {
		m.fault("Close: %v", err)
	}
	if s := m.group.Stats(); s.Slots != 0 || s.Calls != 0 || s.Waiters != 0 || s.Bytes != 0 {
		m.fault("left: %+v", s)
	}
	if len(m.requests) != sent {
		m.fault("%d requests of %d were answered", len(m.requests), sent)
	}
	got := map[*modelCall]int{}
	for _, r := range m.requests {
		if r.err == nil {
			m.checkValue(r)
			got[r.call]++
		} else {
			m.checkError(r)
		}
	}
	for _, k := range m.calls {
		m.checkCall(k, got[k])
	}
	m.checkEvents(got)
	return m.faults
}

// checkValue looks at a request that got a value.
func (m *model) checkValue(r *modelRequest) {
	k := r.call
	switch {
	case k == nil || k.key != r.key:
		m.fault("a request for %s got %+v", r.key, k)
	case k.abandoned || k.end == fails || k.end == panics || k.end == exits:
		m.fault("the value of a call that has none: %+v", k)
	case k.end == private && (r != k.leader || r.outcome.Role != coalesce.Leader):
		m.fault("a private value went to %+v", r)
	case (r.outcome.Role == coalesce.Leader) != (r == k.leader):
		m.fault("%v is the role of %+v", r.outcome.Role, r)
	case r.outcome.Role == coalesce.Joined:
		if !r.relaxed || k.items[r] || m.later(k, r.came) || r.outcome.Reason != coalesce.JoinedCall {
			m.fault("%+v joined %+v", r, k)
		}
	case !k.items[r] || k.began < r.came || r.outcome.Size != len(k.items):
		m.fault("strict %+v was answered by %+v", r, k)
	}
}

// later reports whether, in relaxed mode, a later call for the key began before the time. (In others, calls may begin in another order than
// their slots were served.)
func (m *model) later(k *modelCall, came int64) bool {
	for _, other := range m.calls {
		if m.relaxed && other.key == k.key && !other.stillborn && k.began < other.began && other.began < came {
			return true
		}
	}
	return false
}

// checkError looks at a request that got an error.
func (m *model) checkError(r *modelRequest) {
	var p *coalesce.PanicError
	switch {
	case errors.Is(r.err, context.Canceled) || errors.Is(r.err, context.DeadlineExceeded):
		if !r.cancelled {
			m.fault("%v for a request that was not cancelled", r.err)
		}
	case errors.Is(r.err, coalesce.ErrNotShared):
		if r.outcome.Role != coalesce.Alone || !m.some(r, private) {
			m.fault("not shared: %+v", r)
		}
	case errors.Is(r.err, coalesce.ErrOverflow):
		if r.outcome.Role != coalesce.Alone {
			m.fault("overflow: %+v", r)
		}
	case errors.As(r.err, &p):
		if !m.some(r, panics) && !m.some(r, exits) {
			m.fault("no call panicked: %+v", r)
		}
	case !errors.Is(r.err, errModel) || !m.some(r, fails):
		m.fault("no call failed with that: %+v", r)
	}
	if r.call != nil {
		m.fault("a value with an error: %+v", r)
	}
}

// some reports whether a call that ended so was there for the request's key before it was answered.
func (m *model) some(r *modelRequest, e end) bool {
	for _, k := range m.calls {
		if k.key == r.key && k.end == e && !k.abandoned && k.began < r.got {
			return true
		}
	}
	return false
}

// checkCall looks at a call whose value got requests have.
func (m *model) checkCall(k *modelCall, got int) {
	told := k.end == publishes || k.end == publishFails || k.end == publishSeals || k.end == private
	if told && !k.abandoned && k.given != got {
		m.fault("told that %d get the value, %d did: %+v", k.given, got, k)
	}
	for r := range k.items {
		if r.key != k.key {
			m.fault("a waiter for %s in a call for %s", r.key, k.key)
		}
	}
}

// checkEvents compares the events with what happened.
func (m *model) checkEvents(got map[*modelCall]int) {
	var answered, calls, alone, joined int
	for _, f := range m.events {
		switch f.Reason {
		case coalesce.Passthrough:
			alone++
		case coalesce.JoinedCall:
			joined++
		default:
			calls++
			answered += f.Answered
			if f.Size < 1 || f.Age < 0 || f.Waiting < 0 || f.Ended.Before(f.Started) || f.Started.Before(f.Opened) {
				m.fault("event %+v", f)
			}
		}
	}
	values, refused := 0, 0
	for _, n := range got {
		values += n
	}
	for _, r := range m.requests {
		if errors.Is(r.err, coalesce.ErrNotShared) || errors.Is(r.err, coalesce.ErrOverflow) {
			refused++
		}
	}
	if answered != values || calls != len(m.calls) || alone != refused {
		m.fault("events tell of %d answers, %d calls, %d alone; there were %d, %d, %d", answered, calls, alone, values, len(m.calls), refused)
	}
}

// anyPolicy waits, serves, asks again and panics, as the state's hash says: it is a pure function.
type anyPolicy uint64

func (p anyPolicy) Decide(s coalesce.State) coalesce.Decision {
	random := rand.New(rand.NewPCG(uint64(p), uint64(s.Size)<<32^uint64(s.Age)))
	switch random.IntN(8) {
	case 0:
		return coalesce.Decision{Serve: true}
	case 1:
		if s.Age > 3*ms {
			panic("no idea")
		}
		return coalesce.Decision{After: -1}
	case 2, 3:
		return coalesce.Decision{}
	}
	return coalesce.Decision{After: time.Duration(random.IntN(5000)) * time.Microsecond}
}

// laterPolicy decides as anyPolicy does, but now and then takes its time, answers twice, or never.
type laterPolicy struct{ anyPolicy }

func (p laterPolicy) Ask(s coalesce.State, answer func(coalesce.Policy)) (d coalesce.Decision, pending bool) {
	random := rand.New(rand.NewPCG(uint64(p.anyPolicy)+1, uint64(s.Size)<<32^uint64(s.Age)))
	later := func() {
		time.AfterFunc(time.Duration(random.IntN(6))*500*time.Microsecond, func() { answer(p.anyPolicy) })
	}
	switch random.IntN(5) {
	case 0:
		return p.Decide(s), false
	case 1:
	case 2:
		later()
		answer(p.anyPolicy)
	case 3:
		later()
		fallthrough
	default:
		later()
	}
	return d, true
}

// modelPolicy makes one of both kinds.
func modelPolicy(seed uint64) coalesce.Policy {
	if seed%2 == 0 {
		return laterPolicy{anyPolicy(seed)}
	}
	return anyPolicy(seed)
}

// A step is one request of a script.
type step struct {
	at, cancel time.Duration // cancel is after at; 0: not
	request    modelRequest
}

func TestModel(t *testing.T) {
	for _, mode := range []string{"strict", "relaxed", "mixed"} {
		t.Run(mode, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				script := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step { return anyStep(rt, mode) }), 1, 60).Draw(rt, "script")
				fates := rapid.SliceOfN(rapid.Custom(anyFate), 1, 20).Draw(rt, "fates")
				cfg := coalesce.Config{
					Remember:   time.Duration(rapid.SampledFrom([]int{5, 20}).Draw(rt, "remember")) * ms,
					MaxWaiters: rapid.SampledFrom([]int{4, 1000}).Draw(rt, "waiters"),
					MaxKeys:    rapid.SampledFrom([]int{2, 1000}).Draw(rt, "keys"),
				}
				opt := coalesce.Options[*modelRequest, *modelCall]{
					Hold:     time.Duration(rapid.IntRange(0, 10).Draw(rt, "hold")) * ms,
					MaxBatch: rapid.IntRange(0, 6).Draw(rt, "max batch"),
					Policy:   modelPolicy(rapid.Uint64().Draw(rt, "policy")),
				}
				synctest.Test(t, func(*testing.T) {
					for _, fault := range playScript(cfg, mode == "relaxed", opt, script, fates) {
						rt.Error(fault)
					}
				})
			})
		})
	}
}

func anyStep(rt *rapid.T, mode string) step {
	return step{
		at:     time.Duration(rapid.IntRange(0, 60).Draw(rt, "at")) * ms,
		cancel: time.Duration(max(0, rapid.IntRange(-20, 20).Draw(rt, "cancel"))) * ms,
		request: modelRequest{
			key:     rapid.SampledFrom([]string{"a", "a", "b"}).Draw(rt, "key"),
			relaxed: mode == "relaxed" || mode == "mixed" && rapid.Bool().Draw(rt, "relaxed"),
		},
	}
}

// A fate is what becomes of a call.
type fate struct {
	end  end
	time time.Duration
}

func anyFate(rt *rapid.T) fate {
	return fate{end(rapid.IntRange(0, int(ends)-1).Draw(rt, "end")), time.Duration(rapid.IntRange(0, 20).Draw(rt, "time")) * ms}
}

// playScript plays it in virtual time, in which much happens in the same instant, and so in any order.
func playScript(
	cfg coalesce.Config, relaxed bool, opt coalesce.Options[*modelRequest, *modelCall], script []step, fates []fate,
) (faults []string) {
	var next atomic.Int64
	m := newModel(cfg, relaxed, func() (end, time.Duration) {
		f := fates[int(next.Add(1))%len(fates)]
		return f.end, f.time
	})
	var wg sync.WaitGroup
	for _, s := range script {
		wg.Go(func() {
			time.Sleep(s.at)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if s.cancel > 0 {
				defer time.AfterFunc(s.cancel, cancel).Stop()
			}
			m.do(ctx, &s.request, opt)
		})
	}
	wg.Wait()
	faults = m.check(len(script))
	for _, f := range m.events {
		if f.Age > opt.Hold || opt.MaxBatch > 0 && f.Size > opt.MaxBatch {
			faults = append(faults, fmt.Sprintf("past a cap: %+v", f))
		}
	}
	return faults
}

// TestCrowd does the same in real time, with many at once on few keys.
func TestCrowd(t *testing.T) {
	const clients = 64
	each := 400
	if testing.Short() {
		each = 50
	}
	for _, relaxed := range []bool{false, true} {
		t.Run(fmt.Sprintf("relaxed=%v", relaxed), func(t *testing.T) {
			m := newModel(coalesce.Config{Remember: ms, MaxWaiters: 50, MaxIdle: 64}, relaxed, func() (end, time.Duration) {
				return end(rand.IntN(int(ends))), time.Duration(rand.IntN(300)) * time.Microsecond
			})
			var wg sync.WaitGroup
			for c := range clients {
				wg.Go(func() {
					for range each {
						m.crowd(relaxed, modelPolicy(uint64(c)))
					}
				})
			}
			wg.Wait()
			faults := m.check(clients * each)
			for i, fault := range faults {
				if i < 10 {
					t.Error(fault)
				}
			}
			t.Logf("%d requests, %d calls", len(m.requests), len(m.calls))
		})
	}
}

// crowd makes one request that is impatient now and then.
func (m *model) crowd(relaxed bool, p coalesce.Policy) {
	ctx := context.Background()
	if rand.IntN(3) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(rand.IntN(500))*time.Microsecond)
		defer cancel()
	}
	opt := coalesce.Options[*modelRequest, *modelCall]{Policy: p, Hold: time.Duration(rand.IntN(400)) * time.Microsecond, MaxBatch: rand.IntN(10)}
	m.do(ctx, &modelRequest{key: fmt.Sprint(rand.IntN(5)), relaxed: relaxed}, opt)
}
