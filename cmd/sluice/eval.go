package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/flush"
	"github.com/sluicegate/sluice/internal/learn"
)

const evalHelp = `Compare flush policies in a simulation: what they cost, beside the best schedule that anybody could make who knew all
requests in advance.

The cost of a stretch of traffic is the call cost for each upstream call, and the waiting of all requests. It is given as
a multiple of that of the best schedule. 1 can't be had by anybody who doesn't know the future; "hindsight" is the best of
all rules with three numbers (waiters, silence, waiting in all), which are found afterwards for each cell.

Seen cells are such as the learned policy may be trained on, unseen ones are not. All policies get the same traffic. The
standard output has a table for each cell, the geometric means, and what the learned policy is to reach. The whole takes
one to three minutes; --quick gives a rough picture in seconds.

With --arrivals, which may be repeated, it is your traffic that is played instead:

  poisson:50/s                                       at random
  mmpp:5/s@2s,500/s@200ms                            at rates that change: for 2s in the mean 5/s, for 200ms 500/s, and so on
  diurnal:100/s,depth=0.8,period=1m                  up and down as a sine
  flash:20/s,peak=2000/s,every=30s,decay=1s          crowds
  pareto:100/s,alpha=1.5  lognormal:100/s,sigma=2    gaps with heavy tails
  trace:FILE                                         recorded: what /api/v1/arrivals of a gateway writes, or times in
                                                     milliseconds, one a line`

// evalOptions are the flags of eval.
type evalOptions struct {
	json, quick bool
	policy      string
	plots       string
	seeds       int
	arrivals    []string
	costs       []time.Duration
	hold        time.Duration
	maxBatch    int
	relaxed     bool
	latency     string
}

func newEval() *cobra.Command {
	var o evalOptions
	cmd := &cobra.Command{
		Use:     "eval",
		Short:   "Compare flush policies in a simulation",
		Long:    evalHelp,
		Example: "  sluice eval --quick\n  sluice eval --policy mine.json\n  sluice eval --arrivals trace:arrivals.csv --call-cost 25ms --relaxed --latency 40ms",
		Args:    noArgs,
		RunE:    fails(func(cmd *cobra.Command) error { return evaluate(cmd, &o) }),
	}
	flags := cmd.Flags()
	flags.StringVar(&o.policy, "policy", "", "the learned policy is that of this `file`, of sluice train, and not the one in the program")
	flags.BoolVar(&o.json, "json", false, "write the results as JSON instead")
	flags.StringVar(&o.plots, "plots", "", "write plots into this `directory`, as SVG")
	flags.IntVar(&o.seeds, "seeds", 20, "play this `many` pieces of traffic in each cell")
	flags.BoolVar(&o.quick, "quick", false, "play 3 short pieces of traffic in each cell")
	flags.StringArrayVar(&o.arrivals, "arrivals", nil, "play this `traffic` instead of that of the standard cells")
	flags.DurationSliceVar(&o.costs, "call-cost", []time.Duration{25 * time.Millisecond}, "with --arrivals: what a call is worth, in waiting of one request")
	flags.DurationVar(&o.hold, "hold", 50*time.Millisecond, "with --arrivals: the longest that a slot waits")
	flags.IntVar(&o.maxBatch, "max-batch", 128, "with --arrivals: the most waiters of a slot")
	flags.BoolVar(&o.relaxed, "relaxed", false, "with --arrivals: requests may join a call in flight")
	flags.StringVar(&o.latency, "latency", "20ms", "with --arrivals: how long calls take, such as 20ms,sigma=0.5,capacity=500/s")
	return cmd
}

func evaluate(cmd *cobra.Command, o *evalOptions) error {
	e, err := o.evaluation(cmd)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	e.Progress = progressOn(cmd.ErrOrStderr())
	report, err := e.Run(ctx)
	if err != nil {
		return errors.New("interrupted")
	}
	if o.plots != "" {
		if err := writePlots(ctx, o.plots, report, e.Contenders); err != nil {
			return err
		}
	}
	out := bufio.NewWriter(cmd.OutOrStdout())
	if err := o.write(out, report, e.Contenders); err != nil {
		return err
	}
	return out.Flush()
}

