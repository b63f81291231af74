package flush

import (
	"math"
	"time"

	"github.com/sluicegate/sluice/coalesce"
)

// NumFeatures is how many inputs a learned policy has.
const NumFeatures = 24

// The inputs of a learned policy, as [Features] computes them. Log stands for log(1+256x)/8, which is 0.09 at 1/256
// and 1 at about 12, so that inputs that may be anything are of the order of 1, and small ones can be told apart. κ is the call cost; a rate is a number of arrivals.
const (
	FeatureSize     = iota // log of n, the waiters
	FeatureBest            // log(n/n*)/2, n* being what Threshold would serve
	FeatureShort           // log of the arrivals in κ at the rate of the short scale
	FeatureMiddle          // the same, of the middle scale
	FeatureLong            // the same, of the long scale
	FeatureLatest          // the same, at the rate of the latest gaps
	FeatureSlot            // the same, at the rate within the slot, from its first arrival to its last; 0 while there is but one
	FeatureKnown           // log of the arrivals that the short scale has seen: how far its rate can be trusted
	FeatureRecent          // log of the arrivals that the middle scale has seen
	FeatureArrival         // 1 at an arrival, 0 at a re-check
	FeatureGap             // log of SinceArrival/κ
	FeatureSurprise        // log of the arrivals that were to be expected in SinceArrival, at the rate of the middle scale
	FeatureLull            // the same, at the rate of the long scale
	FeatureHush            // log of SinceArrival in units of the mean of the latest gaps
	FeatureSilence         // log of SinceArrival in units of the mean gap within the slot; 0 while there is but one waiter
	FeatureWaiting         // log of Waiting/κ
	FeatureAge             // Age/Hold
	FeatureLeft            // log of what is left of Hold, in κ
	FeatureExpected        // log of the arrivals to be expected in what is left of Hold
	FeatureFull            // n/MaxBatch
	FeatureRelaxed         // 1 if requests join calls in flight, otherwise 0
	FeatureLatency         // log of LatencyP50/κ if they do, otherwise 0
	FeatureTail            // log of LatencyP99/κ if they do, otherwise 0
	FeatureInFlight        // how far the call in flight has come: its time in units of the median, from 0 to 1; 0 if there is none
)

// Features writes what a learned policy sees of the state. All times are in units of the call cost, so that one policy serves every call cost:
// if all times of a state and the call cost are doubled, and the rates halved, the features are the same, but for FeatureKnown and what follows
// from it: which of the rates Threshold trusts.
// All are finite and within ±12, whatever the state.
func Features(s *coalesce.State, callCost time.Duration, out *[NumFeatures]float32) {
	kappa := max(callCost.Seconds(), 1e-9)
	rate := Threshold{CallCost: callCost}.rate(*s)
	n := float64(max(1, s.Size))
	gap := min(s.SinceArrival.Seconds(), 1e5)
	slotRate := rateWithin(s, n, gap)
	latest := 0.0
	if s.Gap > 0 {
		latest = 1 / s.Gap.Seconds()
	}
	left := max(0, (s.Hold - s.Age).Seconds())

	out[FeatureSize] = compress(n)
	out[FeatureBest] = logRatio(n, Threshold{CallCost: callCost}.best(*s, rate))
	out[FeatureShort] = compress(s.Rates[0] * kappa)
	out[FeatureMiddle] = compress(s.Rates[1] * kappa)
	out[FeatureLong] = compress(s.Rates[2] * kappa)
	out[FeatureLatest] = compress(latest * kappa)
	out[FeatureSlot] = compress(slotRate * kappa)
	out[FeatureKnown] = compress(s.Rates[0] * coalesce.ShortScale.Seconds())
	out[FeatureRecent] = compress(s.Rates[1] * coalesce.MiddleScale.Seconds())
	out[FeatureArrival] = flag(s.Arrival)
	out[FeatureGap] = compress(gap / kappa)
	out[FeatureSurprise] = compress(gap * s.Rates[1])
	out[FeatureLull] = compress(gap * s.Rates[2])
	out[FeatureHush] = compress(gap * latest)
	out[FeatureSilence] = compress(gap * slotRate)
	out[FeatureWaiting] = compress(s.Waiting.Seconds() / kappa)
	out[FeatureAge] = share(s.Age.Seconds(), s.Hold.Seconds())
	out[FeatureLeft] = compress(left / kappa)
	out[FeatureExpected] = compress(left * rate)
	out[FeatureFull] = share(n, float64(s.MaxBatch))
	out[FeatureRelaxed] = flag(s.Relaxed)
	out[FeatureLatency], out[FeatureTail] = 0, 0
	if s.Relaxed {
		out[FeatureLatency] = compress(s.LatencyP50.Seconds() / kappa)
		out[FeatureTail] = compress(s.LatencyP99.Seconds() / kappa)
	}
	out[FeatureInFlight] = 0
	if s.InFlight {
		out[FeatureInFlight] = share(s.InFlightFor.Seconds(), max(s.LatencyP50, s.InFlightFor, 1).Seconds())
	}
}

// rateWithin returns the arrivals per second in the slot, from the first to the last; 0 if there is but one.
func rateWithin(s *coalesce.State, n, gap float64) float64 {
	if s.Size < 2 {
		return 0
	}
	span := s.Age.Seconds()
	if !s.Arrival {
		span -= gap
	}
	return (n - 1) / max(span, 1e-6)
}

// compress returns log(1+256x)/8 for x from 0 to 10¹⁵, the nearest of these for others, and 0 for NaN.
func compress(x float64) float32 {
	if !(x > 0) {
		return 0
	}
	return float32(math.Log(1+256*min(x, 1e15)) / 8)
}

// logRatio returns log(n/best)/2, within ±4.
func logRatio(n, best float64) float32 {
	return float32(max(-4, min(4, math.Log(n/max(1, min(best, 1e9)))/2)))
}

// share returns part/whole, from 0 to 1; 0 if there is no whole.
func share(part, whole float64) float32 {
	if !(part > 0) || !(whole > 0) {
		return 0
	}
	return float32(min(1, part/whole))
}

func flag(b bool) float32 {
	if b {
		return 1
	}
	return 0
}

// The bounds of [Recheck].
const (
	recheckShortest = 250 * time.Microsecond
	recheckPerHold  = 8 // no longer than this part of the hold
	recheckPerCost  = 8 // the slot's waiting until then costs at most this part of a call, if that isn't below the shortest
)

// Recheck returns the time after which a learned policy that waits is asked again, if no request comes before. The more wait, the sooner that is,
// so that what is waited between two questions costs a fixed part of a call at most: an eighth, and half as much for one waiter.
func Recheck(s *coalesce.State, callCost time.Duration) time.Duration {
	after := min(callCost/time.Duration(recheckPerCost*max(2, s.Size)), s.Hold/recheckPerHold)
	return max(after, recheckShortest)
}
