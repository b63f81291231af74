package learn

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrSpelling is returned for a source or a latency that is not written as it should be.
var ErrSpelling = errors.New("learn: wrong spelling")

// Spellings are what [Parse] understands, with examples.
func Spellings() []string {
	return []string{
		"poisson:50/s", "mmpp:5/s@2s,500/s@200ms", "diurnal:100/s,depth=0.8,period=1m", "flash:20/s,peak=2000/s,every=30s,decay=1s",
		"pareto:100/s,alpha=1.5", "lognormal:100/s,sigma=2", "trace:FILE.csv",
	}
}

// Parse returns the source that is written in a line: a kind, its rate per second, and what else it takes. See [Spellings]; a trace is read from
// its file, see [ReadTraces].
func Parse(spelling string) (Source, error) {
	kind, rest, _ := strings.Cut(spelling, ":")
	if kind == "trace" {
		return OpenTraces(rest)
	}
	l := &line{spelling: spelling, parts: strings.Split(rest, ",")}
	var source Source
	switch kind {
	case "poisson":
		source = Poisson{Rate: l.rate("")}
	case "mmpp":
		source = l.states()
	case "diurnal":
		source = Diurnal{Rate: l.rate(""), Depth: l.number("depth", 0, 1), Period: l.duration("period")}
	case "flash":
		source = Flash{Rate: l.rate(""), Peak: l.rate("peak"), Every: l.duration("every"), Decay: l.duration("decay")}
	case "pareto":
		source = Pareto{Rate: l.rate(""), Alpha: l.number("alpha", 1.01, 100)}
	case "lognormal":
		source = LogNormal{Rate: l.rate(""), Sigma: l.number("sigma", 0, 10)}
	default:
		l.fail("it is of no kind that is known")
	}
	if err := l.end(); err != nil {
		return nil, fmt.Errorf("%w; expected such as %s", err, strings.Join(Spellings(), " | "))
	}
	return source, nil
}

// ParseLatency returns the latency that is written in a line: "20ms", or with "sigma=0.5" for one that is spread, "capacity=500/s" for one that
// grows with the load: "20ms,sigma=0.5,capacity=500/s". "0" is none.
func ParseLatency(spelling string) (Latency, error) {
	l := &line{spelling: spelling, parts: strings.Split(spelling, ",")}
	var latency Latency
	if spelling != "0" {
		latency.Median = l.duration("")
		if l.has("sigma") {
			latency.Sigma = l.number("sigma", 0, 10)
		}
		if l.has("capacity") {
			latency.Capacity = l.rate("capacity")
		}
		if err := l.end(); err != nil {
			return Latency{}, fmt.Errorf("%w; expected such as 20ms or 20ms,sigma=0.5,capacity=500/s", err)
		}
	}
	return latency, nil
}

// A line is a spelling of which parts are taken one after the other, and the first mistake.
type line struct {
	spelling string
	parts    []string // "value" or "name=value"
	err      error
}

func (l *line) fail(format string, args ...any) {
	if l.err == nil {
		l.err = fmt.Errorf("%w: %q: %s", ErrSpelling, l.spelling, fmt.Sprintf(format, args...))
	}
}

// find returns the index of the part of that name; that without a name is found by "".
func (l *line) find(name string) int {
	return slices.IndexFunc(l.parts, func(part string) bool {
		before, _, named := strings.Cut(part, "=")
		return named && before == name || !named && name == ""
	})
}

func (l *line) has(name string) bool { return l.find(name) >= 0 }

// take returns the value of that name, and removes it.
func (l *line) take(name string) string {
	i := l.find(name)
	if i < 0 {
		l.fail("%s is missing", cmpOr(name, "the first value"))
		return ""
	}
	part := l.parts[i]
	l.parts = slices.Delete(l.parts, i, i+1)
	_, value, named := strings.Cut(part, "=")
	if !named {
		return part
	}
	return value
}

// end returns the first mistake. A part that nobody took is one.
func (l *line) end() error {
	if len(l.parts) > 0 {
		l.fail("%q has no meaning", l.parts[0])
	}
	return l.err
}

func (l *line) rate(name string) float64 {
	text := l.take(name)
	number, ok := strings.CutSuffix(text, "/s")
	rate, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(rate > 0) || rate > 1e6 {
		l.fail("%q is no rate such as 50/s, above 0 and at most 1000000/s", text)
	}
	return rate
}

func (l *line) duration(name string) time.Duration {
	text := l.take(name)
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || d > 24*time.Hour {
		l.fail("%q is no duration such as 20ms, above 0 and at most 24h", text)
	}
	return d
}

func (l *line) number(name string, least, most float64) float64 {
	text := l.take(name)
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v >= least && v <= most) {
		l.fail("%s is %q: expected a number from %g to %g", name, text, least, most)
	}
	return v
}

// states takes all that is left as RATE@STAY. A rate of 0 is a pause; not all may be that.
func (l *line) states() Modulated {
	var m Modulated
	busy := false
	for _, part := range l.parts {
		rate, stay, ok := strings.Cut(part, "@")
		if !ok {
			l.fail("%q is no state such as 500/s@200ms", part)
			break
		}
		state := &line{spelling: l.spelling, parts: []string{stay}}
		s := State{Stay: state.duration("")}
		if rate != "0/s" {
			state.parts = []string{rate}
			s.Rate, busy = state.rate(""), true
		}
		if state.err != nil {
			l.fail("%v", state.err)
		}
		m = append(m, s)
	}
	if len(m) < 2 || !busy {
		l.fail("expected two states or more, and arrivals in one of them")
	}
	l.parts = nil
	return m
}

func cmpOr(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// String implements [Source].
func (p Poisson) String() string { return fmt.Sprintf("poisson:%g/s", p.Rate) }

// String implements [Source].
func (m Modulated) String() string {
	states := make([]string, len(m))
	for i, s := range m {
		states[i] = fmt.Sprintf("%g/s@%s", s.Rate, short(s.Stay))
	}
	return "mmpp:" + strings.Join(states, ",")
}

// String implements [Source].
func (d Diurnal) String() string {
	return fmt.Sprintf("diurnal:%g/s,depth=%g,period=%s", d.Rate, d.Depth, short(d.Period))
}

// String implements [Source].
func (f Flash) String() string {
	return fmt.Sprintf("flash:%g/s,peak=%g/s,every=%s,decay=%s", f.Rate, f.Peak, short(f.Every), short(f.Decay))
}

// String implements [Source].
func (p Pareto) String() string { return fmt.Sprintf("pareto:%g/s,alpha=%g", p.Rate, p.Alpha) }

// String implements [Source].
func (l LogNormal) String() string { return fmt.Sprintf("lognormal:%g/s,sigma=%g", l.Rate, l.Sigma) }

// String returns what ParseLatency understands.
func (l Latency) String() string {
	if l.Median <= 0 {
		return "0"
	}
	s := short(l.Median)
	if l.Sigma > 0 {
		s += fmt.Sprintf(",sigma=%g", l.Sigma)
	}
	if l.Capacity > 0 {
		s += fmt.Sprintf(",capacity=%g/s", l.Capacity)
	}
	return s
}

// short writes a duration without zeros at its end: 1m, not 1m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
