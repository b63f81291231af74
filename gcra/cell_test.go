package gcra

import (
	"testing"
	"time"
)

// The tests in this file play, step by step, interleavings that chance would seldom produce.

func TestEvictedBetweenLookUpAndDecision(t *testing.T) {
	l, err := New[string](Config{Limit: MustLimit(7, time.Second, 4)})
	if err != nil {
		t.Fatal(err)
	}
	l.AllowNAt("a", 0, 5)
	hash := l.table.hash("a")
	held := l.table.indexOf(hash).find(hash, "a")
	if held == nil {
		t.Fatal("not found")
	}
	const now = int64(time.Second)
	if n, _ := l.table.sweep(now, 10); n != 1 {
		t.Fatalf("swept %d", n)
	}
	if d, ok := held.decide(take, &l.limit, now, 1); ok {
		t.Errorf("decided on an evicted entry: %+v", d)
	}
	if held.kill(dead) || held.kill(0) {
		t.Error("killed twice")
	}
	if d := l.AllowNAt("a", time.Duration(now), 5); !d.Allowed {
		t.Errorf("%+v", d)
	}
}

// TestPeriodStartedByAnother stops a goroutine between the first and the last step of starting a busy period.
func TestPeriodStartedByAnother(t *testing.T) {
	limit := MustLimit(7, time.Second, 4)
	newCell := func() *cell {
		c := new(cell)
		if v, ok := c.decide(take, &limit, 0, 5); !ok || v.wait != 0 {
			t.Fatalf("%+v", v)
		}
		return c
	}
	const first, second = int64(1_000_000_100), int64(1_000_000_200)
	for _, c := range []struct {
		name string
		play func(c *cell)
		tat  State
	}{
		{"it goes on", func(c *cell) {
			stopped := c.tat.Load()
			_ = c.swap(stopped, c.load(stopped), State{Start: time.Duration(first), TAT: time.Duration(first) + 142_857_143}, &limit)
		}, State{Start: time.Duration(first), TAT: time.Duration(first) + 142_857_143}},
		{"another with a later time takes over", func(c *cell) {
			c.tat.Store(^first)
			c.decide(take, &limit, second, 1)
		}, State{Start: time.Duration(second), TAT: time.Duration(second) + 142_857_143}},
		{"another with an earlier time takes over", func(c *cell) {
			c.tat.Store(^second)
			c.decide(take, &limit, first, 1)
		}, State{Start: time.Duration(second), TAT: time.Duration(second) + 142_857_143}},
		{"it wakes up when all is done", func(c *cell) {
			c.tat.Store(^first)
			c.decide(take, &limit, second, 1)
			c.start.CompareAndSwap(0, first)
			c.tat.CompareAndSwap(^first, first+142_857_143)
		}, State{Start: time.Duration(second), TAT: time.Duration(second) + 142_857_143}},
		{"another only looks", func(c *cell) {
			c.tat.Store(^first)
			if v, _ := c.decide(peek, &limit, first, 5); v.wait != 0 || v.reset != 0 {
				t.Errorf("%+v", v)
			}
		}, State{Start: time.Duration(first), TAT: time.Duration(first)}},
	} {
		cell := newCell()
		c.play(cell)
		if got := cell.load(cell.tat.Load()); got != c.tat {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.tat)
		}
	}
}

// TestNoEvictionForAKnownKey has a goroutine come late that looked for the key before another added it and filled the table.
func TestNoEvictionForAKnownKey(t *testing.T) {
	l, err := New[string](Config{Limit: MustLimit(7, time.Second, 4), MaxKeys: 1})
	if err != nil {
		t.Fatal(err)
	}
	l.AllowNAt("a", 0, 5)
	if v, ok := l.table.decideNew(take, &l.limit, l.table.hash("a"), "a", 0, 5); ok {
		t.Errorf("decided as if new: %+v", v)
	}
	if s := l.Stats(); s.Evicted != 0 || s.Keys != 1 {
		t.Errorf("%+v", s)
	}
	if d := l.AllowAt("a", 0); d.Allowed {
		t.Errorf("%+v", d)
	}
}
