package agent_test

import (
	"context"
	"fmt"
	"math"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/flush"
	"github.com/sluicegate/sluice/internal/agent"
	"github.com/sluicegate/sluice/internal/agent/pb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const serviceName = "rl_agent.RlAgent"

func balance(callCost time.Duration) coalesce.Policy { return flush.Balance{CallCost: callCost} }

// serving runs an agent on the address, and returns where it listens and what ends it.
func serving(t testing.TB, address string, policy func(time.Duration) coalesce.Policy) (at string, stop func()) {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := agent.NewServer(policy, 25*ms)
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	stop = sync.OnceFunc(func() {
		server.Shutdown(context.Background())
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(stop)
	return ln.Addr().String(), stop
}

func connect(t testing.TB, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestServer(t *testing.T) {
	address, _ := serving(t, "127.0.0.1:0", balance)
	client := pb.NewRlAgentClient(connect(t, address))
	ten, half := float32(10), float32(0.5)
	for _, c := range []struct {
		question *pb.BatchState
		want     *pb.FlushDecision
	}{
		{&pb.BatchState{BatchSize: 1}, &pb.FlushDecision{RecheckAfterMs: 25}},
		{&pb.BatchState{BatchSize: 1, BatchAgeMs: 25}, &pb.FlushDecision{ShouldFlush: true}},
		{&pb.BatchState{BatchSize: 2, BatchAgeMs: 20, WaitingMs: &ten}, &pb.FlushDecision{RecheckAfterMs: 7.5}},
		{&pb.BatchState{BatchSize: 2, BatchAgeMs: 20, WaitingMs: &ten, CallCostMs: &ten}, &pb.FlushDecision{ShouldFlush: true}},
		{&pb.BatchState{BatchSize: 1, CallCostMs: &half}, &pb.FlushDecision{RecheckAfterMs: 0.5}},
	} {
		d, err := client.Decide(t.Context(), c.question)
		if err != nil || d.ShouldFlush != c.want.ShouldFlush || d.RecheckAfterMs != c.want.RecheckAfterMs {
			t.Errorf("%v: %v, %v; want %v", c.question, d, err, c.want)
		}
	}
}

func TestMistakes(t *testing.T) {
	address, _ := serving(t, "127.0.0.1:0", balance)
	client := pb.NewRlAgentClient(connect(t, address))
	for _, m := range []*pb.BatchState{{}, {BatchSize: 1, BatchAgeMs: float32(math.NaN())}, {BatchSize: 1, RequestRate: -1}} {
		if d, err := client.Decide(t.Context(), m); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%v: %v, %v", m, d, err)
		}
	}
}

// TestPolicyThatFails is an error of its question alone.
func TestPolicyThatFails(t *testing.T) {
	bad := decides(func(s coalesce.State) coalesce.Decision {
		if s.Size == 1 {
			panic("oops")
		}
		return coalesce.Decision{After: -1}
	})
	address, _ := serving(t, "127.0.0.1:0", func(time.Duration) coalesce.Policy { return bad })
	client := pb.NewRlAgentClient(connect(t, address))
	for size := range uint32(2) {
		if d, err := client.Decide(t.Context(), &pb.BatchState{BatchSize: size + 1}); status.Code(err) != codes.Internal {
			t.Errorf("%v, %v", d, err)
		}
	}
}

type decides func(coalesce.State) coalesce.Decision

func (f decides) Decide(s coalesce.State) coalesce.Decision { return f(s) }

func TestHealthAndReflection(t *testing.T) {
	address, stop := serving(t, "127.0.0.1:0", balance)
	conn := connect(t, address)
	for _, name := range []string{"", serviceName} {
		r, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: name})
		if err != nil || r.Status != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("health of %q: %v, %v", name, r, err)
		}
	}
	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ask := &reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}
	if err := stream.Send(ask); err != nil {
		t.Fatal(err)
	}
	r, err := stream.Recv()
	if err != nil || !slices.ContainsFunc(r.GetListServicesResponse().GetService(), func(s *reflectionpb.ServiceResponse) bool {
		return s.Name == serviceName
	}) {
		t.Errorf("reflection: %v, %v", r, err)
	}
	stop() // although the stream is still there
}

// patience bounds how long a failing test waits.
const patience = 30 * time.Second

