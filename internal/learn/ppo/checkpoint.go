package ppo

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// checkpoint is the state of a training when all keys are about to begin anew, which is all that goes on from there.
type checkpoint struct {
	Options                string // what was asked for
	Iteration              int
	Actor, Critic, Average []float32
	ActorAdam, CriticAdam  *adam
	Best                   []float32
	BestRatio              float64
}

// ErrOther is returned for a checkpoint of another training.
var ErrOther = errors.New("the checkpoint is of another training")

// asked says what was asked for, in one line.
func (t *trainer) asked() string {
	names := make([]string, 0, len(t.o.Traces))
	for _, trace := range t.o.Traces {
		names = append(names, trace.Name)
	}
	return fmt.Sprintf("steps %d, seed %d, recordings %q, %d weights", t.o.Steps, t.o.Seed, names, len(t.actor.params))
}

// save writes the checkpoint, in place of the one before.
func (t *trainer) save() error {
	if t.o.Checkpoint == "" {
		return nil
	}
	c := checkpoint{
		Options: t.asked(), Iteration: t.iteration, Actor: t.actor.params, Critic: t.critic.params, Average: t.average,
		ActorAdam: t.actorAdam, CriticAdam: t.criticAdam, Best: t.best, BestRatio: t.bestRatio,
	}
	fresh := t.o.Checkpoint + ".new"
	f, err := os.Create(fresh)
	if err != nil {
		return fmt.Errorf("writing a checkpoint: %w", err)
	}
	if err := errors.Join(gob.NewEncoder(f).Encode(c), f.Close()); err != nil {
		return fmt.Errorf("writing the checkpoint %s: %w", fresh, err)
	}
	return os.Rename(fresh, t.o.Checkpoint)
}

// resume takes up the checkpoint, if there is one.
func (t *trainer) resume() error {
	if t.o.Checkpoint == "" {
		return nil
	}
	f, err := os.Open(t.o.Checkpoint)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading a checkpoint: %w", err)
	}
	defer f.Close()
	var c checkpoint
	if err := gob.NewDecoder(f).Decode(&c); err != nil {
		return fmt.Errorf("reading the checkpoint %s: %w", t.o.Checkpoint, err)
	}
	if c.Options != t.asked() {
		return fmt.Errorf("%w: %s is of %s, this is %s; remove it to begin anew", ErrOther, t.o.Checkpoint, c.Options, t.asked())
	}
	t.iteration, t.average, t.best, t.bestRatio = c.Iteration, c.Average, c.Best, c.BestRatio
	t.actor.params, t.critic.params, t.actorAdam, t.criticAdam = c.Actor, c.Critic, c.ActorAdam, c.CriticAdam
	return nil
}

// forget removes the checkpoint.
func (t *trainer) forget() error {
	if t.o.Checkpoint == "" {
		return nil
	}
	if err := os.Remove(t.o.Checkpoint); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
