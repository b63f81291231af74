package counter_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp/fasthttputil"

	"github.com/sluicegate/sluice/internal/counter"
	"github.com/sluicegate/sluice/window"
)

// bubble runs story with a counter on virtual time, whose file is written by write.
func bubble(t *testing.T, interval time.Duration, write func(window.Snapshot) error, story func(t *testing.T, dial func() net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		opts := options(t)
		opts.SyncInterval = interval
		c, _, err := counter.Open(opts)
		if err != nil {
			t.Fatal(err)
		}
		c.OnSave(write)
		ln := fasthttputil.NewInmemoryListener()
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- c.Serve(ctx, ln) }()
		story(t, func() net.Conn {
			conn, err := ln.Dial()
			if err != nil {
				t.Fatal(err)
			}
			return conn
		})
		cancel()
		<-served
		c.Close()
	})
}

// A process that is killed loses what no finished save holds. However long saves take, up to half of the interval, that
// is never more than one interval's counts: at every moment, all that was counted one interval ago is saved.
func TestLossIsBoundedByTheSyncInterval(t *testing.T) {
	const interval = 100 * time.Millisecond
	for _, duration := range []time.Duration{0, time.Millisecond, interval / 4, interval / 2} {
		t.Run(duration.String(), func(t *testing.T) {
			var saved atomic.Uint64
			write := func(s window.Snapshot) error {
				time.Sleep(duration)
				saved.Store(s.Total())
				return nil
			}
			bubble(t, interval, write, func(t *testing.T, dial func() net.Conn) {
				conn := dial()
				defer conn.Close()
				counted := []uint64{} // at each millisecond
				for ms := range 1000 {
					if _, err := exchange(conn); err != nil {
						t.Fatal(err)
					}
					counted = append(counted, uint64(ms+1))
					time.Sleep(time.Millisecond)
					synctest.Wait()
					if ago := ms - 100; ago >= 0 && saved.Load() < counted[ago] {
						t.Fatalf("after %d ms %d are saved, but %d were counted %v ago", ms, saved.Load(), counted[ago], interval)
					}
				}
			})
		})
	}
}

func TestNothingNewIsNotSaved(t *testing.T) {
	var saves atomic.Int64
	write := func(window.Snapshot) error { saves.Add(1); return nil }
	bubble(t, 100*time.Millisecond, write, func(t *testing.T, dial func() net.Conn) {
		conn := dial()
		defer conn.Close()
		steps := []struct{ requests, want int64 }{{0, 0}, {1, 1}, {0, 1}, {5, 2}, {0, 2}}
		for _, step := range steps {
			for range step.requests {
				if _, err := exchange(conn); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if saves.Load() != step.want {
				t.Fatalf("%d saves, want %d", saves.Load(), step.want)
			}
		}
	})
}

func TestASaveThatFailsIsTriedAgain(t *testing.T) {
	var attempts atomic.Int64
	write := func(window.Snapshot) error {
		if attempts.Add(1) < 10 {
			return errors.New("no space left")
		}
		return nil
	}
	bubble(t, 100*time.Millisecond, write, func(t *testing.T, dial func() net.Conn) {
		conn := dial()
		defer conn.Close()
		if _, err := exchange(conn); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if attempts.Load() != 10 {
			t.Errorf("%d attempts, want 10", attempts.Load())
		}
	})
}
