package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
)

// A target dies under load, and no GET fails.
func TestTargetKilledUnderLoad(t *testing.T) {
	t.Parallel()
	for _, balance := range []string{"least_loaded", "round_robin"} {
		t.Run(balance, func(t *testing.T) {
			t.Parallel()
			victim, first := startOrigin(t, "--latency", "2ms", "--jitter", "2ms")
			_, second := startOrigin(t, "--latency", "2ms", "--jitter", "2ms")
			g := serve(t, inFront([]string{first, second}, "balance: "+balance, "retries: {max: 1, budget: 100%}"))
			client := newClient(t)
			var answered atomic.Int64
			stop := make(chan struct{})
			var workers sync.WaitGroup
			for range 8 {
				workers.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						resp, err := client.Get(g.url)
						if err != nil {
							t.Error(err)
							return
						}
						if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
							t.Errorf("%s, %v", resp.Status, err)
						}
						resp.Body.Close()
						answered.Add(1)
					}
				})
			}
			await(t, "some answers", func() bool { return answered.Load() > 200 })
			victim.cmd.Process.Kill()
			victim.wait()
			served, before := originServed(t, second), answered.Load()
			await(t, "more answers without the target", func() bool { return answered.Load() > before+500 })
			close(stop)
			workers.Wait()
			if n := originServed(t, second) - served; n < 400 {
				t.Errorf("the other target has served %d requests", n)
			}
			if n := g.state().Upstreams[0].Retries; n == 0 {
				t.Error("no request was retried")
			}
		})
	}
}

// What is not idempotent is not sent twice.
func TestOnlyIdempotentRequestsAreRetried(t *testing.T) {
	t.Parallel()
	var dropped atomic.Int64
	drop := func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		dropped.Add(1)
		panic(http.ErrAbortHandler) // closes the connection without an answer
	}
	g := serve(t, inFront([]string{serveHTTP(t, drop), serveHTTP(t, drop)}, "retries: {max: 3, budget: 100%}"))
	for method, want := range map[string]int64{"POST": 1, "PATCH": 1, "GET": 2, "PUT": 2, "DELETE": 2} {
		dropped.Store(0)
		do(t, method, g.url, "").expectProblem(t, 502, "upstream-unreachable")
		if n := dropped.Load(); n != want {
			t.Errorf("%s was sent %d times, expected %d", method, n, want)
		}
	}
}

// A POST is sent to another target when the first could not be reached: nothing of it was sent.
func TestUnsentRequestsAreRetried(t *testing.T) {
	t.Parallel()
	g := serve(t, inFront([]string{nobody(t), serveHTTP(t, echo)}, "balance: round_robin", "retries: {max: 1, budget: 100%}", "eject: {failures: 0}"))
	for range 10 {
		do(t, "POST", g.url, "hello").expect(t, 200, "sha256="+sum("hello"))
	}
}

func TestRetryBudget(t *testing.T) {
	t.Parallel()
	g := serve(t, inFront([]string{nobody(t), nobody(t)}, "retries: {max: 1, budget: 10%}", "eject: {failures: 0}"))
	for range 200 {
		get(t, g.url).expectProblem(t, 502, "upstream-unreachable")
	}
	// The reserve of 10, and 10% of 200 requests.
	if n := g.state().Upstreams[0].Retries; n < 10 || n > 30 {
		t.Errorf("%d retries of 200 requests with a budget of 10%%", n)
	}
}

// failing is an origin that can be told to fail its health checks.
type failing struct {
	sick   atomic.Bool
	served atomic.Int64
	url    string
}

func newFailing(t *testing.T) *failing {
	f := new(failing)
	f.url = serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/health":
			f.served.Add(1)
			io.WriteString(w, "fine")
		case f.sick.Load():
			http.Error(w, "not well", http.StatusInternalServerError)
		}
	})
	return f
}

func TestHealthChecksAndRecovery(t *testing.T) {
	t.Parallel()
	a, b := newFailing(t), newFailing(t)
	g := serve(t, inFront([]string{a.url, b.url}, "balance: round_robin",
		"health: {path: /health, interval: 20ms, unhealthy_after: 2, healthy_after: 2}"))
	healthy := func() string {
		targets := g.state().Upstreams[0].Targets
		return fmt.Sprint(targets[0].Healthy, targets[1].Healthy)
	}
	requests := func(n int) (atA, atB int64) {
		t.Helper()
		atA, atB = a.served.Load(), b.served.Load()
		for range n {
			get(t, g.url).expect(t, 200, "fine")
		}
		return a.served.Load() - atA, b.served.Load() - atB
	}
	g.awaitReady()
	if atA, atB := requests(10); atA != 5 || atB != 5 {
		t.Errorf("in turn, the targets got %d and %d of 10 requests", atA, atB)
	}
	a.sick.Store(true)
	await(t, "the sick target to be out", func() bool { return healthy() == "false true" })
	if atA, atB := requests(10); atA != 0 || atB != 10 {
		t.Errorf("with the first out, the targets got %d and %d of 10 requests", atA, atB)
	}
	get(t, g.admin+"/readyz").expect(t, 200, "ready")
	b.sick.Store(true)
	await(t, "both to be out", func() bool { return healthy() == "false false" })
	get(t, g.url).expectProblem(t, 503, "upstream-unavailable")
	get(t, g.admin+"/readyz").expect(t, 503, "no healthy target")
	a.sick.Store(false)
	b.sick.Store(false)
	await(t, "both to be back", func() bool { return healthy() == "true true" })
	g.awaitReady()
	if atA, atB := requests(10); atA != 5 || atB != 5 {
		t.Errorf("recovered, the targets got %d and %d of 10 requests", atA, atB)
	}
	for msg, want := range map[string]int{"target unhealthy": 2, "target healthy": 2} {
		await(t, "the log to say "+msg, func() bool { return len(g.logged(msg)) >= want })
		if n := len(g.logged(msg)); n != want {
			t.Errorf("%d log lines say %q, expected %d", n, msg, want)
		}
	}
}

// A target that real requests fail on is left out for a while, without any health check.
func TestEjection(t *testing.T) {
	t.Parallel()
	var dropped atomic.Int64
	bad := serveHTTP(t, func(http.ResponseWriter, *http.Request) {
		dropped.Add(1)
		panic(http.ErrAbortHandler)
	})
	g := serve(t, inFront([]string{bad, serveHTTP(t, echo)}, "balance: round_robin",
		"retries: {max: 1, budget: 100%}", "eject: {failures: 3, for: 1h}"))
	for range 50 {
		get(t, g.url).expect(t, 200, "GET / ")
	}
	if n := dropped.Load(); n != 3 {
		t.Errorf("the failing target got %d requests, expected 3 and then none", n)
	}
	if n := g.metric("sluice_upstream_ejections_total", "target", bad[len("http://"):]); n != 1 {
		t.Errorf("/metrics counts %v ejections", n)
	}
	get(t, g.admin+"/readyz").expect(t, 200, "ready")
}
