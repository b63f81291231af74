package meter

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/window"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func snapshotOf(precision time.Duration, list ...window.Named) window.TableSnapshot {
	return window.TableSnapshot{Taken: epoch, Timeframe: time.Minute, Precision: precision, Elapsed: precision / 2, Windows: list}
}

func named(name string, buckets ...window.Bucket) window.Named {
	return window.Named{Name: name, Buckets: buckets}
}

// TestPublicationAgainstWindow compares what a reader makes of a publication with the window that was published, or with
// one restored from it, which is the reference for time that has passed.
func TestPublicationAgainstWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		precision := time.Duration(rapid.IntRange(1, 2000).Draw(t, "precision")) * time.Millisecond
		timeframe := precision * time.Duration(rapid.IntRange(1, 100).Draw(t, "buckets"))
		table, err := window.NewTable[string](timeframe, precision, 1)
		if err != nil {
			t.Fatal(err)
		}
		now := window.Instant(0)
		for range rapid.IntRange(1, 30).Draw(t, "requests") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(timeframe/10)).Draw(t, "pause")))
			table.Add("alice", now, uint64(rapid.IntRange(1, 5).Draw(t, "n")))
		}
		p := publication{counts: snapshots{Client: table.Snapshot(now, epoch, func(name string) string { return name })}}
		age := time.Duration(rapid.Int64Range(0, int64(timeframe)*3/2).Draw(t, "age"))
		if rapid.Bool().Draw(t, "at once") {
			age = 0
		}
		w, err := window.Restore(timeframe, precision, only(p.counts[Client]), now.Add(age), epoch.Add(age))
		if err != nil {
			t.Fatal(err)
		}
		s := newSum(nil)
		s.addPublication(&p, epoch.Add(age), timeframe)
		var got reading
		if len(s.list) > 0 {
			got = s.list[0]
		}
		if want := w.Count(now.Add(age)); got.count != want {
			t.Fatalf("count %d after %v, want %d", got.count, age, want)
		}
		checkRates(t, got, w, now.Add(age), age, table.Window("alice"), now)
	})
}

// only is the snapshot of the one window in s.
func only(s window.TableSnapshot) window.Snapshot {
	return window.Snapshot{Taken: s.Taken, Timeframe: s.Timeframe, Precision: s.Precision, Elapsed: s.Elapsed, Buckets: s.Windows[0].Buckets}
}

// checkRates compares rates with exact ones: those of the present if the publication is stale, and those of the moment it
// was made if not. A reading may cover a bucket more than the window does, or one less.
func checkRates(t *rapid.T, got reading, restored *window.Window, later window.Instant, age time.Duration, published *window.Window, now window.Instant) {
	if got.count == 0 {
		return
	}
	w, at := published, now
	if age > stale {
		w, at = restored, later
	}
	for i, span := range spans {
		precision := w.Precision()
		if span > w.Timeframe()-2*precision || span < precision {
			continue
		}
		low := float64(w.CountLast(at, span-precision)) / (span + 2*precision).Seconds()
		high := float64(w.CountLast(at, span+2*precision)) / span.Seconds()
		if got.rates[i] < low-1e-9 || got.rates[i] > high+1e-9 {
			t.Fatalf("rate over %v is %v, want %v to %v", span, got.rates[i], low, high)
		}
	}
}

// TestRates tells what a reader makes of a node that goes on, and of one that has died.
func TestRates(t *testing.T) {
	second := time.Second
	var steady []window.Bucket // ten requests a second for half a minute
	for age := range 30 {
		steady = append(steady, window.Bucket{Age: age, Count: 10})
	}
	p := publication{counts: snapshots{Client: snapshotOf(second, named("alice", steady...))}}
	for _, c := range []struct {
		age   time.Duration
		count uint64
		rates [3]float64
	}{
		{0, 300, [3]float64{20 / 1.5, 110 / 10.5, 300 / 59.5}},
		{stale, 300, [3]float64{20 / 1.5, 110 / 10.5, 300 / 59.5}}, // alive, as far as anybody knows
		{9 * second, 300, [3]float64{0, 20 / 10.5, 300 / 60.5}},
		{30 * second, 300, [3]float64{0, 0, 300 / 60.5}},
		{40 * second, 200, [3]float64{0, 0, 210 / 60.5}},
		{58 * second, 20, [3]float64{0, 0, 30 / 60.5}},
	} {
		s := newSum(nil)
		s.addPublication(&p, epoch.Add(c.age), time.Minute)
		if len(s.list) != 1 || s.list[0].count != c.count {
			t.Errorf("after %v: %+v, want a count of %d", c.age, s.list, c.count)
			continue
		}
		for i, want := range c.rates {
			if got := s.list[0].rates[i]; got < want-1e-9 || got > want+1e-9 {
				t.Errorf("after %v: %v requests per second over %v, want %v", c.age, got, spans[i], want)
			}
		}
	}
	s := newSum(nil)
	s.addPublication(&p, epoch.Add(time.Minute), time.Minute)
	if len(s.list) != 0 {
		t.Errorf("after a minute: %+v, want nothing", s.list)
	}
}

// TestAbsurdTimes: a stamp from the beginning of time is old, and one from the future is of now.
func TestAbsurdTimes(t *testing.T) {
	for taken, want := range map[time.Time]int{{}: 0, time.Unix(1<<40, 0): 1} {
		counts := snapshotOf(time.Second, named("alice", window.Bucket{Age: 0, Count: 1}))
		counts.Taken = taken
		p := publication{counts: snapshots{Client: counts}}
		s := newSum(nil)
		s.addPublication(&p, epoch, time.Minute)
		if len(s.list) != want {
			t.Errorf("published at %v: %+v, want %d readings", taken, s.list, want)
		}
	}
}

