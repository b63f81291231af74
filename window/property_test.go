package window_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/window"
)

// A model is a window, and beside it an exact log of what it was given, under a virtual clock.
type model struct {
	timeframe, precision time.Duration
	w                    *window.Window
	now                  window.Instant // the newest instant the window has seen
	wall                 time.Time
	log                  []entry
}

type entry struct {
	at window.Instant
	n  uint64
}

// sum returns what was logged from one instant to now.
func (m *model) sum(from window.Instant) (n uint64) {
	for _, e := range m.log {
		if e.at >= from && e.at <= m.now {
			n += e.n
		}
	}
	return n
}

// size returns how many buckets the window has.
func (m *model) size() int { return int((m.timeframe + m.precision - 1) / m.precision) }

// bucketOf returns when the bucket that holds i began.
func (m *model) bucketOf(i window.Instant) window.Instant {
	newest := m.w.BucketStart(m.now)
	back := newest.Sub(i)
	if back <= 0 {
		return newest
	}
	return newest.Add(-(back + m.precision - 1) / m.precision * m.precision)
}

// oldest returns when the oldest bucket began that the window holds.
func (m *model) oldest() window.Instant {
	return m.w.BucketStart(m.now).Add(-time.Duration(m.size()-1) * m.precision)
}

func (m *model) add(at window.Instant, n uint64) {
	m.w.Add(at, n)
	m.record(at, n)
}

// record logs an add; one that came when its bucket had left the window was never counted.
func (m *model) record(at window.Instant, n uint64) {
	m.now = max(m.now, at)
	if m.bucketOf(at) >= m.oldest() {
		m.log = append(m.log, entry{at, n})
	}
}

func (m *model) advance(d time.Duration) {
	m.now = m.now.Add(d)
	m.wall = m.wall.Add(d)
}

// check compares every reading with the log.
func (m *model) check(t *rapid.T) {
	got := m.w.Count(m.now)
	if want := m.sum(m.oldest()); got != want {
		t.Fatalf("count %d, want %d, what the log has since the oldest bucket began", got, want)
	}

	// The promise of the package doc, in terms of the log alone.
	ago := m.now.Add(-m.timeframe)
	boundary := m.sum(m.bucketOf(ago)) - m.sum(m.bucketOf(ago).Add(m.precision))
	exact := m.sum(ago + 1)
	if diff := max(got, exact) - min(got, exact); diff > boundary {
		t.Fatalf("count %d, exact %d: they differ by more than the boundary bucket's %d", got, exact, boundary)
	}
	if m.timeframe%m.precision == 0 && got > exact {
		t.Fatalf("count %d, exact %d: something older than the timeframe was counted", got, exact)
	}
	m.checkBuckets(t, got)
}

func (m *model) checkBuckets(t *rapid.T, count uint64) {
	list := m.w.AppendBuckets(nil, m.now)
	if len(list) != m.size() {
		t.Fatalf("%d buckets, want %d", len(list), m.size())
	}
	var sum uint64
	for i, from := len(list)-1, m.w.BucketStart(m.now); i >= 0; i, from = i-1, from.Add(-m.precision) {
		sum += list[i]
		if want := m.sum(from); sum != want {
			t.Fatalf("the newest %d buckets hold %d, want %d", len(list)-i, sum, want)
		}
		if got := m.w.CountLast(m.now, time.Duration(len(list)-i)*m.precision); got != sum {
			t.Fatalf("CountLast of %d buckets is %d, want %d", len(list)-i, got, sum)
		}
	}
	if sum != count {
		t.Fatalf("the buckets hold %d, the count is %d", sum, count)
	}
}

// restart takes the window through a snapshot and its encoding into another process, whose instants begin anew.
func (m *model) restart(t *rapid.T, down time.Duration) {
	data, err := m.w.Snapshot(m.now, m.wall).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	var s window.Snapshot
	if err := s.UnmarshalBinary(data); err != nil {
		t.Fatal(err)
	}
	m.wall = m.wall.Add(down)
	now := window.Instant(rapid.Int64Range(0, int64(10*m.timeframe)).Draw(t, "instant after restart"))
	if m.w, err = window.Restore(m.timeframe, m.precision, s, now, m.wall); err != nil {
		t.Fatal(err)
	}
	// A wall clock that was stepped back says that no time has passed.
	shift := now.Sub(m.now) - max(down, 0)
	kept := m.log[:0]
	for _, e := range m.log {
		kept = append(kept, entry{e.at.Add(shift), e.n})
	}
	m.log, m.now = kept, now
}

