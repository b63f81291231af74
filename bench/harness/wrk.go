package harness

import (
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// Load is what wrk sends.
type Load struct {
	Connections int
	Duration    time.Duration
	Args        []string // further arguments: -H 'Field: value', -s script.lua
}

// Result is one run of wrk.
type Result struct {
	PerSecond float64
	P50, P99  time.Duration
	CPU       time.Duration // of the server, per request
	Errors    int           // socket errors, timeouts, and statuses above 399
}

var (
	perSecond = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
	quantile  = regexp.MustCompile(`(?m)^\s+(50|99)%\s+([\d.]+)(us|ms|s|m)`)
	socketErr = regexp.MustCompile(`Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
	badStatus = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`)
)

// Wrk drives url once.
func Wrk(url string, l Load) Result {
	args := append([]string{"-t", "2", "-c", strconv.Itoa(l.Connections), "-d", fmt.Sprint(l.Duration), "--latency"}, l.Args...)
	out, err := exec.Command("wrk", append(args, url)...).CombinedOutput()
	if err != nil {
		Fatal(fmt.Errorf("wrk: %w\n%s", err, out))
	}
	r := Result{}
	m := perSecond.FindSubmatch(out)
	if m == nil {
		Fatal(fmt.Errorf("wrk printed no figure:\n%s", out))
	}
	r.PerSecond, _ = strconv.ParseFloat(string(m[1]), 64)
	for _, q := range quantile.FindAllSubmatch(out, -1) {
		d, _ := time.ParseDuration(string(q[2]) + string(q[3]))
		if string(q[1]) == "50" {
			r.P50 = d
		} else {
			r.P99 = d
		}
	}
	if m := socketErr.FindSubmatch(out); m != nil {
		for _, n := range m[1:] {
			i, _ := strconv.Atoi(string(n))
			r.Errors += i
		}
	}
	if m := badStatus.FindSubmatch(out); m != nil {
		n, _ := strconv.Atoi(string(m[1]))
		r.Errors += n
	}
	return r
}

// Subject is one of the servers of a comparison.
type Subject struct {
	Name   string
	URL    string
	Server *exec.Cmd
	Runs   []Result
}

// Measure drives the subject once and keeps the result.
func (s *Subject) Measure(l Load) Result {
	before := CPU(s.Server)
	r := Wrk(s.URL, l)
	r.CPU = time.Duration(float64(CPU(s.Server)-before) / (r.PerSecond * l.Duration.Seconds()))
	s.Runs = append(s.Runs, r)
	return r
}

// Compare drives the subjects in turn, rounds times after a short warm-up, and prints every run as it ends.
func Compare(subjects []*Subject, l Load, rounds int) {
	for _, s := range subjects {
		warm := l
		warm.Duration = time.Second
		Wrk(s.URL, warm)
	}
	for round := range rounds {
		for _, s := range subjects {
			r := s.Measure(l)
			fmt.Printf("  round %d  %-18s %9.0f req/s  p50 %-9v p99 %-9v cpu %5.2f µs/req  errors %d\n",
				round+1, s.Name, r.PerSecond, r.P50, r.P99, micros(r.CPU), r.Errors)
		}
	}
}

// Rate is the median of the subject's requests per second.
func (s *Subject) Rate() float64 {
	return median(s.Runs, func(r Result) float64 { return r.PerSecond })
}

// P99 is the median of the subject's 99th percentiles.
func (s *Subject) P99() time.Duration {
	return time.Duration(median(s.Runs, func(r Result) float64 { return float64(r.P99) }))
}

// CPU is the median of the server's processor time per request.
func (s *Subject) CPU() time.Duration {
	return time.Duration(median(s.Runs, func(r Result) float64 { return float64(r.CPU) }))
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// Errors is the number of failed requests of all runs.
func (s *Subject) Errors() (n int) {
	for _, r := range s.Runs {
		n += r.Errors
	}
	return n
}

func median(runs []Result, of func(Result) float64) float64 {
	values := make([]float64, len(runs))
	for i, r := range runs {
		values[i] = of(r)
	}
	slices.Sort(values)
	n := len(values)
	if n%2 == 1 {
		return values[n/2]
	}
	return (values[n/2-1] + values[n/2]) / 2
}

// Report prints the medians and each subject's ratio to the first.
func Report(subjects []*Subject) {
	record(subjects)
	base := subjects[0]
	fmt.Printf("\n%-20s %10s %7s %10s %7s %12s %7s %7s\n", "median", "req/s", "ratio", "p99", "ratio", "cpu µs/req", "ratio", "errors")
	for _, s := range subjects {
		fmt.Printf("%-20s %10.0f %7.2f %10v %7.2f %12.2f %7.2f %7d\n", s.Name, s.Rate(), s.Rate()/base.Rate(),
			s.P99().Round(time.Microsecond), float64(s.P99())/float64(base.P99()), micros(s.CPU()), float64(s.CPU())/float64(base.CPU()), s.Errors())
	}
}
