package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sluicegate/sluice/internal/agent/pb"
)

// startAgent runs `sluice agent` and returns its address.
func startAgent(t *testing.T, listen string, args ...string) (*process, string) {
	t.Helper()
	p := start(t, append([]string{"agent", "--listen", listen}, args...)...)
	return p, p.awaitOutput(&p.stderr, `"msg":"the agent is serving","listen":"(127\.0\.0\.1:\d+)"`)[1]
}

// TestAgentCommand answers a client.
func TestAgentCommand(t *testing.T) {
	t.Parallel()
	p, address := startAgent(t, "127.0.0.1:0", "--policy", "balance", "--call-cost", "10ms")
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for age, want := range map[float32]bool{1: false, 10: true} {
		d, err := pb.NewRlAgentClient(conn).Decide(t.Context(), &pb.BatchState{BatchSize: 1, BatchAgeMs: age})
		if err != nil || d.ShouldFlush != want {
			t.Errorf("at %g ms: %v, %v", age, d, err)
		}
	}
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestEnvCommand plays a step with a recording.
func TestEnvCommand(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/times.csv"
	writeFile(t, file, "0\n2\n3\n")
	p := start(t, "env", "--listen", "127.0.0.1:0", "--trace", file)
	address := p.awaitOutput(&p.stderr, `"msg":"the environment is serving","listen":"(127\.0\.0\.1:\d+)"`)[1]
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := pb.NewFlushEnvClient(conn)
	r, err := client.Reset(t.Context(), &pb.ResetRequest{Scenario: &pb.Scenario{Traffic: "trace:" + file}})
	if err != nil || r.Observation.BatchSize != 1 {
		t.Fatalf("%v, %v", r, err)
	}
	s, err := client.Step(t.Context(), &pb.StepRequest{Session: r.Session, ShouldFlush: true})
	if err != nil || s.Reward != -1 || s.Info.NowMs != 2 {
		t.Errorf("%v, %v", s, err)
	}
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestEnvOnALeash: the environment that a program has started ends with it.
func TestEnvOnALeash(t *testing.T) {
	t.Parallel()
	p := start(t, "env", "--listen", "127.0.0.1:0", "--stdin") // the input of a process without one has ended
	if code := p.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestAgentKilledUnderLoad: with the policy remote, killing the agent costs nobody a request, and is seen in metrics and the log. Another agent at its
// address is asked by itself.
func TestAgentKilledUnderLoad(t *testing.T) {
	t.Parallel()
	_, origin := startOrigin(t)
	agent, address := startAgent(t, "127.0.0.1:0")
	g := startGateway(t, "proxy", "--upstream", origin, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0",
		"--batch-timeout", "1s", "--call-cost", "5ms", "--policy", "remote", "--agent", address, "--agent-timeout", "250ms")
	questions := func(outcome string) float64 {
		return g.metric("sluice_agent_questions_total", "agent", address, "outcome", outcome)
	}
	done := loadUntil(t, g.url, 16)
	await(t, "answers of the agent", func() bool { return questions("answered") >= 300 })
	agent.signal(syscall.SIGKILL)
	agent.wait()
	await(t, "decisions without it", func() bool { return questions("error")+questions("timeout") >= 3 && questions("away") >= 100 })
	answered := questions("answered")
	startAgent(t, address)
	await(t, "answers of the new agent", func() bool { return questions("answered") >= answered+300 })
	t.Logf("%d requests", done())
	if n := g.metric("sluice_policy_fallbacks_total", "route", "/*"); n < 50 {
		t.Errorf("%v fallbacks are counted", n)
	}
	if gone, back := g.logged("the agent for flush decisions fails, a rule decides instead until it answers again"),
		g.logged("the agent for flush decisions answers again"); len(gone) != 1 || len(back) != 1 || gone[0]["agent"] != address {
		t.Errorf("logged %v and %v", gone, back)
	}
	if n := g.metric("sluice_agent_questions_open", "agent", address); n > 16 {
		t.Errorf("%v questions are open", n)
	}
}

// loadUntil sends requests with that many clients, each one after the other for one of a few paths, until done is called, which returns how many there
// were. All have to be answered with 200.
func loadUntil(t *testing.T, url string, clients int) (done func() int64) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var answered atomic.Int64
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	for i := range clients {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := fetchAll(client, fmt.Sprint(url, "/", i%4)); err != nil {
					t.Errorf("a request was lost: %v", err)
					return
				}
				answered.Add(1)
			}
		})
	}
	done = func() int64 {
		cancel()
		wg.Wait()
		client.CloseIdleConnections()
		return answered.Load()
	}
	t.Cleanup(func() { done() })
	return done
}

func fetchAll(client *http.Client, url string) error {
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
		return fmt.Errorf("%s, %v", resp.Status, err)
	}
	return nil
}

// TestAgentChangedByReload: routes that name an agent ask it, and after a reload another one, with no request lost.
func TestAgentChangedByReload(t *testing.T) {
	t.Parallel()
	_, origin := startOrigin(t)
	_, first := startAgent(t, "127.0.0.1:0", "--policy", "immediate")
	_, second := startAgent(t, "127.0.0.1:0", "--policy", "immediate")
	config := func(address string) string {
		return upstream([]string{origin}) + "routes:\n" +
			"  - {path: /a/*, upstream: app, coalesce: {policy: remote, agent: " + address + ", agent_timeout: 1s, hold: 10s}}\n" +
			"  - {path: /m/*, upstream: app, merge: {policy: remote, agent: " + address + ", agent_timeout: 1s, hold: 10s}}\n"
	}
	g := serve(t, config(first))
	answered := func(address string) float64 {
		return g.metric("sluice_agent_questions_total", "agent", address, "outcome", "answered")
	}
	get(t, g.url+"/a/1").expect(t, 200, "/a/1")
	if n := answered(first); n != 1 {
		t.Errorf("%v questions, want 1", n)
	}
	done := loadUntil(t, g.url+"/a", 4)
	for _, address := range []string{second, first, second} {
		before := answered(address)
		g.rewrite(config(address))
		g.signal(syscall.SIGHUP)
		await(t, "answers of the other agent", func() bool { return answered(address) >= before+20 })
	}
	done()
	before := answered(second)
	do(t, "POST", g.url+"/m/1", `{"a": 1}`, "Content-Type", "application/json")
	if n := answered(second); n != before+1 {
		t.Errorf("%v questions, want 1 of the merged request", n-before)
	}
}