func TestAgainstLog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		timeframe := time.Duration(rapid.Int64Range(1, 1000).Draw(t, "timeframe"))
		m := &model{
			timeframe: timeframe,
			precision: time.Duration(rapid.Int64Range(max(1, int64(timeframe)/20), int64(timeframe)).Draw(t, "precision")),
			wall:      time.Unix(1_800_000_000, 0),
		}
		m.w, _ = window.New(m.timeframe, m.precision)
		n := rapid.Uint64Range(1, 1<<33)
		upTo := func(d time.Duration) *rapid.Generator[int64] { return rapid.Int64Range(0, int64(d)) }
		t.Repeat(map[string]func(*rapid.T){
			"":    m.check,
			"add": func(t *rapid.T) { m.add(m.now, n.Draw(t, "n")) },
			"add and count": func(t *rapid.T) {
				n := n.Draw(t, "n")
				got := m.w.AddCount(m.now, n)
				m.record(m.now, n)
				if want := m.sum(m.oldest()); got != want {
					t.Fatalf("AddCount %d, want %d", got, want)
				}
			},
			"late add": func(t *rapid.T) {
				back := time.Duration(upTo(2*timeframe).Draw(t, "back"))
				m.add(max(m.now.Add(-back), 0), n.Draw(t, "n"))
			},
			"late count": func(t *rapid.T) {
				back := time.Duration(upTo(2*timeframe).Draw(t, "back"))
				if got, want := m.w.Count(m.now.Add(-back)), m.w.Count(m.now); got != want {
					t.Fatalf("count from %v ago %d, want the newest %d", back, got, want)
				}
			},
			"advance": func(t *rapid.T) { m.advance(time.Duration(upTo(m.precision+1).Draw(t, "by"))) },
			"idle":    func(t *rapid.T) { m.advance(time.Duration(upTo(3*timeframe).Draw(t, "by"))) },
			"step the wall clock": func(t *rapid.T) {
				m.wall = m.wall.Add(rapid.SampledFrom([]time.Duration{-time.Hour, time.Hour, -timeframe / 2, timeframe / 2}).Draw(t, "by"))
			},
			"restart": func(t *rapid.T) { m.restart(t, time.Duration(upTo(2*timeframe).Draw(t, "down"))) },
			"restart with the wall clock stepped back": func(t *rapid.T) {
				m.restart(t, -time.Duration(upTo(time.Hour).Draw(t, "back")))
			},
		})
	})
}

// TestRefold restores snapshots into windows of another shape: no request leaves before its time, none stays longer than
// a timeframe and one bucket of either window, and none is counted twice.
func TestRefold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		duration := func(lo, hi int64, name string) time.Duration {
			return time.Duration(rapid.Int64Range(lo, hi).Draw(t, name))
		}
		timeframe := duration(1, 1000, "timeframe")
		m := &model{timeframe: timeframe, precision: duration(max(1, int64(timeframe)/20), int64(timeframe), "precision"), wall: time.Unix(1_800_000_000, 0)}
		m.w, _ = window.New(m.timeframe, m.precision)
		for range rapid.IntRange(1, 20).Draw(t, "adds") {
			m.advance(duration(0, int64(timeframe), "gap"))
			m.add(m.now, rapid.Uint64Range(1, 10).Draw(t, "n"))
		}
		oldest := m.oldest()
		s := m.w.Snapshot(m.now, m.wall)

		after := duration(1, 1000, "timeframe after")
		precision := duration(max(1, int64(after)/20), int64(after), "precision after")
		down := duration(0, 2*int64(after), "down")
		w, err := window.Restore(after, precision, s, 0, m.wall.Add(down))
		if err != nil {
			t.Fatal(err)
		}
		m.advance(down)
		for range 10 {
			// Instant i of the new window is m.now.Add(i) of the log.
			i := duration(0, 2*int64(after), "later")
			now := m.now.Add(i)
			m2 := *m
			m2.now = now
			got := w.Count(window.Instant(i))
			least := m2.sum(max(oldest, now.Add(-after+precision)))
			most := m2.sum(max(oldest, now.Add(-after-precision-m.precision)))
			if got < least || got > most {
				t.Fatalf("%v after the restart: count %d, want %d to %d", i, got, least, most)
			}
			m.now, w = now, restoredAgain(t, w, window.Instant(i), m.wall)
		}
	})
}

// restoredAgain takes w through a snapshot at now, to begin at instant 0 anew.
func restoredAgain(t *rapid.T, w *window.Window, now window.Instant, wall time.Time) *window.Window {
	w, err := window.Restore(w.Timeframe(), w.Precision(), w.Snapshot(now, wall), 0, wall)
	if err != nil {
		t.Fatal(err)
	}
	return w
}
