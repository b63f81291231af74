package rls

import (
	"math"
	"time"

	pb "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	typepb "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sluicegate/sluice/internal/rate"
)

const day = 24 * time.Hour

// unitLengths are the units of a limit that a descriptor brings. Months and years are those of Envoy's own service.
var unitLengths = map[typepb.RateLimitUnit]time.Duration{
	typepb.RateLimitUnit_SECOND: time.Second,
	typepb.RateLimitUnit_MINUTE: time.Minute,
	typepb.RateLimitUnit_HOUR:   time.Hour,
	typepb.RateLimitUnit_DAY:    day,
	typepb.RateLimitUnit_MONTH:  30 * day,
	typepb.RateLimitUnit_YEAR:   365 * day,
}

// currentLimit is a rate in requests per unit, nil if it cannot be told without rounding.
func currentLimit(r rate.Rate) *pb.RateLimitResponse_RateLimit {
	count, period := r.Count, r.Period
	if period < time.Second && time.Second%period == 0 && count <= math.MaxUint32 {
		count, period = count*int64(time.Second/period), time.Second
	}
	unit, length := pb.RateLimitResponse_RateLimit_SECOND, time.Second
	switch {
	case period%day == 0:
		unit, length = pb.RateLimitResponse_RateLimit_DAY, day
	case period%time.Hour == 0:
		unit, length = pb.RateLimitResponse_RateLimit_HOUR, time.Hour
	case period%time.Minute == 0:
		unit, length = pb.RateLimitResponse_RateLimit_MINUTE, time.Minute
	}
	units := int64(period / length)
	if period%length != 0 || units > math.MaxUint32 || count < 0 || count > math.MaxUint32 {
		return nil
	}
	l := &pb.RateLimitResponse_RateLimit{RequestsPerUnit: uint32(count), Unit: unit}
	if units > 1 {
		l.UnitMultiplier = wrapperspb.UInt32(uint32(units))
	}
	return l
}
