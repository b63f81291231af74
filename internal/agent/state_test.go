package agent_test

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/flush"
	"github.com/sluicegate/sluice/internal/agent"
	"github.com/sluicegate/sluice/internal/agent/pb"
)

const ms = time.Millisecond

func anyState(t *rapid.T) coalesce.State {
	duration := func(name string) time.Duration {
		return time.Duration(math.Exp(rapid.Float64Range(0, 35).Draw(t, name)) - 1)
	}
	s := coalesce.State{
		Arrival: rapid.Bool().Draw(t, "arrival"), Size: rapid.IntRange(1, 100_000).Draw(t, "size"),
		Waiting: duration("waiting"), Age: duration("age"), SinceArrival: duration("since"), Gap: duration("gap"),
		LatencyP50: duration("p50"), LatencyP99: duration("p99"), Relaxed: rapid.Bool().Draw(t, "relaxed"),
		Hold: duration("hold"), MaxBatch: rapid.IntRange(0, 100_000).Draw(t, "max batch"), InFlight: rapid.Bool().Draw(t, "in flight"),
	}
	if s.InFlight {
		s.InFlightFor = duration("in flight for")
	}
	if rapid.Bool().Draw(t, "first") {
		s.SinceArrival = coalesce.Never
	}
	for i := range s.Rates {
		s.Rates[i] = math.Exp(rapid.Float64Range(-10, 15).Draw(t, "rate"))
	}
	return s
}

// TestStateOverTheWire: what an agent is told is what the gateway knows, but for the seventh digit, and for Now, which means nothing elsewhere.
func TestStateOverTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyState(t)
		cost := time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "call cost"))
		wire, err := proto.Marshal(agent.Message(&want, cost))
		if err != nil {
			t.Fatal(err)
		}
		m := new(pb.BatchState)
		if err := proto.Unmarshal(wire, m); err != nil {
			t.Fatal(err)
		}
		got, gotCost, err := agent.State(m)
		if err != nil {
			t.Fatal(err)
		}
		var seen [flush.NumFeatures]float32
		flush.Features(&got, gotCost, &seen)
		for i, f := range m.Features {
			if math.Abs(float64(f-seen[i])) > 1e-4 {
				t.Fatalf("feature %d of %+v is %g, and %g of what came", i, want, f, seen[i])
			}
		}
		for _, c := range []struct{ got, want *time.Duration }{
			{&got.Age, &want.Age}, {&got.Waiting, &want.Waiting}, {&got.SinceArrival, &want.SinceArrival}, {&got.Hold, &want.Hold}, {&got.Gap, &want.Gap},
			{&got.LatencyP50, &want.LatencyP50}, {&got.LatencyP99, &want.LatencyP99}, {&got.InFlightFor, &want.InFlightFor}, {&gotCost, &cost},
		} {
			if math.Abs(float64(*c.got-*c.want)) > 2+1e-6*float64(*c.want) {
				t.Fatalf("%v came as %v in %+v", *c.want, *c.got, got)
			}
			*c.got = *c.want
		}
		for i := range got.Rates {
			if math.Abs(got.Rates[i]/want.Rates[i]-1) > 1e-6 {
				t.Fatalf("rates %v came as %v", want.Rates, got.Rates)
			}
		}
		got.Rates = want.Rates
		if got != want {
			t.Fatalf("%+v came as %+v", want, got)
		}
	})
}

// TestNothingIsLeftOut: an agent is told all that a policy in the process gets to know, but for the time of day.
func TestNothingIsLeftOut(t *testing.T) {
	var full coalesce.State
	v := reflect.ValueOf(&full).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Int, reflect.Int64:
			f.SetInt(int64(time.Hour))
		case reflect.Array:
			f.Set(reflect.ValueOf([3]float64{1, 2, 3}))
		default:
			t.Fatalf("%s is of a kind that this test does not know", v.Type().Field(i).Name)
		}
	}
	full.Size, full.MaxBatch, full.Now = 3, 4, 0
	if got, _, err := agent.State(agent.Message(&full, ms)); got != full || err != nil {
		t.Errorf("%+v came as %+v, %v", full, got, err)
	}
}

