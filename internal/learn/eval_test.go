package learn_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/internal/learn"
)

// small is an evaluation of a few cells.
func small(workers int) *learn.Evaluation {
	return &learn.Evaluation{
		Cells:      append(learn.Seen()[6:8:8], learn.Unseen()[len(learn.Unseen())-4:]...),
		Contenders: learn.Rules(), Seeds: 3, Requests: 800, Workers: workers,
	}
}

func evaluated(t *testing.T, e *learn.Evaluation) *learn.Report {
	t.Helper()
	r, err := e.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestEvaluation: figures hang together, and don't depend on how many cells are played at once.
func TestEvaluation(t *testing.T) {
	var said []int
	e := small(1)
	e.Progress = func(done, of int) { said = append(said, done, of) }
	r := evaluated(t, e)
	if !slices.Equal(said, []int{1, 6, 2, 6, 3, 6, 4, 6, 5, 6, 6, 6}) {
		t.Errorf("progress: %v", said)
	}
	if again := evaluated(t, small(3)); !reflect.DeepEqual(r, again) {
		t.Error("three cells at once are not the same as one after the other")
	}
	if len(r.Cells) != 6*7 {
		t.Fatalf("%d results", len(r.Cells))
	}
	for i, c := range r.Cells {
		clairvoyant := r.Cells[i/7*7+6]
		if clairvoyant.Policy != learn.ClairvoyantName || math.Abs(clairvoyant.CostRatio-1) > 0.02 {
			t.Errorf("%+v", clairvoyant)
		}
		if c.CostRatio < 1-1e-9 || c.Low > c.CostRatio || c.High < c.CostRatio || c.WaitP50 > c.WaitP99 || c.WaitP99 > 1.04*c.HoldMS {
			t.Errorf("%+v", c)
		}
		if sum := c.ByPolicy + c.ByHold + c.BySize; math.Abs(sum-1) > 1e-9 || c.Reduction < 0 || c.Reduction >= 1 || c.Fallbacks != 0 {
			t.Errorf("%+v", c)
		}
		if c.Unseen != (i >= 14) || (c.Freshness == "relaxed") != (i >= 14) || (c.Triple != "") != (c.Policy == learn.HindsightName) {
			t.Errorf("%d is %+v", i, c)
		}
	}
}

// TestFirstMeasurement: in the 18 cells the rules cost about what was measured when the cells were chosen: a timer 4 times the best schedule, immediate 2.6
// (which depends on how dense the bursts are), balance 1.37, the best in hindsight 1.19.
func TestFirstMeasurement(t *testing.T) {
	r := evaluated(t, &learn.Evaluation{Cells: learn.Seen(), Contenders: learn.Rules(), Seeds: 2, Requests: 3000, Workers: 2})
	for policy, want := range map[string][2]float64{
		"timer": {3.5, 4.5}, "immediate": {2.3, 3.2}, "balance": {1.33, 1.45}, learn.HindsightName: {1.14, 1.24}, learn.ClairvoyantName: {0.999999, 1.001},
	} {
		if got := learn.MeanRatio(r, policy); got < want[0] || got > want[1] {
			t.Errorf("%s costs %.3f times the best, want %g to %g", policy, got, want[0], want[1])
		}
	}
}

func TestEvaluationIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	e := small(1)
	e.Progress = func(int, int) { cancel() }
	if r, err := e.Run(ctx); r != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", r, err)
	}
}

func TestReportAsJSON(t *testing.T) {
	result := learn.Result{Policy: "ppo", Regime: "poisson:5/s", CallCostMS: 25, Freshness: "strict", Unseen: true, CostRatio: 1.5}
	text, err := json.Marshal(&learn.Report{Cells: []learn.Result{result}})
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		`{"cells":[{"policy":"ppo","regime":"poisson:5/s","call_cost_ms":25,"freshness":"strict","unseen":true,"cost_ratio":1.5,`,
		`"reduction":0,`, `"wait_p50_ms":0,`, `"wait_p99_ms":0,`, `"by_policy":0,`,
	} {
		if !strings.Contains(string(text), part) {
			t.Errorf("%s is not in %s", part, text)
		}
	}
}

