package ppo

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/flush"
	"github.com/sluicegate/sluice/internal/learn"
)

// train trains a little, and returns the policy file.
func train(t *testing.T, ctx context.Context, o Options) ([]byte, error) {
	t.Helper()
	n, err := Train(ctx, o)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if err := n.Write(&text); err != nil {
		t.Fatal(err)
	}
	return text.Bytes(), nil
}

const few = 3000 // steps

// notUnderRace leaves the longer trainings out. What runs side by side in them does so in TestTraces.
func notUnderRace(t *testing.T) {
	t.Helper()
	if underRace {
		t.Skip("it takes too long with the race detector")
	}
}

// TestReproducible: the same on one processor, on two, and with an interruption; and another with another seed.
func TestReproducible(t *testing.T) {
	notUnderRace(t)
	o := Options{Steps: few, Seed: 5, Command: "test"}
	want, err := train(t, t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	if got, err := train(t, t.Context(), o); err != nil || !bytes.Equal(got, want) {
		t.Errorf("on one processor it is another (%v)", err)
	}
	runtime.GOMAXPROCS(3)
	o.Checkpoint = filepath.Join(t.TempDir(), "checkpoint")
	ctx, cancel := context.WithCancel(t.Context())
	o.Notes = func(p Progress) {
		if p.Step > few*2/3 {
			cancel()
		}
	}
	if _, err := train(t, ctx, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted: %v", err)
	}
	resumed := 0
	o.Notes = func(p Progress) { resumed = p.Resumed }
	if got, err := train(t, t.Context(), o); err != nil || !bytes.Equal(got, want) || resumed == 0 {
		t.Errorf("interrupted at step %d it is another (%v)", resumed, err)
	}
	if _, err := os.Stat(o.Checkpoint); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the checkpoint is still there: %v", err)
	}
	if got, err := train(t, t.Context(), Options{Steps: few, Seed: 6, Command: o.Command}); err != nil || bytes.Equal(got, want) {
		t.Errorf("with another seed it is the same (%v)", err)
	}
}

// TestOtherCheckpoint: a training doesn't go on from that of another, nor from what is none.
func TestOtherCheckpoint(t *testing.T) {
	notUnderRace(t)
	name := filepath.Join(t.TempDir(), "checkpoint")
	ctx, cancel := context.WithCancel(t.Context())
	o := Options{Steps: few, Seed: 5, Checkpoint: name, Notes: func(p Progress) {
		if p.Step > few*2/3 {
			cancel()
		}
	}}
	if _, err := Train(ctx, o); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	o.Seed, o.Notes = 6, nil
	if _, err := Train(t.Context(), o); !errors.Is(err, ErrOther) {
		t.Errorf("another seed: %v", err)
	}
	if err := os.WriteFile(name, []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Train(t.Context(), o); err == nil || errors.Is(err, ErrOther) {
		t.Errorf("a torn file: %v", err)
	}
}

// TestLearns: after a little training it costs less than balance does, in traffic that it was not trained with.
func TestLearns(t *testing.T) {
	notUnderRace(t)
	o := Options{Steps: 30_000, Seed: 1}
	n, err := Train(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var contests []contest
	for _, c := range learn.Seen() {
		c.Requests = 2000
		contests = append(contests, newContest(c.Config, 1<<40))
	}
	learned := meanRatio(contests, func(cost time.Duration) coalesce.Policy { return flush.PPO{Net: n, CallCost: cost} })
	balance := meanRatio(contests, func(cost time.Duration) coalesce.Policy { return flush.Balance{CallCost: cost} })
	t.Logf("it costs %.3f times what the best schedule does, balance %.3f", learned, balance)
	if learned > balance {
		t.Errorf("it costs %.3f times what the best schedule does, balance %.3f", learned, balance)
	}
}

// TestTraces: recordings take part, short as they may be.
func TestTraces(t *testing.T) {
	short := &learn.Traces{Name: "short", Keys: [][]time.Duration{{0}, {0, time.Millisecond, 2 * time.Second}}}
	if _, err := Train(t.Context(), Options{Steps: LeastSteps, Seed: 1, Traces: []*learn.Traces{short}}); err != nil {
		t.Fatal(err)
	}
}

func TestTooFewSteps(t *testing.T) {
	if n, err := Train(t.Context(), Options{Steps: LeastSteps - 1}); n != nil || err == nil {
		t.Errorf("%v, %v", n, err)
	}
}

// TestParity: what is shipped decides as what was trained, to 1e-5.
func TestParity(t *testing.T) {
	tr := newTrainer(Options{Steps: few, Seed: 3})
	for range 4 {
		tr.iterate()
	}
	n, err := tr.network(tr.actor.params, flush.Training{})
	if err != nil {
		t.Fatal(err)
	}
	worst := 0.0
	for _, e := range tr.envs {
		for range 200 {
			var x [criticInputs]float32
			e.look(&x)
			got := n.Logit((*[flush.NumFeatures]float32)(x[:]))
			tr.norm.apply(x[:])
			want := tr.actor.forward(x[:actorInputs], e.actor)
			worst = max(worst, math.Abs(float64(got-want)))
			if e.advance(got > 0) {
				tr.restart(e)
			}
		}
	}
	t.Logf("they differ by %g at most", worst)
	if worst > 1e-5 {
		t.Errorf("they differ by %g, expected at most 1e-5", worst)
	}
}