// evaluation is what the flags ask for.
func (o *evalOptions) evaluation(cmd *cobra.Command) (*learn.Evaluation, error) {
	if o.seeds < 1 || o.seeds > 10_000 {
		return nil, usagef("--seeds: expected 1 to 10000, got %d", o.seeds)
	}
	learned, err := o.learned()
	if err != nil {
		return nil, err
	}
	e := &learn.Evaluation{Contenders: append(learn.Rules(), learned), Seeds: o.seeds, Workers: runtime.NumCPU()}
	if o.quick {
		e.Requests = 4000
		if !cmd.Flags().Changed("seeds") {
			e.Seeds = 3
		}
	}
	if len(o.arrivals) == 0 {
		e.Cells = append(learn.Seen(), learn.Unseen()...)
		return e, nil
	}
	e.Cells, err = o.cells()
	return e, err
}

// learned is the learned policy.
func (o *evalOptions) learned() (learn.Contender, error) {
	net := flush.Default()
	if o.policy != "" {
		f, err := os.Open(o.policy)
		if err != nil {
			return learn.Contender{}, err
		}
		defer f.Close()
		if net, err = flush.Load(f); err != nil {
			return learn.Contender{}, fmt.Errorf("%s: %w", o.policy, err)
		}
	}
	policy := func(c *learn.Config) coalesce.Policy { return flush.PPO{Net: net, CallCost: c.CallCost} }
	return learn.Contender{Name: "ppo", Policy: policy}, nil
}

// cells are those that the flags describe.
func (o *evalOptions) cells() ([]learn.Cell, error) {
	latency, err := learn.ParseLatency(o.latency)
	if err != nil {
		return nil, usagef("--latency: %v", err)
	}
	if o.hold <= 0 || o.maxBatch < 0 {
		return nil, usagef("--hold: expected more than 0, and --max-batch 0 or more, got %v and %d", o.hold, o.maxBatch)
	}
	var cells []learn.Cell
	for _, spelling := range o.arrivals {
		source, err := learn.Parse(spelling)
		if err != nil {
			return nil, usagef("--arrivals: %v", err)
		}
		for _, cost := range o.costs {
			if cost <= 0 {
				return nil, usagef("--call-cost: expected more than 0, got %v", cost)
			}
			cells = append(cells, learn.Cell{Unseen: true, Group: "your traffic", Config: learn.Config{
				Arrivals: source, Latency: latency, CallCost: cost, Hold: o.hold, MaxBatch: o.maxBatch, Relaxed: o.relaxed,
			}})
		}
	}
	return cells, nil
}

// write writes the report as the flags ask for it.
func (o *evalOptions) write(w io.Writer, r *learn.Report, contenders []learn.Contender) error {
	if o.json {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		return enc.Encode(r)
	}
	if err := r.WriteTable(w); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if err := r.WriteSummary(w); err != nil {
		return err
	}
	judged := contenders[len(contenders)-1].Name
	fmt.Fprintf(w, "\nWhat a learned policy is to reach, and what %s does:\n\n", judged)
	return r.WriteBars(w, judged)
}

// progressOn says from time to time how far the evaluation has come.
func progressOn(w io.Writer) func(done, of int) {
	began := time.Now()
	said := began
	return func(done, of int) {
		now := time.Now()
		if now.Sub(said) < 5*time.Second && done < of {
			return
		}
		said = now
		took := now.Sub(began)
		left := took * time.Duration(of-done) / time.Duration(done)
		fmt.Fprintf(w, "%d of %d cells, %v, some %v left\n", done, of, took.Round(time.Second), left.Round(time.Second))
	}
}

// writePlots writes the drawings that docs/flush-policy.md shows.
func writePlots(ctx context.Context, dir string, r *learn.Report, contenders []learn.Contender) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	mapped := contenders[len(contenders)-3:] // balance, threshold, and what is learned
	for _, plot := range []struct {
		name  string
		write func(io.Writer) error
	}{
		{"cells.svg", r.WriteCells},
		{"frontier.svg", func(w io.Writer) error { return learn.WriteFrontier(w, contenders) }},
		{"map.svg", func(w io.Writer) error { return learn.WriteMap(w, mapped) }},
	} {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := writePlot(filepath.Join(dir, plot.name), plot.write); err != nil {
			return err
		}
	}
	return nil
}

func writePlot(name string, write func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	if err := write(w); err != nil {
		f.Close()
		return err
	}
	if err := w.Flush(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
