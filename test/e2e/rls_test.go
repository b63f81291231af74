package e2e_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	descriptor "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	pb "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// TestRateLimitService asks the real program about limits as Envoy does.
func TestRateLimitService(t *testing.T) {
	program := limitBuild(t)
	for _, test := range []struct {
		name string
		run  func(t *testing.T, program string)
	}{
		{"SharesWithTraffic", rlsSharesWithTraffic}, {"Reload", rlsReload}, {"Token", rlsToken}, {"Flood", rlsFlood}, {"Off", rlsOff},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, program) })
	}
}

// rlsGate is a gateway with the service, and a client of it.
type rlsGate struct {
	*limitGate
	section string
	conn    *grpc.ClientConn
	client  pb.RateLimitServiceClient
}

// rlsStart runs the program with the service, which has more keys if there are any, as in ", token: x".
func rlsStart(t *testing.T, program, more, config string) *rlsGate {
	t.Helper()
	addr := limitFreeAddr(t)
	g := &rlsGate{section: fmt.Sprintf("rate_limit_service: {listen: \"%s\"%s}\n", addr, more)}
	g.limitGate = limitStart(t, program, g.section+limitBehind+config)
	var err error
	if g.conn, err = grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.conn.Close() })
	g.client = pb.NewRateLimitServiceClient(g.conn)
	return g
}

// rlsCall asks about rules and keys in turn, a descriptor for each.
func rlsCall(rulesAndKeys ...string) *pb.RateLimitRequest {
	r := &pb.RateLimitRequest{Domain: "sluice"}
	for i := 0; i < len(rulesAndKeys); i += 2 {
		entry := &descriptor.RateLimitDescriptor_Entry{Key: rulesAndKeys[i], Value: rulesAndKeys[i+1]}
		r.Descriptors = append(r.Descriptors, &descriptor.RateLimitDescriptor{Entries: []*descriptor.RateLimitDescriptor_Entry{entry}})
	}
	return r
}

func (g *rlsGate) ask(req *pb.RateLimitRequest) *pb.RateLimitResponse {
	g.t.Helper()
	r, err := g.client.ShouldRateLimit(g.t.Context(), req, grpc.WaitForReady(true))
	if err != nil {
		g.t.Fatal(err)
	}
	return r
}

// expectCode asks, and compares the overall code.
func (g *rlsGate) expectCode(want pb.RateLimitResponse_Code, req *pb.RateLimitRequest) *pb.RateLimitResponse {
	g.t.Helper()
	r := g.ask(req)
	if r.OverallCode != want {
		g.t.Errorf("%v: %v, want %v", req, r, want)
	}
	return r
}

const (
	rlsOK   = pb.RateLimitResponse_OK
	rlsOver = pb.RateLimitResponse_OVER_LIMIT
)

