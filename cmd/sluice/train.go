package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/sluicegate/sluice/flush"
	"github.com/sluicegate/sluice/internal/learn"
	"github.com/sluicegate/sluice/internal/learn/ppo"
)

const trainHelp = `Train a flush policy in a simulation, and write it to a file that --policy ppo can use.

First the policy imitates the schedule that knows all requests in advance, then it learns by itself, by proximal policy
optimization, from what its decisions cost. It plays traffic of many kinds: at random, in bursts, with heavy tails, and so
on, at many rates, call costs and latencies, none of it that of the unseen cells of sluice eval. With --trace, which
may be repeated, half of what it plays is yours: what /api/v1/arrivals of a gateway writes, or times in milliseconds, one a line.

The cost that is told is the geometric mean over a validation, with traffic of its own, as a multiple of what the schedule pays that
knows the future; the policy that does best there is written. The same steps, seed and recordings make the same policy, bit
for bit, on the same kind of processor.

Training can be interrupted: a checkpoint beside the file keeps what was learned, and the same command goes on from there. 20,000
steps take some seconds and show how it goes; the policy that is shipped was made by the default.`

// trainOptions are the flags of train.
type trainOptions struct {
	out    string
	steps  int
	seed   uint64
	traces []string
}

func newTrain() *cobra.Command {
	var o trainOptions
	cmd := &cobra.Command{
		Use:     "train",
		Short:   "Train a flush policy in a simulation",
		Long:    trainHelp,
		Example: "  sluice train --steps 20000\n  sluice train --trace arrivals.csv --out mine.json\n  sluice eval --policy mine.json",
		Args:    noArgs,
		RunE:    fails(func(cmd *cobra.Command) error { return train(cmd, &o) }),
	}
	flags := cmd.Flags()
	flags.StringVar(&o.out, "out", "policy.json", "write the policy to this `file`; the checkpoint is beside it")
	flags.IntVar(&o.steps, "steps", 6_000_000, "learn from so many decisions")
	flags.Uint64Var(&o.seed, "seed", 1, "of all random numbers")
	flags.StringArrayVar(&o.traces, "trace", nil, "play this recording, too: a `file`")
	return cmd
}

func train(cmd *cobra.Command, o *trainOptions) error {
	if o.steps < ppo.LeastSteps {
		return usagef("--steps: expected at least %d, got %d", ppo.LeastSteps, o.steps)
	}
	options := ppo.Options{Steps: o.steps, Seed: o.seed, Checkpoint: o.out + ".checkpoint", Command: o.command()}
	for _, name := range o.traces {
		trace, err := learn.OpenTraces(name)
		if err != nil {
			return err
		}
		options.Traces = append(options.Traces, trace)
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	notes := newTrainNotes(cmd.ErrOrStderr(), os.Getenv("NO_COLOR") == "")
	options.Notes = notes.note
	n, err := ppo.Train(ctx, options)
	notes.end()
	if err != nil {
		return interrupted(ctx, err, options.Checkpoint)
	}
	return ship(cmd.OutOrStdout(), n, o.out)
}

// interrupted returns the error of a training, in the words of somebody who has interrupted it if ctx has ended.
func interrupted(ctx context.Context, err error, checkpoint string) error {
	if ctx.Err() == nil {
		return err
	}
	if _, err := os.Stat(checkpoint); err != nil {
		return errors.New("interrupted before there was a checkpoint")
	}
	return fmt.Errorf("interrupted; the same command goes on from %s", checkpoint)
}

// command is what the policy file says that it was made by.
func (o *trainOptions) command() string {
	words := []string{fmt.Sprintf("sluice train --steps %d --seed %d", o.steps, o.seed)}
	for _, name := range o.traces {
		words = append(words, "--trace "+filepath.Base(name))
	}
	return strings.Join(words, " ")
}

// ship writes the policy, and says how good it is.
func ship(w io.Writer, n *flush.Network, name string) error {
	training := n.Training()
	training.Figures = ppo.Figures(n)
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := n.WithTraining(training).Write(f); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s: cost over that of the best schedule %.3f in the seen cells, %.3f in the unseen strict ones, %.3f in the relaxed\n"+
		"sluice eval --policy %s says more\n", name, training.Figures["seen"], training.Figures["unseen_strict"], training.Figures["unseen_relaxed"], name)
	return err
}

// trainNotes tells how a training goes: in one line that changes on a terminal, and in one every ten seconds elsewhere.
type trainNotes struct {
	w           io.Writer
	live, color bool
	began, said time.Time
	ratio       float64
	best        float64
	open        bool // a line is to be ended
}

func newTrainNotes(w io.Writer, color bool) *trainNotes {
	f, ok := w.(*os.File)
	live := ok && term.IsTerminal(int(f.Fd()))
	now := time.Now()
	return &trainNotes{w: w, live: live, color: color && live, began: now, said: now.Add(-time.Hour)}
}

// note is for ppo.Options.
func (t *trainNotes) note(p ppo.Progress) {
	if p.Ratio > 0 {
		t.ratio = p.Ratio
		if t.best == 0 || p.Ratio < t.best {
			t.best = p.Ratio
		}
	}
	now := time.Now()
	if p.Step < p.Steps && now.Sub(t.said) < t.every() {
		return
	}
	t.said = now
	t.write(t.line(p, now))
}

func (t *trainNotes) every() time.Duration {
	if t.live {
		return 200 * time.Millisecond
	}
	return 10 * time.Second
}

func (t *trainNotes) line(p ppo.Progress, now time.Time) string {
	doing := "learning"
	if p.Imitating {
		doing = "imitating"
	}
	percent := 100 * min(p.Step, p.Steps) / p.Steps
	line := fmt.Sprintf("%s, %d of %d steps (%d %%)", doing, p.Step, p.Steps, percent)
	if t.ratio > 0 {
		line += fmt.Sprintf(", cost %s times the best schedule's (least so far %.3f, balance %.3f)", t.bold(fmt.Sprintf("%.3f", t.ratio)), t.best, p.Balance)
	}
	if made := p.Step - p.Resumed; made > 0 && p.Step < p.Steps {
		left := time.Duration(float64(now.Sub(t.began)) * float64(p.Steps-p.Step) / float64(made))
		line += fmt.Sprintf(", %v left", left.Round(time.Second))
	}
	return line
}

func (t *trainNotes) bold(s string) string {
	if t.color {
		return "\x1b[1m" + s + "\x1b[0m"
	}
	return s
}

func (t *trainNotes) write(line string) {
	if !t.live {
		fmt.Fprintln(t.w, line)
		return
	}
	fmt.Fprint(t.w, "\r", line, "\x1b[K")
	t.open = true
}

// end ends the line.
func (t *trainNotes) end() {
	if t.open {
		fmt.Fprintln(t.w)
	}
}
