package gateway

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/internal/cache"
	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/spool"
	"github.com/sluicegate/sluice/internal/upstream"
)

// fetch makes the call for those who wait. It publishes the answer when its head has come, so that the body streams to all of them, and ends
// when the last of them has it: until then it takes memory, which counts.
func (s *sharing) fetch(ctx context.Context, c *coalesce.Call[*ask, *answer]) (*answer, error) {
	got, err := s.exchange(ctx, c)
	c.Seal() // what it has brought gets older from here on
	if got != nil && got.body != nil {
		select {
		case <-got.body.Released():
		case <-ctx.Done():
		}
	}
	return got, err
}

// exchange makes the call and publishes what it brings.
func (s *sharing) exchange(ctx context.Context, c *coalesce.Call[*ask, *answer]) (*answer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a := c.Items()[0]
	if stored := s.find(ctx, a); stored != nil {
		return publish(c, &answer{entry: stored}, false), nil
	}
	sent := time.Now()
	price := highest(c.Items(), func(a *ask) int64 { return a.price })
	call, err := s.call(ctx, a, a.stale, price)
	if err != nil {
		return nil, err
	}
	defer func() { call.Close() }()
	if a.stale != nil && call.Response().Status == 304 {
		got, private := s.confirmed(a, call.Call, cache.Times{Request: sent, Response: time.Now()})
		if got != nil {
			got.queued = call.queued()
			return publish(c, got, private), nil
		}
		call.Close() // a 304 about something else: RFC 9111 section 4.3.3 has the request repeated without a condition
		sent = time.Now()
		if call, err = s.call(ctx, a, nil, price); err != nil {
			return nil, err
		}
	}
	leave := func() { // everybody has left since the answer began: nobody may join what is cut short
		c.Seal()
		cancel()
	}
	return s.pass(c, a, call, cache.Times{Request: sent, Response: time.Now()}, leave)
}

// find looks for a stored answer once more, and returns it if it answers the request. In this node's store there may be one now:
//
//	a call is under way           a request finds nothing stored
//	its answer is stored
//	the call ends                 the request waits for another call
//
// In the second level there may be one from another node. Either may be something to be confirmed, too.
func (s *sharing) find(ctx context.Context, a *ask) *cache.Entry {
	now := time.Now()
	stored, state := s.cache.Lookup(a.plan, now)
	if state != cache.Fresh {
		if found, as := s.cache.LookupShared(ctx, a.plan, a.head, now); found != nil {
			stored, state = found, as
		}
	}
	if state == cache.Fresh || state.Usable() && !a.fresh {
		return stored
	}
	if stored != nil {
		a.stale = stored
	}
	return nil
}

// call sends the request and returns when the final response's head has come. stored is what it asks to be confirmed, if anything.
func (s *sharing) call(ctx context.Context, a *ask, stored *cache.Entry, price int64) (admitted, error) {
	head := *a.head
	if stored != nil {
		head.Fields = conditional(slices.Clone(head.Fields), stored)
	}
	call, err := s.pool.Do(upstream.Own(ctx, &head, nil), &a.hop, price)
	if err != nil {
		return admitted{}, err
	}
	for call.Response().Status < 200 {
		if failure := call.NextInterim(); failure != nil {
			call.Close()
			return admitted{}, failure
		}
	}
	return call, nil
}

// conditional adds the fields by which an upstream can confirm what is stored.
func conditional(fields []http1.Field, stored *cache.Entry) []http1.Field {
	etag, modified := stored.Validators()
	if etag != nil {
		fields = append(fields, http1.Field{Name: []byte("If-None-Match"), Value: etag})
	}
	if modified != nil {
		fields = append(fields, http1.Field{Name: []byte("If-Modified-Since"), Value: modified})
	}
	return fields
}

// confirmed is the answer of an upstream that says that what is stored still holds, nil if it does not say so.
func (s *sharing) confirmed(a *ask, call *upstream.Call, t cache.Times) (got *answer, private bool) {
	entry, verdict := s.cache.Refresh(a.stale, call.Response(), a.plan, t)
	if entry == nil {
		return nil, false
	}
	call.Body().Next() // there is none: RFC 9110 section 15.4.5
	s.cache.Learn(a.plan, &verdict, t.Response)
	if verdict.Store {
		s.cache.Put(&verdict, entry)
	}
	return &answer{target: call.Target(), resp: &http1.Response{Status: 304}, entry: entry, verdict: verdict}, !verdict.Share
}

func publish(c *coalesce.Call[*ask, *answer], got *answer, private bool) *answer {
	if private {
		c.PublishPrivate(got)
	} else {
		c.Publish(got)
	}
	return got
}

// pass hands a response to those who may have it, and keeps it if it may be kept. It calls leave when all of them have left before its end.
func (s *sharing) pass(c *coalesce.Call[*ask, *answer], a *ask, call admitted, t cache.Times, leave func()) (*answer, error) {
	resp := call.Response()
	verdict := s.cache.Judge(a.head, resp, a.plan, t)
	s.cache.Learn(a.plan, &verdict, t.Response)
	got := &answer{target: call.Target(), queued: call.queued(), resp: resp.Clone(), verdict: verdict}
	if resp.Length >= 0 && resp.Length <= holdHead {
		return s.passShort(c, got, call.Body())
	}
	options := s.spool
	options.Abandoned = leave
	got.body = spool.New(options)
	p := pump{sharing: s, call: call.Call, to: got, held: c}
	if verdict.Store {
		p.keep = newKeeper(s.cache, &got.verdict, resp.Length)
	}
	expected := 0
	if verdict.Share {
		expected = c.Publish(got)
	} else if c.PublishPrivate(got) {
		expected = 1
	}
	got.body.Expect(expected)
	return got, p.run()
}

