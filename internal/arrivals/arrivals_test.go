package arrivals_test

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/arrivals"
)

var start = time.Now()

func after(ms float64) time.Time { return start.Add(time.Duration(ms * float64(time.Millisecond))) }

func dump(t *testing.T, r *arrivals.Recorder) string {
	t.Helper()
	var b strings.Builder
	if err := r.WriteCSV(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// counts are the arrivals of each key in a dump.
func counts(t *testing.T, r *arrivals.Recorder) map[uint64]int {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(dump(t, r))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	n := map[uint64]int{}
	for _, row := range rows[1:] {
		key, err := strconv.ParseUint(row[0], 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		n[key]++
	}
	return n
}

func TestCSV(t *testing.T) {
	r := arrivals.New(arrivals.Options{})
	if got := dump(t, r); got != "key,route,time_ms\n" {
		t.Errorf("of nothing: %q", got)
	}
	r.Note(math.MaxUint64, "/a", after(1000.5))
	r.Note(7, `/odd,"route"`, after(1002))
	r.Note(math.MaxUint64, "/a", after(1003.2504))
	r.Note(7, "/other", after(1001.75)) // noted late
	want := "key,route,time_ms\n" +
		"0000000000000007,\"/odd,\"\"route\"\"\",1.250\n" +
		"0000000000000007,\"/odd,\"\"route\"\"\",1.500\n" +
		"ffffffffffffffff,/a,0.000\n" +
		"ffffffffffffffff,/a,2.750\n"
	if got := dump(t, r); got != want {
		t.Errorf("got\n%sexpected\n%s", got, want)
	}
}

// A recording keeps the latest arrivals, and the first of those is at 0.
func TestLatest(t *testing.T) {
	r := arrivals.New(arrivals.Options{Times: 3})
	for i := range 8 {
		r.Note(1, "/", after(float64(i*10)))
	}
	want := "key,route,time_ms\n0000000000000001,/,0.000\n0000000000000001,/,10.000\n0000000000000001,/,20.000\n"
	if got := dump(t, r); got != want {
		t.Errorf("got\n%sexpected\n%s", got, want)
	}
}

func TestBounds(t *testing.T) {
	for _, opts := range []arrivals.Options{{}, {Keys: 3, Times: 5, Every: time.Second}} {
		r := arrivals.New(opts)
		keys, times := 64, 8192
		if opts.Keys > 0 {
			keys, times = opts.Keys, opts.Times
		}
		for i := range 10 * times {
			r.Note(0, "/", after(float64(i)))
			r.Note(uint64(i%(2*keys)), "/", after(float64(i)))
		}
		n := counts(t, r)
		if len(n) > keys || len(n) < keys-1 { // the latest to be held may have had no arrival yet
			t.Errorf("%+v: %d keys", opts, len(n))
		}
		for key, n := range n {
			if n > times {
				t.Errorf("%+v: %d arrivals of %d", opts, n, key)
			}
		}
	}
}

// drawOne fills the recorder with keys from 100 on, offers the requests in one interval, ends it, and returns the key that came and the one
// that went.
func drawOne(t *testing.T, random func(uint64) uint64, keys int, requests []uint64) (came, went uint64) {
	t.Helper()
	r := arrivals.New(arrivals.Options{Keys: keys, Every: time.Second})
	r.SetRandom(random)
	for i := range keys {
		r.Note(100+uint64(i), "/", after(0))
	}
	r.Note(1, "/", after(0)) // begins the interval
	for i, key := range requests {
		r.Note(key, "/", after(float64(i)))
	}
	r.Note(1, "/", after(1000)) // ends it
	for _, key := range requests {
		r.Note(key, "/", after(1001))
	}
	n := counts(t, r)
	for i := range keys {
		if n[100+uint64(i)] == 0 {
			went = 100 + uint64(i)
		}
		delete(n, 100+uint64(i))
	}
	for came = range n {
	}
	if len(n) != 1 || went == 0 {
		t.Fatalf("%d came and %d went, expected one each", len(n), went)
	}
	return came, went
}

// A key is drawn in proportion to its requests, be they a burst or apart, and each that is held is as likely to go.
func TestFair(t *testing.T) {
	requests := []uint64{1, 2, 2, 2, 2, 2, 2, 1, 3} // and one of 1 that begins the interval
	random := rand.New(rand.NewPCG(1, 2)).Uint64N
	const draws = 5000
	came, went := map[uint64]float64{}, map[uint64]float64{}
	for range draws {
		c, w := drawOne(t, random, 4, requests)
		came[c] += 1. / draws
		went[w] += 1. / draws
	}
	// Five standard deviations of a share are below 0.036. The seed is fixed: what passes once, passes.
	for key, share := range map[uint64]float64{1: .3, 2: .6, 3: .1} {
		if math.Abs(came[key]-share) > .036 {
			t.Errorf("key %d came in %.3f of the draws, expected %.1f", key, came[key], share)
		}
	}
	for key := uint64(100); key < 104; key++ {
		if math.Abs(went[key]-.25) > .036 {
			t.Errorf("key %d went in %.3f of the draws, expected 0.25", key, went[key])
		}
	}
}

// What is held is not replaced when there is nothing else.
func TestQuiet(t *testing.T) {
	r := arrivals.New(arrivals.Options{Keys: 2, Every: time.Second})
	for i := range 100 {
		r.Note(uint64(i%2), "/", after(float64(i)*1000))
	}
	if n := counts(t, r); n[0] != 50 || n[1] != 50 {
		t.Errorf("arrivals are %v, expected 50 of each", n)
	}
}

func TestConcurrent(t *testing.T) {
	r := arrivals.New(arrivals.Options{Keys: 8, Times: 100, Every: time.Millisecond})
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 20_000 {
				r.Note(uint64(i*(g+1))%20, fmt.Sprint("/", g), after(float64(i)/10))
			}
		})
	}
	all.Go(func() {
		for range 20 {
			if err := r.WriteCSV(io.Discard); err != nil {
				t.Error(err)
			}
		}
	})
	all.Wait()
	for key, n := range counts(t, r) {
		if key >= 20 || n > 100 {
			t.Errorf("%d arrivals of %d", n, key)
		}
	}
}

