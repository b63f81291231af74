// Command report makes every comparison of this project in one run, and a page of them: bench/RESULTS.md with plots in bench/plots. Nothing on the
// page is written by hand.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sluicegate/sluice/bench/harness"
)

// comparison is one program to run, and what it is about.
type comparison struct {
	name  string // of its plot, and for -only
	title string
	about string
	dir   string // where to run it, "" for the root
	args  []string
	quick []string // what is added with -quick
}

// result is what a comparison has printed and recorded.
type result struct {
	comparison
	output  string
	records []harness.Record
	took    time.Duration
	err     error
}

func main() {
	out := flag.String("out", "bench", "directory for RESULTS.md and plots")
	quick := flag.Bool("quick", false, "run each as shortly as it can be: to try the report, not to measure")
	only := flag.String("only", "", "comma-separated names of comparisons")
	flag.Parse()
	harness.Need("nginx", "wrk", "go")
	chosen, err := choose(*only)
	harness.Fatal(err)
	var results []result
	for i, c := range chosen {
		fmt.Printf("\n== %d of %d: %s\n", i+1, len(chosen), c.title)
		results = append(results, run(c, *quick))
	}
	harness.Fatal(write(*out, results, *quick))
	for _, r := range results {
		if r.err != nil {
			harness.Fatal(fmt.Errorf("%s: %w", r.name, r.err))
		}
	}
}

func choose(only string) ([]comparison, error) {
	if only == "" {
		return comparisons, nil
	}
	var chosen []comparison
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(comparisons, func(c comparison) bool { return c.name == name })
		if i < 0 {
			return nil, fmt.Errorf("-only: there is no comparison %q", name)
		}
		chosen = append(chosen, comparisons[i])
	}
	return chosen, nil
}

// run runs a comparison, which may print as it goes.
func run(c comparison, quick bool) result {
	if quick {
		c.args = append(slices.Clone(c.args), c.quick...)
	}
	r := result{comparison: c}
	dir, err := os.MkdirTemp("", "sluice-report-")
	harness.Fatal(err)
	defer os.RemoveAll(dir)
	record := filepath.Join(dir, "record")
	var output bytes.Buffer
	cmd := exec.Command("go", c.args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), harness.RecordEnv+"="+record)
	cmd.Stdout, cmd.Stderr = io.MultiWriter(os.Stdout, &output), io.MultiWriter(os.Stderr, &output)
	started := time.Now()
	r.err = cmd.Run()
	r.took, r.output = time.Since(started), output.String()
	text, err := os.ReadFile(record)
	if err != nil { // none was made
		return r
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	for {
		var rec harness.Record
		if err := dec.Decode(&rec); err != nil {
			return r
		}
		r.records = append(r.records, rec)
	}
}