func rlsSharesWithTraffic(t *testing.T, program string) {
	g := rlsStart(t, program, "", `limits: {everyone: {rate: 1/h, burst: 9, per: global}, client: {rate: 1/h, burst: 2}}
routes: [{path: /*, upstream: app, limits: [client]}]
`)
	g.limitGate.expect(200, "/", "X-User: alice")
	g.expectCode(rlsOK, rlsCall("everyone", "", "client", "alice"))
	g.limitGate.expect(200, "/", "X-User: alice")
	g.limitGate.expect(429, "/", "X-User: alice")
	r := g.expectCode(rlsOver, rlsCall("everyone", "", "client", "alice"))
	if everyone, client := r.Statuses[0], r.Statuses[1]; everyone.Code != rlsOK || everyone.LimitRemaining != 9 || client.Code != rlsOver ||
		client.CurrentLimit.GetRequestsPerUnit() != 1 || client.CurrentLimit.GetUnit() != pb.RateLimitResponse_RateLimit_HOUR {
		t.Errorf("%v", r)
	}
	if wait := client429(r); wait < 3540 || wait > 3600 {
		t.Errorf("Retry-After: %d in %v", wait, r)
	}
	page := g.do("GET", g.admin+"/metrics", "").body
	for _, want := range []string{
		`sluice_rate_limit_service_calls_total{outcome="ok"} 1`,
		`sluice_rate_limit_service_calls_total{outcome="over_limit"} 1`,
		`sluice_limit_decisions_total{outcome="refused",rule="client"} 2`,
	} {
		if !strings.Contains(page, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
}

// client429 is the Retry-After that a proxy is to add, 0 without one.
func client429(r *pb.RateLimitResponse) (seconds int) {
	for _, h := range r.ResponseHeadersToAdd {
		if h.Key == "Retry-After" {
			fmt.Sscan(h.Value, &seconds)
		}
	}
	return seconds
}

// A reload gives the service new rules over the same memory, but not another address.
func rlsReload(t *testing.T, program string) {
	const rest = limitBehind + "routes: [{path: /*, upstream: app}]\n"
	g := rlsStart(t, program, "", "limits: {client: {rate: 1/h}}\nroutes: [{path: /*, upstream: app}]\n")
	g.expectCode(rlsOK, rlsCall("client", "alice"))
	g.expectCode(rlsOK, rlsCall("other", "alice"))
	g.write(g.section + rest + "limits: {client: {rate: 1/h}, other: {rate: 1/h}}\n")
	if r := g.post("/api/v1/reload", ""); r.status != 200 {
		t.Fatalf("%d: %s", r.status, r.body)
	}
	g.expectCode(rlsOver, rlsCall("client", "alice"))
	g.expectCode(rlsOK, rlsCall("other", "alice"))
	g.expectCode(rlsOver, rlsCall("other", "alice"))
	g.write(strings.Replace(g.section, "}", ", domain: x}", 1) + rest)
	if r := g.post("/api/v1/reload", ""); r.status != 422 || !strings.Contains(r.body, "rate_limit_service has changed") {
		t.Errorf("%d: %s", r.status, r.body)
	}
}

func rlsToken(t *testing.T, program string) {
	g := rlsStart(t, program, ", token: secret", "limits: {client: {rate: 1/h}}\nroutes: [{path: /*, upstream: app}]\n")
	if _, err := g.client.ShouldRateLimit(t.Context(), rlsCall("client", "a"), grpc.WaitForReady(true)); status.Code(err) != codes.Unauthenticated {
		t.Errorf("without the token: %v", err)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer secret")
	if r, err := g.client.ShouldRateLimit(ctx, rlsCall("client", "a")); err != nil || r.OverallCode != rlsOK {
		t.Errorf("with the token: %v, %v", r, err)
	}
	r, err := healthpb.NewHealthClient(g.conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil || r.Status != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health: %v, %v", r, err)
	}
}

// Proxies and clients of the gateway at once get what the rule allows, to the last request.
func rlsFlood(t *testing.T, program string) {
	g := rlsStart(t, program, "", `limits: {everyone: {rate: 1/h, burst: 99, per: global}}
routes: [{path: /*, upstream: app, limits: [everyone]}]
`)
	var passed atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				if i%2 == 0 {
					if g.get("/").status == 200 {
						passed.Add(1)
					}
					continue
				}
				r, err := g.client.ShouldRateLimit(t.Context(), rlsCall("everyone", ""), grpc.WaitForReady(true))
				switch {
				case err != nil:
					t.Error(err)
				case r.OverallCode == rlsOK:
					passed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := passed.Load(); n != 100 {
		t.Errorf("%d passed, want 100", n)
	}
}

// Without the section nobody listens.
func rlsOff(t *testing.T, program string) {
	g := limitStart(t, program, limitBehind+"limits: {client: {rate: 1/h}}\nroutes: [{path: /*, upstream: app}]\n")
	if page := g.do("GET", g.admin+"/metrics", "").body; strings.Contains(page, "sluice_rate_limit_service") {
		t.Errorf("the service is on")
	}
}

// TestRateLimitServiceShutdown: a connection that a proxy keeps does not hold the program up, and it learns that the service is gone.
func TestRateLimitServiceShutdown(t *testing.T) {
	program := limitBuild(t)
	var conn *grpc.ClientConn
	t.Run("Serving", func(t *testing.T) { // its end stops the program, the watch and its connection stay
		g := rlsStart(t, program, "", "shutdown_timeout: 1h\nlimits: {client: {rate: 1/h}}\nroutes: [{path: /*, upstream: app}]\n")
		g.expectCode(rlsOK, rlsCall("client", "alice"))
		conn, _ = grpc.NewClient(g.conn.Target(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		watch, err := healthpb.NewHealthClient(conn).Watch(context.Background(), &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true))
		if err != nil {
			t.Fatal(err)
		}
		if r, err := watch.Recv(); err != nil || r.Status != healthpb.HealthCheckResponse_SERVING {
			t.Fatalf("%v, %v", r, err)
		}
	})
	defer conn.Close()
	for deadline := time.Now().Add(limitPatience); conn.GetState() == connectivity.Ready; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the connection is still there")
		}
	}
}
