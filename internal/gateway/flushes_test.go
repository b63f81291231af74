package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/internal/admit"
	"github.com/sluicegate/sluice/internal/arrivals"
	"github.com/sluicegate/sluice/internal/feed"
	"github.com/sluicegate/sluice/internal/upstream"
)

func testFlushes(t *testing.T) (*flushes, *prometheus.Registry) {
	t.Helper()
	f := newFlushes(feed.New(1<<12), arrivals.New(arrivals.Options{}))
	reg := prometheus.NewPedanticRegistry()
	f.register(reg, func() coalesce.Stats { return coalesce.Stats{Slots: 1, Calls: 2, Waiters: 3, Bytes: 4, Keys: 5} })
	return f, reg
}

// expectMetrics compares what is not 0; histograms count their observations.
func expectMetrics(t *testing.T, reg *prometheus.Registry, want map[string]float64) {
	t.Helper()
	got := gather(t, reg)
	for name, v := range got {
		if want[name] != v {
			t.Errorf("%s is %v, expected %v", name, v, want[name])
		}
	}
	for name, v := range want {
		if _, ok := got[name]; !ok {
			t.Errorf("there is no %s, expected %v", name, v)
		}
	}
}

const ms = time.Millisecond

func TestFlushMetrics(t *testing.T) {
	f, reg := testFlushes(t)
	for _, e := range []coalesce.Flush{
		{Reason: coalesce.ByTimer, Size: 5, Answered: 8, Joined: 3, Age: 50 * ms, Waiting: 90 * ms},
		{Reason: coalesce.JoinedCall, Size: 1}, {Reason: coalesce.JoinedCall, Size: 1}, {Reason: coalesce.JoinedCall, Size: 1},
		{Reason: coalesce.ByPolicy, Size: 1, Answered: 1, Fallbacks: 2},
		{Reason: coalesce.ByPolicy, Size: 3, Answered: 1, Released: 2},
		{Reason: coalesce.Passthrough, Size: 1, Err: coalesce.ErrNotShared}, {Reason: coalesce.Passthrough, Size: 1, Err: coalesce.ErrNotShared},
		{Reason: coalesce.BySize, Size: 128, Err: &upstream.Error{Kind: upstream.Lost}},
		{Reason: coalesce.JoinedCall, Size: 1, Err: &upstream.Error{Kind: upstream.Lost}},
		{Reason: coalesce.ByClose, Size: 2, Err: coalesce.ErrAbandoned},
	} {
		e.Tag = "/a/*"
		f.Observe(e)
	}
	f.Cached("/b", 1)
	f.Cached("/b", 2)
	f.Observe(coalesce.Flush{Reason: coalesce.ByPolicy, Size: 1, Answered: 1}) // without a tag
	expectMetrics(t, reg, with(map[string]float64{
		"sluice_flushes_total timer /a/*":              1,
		"sluice_flushes_total policy /a/*":             2,
		"sluice_flushes_total size /a/*":               1,
		"sluice_flushes_total close /a/*":              1,
		"sluice_flushes_total joined /a/*":             4,
		"sluice_flushes_total passthrough /a/*":        2,
		"sluice_flushes_total cached /b":               2,
		"sluice_flushes_total policy none":             1,
		"sluice_flush_batch_size /a/*":                 5,
		"sluice_flush_batch_size none":                 1,
		"sluice_flush_batch_age_seconds /a/*":          5,
		"sluice_flush_batch_age_seconds none":          1,
		"sluice_upstream_calls_saved_total /a/*":       7,
		"sluice_upstream_calls_saved_total /b":         2,
		"sluice_policy_fallbacks_total /a/*":           2,
		"sluice_coalesce_errors_total not_shared /a/*": 2,
		"sluice_coalesce_errors_total failed /a/*":     1,
		"sluice_coalesce_errors_total abandoned /a/*":  1,
		"sluice_coalesce_slots":                        1,
		"sluice_coalesce_calls_in_flight":              2,
		"sluice_coalesce_waiters":                      3,
		"sluice_coalesce_held_bytes":                   4,
		"sluice_coalesce_keys":                         5,
	}, "/a/*", "/b", "none"))
}

// with adds what each route has from the beginning, at 0.
func with(want map[string]float64, routes ...string) map[string]float64 {
	add := func(format string, args ...any) {
		if name := fmt.Sprintf(format, args...); want[name] == 0 {
			want[name] = 0
		}
	}
	for _, route := range routes {
		for r := coalesce.ByPolicy; r <= coalesce.Cached; r++ {
			add("sluice_flushes_total %s %s", r, route)
		}
		for _, kind := range errorKinds() {
			add("sluice_coalesce_errors_total %s %s", kind, route)
		}
		for _, name := range []string{"flush_batch_size", "flush_batch_age_seconds", "upstream_calls_saved_total", "policy_fallbacks_total"} {
			add("sluice_%s %s", name, route)
		}
	}
	return want
}