func TestSumIsByKindAndName(t *testing.T) {
	s := newSum([]reading{{Client, "a", 1, [3]float64{1, 1, 1}}, {Route, "a", 2, [3]float64{}}})
	s.add(reading{Client, "a", 4, [3]float64{1, 2, 3}})
	s.add(reading{Client, "b", 8, [3]float64{}})
	want := []reading{{Client, "a", 5, [3]float64{2, 3, 4}}, {Route, "a", 2, [3]float64{}}, {Client, "b", 8, [3]float64{}}}
	if !reflect.DeepEqual(s.list, want) {
		t.Errorf("sum is %+v, want %+v", s.list, want)
	}
}

// TestOtherPrecisions adds up nodes of different configurations, as there are while a new one is rolled out.
func TestOtherPrecisions(t *testing.T) {
	coarse := snapshotOf(10*time.Second, named("alice", window.Bucket{Age: 0, Count: 1}, window.Bucket{Age: 5, Count: 2}))
	fine := snapshotOf(time.Millisecond, named("alice", window.Bucket{Age: 0, Count: 4}, window.Bucket{Age: 29_999, Count: 8}))
	for timeframe, want := range map[time.Duration]uint64{time.Minute: 15, 40 * time.Second: 13, 30 * time.Second: 13, 29 * time.Second: 5} {
		s := newSum(nil)
		for _, counts := range []window.TableSnapshot{coarse, fine} {
			p := publication{counts: snapshots{Client: counts}}
			s.addPublication(&p, epoch, timeframe)
		}
		if s.list[0].count != want {
			t.Errorf("%d within %v, want %d", s.list[0].count, timeframe, want)
		}
	}
}

func TestPublicationIsBounded(t *testing.T) {
	var list []window.Named
	for i := range 4000 {
		n := named(fmt.Sprintf("client-%04d", i))
		for age := range 600 {
			n.Buckets = append(n.Buckets, window.Bucket{Age: age, Count: uint64(i + 1)})
		}
		list = append(list, n)
	}
	route := named("/a/*", window.Bucket{Age: 1, Count: 1})
	p := publish(snapshots{Client: snapshotOf(100*time.Millisecond, list...), Route: snapshotOf(100*time.Millisecond, route)})
	data, err := p.encode()
	if err != nil || len(data) > 2*maxPublication {
		t.Fatalf("%d bytes, %v, want about %d", len(data), err, maxPublication)
	}
	kept := p.counts[Client].Windows
	if len(kept) < 100 || p.leftOut != uint64(len(list)-len(kept)) || !reflect.DeepEqual(kept, list[len(list)-len(kept):]) {
		t.Errorf("%d of %d clients kept, %d left out, the first %s: want those that counted most", len(kept), len(list), p.leftOut, kept[0].Name)
	}
	if !reflect.DeepEqual(p.counts[Route].Windows, []window.Named{route}) {
		t.Errorf("routes %v, want all", p.counts[Route].Windows)
	}
	p = publish(snapshots{Client: snapshotOf(100*time.Millisecond, list[:10]...), Route: snapshotOf(100*time.Millisecond, route)})
	if len(p.counts[Client].Windows) != 10 || p.leftOut != 0 {
		t.Errorf("%d of 10 clients kept, %d left out", len(p.counts[Client].Windows), p.leftOut)
	}
}

func goodPublication(t testing.TB) []byte {
	p := publication{leftOut: 300, counts: snapshots{
		Client: snapshotOf(time.Second, named("", window.Bucket{Age: 3, Count: 1}), named("\xff\x00", window.Bucket{Age: 0, Count: 1 << 40})),
		Route:  snapshotOf(time.Second),
	}}
	data, err := p.encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodePublication(data)
	if err != nil || got.leftOut != 300 || !reflect.DeepEqual(got.counts[Client].Windows, p.counts[Client].Windows) ||
		!got.counts[Route].Taken.Equal(epoch) {
		t.Fatalf("decoded %+v, %v, want %+v", got, err, p)
	}
	return data
}

func TestDecodeRefuses(t *testing.T) {
	good := goodPublication(t)
	for i := range good {
		if _, err := decodePublication(good[:i]); err == nil {
			t.Errorf("the first %d of %d bytes were accepted", i, len(good))
		}
	}
	for i := len(publicationMagic) + 2; i < len(good); i++ { // after what is in no snapshot and has no checksum
		bad := bytes.Clone(good)
		bad[i] ^= 0x10
		if _, err := decodePublication(bad); err == nil {
			t.Errorf("a wrong bit in byte %d was accepted", i)
		}
	}
	newer := strings.Replace(string(good), publicationMagic, "sluice-meters\x03", 1)
	if _, err := decodePublication([]byte(newer)); err == nil || err.Error() != "not readable by this version" {
		t.Errorf("a newer version: %v", err)
	}
}

// FuzzDecodePublication: whoever can write to Redis can neither crash a node nor make it use more memory than they sent.
func FuzzDecodePublication(f *testing.F) {
	good := goodPublication(f)
	f.Add(good)
	f.Add(slices.Concat([]byte(publicationMagic), bytes.Repeat([]byte{0xff}, 20)))
	f.Add([]byte(publicationMagic + "\x00\xff\xff\xff\xff\xff\xff\xff\xff\x7f"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := decodePublication(data)
		if err != nil {
			return
		}
		s := newSum(nil)
		s.addPublication(&p, epoch.Add(time.Second), time.Minute)
		for _, r := range s.list {
			if r.count == 0 || slices.ContainsFunc(r.rates[:], func(rate float64) bool { return !(rate >= 0) }) {
				t.Errorf("a reading of %+v", r)
			}
		}
	})
}
