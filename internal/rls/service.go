package rls

import (
	"context"
	"math"
	"strconv"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	descriptor "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	pb "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluicegate/sluice/internal/limit"
)

const (
	maxDescriptors = 32 // of a call
	maxEntries     = 16 // of a descriptor
)

// service answers ShouldRateLimit.
//
//   - The key of a descriptor's last entry is the name of the rule; the values of all entries, joined, are the key of its allowance. A single
//     value is the key as it is, so that {client: alice} shares an allowance with what the client alice sends to the gateway.
//   - A descriptor without a rule is not limited, nor is a call of another domain.
//   - hits_addend is the cost. Without it, the cost is that of the rule, which is 1 unless the configuration says otherwise.
//   - A descriptor's limit stands in for the rule, with a memory of its own.
type service struct {
	pb.UnimplementedRateLimitServiceServer
	limits *limit.Stage
	domain string
	calls  *prometheus.CounterVec
}

func newService(opts Options) *service {
	s := &service{
		limits: opts.Limits,
		domain: opts.Domain,
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_rate_limit_service_calls_total",
			Help: "Calls of other proxies, by outcome: ok, over_limit, unlimited (no descriptor has a rule, or another domain), invalid, undecided.",
		}, []string{"outcome"}),
	}
	for _, outcome := range []string{"ok", "over_limit", "unlimited", "invalid", "undecided"} {
		s.calls.WithLabelValues(outcome)
	}
	opts.Metrics.MustRegister(s.calls)
	return s
}

// ShouldRateLimit decides the descriptors of a call, all or nothing.
func (s *service) ShouldRateLimit(_ context.Context, req *pb.RateLimitRequest) (*pb.RateLimitResponse, error) {
	asks, err := asksOf(req)
	if err != nil {
		s.calls.WithLabelValues("invalid").Inc()
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if req.GetDomain() != s.domain {
		s.calls.WithLabelValues("unlimited").Inc()
		return unlimited(len(asks)), nil
	}
	joint, err := s.limits.CheckAll(asks)
	if err != nil {
		s.calls.WithLabelValues("undecided").Inc()
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	s.calls.WithLabelValues(outcome(&joint)).Inc()
	return response(req, &joint), nil
}

// outcome is what metrics call a decision.
func outcome(j *limit.Joint) string {
	if !j.Allowed {
		return "over_limit"
	}
	for i := range j.Verdicts {
		if j.Verdicts[i].Limited {
			return "ok"
		}
	}
	return "unlimited"
}

// unlimited is the response to n descriptors that nothing is known about.
func unlimited(n int) *pb.RateLimitResponse {
	return response(nil, &limit.Joint{Allowed: true, Verdicts: make([]limit.Verdict, n)})
}

func response(req *pb.RateLimitRequest, j *limit.Joint) *pb.RateLimitResponse {
	r := &pb.RateLimitResponse{OverallCode: pb.RateLimitResponse_OK, Statuses: make([]*pb.RateLimitResponse_DescriptorStatus, len(j.Verdicts))}
	for i := range j.Verdicts {
		r.Statuses[i] = &pb.RateLimitResponse_DescriptorStatus{Code: pb.RateLimitResponse_OK}
		if j.Verdicts[i].Limited {
			fill(r.Statuses[i], req.GetDescriptors()[i], &j.Verdicts[i])
		}
	}
	for _, f := range j.Fields {
		r.ResponseHeadersToAdd = append(r.ResponseHeadersToAdd, &core.HeaderValue{Key: f.Name, Value: f.Value})
	}
	if j.Allowed {
		return r
	}
	r.OverallCode = pb.RateLimitResponse_OVER_LIMIT
	if j.RetryAfter != limit.Never {
		wait := strconv.FormatInt(int64((j.RetryAfter+time.Second-1)/time.Second), 10)
		r.ResponseHeadersToAdd = append(r.ResponseHeadersToAdd, &core.HeaderValue{Key: "Retry-After", Value: wait})
	}
	return r
}

// fill says what was decided about one descriptor.
func fill(s *pb.RateLimitResponse_DescriptorStatus, d *descriptor.RateLimitDescriptor, v *limit.Verdict) {
	if !v.Allowed {
		s.Code = pb.RateLimitResponse_OVER_LIMIT
	}
	s.CurrentLimit = currentLimit(v.Rate)
	s.LimitRemaining = uint32(min(v.Remaining, math.MaxUint32))
	s.DurationUntilReset = durationpb.New(v.ResetAfter)
	if s.CurrentLimit != nil {
		entries := d.GetEntries()
		s.CurrentLimit.Name = entries[len(entries)-1].GetKey()
	}
	if blocks(d.GetLimit()) {
		s.CurrentLimit.RequestsPerUnit, s.LimitRemaining = 0, 0 // it is made of whole seconds, so there is a CurrentLimit
	}
}
