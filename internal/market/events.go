package market

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/problem"
)

// Bounds of streams.
const (
	maxStreams = 256              // at once, of a node
	heartbeat  = 15 * time.Second // after which a stream without events says that it lives
	batch      = 500              // fills that are read at a time
)

// events sends fills as they come, as server-sent events (HTML, section 9.2), until the client leaves or the server stops. It begins after the
// one that Last-Event-ID or ?after= names, or without that with the next.
func (s *Server) events(x *http1.Exchange) {
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		refuse(x, problem.Problem{Type: problem.TooManyStreams, RetryAfter: 5 * time.Second,
			Detail: fmt.Sprintf("%d clients of this node are listening already", maxStreams)})
		return
	}
	after, ok := s.resumeAt(x)
	if !ok {
		return
	}
	x.Begin(200, nil)
	x.AddDate()
	x.AddString("Content-Type", "text/event-stream")
	x.AddString("Cache-Control", "no-store")
	x.AddString("X-Accel-Buffering", "no") // for proxies that would wait for more
	x.EndHead(-1)
	if !x.IsMethod("HEAD") {
		ctx, cancel := context.WithCancel(s.stopping)
		defer cancel()
		x.WhenGone(aborter(cancel))
		defer x.WhenGone(nil)
		st := stream{market: s.market, x: x, after: after}
		st.run(ctx)
	}
	x.Finish(nil)
}

type aborter context.CancelFunc

// Abort implements http1.Aborter.
func (a aborter) Abort() { a() }

// resumeAt is the sequence after which a stream begins, or answers what is wrong. A sequence that this node has not reached is one of a node
// that is ahead, if it isn't far.
func (s *Server) resumeAt(x *http1.Exchange) (after uint64, ok bool) {
	var last uint64
	if s.market.Read(func(st *State) { last = st.LastFill() }) != nil {
		refuseRead(x)
		return 0, false
	}
	q, ok := readQuery(x)
	if !ok {
		return 0, false
	}
	name := "after"
	after, wrong := q.number(name, last)
	if id, there := x.Get("last-event-id"); there && wrong == nil {
		name = "Last-Event-ID"
		if after, ok = parseUint(id); !ok {
			wrong = bad(name, "must be the id of an event, a whole number")
		}
	}
	if wrong == nil && after > last && after-last > MaxFills {
		wrong = bad(name, "is %d, and this market has had %d fills: it belongs to another one", after, last)
	}
	if wrong != nil {
		refuseField(x, problem.InvalidParameter, wrong)
		return 0, false
	}
	return after, true
}

// A stream is one listener's.
type stream struct {
	market *Market
	x      *http1.Exchange
	after  uint64
	fills  []Fill
	buf    []byte
}

// run sends until ctx ends or the client is gone.
func (s *stream) run(ctx context.Context) {
	s.buf = append(s.buf, ": fills after "...)
	s.buf = fmt.Appendf(s.buf, "%d\n\n", s.after)
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for s.send() {
		select {
		case <-s.market.machine.news.above(s.after):
		case <-beat.C:
			s.buf = append(s.buf, ": heartbeat\n\n"...)
		case <-ctx.Done():
			return
		case <-s.market.Stopped():
			return
		}
		if s.fill() != nil {
			return
		}
	}
}

// fill reads the fills that are there.
func (s *stream) fill() error {
	var lost uint64
	err := s.market.Read(func(st *State) { s.fills, lost = st.Fills(s.fills[:0], s.after, batch) })
	if err != nil {
		return err
	}
	if lost > 0 {
		s.buf = fmt.Appendf(s.buf, "event: lost\ndata: {\"lost\":%d}\n\n", lost)
		s.after += lost
	}
	for i := range s.fills {
		f := &s.fills[i]
		data, err := json.Marshal(f)
		if err != nil {
			return err
		}
		s.buf = fmt.Appendf(s.buf, "id: %d\nevent: fill\ndata: %s\n\n", f.Sequence, data)
		s.after = f.Sequence
	}
	return nil
}

// send reports false if the client doesn't take it.
func (s *stream) send() bool {
	_, err := s.x.Write(s.buf)
	s.buf = s.buf[:0]
	return err == nil && s.x.Flush() == nil
}
