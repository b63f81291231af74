// Package grpcserver is what the listeners for gRPC have in common: bounds, health, reflection, and an end in order.
package grpcserver

import (
	"context"
	"errors"
	"net"
	"time"

	"golang.org/x/net/netutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
)

const (
	// maxMessage bounds a call, in bytes: Envoy lets a client send 60 KiB of fields, of which several descriptors may hold the same ones.
	maxMessage = 1 << 20
	// maxConnections and maxCalls, of one connection, bound what is served at once. Envoy has a connection for each of its threads. More connections wait to be accepted, more calls wait in the
	// client.
	maxConnections = 1000
	maxCalls       = 1000
	// handshake bounds the time until a connection speaks HTTP/2.
	handshake = 10 * time.Second
	// grace is how long calls may take after Shutdown. They are answered in microseconds; what is still there is a stream that somebody watches.
	grace = time.Second
)

// Server is a listener for gRPC. Make one with New; its methods are safe for concurrent use.
type Server struct {
	grpc   *grpc.Server
	health *health.Server
}

// New makes a server of one service, whose health and description it tells as well. The options come after its own. Nothing is served before
// Serve.
func New(service *grpc.ServiceDesc, implementation any, options ...grpc.ServerOption) *Server {
	s := &Server{
		grpc: grpc.NewServer(append([]grpc.ServerOption{
			grpc.MaxRecvMsgSize(maxMessage),
			grpc.MaxConcurrentStreams(maxCalls),
			grpc.ConnectionTimeout(handshake),
			grpc.WaitForHandlers(true),
		}, options...)...),
		health: health.NewServer(),
	}
	s.grpc.RegisterService(service, implementation)
	healthpb.RegisterHealthServer(s.grpc, s.health)
	s.health.SetServingStatus(service.ServiceName, healthpb.HealthCheckResponse_SERVING)
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
