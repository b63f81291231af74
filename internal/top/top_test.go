package top

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gdamore/tcell/v2"
	"go.uber.org/goleak"

	"github.com/sluicegate/sluice/internal/live"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func busy(requests float64) *live.Snapshot {
	return &live.Snapshot{
		Node:      live.Node{Listen: "http://gate:8080", Uptime: 61},
		Point:     live.Point{Requests: requests, Rates: map[string]float64{"passed": requests}, P99: 12.3},
		Upstreams: []live.Upstream{{Name: "api", InFlight: 3, MaxInFlight: 4, Waiting: 2, MaxWaiting: 9, Targets: []live.Target{{Address: "10.0.0.1:80", Healthy: true}, {Address: "10.0.0.2:80"}}}},
		Clients:   []live.Client{{Name: "mallory\x1b[2J\x07<b>", Rate: 5, Count: 50, Refused: 7, Limits: []live.Limit{{Rule: "client", Rate: "5/s", Limit: 6, Remaining: 1}}}},
		Jobs:      &live.Jobs{Queued: 4, OldestAge: 2, Dead: []live.DeadJob{{ID: "j1", Queue: "/uploads", Attempts: 8, Error: "503"}}},
	}
}

func TestPrint(t *testing.T) {
	var out strings.Builder
	if err := Print(&out, busy(1234)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"http://gate:8080", "up 1m1s", "requests 1.23k/s", "p99 12.3 ms", "3 of 4", "2 of 9", "● 10.0.0.1:80", "▲ 10.0.0.2:80 unhealthy", "client 5/s: 1 of 6 left", "queued 4", "j1"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if strings.ContainsAny(out.String(), "\x1b\x07") {
		t.Error("a client's name reaches the terminal as a command")
	}
}

// scripted is a node that tells what a test says.
type scripted func(ctx context.Context, history func([]live.Point), snapshot func(*live.Snapshot)) error

func (s scripted) Follow(ctx context.Context, history func([]live.Point), snapshot func(*live.Snapshot)) error {
	return s(ctx, history, snapshot)
}

// screen is a terminal in memory.
type screen struct {
	tcell.SimulationScreen
	shown atomic.Pointer[string]
}

// Show implements tcell.Screen, and keeps what is shown.
func (s *screen) Show() {
	s.SimulationScreen.Show()
	cells, width, _ := s.GetContents()
	var all strings.Builder
	for i, c := range cells {
		if i%width == 0 && i > 0 {
			all.WriteByte('\n')
		}
		all.WriteString(string(c.Runes))
	}
	text := all.String()
	s.shown.Store(&text)
}

func (s *screen) expect(t *testing.T, wants ...string) {
	t.Helper()
	synctest.Wait()
	for _, want := range wants {
		if got := *s.shown.Load(); !strings.Contains(got, want) {
			t.Fatalf("no %q on the screen:\n%s", want, got)
		}
	}
}

// A node tells, goes away, comes back, is paused, and its viewer resizes and quits.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &screen{SimulationScreen: tcell.NewSimulationScreen("UTF-8")}
		calls, tell := 0, make(chan *live.Snapshot)
		node := scripted(func(ctx context.Context, history func([]live.Point), snapshot func(*live.Snapshot)) error {
			calls++
			history([]live.Point{{Requests: 1}, {Requests: 2}})
			for {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case what := <-tell:
					if what == nil {
						return errors.New("connection refused")
					}
					snapshot(what)
				}
			}
		})
		done := make(chan error, 1)
		go func() { done <- Run(t.Context(), s, node, Options{Lasting: func(error) bool { return false }}) }()
		s.expect(t, "connecting…")
		s.SetSize(100, 12)
		tell <- busy(20)
		s.expect(t, "● live", "requests 20.0/s", "10.0.0.1:80", "q quits")
		tell <- nil
		s.expect(t, "no answer, trying again: connection refused", "requests 20.0/s")
		time.Sleep(firstPause)
		tell <- busy(30)
		s.expect(t, "● live", "requests 30.0/s")
		s.InjectKey(tcell.KeyRune, 'p', tcell.ModNone)
		s.expect(t, "paused")
		tell <- busy(40)
		s.expect(t, "requests 30.0/s")
		s.InjectKey(tcell.KeyRune, 'p', tcell.ModNone)
		s.expect(t, "● live")
		tell <- busy(50)
		s.expect(t, "requests 50.0/s")
		s.SetSize(20, 3)
		s.PostEvent(tcell.NewEventResize(20, 3))
		s.expect(t, "Sluice", "q quits")
		s.InjectKey(tcell.KeyRune, 'q', tcell.ModNone)
		if err := <-done; err != nil || calls != 2 {
			t.Errorf("%v after %d attempts", err, calls)
		}
	})
}

// An error that asking again does not mend ends it, and is told.
func TestLastingError(t *testing.T) {
	wrong := errors.New("the token is wrong")
	node := scripted(func(context.Context, func([]live.Point), func(*live.Snapshot)) error { return wrong })
	err := Run(t.Context(), tcell.NewSimulationScreen("UTF-8"), node, Options{Lasting: func(err error) bool { return err == wrong }})
	if err != wrong {
		t.Errorf("%v, expected %v", err, wrong)
	}
}

// Without colours what is bad still stands out, and nothing has a colour.
func TestColorless(t *testing.T) {
	m := &model{colorless: true}
	for k := plain; k <= bad; k++ {
		if fg, bg, _ := m.style(k).Decompose(); fg != tcell.ColorDefault || bg != tcell.ColorDefault {
			t.Errorf("kind %d has a colour", k)
		}
	}
	if m.style(bad) == m.style(plain) {
		t.Error("what is bad looks like the rest")
	}
}
