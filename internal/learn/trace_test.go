package learn_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/arrivals"
	"github.com/sluicegate/sluice/internal/learn"
)

func TestReadTraces(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want [][]time.Duration
	}{
		"one a line":        {"0\n10\n12.5\n", [][]time.Duration{{0, 10 * ms, 12500 * time.Microsecond}}},
		"in any order":      {"12\n10\n", [][]time.Duration{{-2 * ms, 0}}},
		"a header":          {"time\n5\n\n7", [][]time.Duration{{0, 2 * ms}}},
		"more columns":      {"5,GET,/a\n7,GET,/b\n", [][]time.Duration{{0, 2 * ms}}},
		"a comment":         {"# of May\n5\n", [][]time.Duration{{0}}},
		"as the gateway's":  {"key,route,time_ms\na,/x,1.000\na,/x,3.5\nb,/y,2.000\n", [][]time.Duration{{0, 2500 * time.Microsecond}, {ms}}},
		"columns elsewhere": {"time_ms,key\n1,a\n2,b\n3,a\n", [][]time.Duration{{0, 2 * ms}, {ms}}},
		"times since 1970":  {"1700000000000\n1700000000001\n", [][]time.Duration{{0, ms}}},
		"before zero":       {"time_ms\n-5\n5\n", [][]time.Duration{{0, 10 * ms}}},
	} {
		got, err := learn.ReadTraces("name", strings.NewReader(c.text))
		if err != nil || !slices.EqualFunc(got.Keys, c.want, slices.Equal) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for _, text := range []string{"", "time\n", "5\nx\n", "5\nNaN\n", "5\n1e300\n", "key,time_ms\na\n", "\"\n"} {
		if got, err := learn.ReadTraces("name", strings.NewReader(text)); !errors.Is(err, learn.ErrTrace) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

// TestGatewayTraces: what the gateway's recorder writes is read as what was recorded.
func TestGatewayTraces(t *testing.T) {
	recorder := arrivals.New(arrivals.Options{})
	start := time.Now()
	for i := range 100 {
		recorder.Note(uint64(i%2), "/a, \"b\"", start.Add(time.Duration(i*i)*ms))
	}
	var written bytes.Buffer
	if err := recorder.WriteCSV(&written); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "arrivals.csv")
	if err := os.WriteFile(name, written.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	source := parse(t, "trace:"+name)
	traces := source.(*learn.Traces)
	if len(traces.Keys) != 2 || len(traces.Keys[1]) != 50 || traces.Keys[1][49]-traces.Keys[1][0] != (99*99-1)*ms || source.String() != "trace:"+name {
		t.Errorf("%v", traces)
	}
}

// TestTracesArePieces: an episode is a piece of one key's recording, and any of them may come.
func TestTracesArePieces(t *testing.T) {
	traces := &learn.Traces{Name: "x", Keys: [][]time.Duration{{5 * ms, 6 * ms, 8 * ms}, {100 * ms}}}
	seen := map[string]int{}
	for seed := range 400 {
		piece := traces.Times(nil, 2, rand.New(rand.NewPCG(uint64(seed), 1)))
		switch {
		case slices.Equal(piece, []time.Duration{0, ms}):
			seen["first"]++
		case slices.Equal(piece, []time.Duration{0, 2 * ms}):
			seen["second"]++
		case slices.Equal(piece, []time.Duration{0}):
			seen["other"]++
		default:
			t.Fatal(piece)
		}
	}
	for name, want := range map[string]int{"first": 150, "second": 150, "other": 100} {
		if got := seen[name]; got < want-60 || got > want+60 {
			t.Errorf("%s: %d times, want some %d", name, got, want)
		}
	}
}

// TestEndOfTrace: an episode whose recording ends is terminated, one of endless traffic is truncated.
func TestEndOfTrace(t *testing.T) {
	traces := &learn.Traces{Name: "x", Keys: [][]time.Duration{{0, 30 * ms, 90 * ms}}}
	for requests, want := range map[int][2]bool{10: {true, false}, 3: {false, true}} {
		sim := learn.New(learn.Config{Arrivals: traces, CallCost: 10 * ms, Hold: 20 * ms, Requests: requests})
		sim.Reset(1)
		for step := 1; ; step++ {
			_, _, terminated, truncated := sim.Step(true)
			if (terminated || truncated) != (step == 3) {
				t.Fatalf("step %d: %v, %v", step, terminated, truncated)
			}
			if step == 3 {
				if terminated != want[0] || truncated != want[1] || sim.Asking() {
					t.Errorf("of at most %d requests: terminated %v, truncated %v", requests, terminated, truncated)
				}
				break
			}
		}
	}
}

// FuzzReadTraces: whatever the file, it is refused, or its times can be played.
func FuzzReadTraces(f *testing.F) {
	for _, seed := range []string{"0\n10\n", "key,route,time_ms\na,/x,1.000\nb,/x,3.5\n", "time_ms\n-1e13\n1e13\n", "\"a\n\",1\n", "# \n7"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		traces, err := learn.ReadTraces("x", strings.NewReader(text))
		if err != nil {
			return
		}
		for seed := range uint64(3) {
			times := traces.Times(nil, 10, rand.New(rand.NewPCG(seed, 1)))
			if len(times) == 0 || len(times) > 10 || times[0] != 0 || !slices.IsSorted(times) {
				t.Fatalf("%q: %v", text, times)
			}
		}
	})
}
