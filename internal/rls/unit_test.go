package rls_test

import (
	"fmt"
	"testing"
	"time"

	descriptor "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	typepb "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// override gives a descriptor a limit of n requests per second.
func override(n uint32, d *descriptor.RateLimitDescriptor) *descriptor.RateLimitDescriptor {
	d.Limit = &descriptor.RateLimitDescriptor_RateLimitOverride{RequestsPerUnit: n, Unit: typepb.RateLimitUnit_SECOND}
	return d
}

// overrideUnit gives a descriptor a limit of 3 requests per unit, or per two units with multiplier 2.
func overrideUnit(d *descriptor.RateLimitDescriptor, unit typepb.RateLimitUnit, multiplier ...uint32) *descriptor.RateLimitDescriptor {
	d.Limit = &descriptor.RateLimitDescriptor_RateLimitOverride{RequestsPerUnit: 3, Unit: unit}
	for _, m := range multiplier {
		d.Limit.UnitMultiplier = wrapperspb.UInt32(m)
	}
	return d
}

func TestOverride(t *testing.T) {
	w := newWorld(t, "limits: {client: {rate: 1/h}}")
	hour := typepb.RateLimitUnit_HOUR
	for left := 2; left >= 0; left-- {
		w.expect(fmt.Sprint("OK: OK ", left), overrideUnit(entries("client", "a"), hour))
	}
	w.expect("OVER_LIMIT: OVER_LIMIT 0", overrideUnit(entries("client", "a"), hour))
	w.expect("OK: OK 0", entries("client", "a"))                             // the rule has a memory of its own,
	w.expect("OK: OK 2", overrideUnit(entries("other", "a"), hour))          // so has another key,
	w.expect("OK: OK 2", overrideUnit(entries("client", "a"), hour, 2))      // and another limit
	w.expect("OVER_LIMIT: OVER_LIMIT 0", override(0, entries("block", "a"))) // nothing may pass
	w.expect("OVER_LIMIT: OVER_LIMIT 0", override(0, entries("block", "a")))
}

func TestCurrentLimit(t *testing.T) {
	w := newWorld(t, `limits:
  second: {rate: 5/s}
  fraction: {rate: 5/250ms}
  minute: {rate: 120/min}
  minutes: {rate: 3/10m}
  day: {rate: 7/24h}
  uneven: {rate: 1/1500ms}
`)
	for name, want := range map[string]string{
		"second": "5 SECOND 1", "fraction": "20 SECOND 1", "minute": "120 MINUTE 1", "minutes": "3 MINUTE 10", "day": "7 DAY 1", "uneven": "none",
	} {
		s := w.ask(call(entries(name, "a"))).Statuses[0]
		got := "none"
		if l := s.CurrentLimit; l != nil {
			got = fmt.Sprint(l.RequestsPerUnit, " ", l.Unit, " ", max(1, l.UnitMultiplier.GetValue()))
			if l.Name != name {
				t.Errorf("%s is called %s", name, l.Name)
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		if s.DurationUntilReset.AsDuration() <= 0 {
			t.Errorf("%s: reset after %v", name, s.DurationUntilReset)
		}
	}
}

func TestOverrideUnits(t *testing.T) {
	w := newWorld(t, "")
	for unit, length := range map[typepb.RateLimitUnit]time.Duration{
		typepb.RateLimitUnit_MINUTE: time.Minute,
		typepb.RateLimitUnit_HOUR:   time.Hour,
		typepb.RateLimitUnit_DAY:    24 * time.Hour,
		typepb.RateLimitUnit_MONTH:  30 * 24 * time.Hour,
		typepb.RateLimitUnit_YEAR:   365 * 24 * time.Hour,
	} {
		s := w.ask(call(hits(3, overrideUnit(entries("x", unit.String()), unit)))).Statuses[0]
		if got := s.DurationUntilReset.AsDuration(); got != length || s.LimitRemaining != 0 {
			t.Errorf("%v: whole after %v", unit, got)
		}
	}
}
