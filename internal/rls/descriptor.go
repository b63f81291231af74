package rls

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	descriptor "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	pb "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"

	"github.com/sluicegate/sluice/internal/limit"
	"github.com/sluicegate/sluice/internal/rate"
)

// asksOf makes a question of every descriptor. The error names what a call may not say.
func asksOf(req *pb.RateLimitRequest) ([]limit.Ask, error) {
	list := req.GetDescriptors()
	switch {
	case req.GetDomain() == "":
		return nil, errors.New("domain: missing")
	case len(list) == 0:
		return nil, errors.New("descriptors: missing, expected at least one")
	case len(list) > maxDescriptors:
		return nil, fmt.Errorf("descriptors: there are %d, expected at most %d", len(list), maxDescriptors)
	}
	asks := make([]limit.Ask, len(list))
	for i, d := range list {
		var err error
		if asks[i], err = askOf(d, req.GetHitsAddend()); err != nil {
			return nil, fmt.Errorf("descriptors[%d].%w", i, err)
		}
	}
	return asks, nil
}

// askOf makes a question of a descriptor. hits is what the call costs, 0 if it does not say.
func askOf(d *descriptor.RateLimitDescriptor, hits uint32) (limit.Ask, error) {
	entries := d.GetEntries()
	switch {
	case len(entries) == 0:
		return limit.Ask{}, errors.New("entries: missing, expected at least one")
	case len(entries) > maxEntries:
		return limit.Ask{}, fmt.Errorf("entries: there are %d, expected at most %d", len(entries), maxEntries)
	}
	for i, e := range entries {
		if e.GetKey() == "" {
			return limit.Ask{}, fmt.Errorf("entries[%d].key: empty", i)
		}
	}
	a := limit.Ask{Rule: entries[len(entries)-1].GetKey(), Cost: cost(d, hits), Refund: d.GetIsNegativeHits()}
	var err error
	if a.Own, err = override(d.GetLimit()); err != nil {
		return limit.Ask{}, fmt.Errorf("limit.%w", err)
	}
	if blocks(d.GetLimit()) {
		a.Cost = max(a.Cost, 2) // more than can ever be there
	}
	a.Key = key(entries, a.Own != nil)
	return a, nil
}

func cost(d *descriptor.RateLimitDescriptor, hits uint32) int64 {
	switch {
	case d.GetHitsAddend() != nil:
		return int64(min(d.GetHitsAddend().GetValue(), math.MaxInt64))
	case hits == 0:
		return limit.RuleCost
	}
	return int64(hits)
}

// What joins values is escaped in them, so that different values never make the same key. Neither byte comes in the fields of HTTP, so a
// single value is nearly always a key as it is.
const (
	separator = "\x1f"
	escape    = "\x1b"
)

// maxKey is the length in bytes from which on a key is represented by its hash.
const maxKey = 1024

// key joins the values of the entries, and with a limit that stands in for a rule their keys as well.
func key(entries []*descriptor.RateLimitDescriptor_Entry, withKeys bool) string {
	escaper := strings.NewReplacer(escape, escape+"e", separator, escape+"s")
	var parts []string
	for _, e := range entries {
		if withKeys {
			parts = append(parts, escaper.Replace(e.GetKey()))
		}
		parts = append(parts, escaper.Replace(e.GetValue()))
	}
	joined := strings.Join(parts, separator)
	if len(joined) <= maxKey {
		return joined
	}
	hash := sha256.Sum256([]byte(joined))
	return escape + "h" + hex.EncodeToString(hash[:])
}

// override is the limit that a descriptor brings, nil if it brings none. As with a window that begins with the first request, all of one
// unit's requests may come at once.
func override(o *descriptor.RateLimitDescriptor_RateLimitOverride) (*limit.OwnLimit, error) {
	if o == nil {
		return nil, nil
	}
	unit, known := unitLengths[o.GetUnit()]
	if !known {
		return nil, fmt.Errorf("unit: %v is not known", o.GetUnit())
	}
	n := max(int64(o.GetRequestsPerUnit()), 1)
	multiplier := max(int64(o.GetUnitMultiplier().GetValue()), 1)
	if multiplier > int64(math.MaxInt64/unit) {
		return nil, fmt.Errorf("unit_multiplier: %d is too large", multiplier)
	}
	l := &limit.OwnLimit{Rate: rate.Rate{Count: n, Period: unit * time.Duration(multiplier)}, Burst: n - 1}
	if _, err := l.Rate.Limit(l.Burst); err != nil {
		return nil, fmt.Errorf("requests_per_unit: %w", err)
	}
	return l, nil
}

// blocks reports whether a descriptor brings a limit that lets nothing pass.
func blocks(o *descriptor.RateLimitDescriptor_RateLimitOverride) bool {
	return o != nil && o.GetRequestsPerUnit() == 0
}
