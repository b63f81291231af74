// Package env serves the simulator of package learn as an environment of reinforcement learning, over gRPC: the service sluice_env.FlushEnv of
// proto/env.proto. What it shows of a batch is what an agent is told of one (package agent), so that what was trained here can be served there.
package env

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/internal/agent"
	"github.com/sluicegate/sluice/internal/agent/pb"
	"github.com/sluicegate/sluice/internal/grpcserver"
	"github.com/sluicegate/sluice/internal/learn"
)

// MaxSessions is how many there may be at once. One takes some 16 bytes for each request of its episode, beside a few kilobytes.
const MaxSessions = 256

// A client that is gone without a word is missed after quiet + patience, and its sessions end.
const (
	quiet    = time.Minute
	patience = 20 * time.Second
)

// NewServer makes an environment. Requests for traffic from a file are refused, but for the recordings, by the names that they are asked for with:
// clients do not choose which files of this machine are read.
func NewServer(recordings map[string]learn.Source) *grpcserver.Server {
	s := &service{recordings: recordings}
	return grpcserver.New(&pb.FlushEnv_ServiceDesc, s,
		grpc.StatsHandler(connections{&s.sessions}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: quiet, Timeout: patience}),
	)
}

// service answers the calls. Sessions of a connection are known to it alone.
type service struct {
	pb.UnimplementedFlushEnvServer
	recordings map[string]learn.Source
	sessions   atomic.Int64 // of all connections
}

// A session is a simulation between two calls.
type session struct {
	mu       sync.Mutex // held while a call works on it
	scenario *scenario
	sim      *learn.Sim
	state    *coalesce.State
	over     bool // the episode, or none has begun
}

// Reset implements the service.
func (s *service) Reset(ctx context.Context, m *pb.ResetRequest) (*pb.ResetReply, error) {
	c := connectionOf(ctx)
	id := m.GetSession()
	var scenario *scenario
	if m.GetScenario() != nil || id == 0 {
		var err error
		if scenario, err = s.parse(m.GetScenario()); err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
	}
	if id == 0 {
		if id = c.begin(); id == 0 {
			return nil, status.Errorf(codes.ResourceExhausted, "there are %d sessions already, close one", MaxSessions)
		}
	}
	one := c.find(id)
	if one == nil {
		return nil, noSession(id)
	}
	seed := rand.Uint64()
	if m.Seed != nil {
		seed = m.GetSeed()
	}
	return one.reset(id, scenario, seed), nil
}

func noSession(id uint64) error {
	return status.Errorf(codes.NotFound, "there is no session %d on this connection: expected one that Reset has begun on it", id)
}

// reset begins an episode, in another scenario unless that is nil.
func (one *session) reset(id uint64, other *scenario, seed uint64) *pb.ResetReply {
	one.mu.Lock()
	defer one.mu.Unlock()
	if other != nil {
		one.scenario, one.sim = other, learn.New(other.Config)
	}
	one.state, one.over = one.sim.Reset(seed), false
	return &pb.ResetReply{Session: id, Seed: seed, Observation: one.observe(), Info: one.info()}
}

// Step implements the service.
func (s *service) Step(ctx context.Context, m *pb.StepRequest) (*pb.StepReply, error) {
	one := connectionOf(ctx).find(m.GetSession())
	if one == nil {
		return nil, noSession(m.GetSession())
	}
	one.mu.Lock()
	defer one.mu.Unlock()
	if one.over {
		return nil, status.Error(codes.FailedPrecondition, "the episode is over: expected Reset")
	}
	r := new(pb.StepReply)
	one.state, r.Reward, r.Terminated, r.Truncated = one.sim.Step(m.GetShouldFlush())
	one.over = r.Terminated || r.Truncated
	r.Observation, r.Info = one.observe(), one.info()
	return r, nil
}

// Close implements the service.
func (s *service) Close(ctx context.Context, m *pb.CloseRequest) (*pb.CloseReply, error) {
	if !connectionOf(ctx).close(m.GetSession()) {
		return nil, noSession(m.GetSession())
	}
	return &pb.CloseReply{}, nil
}

// observe is what an agent would be told.
func (one *session) observe() *pb.BatchState {
	return agent.Message(one.state, one.scenario.CallCost)
}

// info sums up the episode.
func (one *session) info() *pb.Info {
	o := one.sim.Outcome()
	i := &pb.Info{
		NowMs: millis(one.state.Now), Requests: uint32(o.Requests), Calls: uint32(o.Calls), Joined: uint32(o.Joined),
		ByPolicy: uint32(o.ByPolicy), ByHold: uint32(o.ByHold), BySize: uint32(o.BySize), WaitingMs: millis(o.Waiting), Cost: o.Cost,
	}
	if one.over && one.scenario.optimum {
		best := learn.Optimum(one.scenario.Config, one.sim.Traffic()).Cost
		i.Optimum = &best
	}
	return i
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