// TestAgentKilledUnderLoad: many requests of many keys go on while their agent dies, and is there again. All are answered.
func TestAgentKilledUnderLoad(t *testing.T) {
	policy := func(time.Duration) coalesce.Policy { return flush.Balance{CallCost: 2 * ms} }
	address, stop := serving(t, "127.0.0.1:0", policy)
	l := newLoad(t, address)
	l.await("answers", agent.Answered, 1000)
	stop()
	l.await("questions that fail", agent.Failed, 3)
	l.await("questions not asked", agent.Away, 100)
	answered := l.count(agent.Answered)
	_, stop = serving(t, address, policy)
	l.await("answers of the new one", agent.Answered, answered+1000)
	l.end()
	stop()
	t.Logf("%d requests, %v", l.requests, l.outcomes)
}

// A load is many clients of a group that an agent decides for, until it ends.
type load struct {
	t      *testing.T
	client *agent.Client
	group  *coalesce.Group[int, string]
	over   chan struct{}
	wg     sync.WaitGroup

	mu       sync.Mutex // guards what follows
	changed  chan struct{}
	requests int
	outcomes map[agent.Outcome]int
}

func newLoad(t *testing.T, address string) *load {
	l := &load{t: t, over: make(chan struct{}), outcomes: map[agent.Outcome]int{}, changed: make(chan struct{})}
	var err error
	if l.client, err = agent.Dial(address, agent.Options{Observe: l.note}); err != nil {
		t.Fatal(err)
	}
	l.group = coalesce.New[int, string](coalesce.Config{})
	opt := &coalesce.Options[int, string]{
		Policy: l.client.Policy(agent.Terms{Timeout: time.Second, CallCost: 2 * ms, Instead: flush.Balance{CallCost: 2 * ms}}),
		Hold:   50 * ms,
		Fetch:  func(context.Context, *coalesce.Call[int, string]) (string, error) { return "v", nil },
	}
	for i := range 16 {
		l.wg.Go(func() { l.ask(string(rune('a'+i%8)), opt) })
	}
	return l
}

// ask sends requests one after the other.
func (l *load) ask(key string, opt *coalesce.Options[int, string]) {
	for {
		select {
		case <-l.over:
			return
		default:
		}
		v, _, err := l.group.Do(context.Background(), key, 1, opt)
		if v != "v" || err != nil {
			l.t.Errorf("a request was lost: %q, %v", v, err)
			return
		}
		l.mu.Lock()
		l.requests++
		l.mu.Unlock()
	}
}

func (l *load) note(o agent.Outcome, _ time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outcomes[o]++
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *load) count(o agent.Outcome) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.outcomes[o]
}

// await waits until there are n of an outcome.
func (l *load) await(what string, o agent.Outcome, n int) {
	l.t.Helper()
	limit := time.After(patience)
	for {
		l.mu.Lock()
		there, changed := l.outcomes[o], l.changed
		l.mu.Unlock()
		if there >= n {
			return
		}
		select {
		case <-changed:
		case <-limit:
			l.t.Fatalf("waited in vain for %d %s: %d", n, what, there)
		}
	}
}

func (l *load) end() {
	close(l.over)
	l.wg.Wait()
	if err := l.group.Close(context.Background()); err != nil {
		l.t.Error(err)
	}
	if err := l.client.Close(); err != nil {
		l.t.Error(err)
	}
}

// BenchmarkQuestion is a question over loopback to an agent with the learned policy: from the arrival that it's about to the call that the answer
// brings about. The agent and the gateway are one process here.
func BenchmarkQuestion(b *testing.B) {
	net := flush.Default()
	address, _ := serving(b, "127.0.0.1:0", func(time.Duration) coalesce.Policy {
		return serves{flush.PPO{Net: net, CallCost: 25 * ms}}
	})
	client, err := agent.Dial(address, agent.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	group := coalesce.New[int, string](coalesce.Config{})
	defer group.Close(context.Background())
	opt := &coalesce.Options[int, string]{
		Policy: client.Policy(agent.Terms{Timeout: patience, CallCost: 25 * ms, Instead: flush.Immediate{}}),
		Hold:   patience,
		Fetch:  func(context.Context, *coalesce.Call[int, string]) (string, error) { return "v", nil },
	}
	ask := func(b *testing.B, key string) {
		if _, _, err := group.Do(context.Background(), key, 1, opt); err != nil {
			b.Error(err)
		}
	}
	b.Run("one", func(b *testing.B) {
		for b.Loop() {
			ask(b, "key")
		}
	})
	b.Run("many", func(b *testing.B) {
		var keys atomic.Int64
		b.SetParallelism(32)
		b.RunParallel(func(p *testing.PB) {
			key := fmt.Sprint(keys.Add(1))
			for p.Next() {
				ask(b, key)
			}
		})
	})
}

// serves asks a policy, and serves whatever it says.
type serves struct{ coalesce.Policy }

func (p serves) Decide(s coalesce.State) coalesce.Decision {
	p.Policy.Decide(s)
	return coalesce.Decision{Serve: true}
}
