// Package top shows a node live in a terminal: what the dashboard shows in a browser, in as many lines and columns as there are.
package top

import (
	"context"
	"time"

	"github.com/gdamore/tcell/v2"

	"github.com/sluicegate/sluice/internal/live"
)

// A Source tells what a node does. Follow calls history once and then snapshot for each, until ctx ends or it has an error.
type Source interface {
	Follow(ctx context.Context, history func([]live.Point), snapshot func(*live.Snapshot)) error
}

// Between attempts to reach a node that is away.
const (
	firstPause = 500 * time.Millisecond
	lastPause  = 5 * time.Second
)

// Options say how to show a node.
type Options struct {
	Colorless bool             // use bold and faint letters alone
	Lasting   func(error) bool // errors of the source after which it is no use to ask again: they end Run
}

// Run shows the node on the screen, which it initializes and gives back, until the user quits or ctx ends.
func Run(ctx context.Context, screen tcell.Screen, source Source, opts Options) error {
	if err := screen.Init(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	told := make(chan any)
	followed := make(chan error, 1)
	go func() { followed <- follow(ctx, source, opts.Lasting, told) }()
	keys, done := make(chan tcell.Event), make(chan struct{})
	go screen.ChannelEvents(keys, done)
	err := show(ctx, screen, &model{colorless: opts.Colorless}, told, keys, followed)
	cancel()
	close(done)
	screen.Fini()
	return err
}

// show draws whenever something has changed, until the user quits, ctx ends or nothing more will be told.
func show(ctx context.Context, screen tcell.Screen, m *model, told <-chan any, keys <-chan tcell.Event, followed <-chan error) error {
	for {
		m.draw(screen)
		select {
		case <-ctx.Done():
			return nil
		case err := <-followed:
			return err
		case what := <-told:
			m.take(what)
		case event := <-keys:
			if m.react(screen, event) {
				return nil
			}
		}
	}
}

// follow tells what the source tells, until ctx ends or an error lasts.
func follow(ctx context.Context, source Source, lasting func(error) bool, told chan<- any) error {
	tell := func(what any) {
		select {
		case told <- what:
		case <-ctx.Done():
		}
	}
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := source.Follow(ctx,
			func(points []live.Point) { tell(points) },
			func(s *live.Snapshot) {
				pause = firstPause
				tell(s)
			})
		if ctx.Err() != nil {
			return nil
		}
		if lasting(err) {
			return err
		}
		tell(err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// model is what is shown. It belongs to one goroutine.
type model struct {
	colorless bool
	snapshot  *live.Snapshot // nil until there is one
	history   []live.Point
	lost      error // why the node does not answer, nil while it does
	paused    bool
}

// take notes what the source tells: points, a snapshot, or an error.
func (m *model) take(what any) {
	switch what := what.(type) {
	case []live.Point:
		m.history = what[:max(0, len(what)-1)] // the snapshot that follows has the last point
	case *live.Snapshot:
		m.lost = nil
		if !m.paused {
			m.snapshot = what
			m.history = append(m.history[max(0, len(m.history)+1-live.Points):], what.Point)
		}
	case error:
		m.lost = what
	}
}

// react does what a key says, and reports whether that is to quit.
func (m *model) react(screen tcell.Screen, event tcell.Event) (quit bool) {
	switch event := event.(type) {
	case *tcell.EventResize:
		screen.Sync()
	case *tcell.EventKey:
		switch {
		case event.Key() == tcell.KeyCtrlC, event.Key() == tcell.KeyEscape, event.Rune() == 'q':
			return true
		case event.Rune() == 'p', event.Rune() == ' ':
			m.paused = !m.paused
		}
	case nil: // the terminal is gone
		return true
	}
	return false
}

// draw shows the page. What does not fit is cut: the tables first, the head last.
func (m *model) draw(screen tcell.Screen) {
	width, height := screen.Size()
	head, body, foot := m.page(width)
	room := max(0, height-len(head)-1)
	screen.Clear()
	for y, l := range append(head, body[:min(len(body), room)]...) {
		m.put(screen, y, l)
	}
	m.put(screen, height-1, foot)
	screen.Show()
}

func (m *model) put(screen tcell.Screen, y int, l line) {
	x := 0
	for _, s := range l {
		style := m.style(s.kind)
		for rest := s.text; rest != ""; {
			width := 0
			if rest, width = screen.Put(x, y, rest, style); width == 0 {
				break
			}
			x += width
		}
	}
}

func (m *model) style(k kind) tcell.Style {
	style := tcell.StyleDefault
	switch {
	case k == strong || m.colorless && k == bad:
		return style.Bold(true)
	case k == faint:
		return style.Dim(true)
	case m.colorless:
		return style
	case k == good:
		return style.Foreground(tcell.ColorGreen)
	case k == bad:
		return style.Foreground(tcell.ColorRed)
	}
	return style
}
