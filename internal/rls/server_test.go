package rls_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	pb "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/sluicegate/sluice/internal/rls"
)

const serviceName = "envoy.service.ratelimit.v3.RateLimitService"

// services asks by reflection what is served.
func services(ctx context.Context, conn *grpc.ClientConn) ([]string, error) {
	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		return nil, err
	}
	if err := stream.Send(&reflectionpb.ServerReflectionRequest{
		MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{},
	}); err != nil {
		return nil, err
	}
	r, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range r.GetListServicesResponse().GetService() {
		names = append(names, s.Name)
	}
	return names, stream.CloseSend()
}

func TestHealthAndReflection(t *testing.T) {
	w := newWorld(t, "")
	for _, name := range []string{"", serviceName} {
		r, err := healthpb.NewHealthClient(w.conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: name})
		if err != nil || r.Status != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("health of %q: %v, %v", name, r, err)
		}
	}
	if names, err := services(t.Context(), w.conn); err != nil || !slices.Contains(names, serviceName) {
		t.Errorf("reflection: %v, %v", names, err)
	}
}

func TestToken(t *testing.T) {
	w := newWorld(t, "limits: {client: {rate: 1/h}}", func(o *rls.Options) { o.Token = "secret" })
	for _, values := range [][]string{nil, {"secret"}, {"Bearer wrong"}, {"Bearer"}, {"Basic secret"}, {"Bearer secret", "Bearer secret"}} {
		ctx := t.Context()
		for _, v := range values {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", v)
		}
		if _, err := w.client.ShouldRateLimit(ctx, call(entries("client", "a"))); status.Code(err) != codes.Unauthenticated {
			t.Errorf("%q: %v", values, err)
		}
		if names, err := services(ctx, w.conn); status.Code(err) != codes.Unauthenticated {
			t.Errorf("%q: reflection: %v, %v", values, names, err)
		}
	}
	if _, err := healthpb.NewHealthClient(w.conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("health without a token: %v", err)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "Authorization", "bearer secret")
	if r, err := w.client.ShouldRateLimit(ctx, call(entries("client", "a"))); err != nil || show(r) != "OK: OK 0" {
		t.Errorf("with the token: %v, %v", r, err)
	}
	if _, err := services(ctx, w.conn); err != nil {
		t.Errorf("reflection with the token: %v", err)
	}
}

// Shutdown tells those who watch, and ends though they stay.
func TestShutdownWithAWatcher(t *testing.T) {
	w := newWorld(t, "")
	watch, err := healthpb.NewHealthClient(w.conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := watch.Recv(); err != nil || r.Status != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("%v, %v", r, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	w.server.Shutdown(ctx)
	if ctx.Err() != nil {
		t.Error("Shutdown has waited for the watcher")
	}
	if r, err := watch.Recv(); err != nil || r.Status != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("%v, %v", r, err)
	}
	if _, err := watch.Recv(); err == nil {
		t.Error("the stream is still open")
	}
	if _, err := w.client.ShouldRateLimit(t.Context(), call(entries("client", "a"))); status.Code(err) != codes.Unavailable {
		t.Errorf("after Shutdown: %v", err)
	}
}

// Many ask at once: what passes is exactly what the rules allow.
func TestConcurrent(t *testing.T) {
	w := newWorld(t, "limits: {everyone: {rate: 1/h, burst: 149, per: global}, client: {rate: 1/h, burst: 49}}")
	var passed [4]atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 100 {
				r, err := w.client.ShouldRateLimit(t.Context(), call(entries("everyone", ""), entries("client", fmt.Sprint(i%4))))
				switch {
				case err != nil:
					t.Error(err)
				case r.OverallCode == pb.RateLimitResponse_OK:
					passed[i%4].Add(1)
				}
			}
		})
	}
	wg.Wait()
	sum := int64(0)
	for i := range passed {
		n := passed[i].Load()
		if n > 50 {
			t.Errorf("client %d: %d passed", i, n)
		}
		sum += n
	}
	for i := range 4 { // whatever is left can be had: two that raced for the last tokens may both have been refused
		for w.ask(call(entries("everyone", ""), entries("client", fmt.Sprint(i)))).OverallCode == pb.RateLimitResponse_OK {
			sum++
		}
	}
	if sum != 150 {
		t.Errorf("%d passed, want 150", sum)
	}
}

// rawCodec sends bytes as they are: what a client in another language may send.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error)      { return v.([]byte), nil }
func (rawCodec) Unmarshal(data []byte, v any) error { return proto.Unmarshal(data, v.(proto.Message)) }
func (rawCodec) Name() string                       { return "proto" }

// Text that is not UTF-8 is refused by gRPC itself.
func TestNotUTF8(t *testing.T) {
	w := newWorld(t, "limits: {client: {rate: 1/h}}")
	data, err := proto.Marshal(call(entries("client", "??")))
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.ReplaceAll(data, []byte("??"), []byte{0xff, 0xfe})
	err = w.conn.Invoke(t.Context(), pb.RateLimitService_ShouldRateLimit_FullMethodName, data, new(pb.RateLimitResponse), grpc.ForceCodec(rawCodec{}))
	if status.Code(err) != codes.Internal {
		t.Errorf("%v", err)
	}
}

// BenchmarkShouldRateLimit is a call over loopback about two rules, one after the other from one client, and from many at once.
func BenchmarkShouldRateLimit(b *testing.B) {
	w := newWorld(b, "limits: {everyone: {rate: 1000000/s, per: global}, client: {rate: 100/s, burst: 50}}")
	req := call(entries("everyone", ""), entries("client", "alice"))
	ask := func(b *testing.B) {
		if _, err := w.client.ShouldRateLimit(b.Context(), req); err != nil {
			b.Error(err)
		}
	}
	b.Run("one", func(b *testing.B) {
		for b.Loop() {
			ask(b)
		}
	})
	b.Run("many", func(b *testing.B) {
		b.SetParallelism(32)
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				ask(b)
			}
		})
	})
}