func TestFlushHistograms(t *testing.T) {
	f, reg := testFlushes(t)
	f.Observe(coalesce.Flush{Tag: "/", Reason: coalesce.ByTimer, Size: 5, Age: 50 * ms})
	f.Observe(coalesce.Flush{Tag: "/", Reason: coalesce.BySize, Size: 128, Age: 250 * ms})
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]float64{}
	for _, family := range families {
		for _, m := range family.Metric {
			sums[family.GetName()] += m.GetHistogram().GetSampleSum()
		}
	}
	if sums["sluice_flush_batch_size"] != 133 || sums["sluice_flush_batch_age_seconds"] != .3 {
		t.Errorf("the histograms' sums are %v, expected 133 and 0.3", sums)
	}
}

// published are the events of the feed as a reader gets them.
func published(t *testing.T, f *flushes) (list []string) {
	t.Helper()
	events, lost := f.feed.Read(0, 1<<12)
	if lost != 0 {
		t.Fatalf("%d events lost", lost)
	}
	for _, e := range events {
		data, err := json.Marshal(e.Data)
		if err != nil || e.Kind != "flush" {
			t.Fatalf("%q: %v", e.Kind, err)
		}
		list = append(list, string(data))
	}
	return list
}

func TestFlushEvents(t *testing.T) {
	f, _ := testFlushes(t)
	f.Observe(coalesce.Flush{
		Key: 0xabc, Tag: "/a", Reason: coalesce.ByTimer, Size: 5, Answered: 8, Joined: 3, Fallbacks: 1,
		Age: 50 * ms, Waiting: 90*ms + 1500, Upstream: 20 * ms,
	})
	f.Observe(coalesce.Flush{Key: 1 << 63, Tag: "/a", Reason: coalesce.ByPolicy, Size: 3, Answered: 1, Released: 2, Err: context.DeadlineExceeded})
	f.Observe(coalesce.Flush{Key: 1, Tag: "/a", Reason: coalesce.JoinedCall, Size: 1, Waiting: ms})
	f.Cached("/b", 2)
	want := []string{
		`{"key":"0000000000000abc","route":"/a","reason":"timer","size":5,"age_ms":50,"waiting_ms":90.001,"upstream_ms":20,` +
			`"answered":8,"joined":3,"released":0,"fallbacks":1}`,
		`{"key":"8000000000000000","route":"/a","reason":"policy","size":3,"age_ms":0,"waiting_ms":0,"upstream_ms":0,` +
			`"answered":1,"joined":0,"released":2,"error":"timeout"}`,
		`{"key":"0000000000000001","route":"/a","reason":"joined","size":1,"age_ms":0,"waiting_ms":1,"upstream_ms":0,` +
			`"answered":0,"joined":0,"released":0}`,
		`{"key":"0000000000000002","route":"/b","reason":"cached","size":1,"age_ms":0,"waiting_ms":0,"upstream_ms":0,` +
			`"answered":1,"joined":0,"released":0}`,
	}
	if got := strings.Join(published(t, f), "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nexpected\n%s", got, strings.Join(want, "\n"))
	}
}

// Calls are all published; single requests at most a hundred a second for each reason, and the next says how many were not.
func TestFlushFeedLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := testFlushes(t)
		reasons := map[string]int{}
		second := func() (events []string) {
			before := f.feed.Last()
			for range 1000 {
				f.Cached("/", 1)
				f.Observe(coalesce.Flush{Tag: "/", Reason: coalesce.JoinedCall})
				f.Observe(coalesce.Flush{Tag: "/", Reason: coalesce.Passthrough, Err: coalesce.ErrNotShared})
				time.Sleep(ms)
			}
			for range 200 {
				f.Observe(coalesce.Flush{Tag: "/", Reason: coalesce.ByTimer})
			}
			clear(reasons)
			events = published(t, f)[before:]
			for _, e := range events {
				_, reason, _ := strings.Cut(e, `"reason":"`)
				reason, _, _ = strings.Cut(reason, `"`)
				reasons[reason]++
			}
			return events
		}
		second()
		for _, reason := range []string{"cached", "joined", "passthrough"} {
			if reasons[reason] < 50 || reasons[reason] > 100 {
				t.Errorf("%d events with the reason %s in a second, expected 50 to 100", reasons[reason], reason)
			}
		}
		if reasons["timer"] != 200 {
			t.Errorf("%d calls published of 200", reasons["timer"])
		}
		if events := second(); !strings.HasSuffix(events[10], `"skipped":19}`) {
			t.Errorf("after 19 events that were not published: %s", events[10])
		}
	})
}

