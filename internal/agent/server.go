package agent

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/internal/agent/pb"
	"github.com/sluicegate/sluice/internal/grpcserver"
)

// NewServer makes an agent. It has the policy decide that policy returns for what a call is worth: as the question says, or else callCost. A
// question with a number that is none or out of range is refused with InvalidArgument, one at which the policy fails with Internal.
func NewServer(policy func(callCost time.Duration) coalesce.Policy, callCost time.Duration) *grpcserver.Server {
	return grpcserver.New(&pb.RlAgent_ServiceDesc, &service{policy: policy, callCost: callCost})
}

// service answers Decide.
type service struct {
	pb.UnimplementedRlAgentServer
	policy   func(callCost time.Duration) coalesce.Policy
	callCost time.Duration
}

// Decide implements the service.
func (s *service) Decide(_ context.Context, m *pb.BatchState) (*pb.FlushDecision, error) {
	state, callCost, err := State(m)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if callCost == 0 {
		callCost = s.callCost
	}
	d, err := decide(s.policy(callCost), &state)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	if d.Serve {
		return &pb.FlushDecision{ShouldFlush: true}, nil
	}
	return &pb.FlushDecision{RecheckAfterMs: millis(d.After)}, nil
}

// decide asks the policy. If it panics, that is this question's error, and the process goes on.
func decide(p coalesce.Policy, s *coalesce.State) (d coalesce.Decision, err error) {
	defer func() {
		if value := recover(); value != nil {
			err = fmt.Errorf("the policy panicked: %v", value)
		}
	}()
	d = p.Decide(*s)
	if !d.Serve && d.After < 0 {
		return d, fmt.Errorf("the policy wants to be asked again after %v", d.After)
	}
	return d, nil
}