// passShort awaits a short body, so that everybody gets head and body in one piece, and nobody gets anything of one that breaks off.
func (s *sharing) passShort(c *coalesce.Call[*ask, *answer], got *answer, body *http1.Body) (*answer, error) {
	got.short = make([]byte, 0, got.resp.Length)
	for {
		piece, err := body.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, &upstream.Error{Kind: upstream.Lost, Target: got.target, Err: err, Sent: true}
		}
		got.short = append(got.short, piece...)
	}
	if got.verdict.Store && int64(len(got.short)) <= s.cache.MaxBody() {
		s.cache.Put(&got.verdict, got.verdict.Entry(got.short))
	}
	c.Seal() // it is complete: who comes now would get what is older than its request
	return publish(c, got, !got.verdict.Share), nil
}

// decline gives up one's part in the body.
func (a *answer) decline() {
	if a.body != nil {
		a.body.Decline()
	}
}

// pump moves a body from the upstream to those who share it.
type pump struct {
	sharing *sharing
	call    *upstream.Call
	to      *answer
	keep    *keeper // nil if nothing is kept
	held    *coalesce.Call[*ask, *answer]
	sealed  bool
	counted int64
}

// run moves the body, and ends it for those who read, also if it panics.
func (p *pump) run() error {
	err := errPanicked
	defer func() {
		p.keep.drop()
		p.to.body.Close(err)
	}()
	failure := p.copy()
	if failure == nil {
		p.to.trailer = cloneTrailer(p.call.Body().Trailer())
		p.keep.end()
	}
	err = failure
	return failure
}

var errPanicked = errors.New("the call that this request shared has panicked")

func (p *pump) copy() error {
	body := p.call.Body()
	for {
		piece, err := body.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		p.keep.add(piece)
		p.count(int64(len(piece)))
		if _, err := p.to.body.Write(piece); err != nil {
			return err
		}
		if !p.sealed && !p.to.body.Joinable() {
			p.held.Seal() // the beginning is gone, so whoever comes now needs a call of its own
			p.sealed = true
		}
	}
}

// count has the group know what the answers under way take in memory, so that it lets requests pass when that is too much.
func (p *pump) count(n int64) {
	if p.counted < spoolWindow && p.held.Hold(n) {
		p.counted += n
	}
}

// spoolWindow is what an answer under way takes in memory at most, in bytes.
const spoolWindow = 1 << 20

// cloneTrailer returns the trailer fields but for those that would not be for everybody. In a head they decide who gets the answer; behind the
// body, where they have no business, it has been given already.
func cloneTrailer(fields []http1.Field) []http1.Field {
	if len(fields) == 0 {
		return nil
	}
	h := http1.Head{Fields: fields}
	return slices.DeleteFunc(h.CloneFields(), func(f http1.Field) bool {
		return ofOneRequest(f.Name) || isOneOf(f.Name, "set-cookie", "set-cookie2", "authentication-info", "www-authenticate")
	})
}

// keeper collects the body of a response that is to be stored. A nil keeper keeps nothing.
type keeper struct {
	cache   *cache.Cache
	verdict *cache.Verdict
	length  int64 // as declared, negative if it is not
	body    []byte
	counted int64 // bytes of body that the cache knows of
	over    bool  // it is too long, there is no room for it, or it is stored already
}

func newKeeper(c *cache.Cache, v *cache.Verdict, length int64) *keeper {
	k := &keeper{cache: c, verdict: v, length: length}
	if length > 0 && k.room(length) {
		k.body = make([]byte, 0, length)
	}
	return k
}

// room sees to it that a body of n bytes may be collected, and gives up otherwise.
func (k *keeper) room(n int64) bool {
	if n > k.cache.MaxBody() || n > k.counted && !k.cache.Collect(n-k.counted) {
		k.drop()
		return false
	}
	k.counted = max(k.counted, n)
	return true
}

// drop ends the collecting, if that is not over yet.
func (k *keeper) drop() {
	if k == nil || k.over {
		return
	}
	k.cache.Collected(k.counted)
	k.over, k.body, k.counted = true, nil, 0
}

// add collects a piece. With the last one of a declared length the response is stored, before any client can have seen its end and ask anew.
func (k *keeper) add(piece []byte) {
	if k == nil || k.over {
		return
	}
	if !k.room(int64(len(k.body) + len(piece))) {
		return
	}
	k.body = append(k.body, piece...)
	if int64(len(k.body)) == k.length {
		k.end()
	}
}

// end stores the response, whose body is complete.
func (k *keeper) end() {
	if k == nil || k.over {
		return
	}
	k.cache.Put(k.verdict, k.verdict.Entry(k.body))
	k.drop()
}