// TestStateOfAnOldClient: one that knows the first four fields alone.
func TestStateOfAnOldClient(t *testing.T) {
	s, cost, err := agent.State(&pb.BatchState{BatchSize: 4, BatchAgeMs: 10, UpstreamP99Ms: 30, RequestRate: 200})
	want := coalesce.State{
		Arrival: true, Size: 4, Age: 10 * ms, Waiting: 20 * ms, SinceArrival: 5 * ms, Gap: 5 * ms, Rates: [3]float64{200, 200, 200},
		LatencyP50: 30 * ms, LatencyP99: 30 * ms, Hold: coalesce.Never,
	}
	if s != want || cost != 0 || err != nil {
		t.Errorf("%+v, %v, %v; want %+v", s, cost, err, want)
	}
	s, _, err = agent.State(&pb.BatchState{BatchSize: 1, BatchAgeMs: 10})
	if s.Waiting != 10*ms || s.SinceArrival != coalesce.Never || err != nil {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestStatesThatAreNone(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	minus, huge := float32(-1), float32(1e30)
	for want, m := range map[string]*pb.BatchState{
		"batch_size: 0 is out of range, expected at least 1":         {},
		"batch_age_ms: -1 is out of range, expected 0 to 1e+12":      {BatchSize: 1, BatchAgeMs: minus},
		"batch_age_ms: NaN is out of range, expected 0 to 1e+12":     {BatchSize: 1, BatchAgeMs: nan, UpstreamP99Ms: nan},
		"upstream_p99_ms: +Inf is out of range, expected 0 to 1e+12": {BatchSize: 1, UpstreamP99Ms: inf},
		"request_rate: NaN is out of range, expected 0 to 1e+12":     {BatchSize: 1, RequestRate: nan},
		"waiting_ms: -1 is out of range, expected 0 to 1e+12":        {BatchSize: 1, WaitingMs: &minus},
		"since_arrival_ms: NaN is out of range, expected 0 to 1e+12": {BatchSize: 1, SinceArrivalMs: &nan},
		"rate_100ms: 1e+30 is out of range, expected 0 to 1e+12":     {BatchSize: 1, Rate_100Ms: &huge},
		"rate_1s: +Inf is out of range, expected 0 to 1e+12":         {BatchSize: 1, Rate_1S: &inf},
		"rate_10s: -1 is out of range, expected 0 to 1e+12":          {BatchSize: 1, Rate_10S: &minus},
		"upstream_p50_ms: -1 is out of range, expected 0 to 1e+12":   {BatchSize: 1, UpstreamP50Ms: &minus},
		"gap_ms: -1 is out of range, expected 0 to 1e+12":            {BatchSize: 1, GapMs: &minus},
		"in_flight_ms: -1 is out of range, expected 0 to 1e+12":      {BatchSize: 1, InFlightMs: &minus},
		"hold_ms: NaN is out of range, expected 0 to 1e+12":          {BatchSize: 1, HoldMs: &nan},
		"call_cost_ms: 1e+30 is out of range, expected 0 to 1e+12":   {BatchSize: 1, CallCostMs: &huge},
	} {
		if _, _, err := agent.State(m); err == nil || err.Error() != want {
			t.Errorf("%v: %v, want %s", m, err, want)
		}
	}
}

// FuzzState reads any bytes as a question: it is refused, or makes a state of sane numbers.
func FuzzState(f *testing.F) {
	wire, err := proto.Marshal(agent.Message(&coalesce.State{Size: 3, Hold: 50 * ms, InFlight: true}, 25*ms))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(wire)
	f.Add([]byte(strings.Repeat("\x15\xff\xff\xff\x7f", 3)))
	f.Fuzz(func(t *testing.T, wire []byte) {
		m := new(pb.BatchState)
		if proto.Unmarshal(wire, m) != nil {
			return
		}
		s, cost, err := agent.State(m)
		if err != nil {
			return
		}
		if s.Size < 1 || s.MaxBatch < 0 || min(s.Age, s.Waiting, s.SinceArrival, s.Hold, s.LatencyP50, s.LatencyP99, s.InFlightFor, cost) < 0 {
			t.Errorf("%v: %+v, %v", m, s, cost)
		}
		for _, r := range s.Rates {
			if !(r >= 0) || math.IsInf(r, 0) {
				t.Errorf("%v: rates %v", m, s.Rates)
			}
		}
	})
}
