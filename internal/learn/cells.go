package learn

import (
	"slices"
	"strings"
	"time"
)

// A Cell is a setting in which policies are compared.
type Cell struct {
	Config
	// Unseen says that no learned policy is trained on traffic of this kind at such rates and with such bursts, see Reserved: what it does there
	// it has not learned there.
	Unseen bool
	// Group is what the cell is averaged with.
	Group string
}

// The groups of cells.
const (
	GroupSeen    = "seen"
	GroupRates   = "unseen rates and bursts"
	GroupKinds   = "other traffic, unseen"
	GroupRelaxed = "relaxed, unseen"
)

// Reserved reports whether traffic is kept from training, because it is that of an unseen cell or near it: of the same kind, and none of its rates
// and times differs by more than a quarter.
func Reserved(s Source) bool {
	return slices.ContainsFunc(Unseen(), func(c Cell) bool { return near(s, c.Arrivals) })
}

func near(a, b Source) bool {
	kind, of := numbers(a)
	otherKind, than := numbers(b)
	if kind != otherKind || len(of) != len(than) {
		return false
	}
	for i, v := range of {
		if v > 1.25*than[i] || than[i] > 1.25*v {
			return false
		}
	}
	return true
}

// numbers returns what kind of source it is, and what tells it from others of the kind.
func numbers(s Source) (kind string, all []float64) {
	kind, _, _ = strings.Cut(s.String(), ":")
	switch s := s.(type) {
	case Poisson:
		all = []float64{s.Rate}
	case Modulated:
		for _, state := range s {
			all = append(all, state.Rate, state.Stay.Seconds())
		}
	case Diurnal:
		all = []float64{s.Rate, s.Depth, s.Period.Seconds()}
	case Flash:
		all = []float64{s.Rate, s.Peak, s.Every.Seconds(), s.Decay.Seconds()}
	case Pareto:
		all = []float64{s.Rate, s.Alpha}
	case LogNormal:
		all = []float64{s.Rate, s.Sigma}
	case *Traces:
		return s.String(), nil // near itself only
	}
	return kind, all
}

// benchmark is what all of the seen cells have in common, and most of the others.
func benchmark(source Source, callCost time.Duration) Config {
	return Config{Arrivals: source, Latency: Latency{Median: 20 * time.Millisecond}, CallCost: callCost, Hold: 50 * time.Millisecond, MaxBatch: 128}
}

// Seen returns the 18 cells that a policy may be trained on: strict, random arrivals at four rates, and two kinds of bursts, at three call costs.
func Seen() []Cell {
	var cells []Cell
	for _, source := range []Source{
		Poisson{Rate: 5}, Poisson{Rate: 50}, Poisson{Rate: 500}, Poisson{Rate: 5000},
		Modulated{{Rate: 5, Stay: 2 * time.Second}, {Rate: 500, Stay: 200 * time.Millisecond}},
		Modulated{{Rate: 50, Stay: time.Second}, {Rate: 5000, Stay: 50 * time.Millisecond}},
	} {
		for _, ms := range []time.Duration{5, 25, 100} {
			cells = append(cells, Cell{Config: benchmark(source, ms*time.Millisecond), Group: GroupSeen})
		}
	}
	return cells
}

// Unseen returns the cells that no policy is trained on: as many as the seen ones that are like them, at other rates, with other bursts, and at other
// call costs; some with traffic of other kinds; and some in which requests join calls, at various latencies.
func Unseen() []Cell {
	return slices.Concat(unseenRates(), unseenKinds(), unseenRelaxed())
}

func unseenRates() []Cell {
	return unseen(GroupRates, []time.Duration{10, 50, 150},
		Poisson{Rate: 20}, Poisson{Rate: 150}, Poisson{Rate: 1500}, Poisson{Rate: 3000}, unseenBursts(),
		Modulated{{Rate: 2, Stay: 3 * time.Second}, {Rate: 200, Stay: 400 * time.Millisecond}, {Rate: 8000, Stay: 15 * time.Millisecond}},
	)
}

func unseenKinds() []Cell {
	cells := unseen(GroupKinds, []time.Duration{10, 50},
		Diurnal{Rate: 200, Depth: 0.95, Period: 20 * time.Second}, unseenCrowds(), unseenTail(), LogNormal{Rate: 100, Sigma: 2})
	patient := benchmark(Poisson{Rate: 80}, 400*time.Millisecond)
	patient.Hold = 250 * time.Millisecond
	return append(cells, Cell{Config: patient, Unseen: true, Group: GroupKinds})
}

func unseenBursts() Source {
	return Modulated{{Rate: 20, Stay: 700 * time.Millisecond}, {Rate: 2000, Stay: 30 * time.Millisecond}}
}

func unseenCrowds() Source {
	return Flash{Rate: 20, Peak: 3000, Every: 10 * time.Second, Decay: 500 * time.Millisecond}
}

func unseenTail() Source { return Pareto{Rate: 100, Alpha: 1.5} }

// unseen returns a cell for each source and call cost in milliseconds.
func unseen(group string, costs []time.Duration, sources ...Source) []Cell {
	var cells []Cell
	for _, source := range sources {
		for _, cost := range costs {
			cells = append(cells, Cell{Config: benchmark(source, cost*time.Millisecond), Unseen: true, Group: group})
		}
	}
	return cells
}

func unseenRelaxed() []Cell {
	var cells []Cell
	for _, c := range []struct {
		source  Source
		latency Latency
	}{
		{Poisson{Rate: 30}, Latency{Median: 35 * time.Millisecond}},
		{Poisson{Rate: 300}, Latency{Median: 7 * time.Millisecond}},
		{Poisson{Rate: 3000}, Latency{Median: 35 * time.Millisecond, Sigma: 0.4}},
		{unseenBursts(), Latency{Median: 12 * time.Millisecond, Sigma: 0.7}},
		{unseenCrowds(), Latency{Median: 15 * time.Millisecond, Capacity: 500}},
		{unseenTail(), Latency{Median: 70 * time.Millisecond, Sigma: 0.4}},
	} {
		for _, cell := range unseen(GroupRelaxed, []time.Duration{10, 50}, c.source) {
			cell.Latency, cell.Relaxed = c.latency, true
			cells = append(cells, cell)
		}
	}
	return cells
}
