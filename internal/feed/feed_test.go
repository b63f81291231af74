package feed_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/internal/feed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// model is what a feed should do: it keeps everything, and looks only at what a ring would still have.
type model struct {
	size int
	all  []int
}

func (m *model) read(after uint64, n int) (data []int, seq, lost uint64) {
	last := uint64(len(m.all))
	if after > last {
		after = 0
	}
	kept := max(0, len(m.all)-m.size)
	from := max(int(after), kept)
	to := min(len(m.all), from+max(0, n))
	return m.all[from:to], uint64(from) + 1, uint64(from) - after
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(0, 300).Draw(t, "size")
		f, m := feed.New(size), &model{size: max(1, size)}
		t.Repeat(map[string]func(*rapid.T){
			"publish": func(t *rapid.T) {
				for range rapid.IntRange(1, 200).Draw(t, "times") {
					m.all = append(m.all, len(m.all))
					f.Publish("n", len(m.all)-1)
				}
			},
			"read": func(t *rapid.T) {
				after := rapid.Uint64Range(0, uint64(len(m.all))+3).Draw(t, "after")
				n := rapid.IntRange(-1, 400).Draw(t, "n")
				events, lost := f.Read(after, n)
				want, seq, wantLost := m.read(after, n)
				if len(events) != len(want) || lost != wantLost {
					t.Fatalf("after %d of %d: %d events and %d lost, expected %d and %d", after, len(m.all), len(events), lost, len(want), wantLost)
				}
				for i, e := range events {
					if e.Data != want[i] || e.Seq != seq+uint64(i) || e.Kind != "n" || e.Time.Before(f.Since()) {
						t.Fatalf("event %d after %d is %+v, expected %d with the sequence %d", i, after, e, want[i], seq+uint64(i))
					}
				}
			},
			"": func(t *rapid.T) {
				if f.Last() != uint64(len(m.all)) {
					t.Fatalf("the last is %d of %d", f.Last(), len(m.all))
				}
			},
		})
	})
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := feed.New(4)
		ctx, cancel := context.WithCancel(t.Context())
		waits := func(after uint64) <-chan error {
			done := make(chan error, 1)
			go func() { done <- f.Wait(ctx, after) }()
			synctest.Wait()
			return done
		}
		first, second, foreign := waits(0), waits(0), waits(7)
		if len(first)+len(second)+len(foreign) != 0 {
			t.Fatal("something to read in an empty feed")
		}
		f.Publish("a", nil)
		for _, done := range []<-chan error{first, second, foreign, waits(0), waits(2)} {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		later := waits(1)
		if len(later) != 0 {
			t.Error("the event that was read is taken for newer")
		}
		cancel()
		if err := <-later; err != context.Canceled {
			t.Errorf("a wait that was given up returned %v", err)
		}
	})
}

// Every reader sees each event in order, or is told that it's lost.
func TestConcurrent(t *testing.T) {
	const publishers, each, readers = 4, 20_000, 3
	f := feed.New(256)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var all sync.WaitGroup
	for p := range publishers {
		all.Go(func() {
			for i := range each {
				f.Publish("n", [2]int{p, i})
			}
		})
	}
	for range readers {
		all.Go(func() {
			var r reader
			for r.seen+r.lost < publishers*each {
				if err := f.Wait(ctx, r.after); err != nil {
					t.Error(err)
					return
				}
				r.take(t, f)
			}
		})
	}
	all.Wait()
	if f.Last() != publishers*each {
		t.Errorf("the last is %d of %d", f.Last(), publishers*each)
	}
}

type reader struct {
	after, seen, lost uint64
	at                time.Time
	latest            [4]int // of each publisher, plus one
}

func (r *reader) take(t *testing.T, f *feed.Feed) {
	events, lost := f.Read(r.after, 100)
	r.after += lost
	r.lost += lost
	for _, e := range events {
		from := e.Data.([2]int)
		if e.Seq != r.after+1 || e.Time.Before(r.at) || from[1] < r.latest[from[0]] {
			t.Errorf("%+v comes after %d of %v, with %v of its publisher", e, r.after, r.at, r.latest[from[0]])
		}
		r.after, r.at, r.latest[from[0]] = e.Seq, e.Time, from[1]+1
		r.seen++
	}
}

type flushed struct {
	route string
	size  int
}

func BenchmarkPublish(b *testing.B) {
	f, data := feed.New(4096), &flushed{"/", 1}
	b.ReportAllocs()
	for b.Loop() {
		f.Publish("flush", data)
	}
}

func BenchmarkPublishParallel(b *testing.B) {
	f, data := feed.New(4096), &flushed{"/", 1}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			f.Publish("flush", data)
		}
	})
}

// BenchmarkPublishRead publishes while somebody reads all that comes.
func BenchmarkPublishRead(b *testing.B) {
	f, data := feed.New(4096), &flushed{"/", 1}
	ctx, cancel := context.WithCancel(b.Context())
	var all sync.WaitGroup
	all.Go(func() {
		var after uint64
		for f.Wait(ctx, after) == nil {
			events, lost := f.Read(after, 500)
			after += lost + uint64(len(events))
		}
	})
	b.ReportAllocs()
	for b.Loop() {
		f.Publish("flush", data)
	}
	cancel()
	all.Wait()
}
