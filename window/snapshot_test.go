package window_test

import (
	"errors"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/sluicegate/sluice/window"
)

var wall = time.Unix(1_800_000_000, 0)

func mustRestore(t testing.TB, s window.Snapshot, now window.Instant, wall time.Time) *window.Window {
	t.Helper()
	w, err := window.Restore(s.Timeframe, s.Precision, s, now, wall)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestSnapshotSaysWhatItHolds(t *testing.T) {
	w := mustNew(t, time.Second, 100*time.Millisecond)
	w.Add(at(120), 7)
	w.Add(at(950), 1)
	w.Add(at(1030), 2)
	got := w.Snapshot(at(1030), wall)
	want := window.Snapshot{
		Taken: wall, Timeframe: time.Second, Precision: 100 * time.Millisecond, Elapsed: 30 * time.Millisecond,
		Buckets: []window.Bucket{{Age: 0, Count: 2}, {Age: 1, Count: 1}, {Age: 9, Count: 7}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("snapshot %+v, want %+v", got, want)
	}
	if got.Total() != 10 {
		t.Errorf("total %d, want 10", got.Total())
	}
}

func TestSnapshotFromAnEarlierInstant(t *testing.T) {
	w := mustNew(t, time.Second, 100*time.Millisecond)
	w.Add(at(500), 1)
	if s := w.Snapshot(at(270), wall); s.Elapsed != 0 || s.Buckets[0].Age != 0 {
		t.Errorf("snapshot %+v, want the newest bucket as it begins", s)
	}
}

// TestRestartStories adds 4 requests at 230 ms, stops at 250 ms, and starts again at an instant of its own.
func TestRestartStories(t *testing.T) {
	const now = 7777 // ms: the new process has another clock
	for _, story := range []struct {
		name  string
		down  time.Duration // by the wall clock
		after int64         // ms after the restart
		want  uint64
	}{
		{"at once", 0, 0, 4},
		{"until the bucket leaves", 0, 949, 4}, // 250+949 = 1199
		{"the bucket leaves to the millisecond", 0, 950, 0},
		{"time that passed while down counts", 500 * time.Millisecond, 449, 4},
		{"and is not forgotten", 500 * time.Millisecond, 450, 0},
		{"down until everything has left", 950 * time.Millisecond, 0, 0},
		{"down for a year", 365 * 24 * time.Hour, 0, 0},
		{"down for longer than a duration holds", math.MaxInt64, 0, 0},
		{"the wall clock was stepped back: as if no time had passed", -time.Hour, 0, 4},
		{"so it stays until its time is over", -time.Hour, 949, 4},
		{"but no longer", -time.Hour, 950, 0},
	} {
		t.Run(story.name, func(t *testing.T) {
			w := mustNew(t, time.Second, 100*time.Millisecond)
			w.Add(at(230), 4)
			w = mustRestore(t, w.Snapshot(at(250), wall), at(now), wall.Add(story.down))
			if got := w.Count(at(now + story.after)); got != story.want {
				t.Errorf("count %d, want %d", got, story.want)
			}
		})
	}
}

// TestRestoreAfterAges starts at instant 0, from where times reach furthest back.
func TestRestoreAfterAges(t *testing.T) {
	w := mustNew(t, time.Second, 100*time.Millisecond)
	w.Add(at(230), 4)
	s := w.Snapshot(at(299), wall)
	for _, down := range []time.Duration{time.Hour, math.MaxInt64 - 1, math.MaxInt64} {
		w = mustRestore(t, s, 0, wall.Add(down))
		if got := w.AddCount(0, 1); got != 1 {
			t.Errorf("after %v: count %d, want 1", down, got)
		}
	}
}

func TestRestoredWindowGoesOn(t *testing.T) {
	w := mustNew(t, time.Second, 100*time.Millisecond)
	w.Add(at(230), 4)
	w = mustRestore(t, w.Snapshot(at(250), wall), at(0), wall.Add(100*time.Millisecond))
	if got := w.AddCount(at(0), 1); got != 5 {
		t.Errorf("first request after the restart: %d, want 5", got)
	}
	if got := w.Count(at(850)); got != 1 {
		t.Errorf("when the old ones have left: %d, want 1", got)
	}
}

func TestRefoldStories(t *testing.T) {
	s := window.Snapshot{
		Taken: wall, Timeframe: time.Second, Precision: 100 * time.Millisecond, Elapsed: 50 * time.Millisecond,
		Buckets: []window.Bucket{{Age: 0, Count: 1}, {Age: 1, Count: 2}, {Age: 3, Count: 4}, {Age: 9, Count: 8}},
	}
	for _, c := range []struct {
		name                 string
		timeframe, precision time.Duration
		want                 []uint64
	}{
		{"coarser", time.Second, 250 * time.Millisecond, []uint64{0, 0, 6, 1}},
		{"finer", 200 * time.Millisecond, 50 * time.Millisecond, []uint64{0, 2, 0, 1}},
		{"shorter", 300 * time.Millisecond, 100 * time.Millisecond, []uint64{0, 2, 1}},
		{"longer", 1500 * time.Millisecond, 500 * time.Millisecond, []uint64{8, 6, 1}},
		{"one bucket", time.Second, time.Second, []uint64{1}},
	} {
		w, err := window.Restore(c.timeframe, c.precision, s, 0, wall)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.AppendBuckets(nil, 0); !slices.Equal(got, c.want) {
			t.Errorf("%s: buckets %v, want %v", c.name, got, c.want)
		}
	}
}

func TestZeroSnapshotIsEmpty(t *testing.T) {
	w, err := window.Restore(time.Second, 100*time.Millisecond, window.Snapshot{}, at(5), wall)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.AddCount(at(5), 1); got != 1 {
		t.Errorf("count %d, want 1", got)
	}
}

func TestSnapshotThatContradictsItself(t *testing.T) {
	good := window.Snapshot{
		Taken: wall, Timeframe: time.Second, Precision: 100 * time.Millisecond, Elapsed: 50 * time.Millisecond,
		Buckets: []window.Bucket{{Age: 0, Count: 1}, {Age: 9, Count: 2}},
	}
	if _, err := good.MarshalBinary(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(s *window.Snapshot){
		"no timeframe":              func(s *window.Snapshot) { s.Timeframe = 0 },
		"precision above timeframe": func(s *window.Snapshot) { s.Precision = 2 * time.Second },
		"elapsed too long":          func(s *window.Snapshot) { s.Elapsed = s.Precision },
		"elapsed negative":          func(s *window.Snapshot) { s.Elapsed = -1 },
		"bucket of the future":      func(s *window.Snapshot) { s.Buckets[0].Age = -1 },
		"bucket too old":            func(s *window.Snapshot) { s.Buckets[1].Age = 10 },
		"a bucket twice":            func(s *window.Snapshot) { s.Buckets[1].Age = 0 },
		"an empty bucket":           func(s *window.Snapshot) { s.Buckets[0].Count = 0 },
		"a count that overflows":    func(s *window.Snapshot) { s.Buckets[0].Count = math.MaxUint64 },
		"a sum that overflows":      func(s *window.Snapshot) { s.Buckets[0].Count, s.Buckets[1].Count = 1<<62, 1<<62 },
	} {
		s := good
		s.Buckets = slices.Clone(good.Buckets)
		spoil(&s)
		if _, err := s.MarshalBinary(); !errors.Is(err, window.ErrDamaged) {
			t.Errorf("%s: encoding: error %v, want ErrDamaged", name, err)
		}
		if _, err := window.Restore(time.Second, time.Second, s, 0, wall); !errors.Is(err, window.ErrDamaged) {
			t.Errorf("%s: restoring: error %v, want ErrDamaged", name, err)
		}
	}
}