type broken struct{ written int }

var errBroken = errors.New("broken")

func (b *broken) Write(p []byte) (int, error) {
	if b.written += len(p); b.written > 5000 {
		return 0, errBroken
	}
	return len(p), nil
}

func TestBrokenWriter(t *testing.T) {
	r := arrivals.New(arrivals.Options{})
	for i := range 8192 {
		r.Note(1, "/", after(float64(i)))
	}
	b := new(broken)
	if err := r.WriteCSV(b); !errors.Is(err, errBroken) || b.written > 10_000 {
		t.Errorf("%v after %d bytes", err, b.written)
	}
}

// full is a recorder that has no room, and whose recording of key 0 is full.
func full() *arrivals.Recorder {
	r := arrivals.New(arrivals.Options{})
	for i := range 8192 {
		r.Note(uint64(i%64), "/", start)
		r.Note(0, "/", start)
	}
	return r
}

func TestNoAllocation(t *testing.T) {
	r := full()
	now := time.Now()
	r.Note(1000, "/", now)
	if n := testing.AllocsPerRun(1000, func() { r.Note(0, "/", now) }); n != 0 {
		t.Errorf("%v allocations for a key that is held", n)
	}
	if n := testing.AllocsPerRun(1000, func() { r.Note(1000, "/", now) }); n != 0 {
		t.Errorf("%v allocations for a key that is not", n)
	}
}

func BenchmarkNote(b *testing.B) {
	now := time.Now()
	for _, c := range []struct {
		name string
		key  uint64
	}{{"held", 0}, {"passed", 1000}} {
		b.Run(c.name, func(b *testing.B) {
			r := full()
			b.ReportAllocs()
			for b.Loop() {
				r.Note(c.key, "/", now)
			}
		})
		b.Run(c.name+"/parallel", func(b *testing.B) {
			r := full()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r.Note(c.key, "/", now)
				}
			})
		})
	}
}

func BenchmarkWriteCSV(b *testing.B) {
	r := arrivals.New(arrivals.Options{})
	for i := range 64 * 8192 {
		r.Note(uint64(i%64), "/items/*", start.Add(time.Duration(i)*time.Microsecond))
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := r.WriteCSV(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
