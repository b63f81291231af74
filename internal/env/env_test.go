package env_test

import (
	"context"
	"math"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/sluicegate/sluice/flush"
	"github.com/sluicegate/sluice/internal/agent"
	"github.com/sluicegate/sluice/internal/agent/pb"
	"github.com/sluicegate/sluice/internal/env"
	"github.com/sluicegate/sluice/internal/learn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ms = time.Millisecond

// serving runs an environment with one recording, and returns its address.
func serving(t testing.TB) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	times := make([]time.Duration, 50)
	for i := range times {
		times[i] = time.Duration(i) * 3 * ms
	}
	server := env.NewServer(map[string]learn.Source{"even.csv": &learn.Traces{Name: "even.csv", Keys: [][]time.Duration{times}}})
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	t.Cleanup(func() {
		server.Shutdown(context.Background())
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return ln.Addr().String()
}

// connect returns a client with a connection of its own, and what ends that.
func connect(t testing.TB, address string) (client pb.FlushEnvClient, leave func()) {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	leave = sync.OnceFunc(func() { conn.Close() })
	t.Cleanup(leave)
	return pb.NewFlushEnvClient(conn), leave
}

// episode plays one, and serves when decide says so. It returns the sum of the rewards and the last reply.
func episode(t *testing.T, c pb.FlushEnvClient, m *pb.ResetRequest, decide func(*pb.BatchState) bool) (sum float64, end *pb.StepReply) {
	t.Helper()
	r, err := c.Reset(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	end = &pb.StepReply{Observation: r.Observation}
	for !end.Terminated && !end.Truncated {
		if end, err = c.Step(t.Context(), &pb.StepRequest{Session: r.Session, ShouldFlush: decide(end.Observation)}); err != nil {
			t.Fatal(err)
		}
		sum += end.Reward
	}
	return sum, end
}

// TestEpisode plays what the simulator plays by itself, and pays the same.
func TestEpisode(t *testing.T) {
	c, _ := connect(t, serving(t))
	cost := float32(25)
	for _, relaxed := range []bool{false, true} {
		cfg := learn.Config{
			Arrivals: learn.Poisson{Rate: 300}, Latency: learn.Latency{Median: 20 * ms}, CallCost: 25 * ms, Hold: 50 * ms, MaxBatch: 128, Relaxed: relaxed,
			Requests: 300, Seed: 7,
		}
		policy := flush.Threshold{CallCost: 25 * ms}
		sum, end := episode(t, c, &pb.ResetRequest{Seed: proto.Uint64(7), Scenario: &pb.Scenario{
			Traffic: "poisson:300/s", CallCostMs: &cost, Requests: 300, Relaxed: relaxed, Optimum: true,
		}}, func(m *pb.BatchState) bool {
			s, callCost, err := agent.State(m)
			if err != nil || callCost != 25*ms || len(m.Features) != flush.NumFeatures {
				t.Fatalf("%v: %v", m, err)
			}
			return policy.Decide(s).Serve
		})
		want := learn.New(cfg)
		state := want.Reset(7)
		for over := false; !over; {
			var terminated, truncated bool
			state, _, terminated, truncated = want.Step(policy.Decide(*state).Serve)
			over = terminated || truncated
		}
		o, best := want.Outcome(), learn.Optimum(cfg, cfg.Draw(7)).Cost
		i := end.Info
		if int(i.Calls) != o.Calls || int(i.Requests) != 300 || int(i.Joined) != o.Joined || i.ByPolicy+i.ByHold+i.BySize != i.Calls ||
			math.Abs(i.Cost-o.Cost) > 1e-9 || math.Abs(sum+o.Cost) > 1e-6 || i.GetOptimum() != best || i.Cost < best {
			t.Errorf("relaxed %v: %v, rewards %g; want %+v and %g", relaxed, i, sum, o.Cost, best)
		}
		if !end.Truncated || end.Terminated {
			t.Errorf("%v", end)
		}
	}
}

// TestSeeds: the same seed is the same traffic, in a session of any age; without one it is another each time.
func TestSeeds(t *testing.T) {
	c, _ := connect(t, serving(t))
	always := func(*pb.BatchState) bool { return true }
	first, err := c.Reset(t.Context(), &pb.ResetRequest{})
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.Reset(t.Context(), &pb.ResetRequest{Session: first.Session})
	if err != nil || again.Session != first.Session || again.Seed == first.Seed {
		t.Errorf("%v, %v", again, err)
	}
	short := &pb.Scenario{Requests: 200}
	_, a := episode(t, c, &pb.ResetRequest{Session: first.Session, Scenario: short, Seed: &first.Seed}, always)
	_, b := episode(t, c, &pb.ResetRequest{Scenario: short, Seed: &first.Seed}, always)
	_, other := episode(t, c, &pb.ResetRequest{Scenario: short, Seed: &again.Seed}, always)
	if !proto.Equal(a, b) || proto.Equal(a, other) || a.Info.Requests != 200 {
		t.Errorf("%v\n%v\n%v", a, b, other)
	}
}

// TestRecording ends when it does, and is what an episode is of that the server was started with.
func TestRecording(t *testing.T) {
	c, _ := connect(t, serving(t))
	_, end := episode(t, c, &pb.ResetRequest{Scenario: &pb.Scenario{Traffic: "trace:even.csv"}}, func(*pb.BatchState) bool { return true })
	if !end.Terminated || end.Truncated || end.Info.Requests != 50 || end.Info.NowMs != 147 {
		t.Errorf("%v", end)
	}
}

func TestWrongScenarios(t *testing.T) {
	c, _ := connect(t, serving(t))
	zero, nan, long := float32(0), float32(math.NaN()), float32(1e9)
	for want, s := range map[string]*pb.Scenario{
		`traffic: learn: wrong spelling: "rain"`:                                       {Traffic: "rain"},
		`there is no recording "/etc/passwd": expected one that the server was`:        {Traffic: "trace:/etc/passwd"},
		"latency: learn: wrong spelling":                                               {Latency: "slow"},
		"call_cost_ms: 0 is out of range, expected more than 0 and at most 3600000":    {CallCostMs: &zero},
		"hold_ms: NaN is out of range, expected more than 0 and at most 3600000":       {HoldMs: &nan},
		"hold_ms: 1e+09 is out of range":                                               {HoldMs: &long},
		"max_batch: 100001 is out of range, expected 0 to 100000":                      {MaxBatch: proto.Uint32(100_001)},
		"requests: 1000001 is out of range, expected 1 to 1000000":                     {Requests: 1_000_001},
		"optimum: of 100000 requests of which 100000 may share a call, it takes too l": {Requests: 100_000, Optimum: true, MaxBatch: proto.Uint32(0)},
	} {
		_, err := c.Reset(t.Context(), &pb.ResetRequest{Scenario: s})
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %s", s, err, want)
		}
	}
	if r, err := c.Reset(t.Context(), &pb.ResetRequest{}); err != nil || r.Session != 1 {
		t.Errorf("mistakes have begun sessions: %v, %v", r, err)
	}
}

// TestSessionsAreTheConnections: nobody else can use them.
func TestSessionsAreTheConnections(t *testing.T) {
	address := serving(t)
	c, _ := connect(t, address)
	other, _ := connect(t, address)
	r, err := c.Reset(t.Context(), &pb.ResetRequest{})
	if err != nil {
		t.Fatal(err)
	}
	_, step := other.Step(t.Context(), &pb.StepRequest{Session: r.Session})
	_, reset := other.Reset(t.Context(), &pb.ResetRequest{Session: r.Session})
	_, end := other.Close(t.Context(), &pb.CloseRequest{Session: r.Session})
	for _, err := range []error{step, reset, end} {
		if status.Code(err) != codes.NotFound {
			t.Errorf("%v", err)
		}
	}
	if _, err := c.Close(t.Context(), &pb.CloseRequest{Session: r.Session}); err != nil {
		t.Error(err)
	}
	if _, err := c.Step(t.Context(), &pb.StepRequest{Session: r.Session}); status.Code(err) != codes.NotFound {
		t.Errorf("%v", err)
	}
}

func TestStepPastTheEnd(t *testing.T) {
	c, _ := connect(t, serving(t))
	m := &pb.ResetRequest{Scenario: &pb.Scenario{Requests: 3}}
	episode(t, c, m, func(*pb.BatchState) bool { return true })
	if _, err := c.Step(t.Context(), &pb.StepRequest{Session: 1}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("%v", err)
	}
	if _, err := c.Reset(t.Context(), &pb.ResetRequest{Session: 1}); err != nil {
		t.Error(err)
	}
	if r, err := c.Step(t.Context(), &pb.StepRequest{Session: 1}); err != nil || r.Info.Requests == 0 {
		t.Errorf("%v, %v", r, err)
	}
}

// TestBounded: there are only so many sessions, and those of a client that is gone make place for others.
func TestBounded(t *testing.T) {
	address := serving(t)
	greedy, leave := connect(t, address)
	small := &pb.Scenario{Requests: 1}
	for range env.MaxSessions {
		if _, err := greedy.Reset(t.Context(), &pb.ResetRequest{Scenario: small}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := greedy.Reset(t.Context(), &pb.ResetRequest{Scenario: small}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("%v", err)
	}
	modest, _ := connect(t, address)
	if _, err := modest.Reset(t.Context(), &pb.ResetRequest{}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("%v", err)
	}
	leave()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(ms) {
		_, err := modest.Reset(t.Context(), &pb.ResetRequest{})
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the sessions of a client that has left are still there: %v", err)
		}
	}
}

// TestManyAtOnce: sessions of one connection don't disturb each other.
func TestManyAtOnce(t *testing.T) {
	c, _ := connect(t, serving(t))
	ends := make([]*pb.StepReply, 8)
	var wg sync.WaitGroup
	for i := range ends {
		wg.Go(func() {
			seed := uint64(i / 2)
			_, ends[i] = episode(t, c, &pb.ResetRequest{Seed: &seed, Scenario: &pb.Scenario{Requests: 50}}, func(m *pb.BatchState) bool { return m.BatchSize > 3 })
		})
	}
	wg.Wait()
	for i := 0; i < len(ends); i += 2 {
		if !proto.Equal(ends[i], ends[i+1]) || i > 0 && reflect.DeepEqual(ends[i].Info.Cost, ends[i-1].Info.Cost) {
			t.Errorf("%v\n%v", ends[i], ends[i+1])
		}
	}
}

// BenchmarkStep is a step over loopback.
func BenchmarkStep(b *testing.B) {
	c, _ := connect(b, serving(b))
	r, err := c.Reset(b.Context(), &pb.ResetRequest{Scenario: &pb.Scenario{Requests: 1_000_000}})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := c.Step(b.Context(), &pb.StepRequest{Session: r.Session, ShouldFlush: true}); err != nil {
			b.Fatal(err)
		}
	}
}
