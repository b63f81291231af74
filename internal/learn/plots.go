package learn

import (
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/flush"
)

// WriteCells draws the cost of each policy in each cell of the report, over that of the clairvoyant.
func (r *Report) WriteCells(w io.Writer) error {
	const row, left, width = 15.0, 330.0, 640.0
	rows := r.of(ClairvoyantName, everywhere)
	height := row * float64(len(rows))
	s := &svg{width: left + width + 30, height: height + 90}
	f := &frame{svg: s, left: left, top: 40, width: width, height: height,
		x: axis{least: 1, most: 10, log: true, ticks: []float64{1, 1.1, 1.2, 1.35, 1.5, 2, 3, 5, 10}, name: "cost over the best schedule"},
		y: axis{least: 0, most: float64(len(rows))}}
	f.draw("")
	for i, c := range rows {
		_, y := f.at(1, float64(len(rows)-i)-0.5)
		s.text(left-8, y+4, "end", fmt.Sprintf("%s %s, %s, %gms", label(c.Unseen), c.Freshness, clip(c.Regime), c.CallCostMS))
		s.line(left, y, left+width, y, "#f0f0f0")
		for _, policy := range r.policies() {
			for _, cell := range r.of(policy, func(other *Result) bool { return other.setting() == c.setting() && policy != ClairvoyantName }) {
				x, _ := f.at(cell.CostRatio, 0)
				s.dot(x, y, colorOf(policy))
			}
		}
	}
	s.legend(left, 20, slices.DeleteFunc(r.policies(), func(name string) bool { return name == ClairvoyantName }))
	return s.writeTo(w)
}

// clip shortens what wouldn't fit beside a row.
func clip(regime string) string {
	if runes := []rune(regime); len(runes) > 32 {
		return string(runes[:31]) + "…"
	}
	return regime
}

// frontierCosts are the call costs, in milliseconds, of the points of a curve.
func frontierCosts() []time.Duration { return []time.Duration{1, 2, 5, 10, 25, 50, 100, 200} }

// WriteFrontier draws how many calls each contender saves, and what requests wait for that in the mean, at call costs from 1 to 200 ms. Where no
// curve is above a policy's, nobody saves more calls for the same waiting.
func WriteFrontier(w io.Writer, contenders []Contender) error {
	s := &svg{width: 3*330 + 30, height: 350}
	names := []string{ClairvoyantName}
	for _, c := range contenders {
		names = append(names, c.Name)
	}
	s.legend(60, 20, names)
	for i, source := range []Source{
		Poisson{Rate: 500},
		Modulated{{Rate: 5, Stay: 2 * time.Second}, {Rate: 500, Stay: 200 * time.Millisecond}},
		LogNormal{Rate: 100, Sigma: 2},
	} {
		f := &frame{svg: s, left: 60 + 330*float64(i), top: 60, width: 270, height: 240,
			x: axis{most: 20, ticks: []float64{0, 5, 10, 15, 20}, name: "mean waiting, ms"},
			y: axis{most: 100, ticks: []float64{0, 20, 40, 60, 80, 100}, name: "calls saved, %"}}
		f.draw(source.String())
		drawFrontier(f, source, contenders)
	}
	return s.writeTo(w)
}

func drawFrontier(f *frame, source Source, contenders []Contender) {
	curves := make([][][2]float64, len(contenders)+1)
	for _, ms := range frontierCosts() {
		cfg := benchmark(source, ms*time.Millisecond)
		traffic := cfg.Draw(evalSeed)
		sim := New(cfg)
		point := func(p coalesce.Policy) [2]float64 {
			sim.Play(traffic)
			o := sim.Finish(p)
			return [2]float64{millis(o.Waits.Mean()), 100 * o.Reduction()}
		}
		curves[0] = append(curves[0], point(Optimum(cfg, traffic)))
		for i, c := range contenders {
			curves[i+1] = append(curves[i+1], point(swept(c.Name, c.Policy(&cfg), ms)))
		}
	}
	f.curve(curves[0], colorOf(ClairvoyantName))
	for i, c := range contenders {
		f.curve(curves[i+1], colorOf(c.Name))
	}
}