func TestErrorKinds(t *testing.T) {
	f, reg := testFlushes(t)
	for kind, errs := range map[string][]error{
		"overflow":   {coalesce.ErrOverflow},
		"not_shared": {coalesce.ErrNotShared},
		"closed":     {coalesce.ErrClosed},
		"abandoned":  {coalesce.ErrAbandoned},
		"panic":      {&coalesce.PanicError{Value: context.Canceled}},
		"timeout":    {context.DeadlineExceeded, &upstream.Error{Kind: upstream.HeaderTimeout}, &upstream.Error{Kind: upstream.TotalTimeout}},
		"canceled":   {fmt.Errorf("reading: %w", context.Canceled), &upstream.Error{Kind: upstream.ClientGone}, &admit.Refusal{Reason: admit.Gone}},
		"queue":      {&admit.Refusal{Reason: admit.Full}, &admit.Refusal{Reason: admit.TimedOut}},
		"failed":     {errors.New("whatever"), &upstream.Error{Kind: upstream.Connect}},
	} {
		for _, err := range errs {
			if got := errorKind(err); got != kind {
				t.Errorf("%v is %q, expected %q", err, got, kind)
			}
			f.Observe(coalesce.Flush{Tag: "/", Reason: coalesce.ByPolicy, Err: err})
		}
		if n := gather(t, reg)["sluice_coalesce_errors_total "+kind+" /"]; n != float64(len(errs)) {
			t.Errorf("%v errors counted as %s, expected %d", n, kind, len(errs))
		}
	}
}

// Every reason that the library knows is counted.
func TestFlushReasons(t *testing.T) {
	f, reg := testFlushes(t)
	for r := coalesce.ByPolicy; r.String() != "unknown"; r++ {
		f.Observe(coalesce.Flush{Tag: "/", Reason: r})
		if n := gather(t, reg)["sluice_flushes_total "+r.String()+" /"]; n != 1 {
			t.Errorf("%v of %s counted", n, r)
		}
	}
}

func TestFlushArrivals(t *testing.T) {
	f, _ := testFlushes(t)
	f.Arrived("/a", 10, time.Now())
	var csv strings.Builder
	if err := f.arrivals.WriteCSV(&csv); err != nil || csv.String() != "key,route,time_ms\n000000000000000a,/a,0.000\n" {
		t.Errorf("%q, %v", csv.String(), err)
	}
}

// A group's own events add up, whoever comes when.
func TestFlushesOfAGroup(t *testing.T) {
	f, reg := testFlushes(t)
	g := coalesce.New[int, int](coalesce.Config{Observe: f.Observe})
	options := coalesce.Options[int, int]{Tag: "/", Relaxed: true}
	calls := 0 // of one key, so one at a time
	options.Fetch = func(context.Context, *coalesce.Call[int, int]) (int, error) {
		calls++
		return calls, nil
	}
	const requests = 200
	var all sync.WaitGroup
	for i := range requests {
		all.Go(func() {
			if _, _, err := g.Do(t.Context(), "key", i, &options); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if err := g.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	m := gather(t, reg)
	if saved := m["sluice_upstream_calls_saved_total /"]; saved != float64(requests-calls) {
		t.Errorf("%v calls saved, expected %d−%d", saved, requests, calls)
	}
	if n := m["sluice_flush_batch_size /"]; n != float64(calls) {
		t.Errorf("%v batches of %d calls", n, calls)
	}
}

func TestCachedAllocatesNothing(t *testing.T) {
	f, _ := testFlushes(t)
	for range 1000 {
		f.Cached("/", 1)
	}
	if n := testing.AllocsPerRun(1000, func() { f.Cached("/", 1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCached(b *testing.B) {
	f := newFlushes(feed.New(1<<12), arrivals.New(arrivals.Options{}))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			f.Cached("/items/*", 1)
		}
	})
}

func BenchmarkObserve(b *testing.B) {
	for _, e := range []coalesce.Flush{
		{Tag: "/items/*", Reason: coalesce.ByTimer, Size: 5, Answered: 8, Age: 50 * ms},
		{Tag: "/items/*", Reason: coalesce.JoinedCall, Size: 1},
		{Tag: "/items/*", Reason: coalesce.Passthrough, Size: 1, Err: coalesce.ErrNotShared},
	} {
		b.Run(e.Reason.String(), func(b *testing.B) {
			f := newFlushes(feed.New(1<<12), arrivals.New(arrivals.Options{}))
			b.ReportAllocs()
			for b.Loop() {
				f.Observe(e)
			}
		})
	}
}
