package window_test

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/sluicegate/sluice/window"
)

// at is the instant that many milliseconds after the start.
func at(ms int64) window.Instant { return window.Instant(ms * int64(time.Millisecond)) }

func mustNew(t testing.TB, timeframe, precision time.Duration) *window.Window {
	t.Helper()
	w, err := window.New(timeframe, precision)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// A step adds n at a time, if n is not zero, and then expects a count.
type step struct {
	ms   int64
	n    uint64
	want uint64
}

func TestStories(t *testing.T) {
	second, tenth := time.Second, 100*time.Millisecond
	for _, story := range []struct {
		name                 string
		timeframe, precision time.Duration
		steps                []step
	}{
		{"an unused window counts nothing", second, tenth, []step{{0, 0, 0}, {5000, 0, 0}}},
		{"a request is counted until its bucket is a timeframe old", second, tenth, []step{
			{50, 1, 1}, {999, 0, 1}, {1000, 0, 0}, {1050, 0, 0},
		}},
		{"a request that opens its bucket is counted for the whole timeframe", second, tenth, []step{
			{100, 1, 1}, {1099, 0, 1}, {1100, 0, 0},
		}},
		{"requests leave in the order they came", second, tenth, []step{
			{0, 1, 1}, {250, 2, 3}, {990, 4, 7}, {1000, 0, 6}, {1199, 0, 6}, {1200, 0, 4}, {1899, 0, 4}, {1900, 0, 0},
		}},
		{"a steady client keeps its count", second, tenth, []step{
			{0, 1, 1}, {500, 1, 2}, {1000, 1, 2}, {1500, 1, 2}, {2000, 1, 2}, {2500, 1, 2},
		}},
		{"a long silence empties the window at once", second, tenth, []step{
			{0, 9, 9}, {86_400_000, 0, 0}, {86_400_050, 1, 1},
		}},
		{"a late add goes to its own time", second, tenth, []step{
			{950, 1, 1}, {150, 5, 6}, {1099, 0, 6}, {1100, 0, 1},
		}},
		{"an add that is too late is not counted", second, tenth, []step{
			{2000, 1, 1}, {1050, 1, 1}, {1100, 1, 2},
		}},
		{"an earlier instant reads the newest state", second, tenth, []step{
			{100, 1, 1}, {1500, 1, 1}, {200, 0, 1}, {1500, 0, 1},
		}},
		{"instants before the start read as the start", second, tenth, []step{
			{-5000, 1, 1}, {0, 1, 2}, {-1, 0, 2}, {1000, 0, 0},
		}},
		{"one bucket is the whole window", second, second, []step{
			{0, 1, 1}, {999, 1, 2}, {1000, 0, 0}, {1500, 3, 3}, {2000, 0, 0},
		}},
		{"a precision that does not divide the timeframe rounds the buckets up", second, 300 * time.Millisecond, []step{
			{0, 1, 1}, {299, 1, 2}, {1199, 0, 2}, {1200, 0, 0},
		}},
		{"a count beyond 32 bits in one bucket", second, tenth, []step{
			{0, math.MaxUint32, math.MaxUint32}, {1, 1, 1 << 32}, {2, 1 << 40, 1<<40 + 1<<32}, {999, 0, 1<<40 + 1<<32}, {1000, 0, 0},
		}},
		{"a sum that stops at its limit and starts anew", second, tenth, []step{
			{0, math.MaxUint64, 1 << 62}, {1, math.MaxUint64, 1 << 62}, {100, 1 << 33, 1 << 62}, {1000, 0, 0}, {1001, 1, 1},
		}},
		{"the end of time", second, tenth, []step{
			{math.MaxInt64 / int64(time.Millisecond), 1, 1}, {math.MaxInt64 / int64(time.Millisecond), 1, 2},
		}},
	} {
		t.Run(story.name, func(t *testing.T) {
			w := mustNew(t, story.timeframe, story.precision)
			for i, s := range story.steps {
				if s.n > 0 {
					w.Add(at(s.ms), s.n)
				}
				if got := w.Count(at(s.ms)); got != s.want {
					t.Fatalf("step %d, at %d ms: count %d, want %d", i, s.ms, got, s.want)
				}
			}
		})
	}
}

// TestBucketsThatLookAlike meets buckets whose numbers agree in the 32 bits that are kept beside the count.
func TestBucketsThatLookAlike(t *testing.T) {
	const again = window.Instant(1 << 32)
	w := mustNew(t, 10, 1)
	w.Add(0, 5)
	w.Add(again, 1)
	if got := w.Count(again); got != 1 {
		t.Errorf("count %d after an add, want 1", got)
	}
	if got := w.AddCount(2*again, 1); got != 1 {
		t.Errorf("AddCount %d, want 1", got)
	}
	if got := w.Count(3 * again); got != 0 {
		t.Errorf("count %d after a silence, want 0", got)
	}
}

func TestAddCountIncludesItself(t *testing.T) {
	w := mustNew(t, time.Second, 100*time.Millisecond)
	for i, s := range []step{{0, 1, 1}, {50, 1, 2}, {150, 2, 4}, {20, 1, 5}, {1000, 1, 3}, {10, 1, 3}, {1001, 1 << 33, 3 + 1<<33}} {
		if got := w.AddCount(at(s.ms), s.n); got != s.want {
			t.Errorf("step %d, at %d ms: count %d, want %d", i, s.ms, got, s.want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []struct {
		name                 string
		timeframe, precision time.Duration
	}{
		{"no timeframe", 0, time.Millisecond},
		{"a negative timeframe", -time.Second, time.Millisecond},
		{"no precision", time.Second, 0},
		{"a negative precision", time.Second, -1},
		{"a precision above the timeframe", time.Second, time.Second + 1},
		{"too many buckets", time.Hour, time.Nanosecond},
		{"a timeframe that overflows", math.MaxInt64, math.MaxInt64},
	} {
		if _, err := window.New(c.timeframe, c.precision); !errors.Is(err, window.ErrConfig) {
			t.Errorf("%s: error %v, want ErrConfig", c.name, err)
		}
		if _, err := window.NewTable[string](c.timeframe, c.precision, 1); !errors.Is(err, window.ErrConfig) {
			t.Errorf("table, %s: error %v, want ErrConfig", c.name, err)
		}
		if _, err := window.Restore(c.timeframe, c.precision, window.Snapshot{}, 0, time.Now()); !errors.Is(err, window.ErrConfig) {
			t.Errorf("restore, %s: error %v, want ErrConfig", c.name, err)
		}
	}
}

func TestHistory(t *testing.T) {
	w := mustNew(t, time.Second, 250*time.Millisecond)
	w.Add(at(0), 1)
	w.Add(at(300), 2)
	w.Add(at(1000), 4) // the first bucket has left
	w.Add(at(1100), 1)

	got := w.AppendBuckets([]uint64{99}, at(1100))
	if want := []uint64{99, 2, 0, 0, 5}; !slices.Equal(got, want) {
		t.Errorf("buckets %v, want %v", got, want)
	}
	if got := w.BucketStart(at(1100)); got != at(1000) {
		t.Errorf("the newest bucket began at %v, want 1s", time.Duration(got))
	}
	if got := w.BucketStart(at(10)); got != at(1000) {
		t.Errorf("seen from before, the newest bucket began at %v, want 1s", time.Duration(got))
	}
}

func TestCountLast(t *testing.T) {
	w := mustNew(t, time.Minute, 100*time.Millisecond)
	for s := range int64(60) {
		w.Add(at(1000*s), 1)
	}
	now := at(59_050)
	for _, c := range []struct {
		d    time.Duration
		want uint64
	}{
		{-1, 0}, {0, 0}, {1, 1}, {100 * time.Millisecond, 1}, {time.Second, 1}, {time.Second + 1, 2},
		{10 * time.Second, 10}, {time.Minute, 60}, {math.MaxInt64, 60},
	} {
		if got := w.CountLast(now, c.d); got != c.want {
			t.Errorf("last %v: %d, want %d", c.d, got, c.want)
		}
	}
}

func TestRate(t *testing.T) {
	w := mustNew(t, time.Minute, 100*time.Millisecond)
	for ms := int64(0); ms < 20_000; ms += 10 { // 100 per second for 20 s, then nothing
		w.Add(at(ms), 1)
	}
	for _, c := range []struct {
		ms   int64
		d    time.Duration
		want float64
	}{
		{20_000, time.Second, 100},
		{20_000, 10 * time.Second, 100},
		{21_000, time.Second, 0},
		{25_000, 10 * time.Second, 50},
		{60_000, time.Minute, 1990 / 59.9}, // 599 whole buckets; the first one has left
		{60_000, time.Hour, 1990 / 59.9},
		{60_000, 0, 0},
	} {
		if got := w.Rate(at(c.ms), c.d); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("at %d ms, last %v: %v per second, want %v", c.ms, c.d, got, c.want)
		}
	}

	single := mustNew(t, time.Second, time.Second)
	single.Add(at(5000), 3)
	if got := single.Rate(at(5000), time.Second); got != 3 {
		t.Errorf("a bucket that has just begun: %v per second, want 3", got)
	}
}

func TestNoAllocation(t *testing.T) {
	w := mustNew(t, time.Minute, 100*time.Millisecond)
	now := window.Instant(0)
	got := testing.AllocsPerRun(1000, func() {
		now = now.Add(30 * time.Millisecond)
		w.Add(now, 1)
		w.Count(now)
		w.AddCount(now.Add(-time.Second), 1)
		w.CountLast(now, time.Second)
	})
	if got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func TestNowAndAtAgree(t *testing.T) {
	before := window.Now()
	between := window.At(time.Now())
	after := window.Now()
	if before > between || between > after {
		t.Errorf("At(time.Now()) = %d is not between %d and %d", between, before, after)
	}
	if got := after.Add(time.Second).Sub(after); got != time.Second {
		t.Errorf("one second later is %v later", got)
	}
}

func TestAtRefusesWallTime(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("At took a time without a monotonic reading")
		}
	}()
	window.At(time.Unix(1_700_000_000, 0))
}
