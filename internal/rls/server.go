// Package rls lets other proxies ask about limits: Envoy's rate-limit service, envoy.service.ratelimit.v3, over gRPC.
//
// A call brings descriptors, lists of keys and values. The last key of a descriptor is the name of a rule, and its values say who is
// counted; the rules of all descriptors are decided together, all or nothing, by the stage that decides the gateway's own traffic. See
// [service] for the mapping.
//
// Most proxies let pass what the service could not decide. So what the clients of a proxy can influence, a value, never makes a call
// fail; only what the proxy's configuration says wrong does. The exception is text that is not UTF-8, which gRPC refuses by itself.
package rls

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net"
	"strings"
	"time"

	pb "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/netutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	"github.com/sluicegate/sluice/internal/limit"
)

// Options say what is served.
type Options struct {
	Limits  *limit.Stage
	Domain  string // calls of another domain are not limited
	Token   string // must come as the metadata "authorization: Bearer TOKEN" with every call but health checks; "" asks for none
	Metrics prometheus.Registerer
}

const (
	// maxMessage bounds a call, in bytes: Envoy lets a client send 60 KiB of fields, of which several descriptors may hold the same ones.
	maxMessage = 1 << 20
	// maxConnections and maxCalls, of one connection, bound what is served at once. Envoy has a connection for each of its threads. More
	// connections wait to be accepted, more calls wait in the proxy.
	maxConnections = 1000
	maxCalls       = 1000
	// handshake bounds the time until a connection speaks HTTP/2.
	handshake = 10 * time.Second
	// grace is how long calls may take after Shutdown. A decision takes microseconds; what is still there is a stream that somebody watches.
	grace = time.Second
)

// Server is the listener. Make one with New.
type Server struct {
	grpc   *grpc.Server
	health *health.Server
}

// New makes a server. Nothing is served before Serve.
func New(opts Options) *Server {
	g := guard{token: opts.Token, hash: sha256.Sum256([]byte(opts.Token))}
	s := &Server{
		grpc: grpc.NewServer(
			grpc.MaxRecvMsgSize(maxMessage),
			grpc.MaxConcurrentStreams(maxCalls),
			grpc.ConnectionTimeout(handshake),
			grpc.WaitForHandlers(true),
			grpc.UnaryInterceptor(g.unary),
			grpc.StreamInterceptor(g.stream),
		),
		health: health.NewServer(),
	}
	pb.RegisterRateLimitServiceServer(s.grpc, newService(opts))
	healthpb.RegisterHealthServer(s.grpc, s.health)
	s.health.SetServingStatus(pb.RateLimitService_ServiceDesc.ServiceName, healthpb.HealthCheckResponse_SERVING)
	reflection.Register(s.grpc)
	return s
}

// Serve answers on ln until Shutdown.
func (s *Server) Serve(ln net.Listener) error {
	if err := s.grpc.Serve(netutil.LimitListener(ln, maxConnections)); !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil // stopped before it began
}

// Shutdown stops the server. Calls under way are answered, unless they take longer than a second or than ctx.
func (s *Server) Shutdown(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	s.health.Shutdown()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.grpc.GracefulStop()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.grpc.Stop()
		<-done
	}
}

// guard asks for the token.
type guard struct {
	token string
	hash  [sha256.Size]byte
}

func (g *guard) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if err := g.check(ctx, info.FullMethod); err != nil {
		return nil, err
	}
	return next(ctx, req)
}

func (g *guard) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if err := g.check(ss.Context(), info.FullMethod); err != nil {
		return err
	}
	return next(srv, ss)
}

func (g *guard) check(ctx context.Context, method string) error {
	if g.token == "" || strings.HasPrefix(method, "/"+healthpb.Health_ServiceDesc.ServiceName+"/") {
		return nil
	}
	values := metadata.ValueFromIncomingContext(ctx, "authorization")
	if len(values) == 1 {
		scheme, token, _ := strings.Cut(values[0], " ")
		got := sha256.Sum256([]byte(strings.TrimSpace(token)))
		if strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(got[:], g.hash[:]) == 1 {
			return nil
		}
	}
	return status.Error(codes.Unauthenticated, "the token is missing or wrong: send the metadata authorization: Bearer TOKEN")
}