// swept is the policy, but for those that don't heed the call cost: a curve of theirs is over other times and sizes.
func swept(name string, p coalesce.Policy, step time.Duration) coalesce.Policy {
	switch name {
	case "timer":
		return flush.Timer{After: step * time.Millisecond / 4}
	case "size":
		return flush.Size{N: max(1, int(step)/5)}
	}
	return p
}

// WriteMap draws what each contender decides about a slot of n waiters and an age, at a re-check: a row for each contender, and a column for each of
// three rates. Requests have come at random at that rate for long, and so have those in the slot; since then nothing came.
func WriteMap(w io.Writer, contenders []Contender) error {
	const callCost = 25 * time.Millisecond
	s := &svg{width: 3*330 + 30, height: 220*float64(len(contenders)) + 50}
	s.rect(60, 11, 10, 10, mapServe)
	s.text(74, 20, "start", "serves")
	s.rect(130, 11, 10, 10, mapWait)
	s.text(144, 20, "start", "waits")
	for row, c := range contenders {
		for column, rate := range []float64{50, 500, 5000} {
			most := math.Ceil(2.5*float64(flush.Best(rate, callCost))) + 1
			f := &frame{svg: s, left: 60 + 330*float64(column), top: 60 + 220*float64(row), width: 270, height: 140,
				x: mapAges(rate), y: axis{least: 0.5, most: most + 0.5, ticks: wholeTicks(most), name: "waiters"}}
			cfg := benchmark(Poisson{Rate: rate}, callCost)
			drawMap(f, &cfg, rate, c.Policy(&cfg))
			f.draw(fmt.Sprintf("%s, %g requests a second, a call costs 25ms", c.Name, rate))
		}
	}
	return s.writeTo(w)
}

const (
	mapServe = "#bfe3bf"
	mapWait  = "#f7dcc4"
)

// mapAges is an axis of ages, in milliseconds, of which more are of interest the longer the gaps are.
func mapAges(rate float64) axis {
	if rate > 1000 {
		return axis{most: 10, ticks: []float64{0, 2, 4, 6, 8, 10}, name: "age of the slot, ms"}
	}
	return axis{most: 50, ticks: []float64{0, 10, 20, 30, 40, 50}, name: "age of the slot, ms"}
}

func drawMap(f *frame, cfg *Config, rate float64, p coalesce.Policy) {
	const columns = 100
	f.rect(f.left, f.top, f.width, f.height, mapWait)
	for n := 1; float64(n) < f.y.most; n++ {
		serves := func(column int) bool {
			age := time.Duration(f.x.most * (float64(column) + 0.5) / columns * float64(time.Millisecond))
			return column < columns && p.Decide(mapState(cfg, rate, n, age)).Serve
		}
		_, y := f.at(0, float64(n)+0.5)
		for from := 0; from < columns; from++ {
			to := from
			for serves(to) {
				to++
			}
			if to > from {
				f.rect(f.left+f.width*float64(from)/columns, y, f.width*float64(to-from)/columns, f.height/(f.y.most-f.y.least)+0.3, mapServe)
			}
			from = to
		}
	}
}

// mapState is that of a slot whose waiters have come at the rate, or faster if it isn't as old as that, after arrivals at a rate that was always the
// same.
func mapState(cfg *Config, rate float64, n int, age time.Duration) coalesce.State {
	gap := time.Duration(1e9 / rate)
	quiet := max(age-time.Duration(n-1)*gap, min(age/time.Duration(n), gap/2))
	return coalesce.State{
		Now: time.Hour, Size: n, Age: age, Waiting: time.Duration(n) * (quiet + (age-quiet)/2), SinceArrival: quiet,
		Gap:   time.Duration(geometricGap * float64(gap)),
		Rates: [3]float64{rate, rate, rate}, LatencyP50: cfg.Latency.Median, LatencyP99: cfg.Latency.Median,
		Hold: cfg.Hold, MaxBatch: cfg.MaxBatch, Relaxed: cfg.Relaxed,
	}
}

// geometricGap is the geometric mean of random arrivals' gaps, over their mean: e to the −γ, Euler's constant.
const geometricGap = 0.5615

// wholeTicks returns some five numbers up to most.
func wholeTicks(most float64) []float64 {
	step := max(1, math.Ceil(most/6))
	var ticks []float64
	for v := step; v <= most; v += step {
		ticks = append(ticks, v)
	}
	return ticks
}