// TestBars judges figures that are made up.
func TestBars(t *testing.T) {
	group := map[bool]string{false: learn.GroupSeen, true: learn.GroupRates}
	cell := func(policy, regime string, unseen bool, ratio, byPolicy float64) learn.Result {
		return learn.Result{Policy: policy, Regime: regime, Freshness: "strict", Unseen: unseen, Group: group[unseen], CostRatio: ratio, ByPolicy: byPolicy}
	}
	r := &learn.Report{Cells: []learn.Result{
		cell("balance", "poisson:5/s", false, 1.4, 1), cell("immediate", "poisson:5/s", false, 2, 1), cell("hindsight", "poisson:5/s", false, 1.2, 1),
		cell("mine", "poisson:5/s", false, 1.29, 1),
		cell("balance", "mmpp:x", true, 2.1, 1), cell("immediate", "mmpp:x", true, 1, 1), cell("hindsight", "mmpp:x", true, 1, 1),
		cell("mine", "mmpp:x", true, 1.02, 0.7),
	}}
	want := []learn.Bar{
		{Value: 1.29, Limit: 1.22}, {Value: 1.02, Limit: 1.22}, {Value: 1.02, Limit: 1.03}, {Value: 1.29 / 1.2, Limit: 1.05}, {Value: 85, Limit: 90, Least: true},
	}
	for i, b := range r.Bars("mine") {
		if math.Abs(b.Value-want[i].Value) > 1e-9 || b.Limit != want[i].Limit || b.Least != want[i].Least || b.Met() != (i == 1 || i == 2) {
			t.Errorf("bar %d: %+v", i, b)
		}
	}
	var text bytes.Buffer
	if err := r.WriteBars(&text, "mine"); err != nil || strings.Count(text.String(), "\n") != 5 || strings.Count(text.String(), "missed") != 3 {
		t.Errorf("%v, %s", err, &text)
	}
}

// TestTables: each cell has its table, and each policy its line.
func TestTables(t *testing.T) {
	r := evaluated(t, small(2))
	var table, summary bytes.Buffer
	if err := errors.Join(r.WriteTable(&table), r.WriteSummary(&summary)); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(table.String(), "cost/best"); n != 6 {
		t.Errorf("%d tables:\n%s", n, &table)
	}
	for _, policy := range []string{"immediate", "timer", "size", "balance", "threshold", "hindsight", "clairvoyant"} {
		if strings.Count(table.String(), policy+"  ") != 6 || strings.Count(summary.String(), policy+"  ") != 1 {
			t.Errorf("%s is not in its place:\n%s\n%s", policy, &table, &summary)
		}
	}
}

// TestPlots: the drawings are XML, and have what they are about.
func TestPlots(t *testing.T) {
	r := evaluated(t, small(2))
	rules := learn.Rules()
	for name, c := range map[string]struct {
		write func(io.Writer) error
		has   []string
	}{
		"cells":    {r.WriteCells, []string{"poisson:500/s", "unseen relaxed", "cost over the best schedule"}},
		"frontier": {func(w io.Writer) error { return learn.WriteFrontier(w, rules[3:]) }, []string{"lognormal:100/s,sigma=2", "balance", "calls saved, %"}},
		"map":      {func(w io.Writer) error { return learn.WriteMap(w, rules[4:]) }, []string{"threshold, 5000 requests a second", "serves", "waiters"}},
	} {
		var drawn bytes.Buffer
		if err := c.write(&drawn); err != nil {
			t.Fatal(err)
		}
		for _, text := range c.has {
			if !strings.Contains(drawn.String(), text) {
				t.Errorf("%s: no %q", name, text)
			}
		}
		decoder := xml.NewDecoder(&drawn)
		for {
			if _, err := decoder.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
}

func TestHistogram(t *testing.T) {
	cfg := learn.Config{Arrivals: learn.Poisson{Rate: 100}, CallCost: ms, Hold: 40 * ms, Requests: 20_000, Seed: 1}
	o := learn.Run(cfg, learn.Hindsight{N: 1 << 20, Gap: 1 << 50, Budget: 1 << 50})
	// Slots are open for 40 ms: the first waits that long, and the others, four of five, evenly from 0 to 40 ms.
	for p, want := range map[float64]float64{0.1: 5, 0.5: 25, 0.7: 35, 0.9: 40, 1: 40} {
		if got := float64(o.Waits.Quantile(p)) / float64(ms); math.Abs(got/want-1) > 0.08 {
			t.Errorf("quantile %g is %g ms, want %g", p, got, want)
		}
	}
	if got := float64(o.Waits.Mean()) / float64(ms); math.Abs(got-24) > 0.5 {
		t.Errorf("mean %g ms", got)
	}
	if o.ByHold != o.Calls || o.Requests != 20_000 || math.Abs(o.Reduction()-0.8) > 0.01 {
		t.Errorf("%+v", o)
	}
	var none learn.Histogram
	if none.Quantile(0.5) != 0 || none.Mean() != 0 {
		t.Error("no times have a mean")
	}
}
