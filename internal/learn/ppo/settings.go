package ppo

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/sluicegate/sluice/internal/learn"
)

const episode = 1500 // arrivals

// lists are what settings are drawn from.
type lists struct {
	costs, holds, rates, calms, peaks, stays, bursts, periods, latencies []float64 // seconds, or per second
	sizes                                                                []int
}

func training() lists {
	return lists{
		costs:     []float64{2e-3, 3.5e-3, 5e-3, 7e-3, 15e-3, 25e-3, 35e-3, 70e-3, 100e-3, 150e-3, 280e-3},
		holds:     []float64{5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 180e-3},
		sizes:     []int{8, 16, 32, 64, 256, 512, 0},
		rates:     []float64{1, 3, 5, 8, 12, 25, 50, 65, 120, 250, 500, 700, 1200, 2500, 5000, 7000},
		calms:     []float64{0, 0.5, 1, 5, 12, 25, 50, 120},
		peaks:     []float64{65, 120, 250, 500, 700, 1200, 2500, 5000, 7000},
		stays:     []float64{50e-3, 100e-3, 200e-3, 500e-3, 1, 2, 5},
		bursts:    []float64{5e-3, 10e-3, 20e-3, 50e-3, 100e-3, 200e-3, 500e-3, 1},
		periods:   []float64{1, 2, 5, 10, 60},
		latencies: []float64{2e-3, 5e-3, 10e-3, 20e-3, 50e-3, 100e-3, 200e-3},
	}
}

// draw draws a setting, and how many arrivals go before it begins to count. Three in four settings have the hold of the benchmark, and as many its
// cap; a third has one of its call costs. Traffic near that of the cells that are to be unseen is not drawn.
func draw(r *rand.Rand, traces []*learn.Traces) (cfg learn.Config, warm int) {
	l := training()
	cfg = learn.Config{
		Arrivals: l.traffic(r, traces), CallCost: seconds(one(r, l.costs)), Hold: 50 * time.Millisecond, MaxBatch: 128,
		Relaxed: r.IntN(5) == 0,
		Latency: learn.Latency{Median: seconds(one(r, l.latencies)), Sigma: one(r, []float64{0, 0.25, 0.8})},
	}
	if r.IntN(3) == 0 {
		cfg.CallCost = seconds(one(r, []float64{5e-3, 25e-3, 100e-3}))
	}
	if r.IntN(4) == 0 {
		cfg.Hold = seconds(one(r, l.holds))
	}
	if r.IntN(4) == 0 {
		cfg.MaxBatch = one(r, l.sizes)
	}
	if r.IntN(8) == 0 {
		cfg.Latency.Capacity = one(r, []float64{120, 700, 2500})
	}
	if r.IntN(2) == 0 {
		warm = int(10 * math.Exp(r.Float64()*math.Log(2000)))
	}
	cfg.Requests = warm + episode
	return cfg, warm
}

// traffic draws a source.
func (l *lists) traffic(r *rand.Rand, traces []*learn.Traces) learn.Source {
	if len(traces) > 0 && r.IntN(2) == 0 {
		return one(r, traces)
	}
	for {
		if s := l.source(r); !learn.Reserved(s) {
			return s
		}
	}
}

func (l *lists) source(r *rand.Rand) learn.Source {
	rate := one(r, l.rates)
	switch r.IntN(16) {
	case 0, 1, 2:
		return learn.Poisson{Rate: rate}
	case 3, 4, 5, 6, 7, 8, 9, 10:
		m := learn.Modulated{
			{Rate: one(r, l.calms), Stay: seconds(one(r, l.stays))},
			{Rate: one(r, l.peaks), Stay: seconds(one(r, l.bursts))},
		}
		if r.IntN(4) == 0 {
			m = append(m, learn.State{Rate: rate, Stay: seconds(one(r, l.stays))})
		}
		return m
	case 11:
		return learn.Diurnal{Rate: rate, Depth: one(r, []float64{0.5, 0.8, 1}), Period: seconds(one(r, l.periods))}
	case 12:
		return learn.Flash{Rate: max(0.5, one(r, l.calms)), Peak: one(r, l.peaks), Every: seconds(one(r, l.periods)), Decay: seconds(one(r, l.bursts))}
	case 13:
		return learn.Pareto{Rate: rate, Alpha: one(r, []float64{1.2, 1.35, 1.7, 2.2})}
	}
	return learn.LogNormal{Rate: rate, Sigma: one(r, []float64{0.5, 1, 1.5, 2.5})}
}

// one draws one of the list.
func one[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

func seconds(s float64) time.Duration { return time.Duration(math.Round(s * 1e9)) }
