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
	"strings"

	pb "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/sluicegate/sluice/internal/grpcserver"
	"github.com/sluicegate/sluice/internal/limit"
)

// Options say what is served.
type Options struct {
	Limits  *limit.Stage
	Domain  string // calls of another domain are not limited
	Token   string // must come as the metadata "authorization: Bearer TOKEN" with every call but health checks; "" asks for none
	Metrics prometheus.Registerer
}

// New makes a server. Nothing is served before Serve.
func New(opts Options) *Server {
	g := guard{token: opts.Token, hash: sha256.Sum256([]byte(opts.Token))}
	return &Server{grpcserver.New(&pb.RateLimitService_ServiceDesc, newService(opts), grpc.UnaryInterceptor(g.unary), grpc.StreamInterceptor(g.stream))}
}

// Server is the listener. Make one with New.
type Server struct{ *grpcserver.Server }

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
