package gateway

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/internal/admit"
	"github.com/sluicegate/sluice/internal/cache"
	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/problem"
	"github.com/sluicegate/sluice/internal/upstream"
)

// merging is how requests of a route that differ are sent as one: the JSON values that are their bodies as an array, to be answered by an
// array of as many.
type merging struct {
	cfg     *config.Merge
	maxItem int64  // bytes of a body
	key     []byte // begins the keys of its calls
	naming  []string
	gather  *coalesce.Gather[*item, *part]
	options *coalesce.GatherOptions[*item, *part]
	pool    *backend
}

// item is one request that may be sent with others.
type item struct {
	body []byte
	head *http1.Request // of the call, if this item is its first
	hop  upstream.Hop

	price int64 // what it bids for a slot of the upstream
}

// part is one request's share of the answer, or the whole answer to a request that was sent by itself.
type part struct {
	target      string
	queued      time.Duration // of the call, for a slot
	status      int
	contentType []byte
	body        []byte
}

// maxMergedAnswer bounds the answer to a merged call, in bytes.
const maxMergedAnswer = 64 << 20

func newMerging(r *config.Route, next *settings, gather *coalesce.Gather[*item, *part]) *merging {
	if r.Merge == nil {
		return nil
	}
	m := &merging{
		cfg: r.Merge, maxItem: int64(r.Merge.MaxItem), key: binary.LittleEndian.AppendUint64(nil, sharings.Add(1)), gather: gather,
		pool:   next.pools[r.Upstream],
		naming: slices.DeleteFunc(namingFields(&next.cfg.Identify), func(n string) bool { return containsFold(r.Merge.ShareBy, n) }),
	}
	if r.MaxBody > 0 { // what is longer is not merged, and so refused
		m.maxItem = min(m.maxItem, int64(r.MaxBody))
	}
	m.options = &coalesce.GatherOptions[*item, *part]{
		Policy:   next.agents.policy(termsOfMerge(r.Merge)),
		Hold:     r.Merge.Hold,
		MaxBatch: r.Merge.MaxBatch,
		Tag:      r.Path,
		Fetch:    m.fetch,
		OneByOne: true, // of the calls for which fetch returns an error
	}
	return m
}

// merge answers a request by a call that it is a part of, with others.
func (g *Gateway) merge(r *request) {
	m := r.route.merging
	body, err := readAll(&r.Body, int(r.Length))
	if err != nil {
		r.failBody(err)
		return
	}
	r.body = http1.NewBody(body)
	if !json.Valid(body) {
		g.single(r) // let the upstream say what is wrong with it
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r.WhenGone(aborter(cancel))
	got, outcome, err := m.gather.Do(ctx, m.slot(r), m.item(r, body), m.options)
	r.WhenGone(nil)
	var failure *upstream.Error
	var refusal *admit.Refusal
	switch {
	case err == nil:
		r.target, r.queued, r.merged = got.target, got.queued, outcome.Role != coalesce.Leader
		g.invalidate(r, &http1.Response{Status: got.status})
		r.answerPart(got)
	case errors.Is(err, coalesce.ErrOverflow), errors.Is(err, coalesce.ErrClosed):
		g.single(r)
	case errors.As(err, &failure):
		g.fail(r, failure)
	case errors.As(err, &refusal):
		g.turnAway(r, refusal)
	default:
		g.invalidate(r, nil) // the upstream may have done it, or be about to
		r.failMerged(err)
	}
}

// failMerged answers a request whose batch was not answered as it must.
func (r *request) failMerged(err error) {
	switch {
	case errors.Is(err, context.Canceled):
		r.leave()
	case errors.Is(err, errNotMerged):
		r.refuse(problem.UpstreamInvalid, err.Error())
	default: // a defect of our own, which the log tells once for the call
		r.refuse(problem.Internal, "the call that this request was part of has failed")
	}
}

// takes reports whether a request may be merged: its body is JSON of a known length, and nobody's credentials go with it.
func (m *merging) takes(r *http1.Request) bool {
	if r.Length <= 0 || r.Length > m.maxItem || r.Upgrades() || safeMethod(r) {
		return false
	}
	isJSON := false
	for i := range r.Fields {
		f := &r.Fields[i]
		switch {
		case http1.EqualFold(f.Name, "content-type"):
			kind, _, _ := bytes.Cut(f.Value, []byte{';'})
			isJSON = http1.EqualFold(bytes.TrimSpace(kind), "application/json")
		case http1.EqualFold(f.Name, "content-encoding"):
			return false
		case m.personal(f):
			return false
		}
	}
	return isJSON
}

func safeMethod(r *http1.Request) bool { return r.IsMethod("GET") || r.IsMethod("HEAD") }

// personal reports the fields by which a client says who it is, or sets a condition, unless the configuration has requests merged by them.
func (m *merging) personal(f *http1.Field) bool {
	return !containsFold(m.cfg.ShareBy, string(f.Name)) && (cache.OfOneClient(f) || containsFold(m.naming, string(f.Name)))
}

// readAll reads a body of n bytes.
func readAll(body *http1.Body, n int) ([]byte, error) {
	all := make([]byte, 0, n)
	for {
		p, err := body.Next()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, p...)
	}
}

// slot is the key of the calls that a request may be part of: the same method, host and target, and the same values in the fields of
// share_by.
func (m *merging) slot(r *request) string {
	key := append(make([]byte, 0, maxCallKey), r.Method...)
	for _, p := range [][]byte{r.Host, r.Target} {
		key = append(binary.AppendUvarint(key, uint64(len(p))), p...)
	}
	for _, name := range m.cfg.ShareBy {
		for i := range r.Fields {
			if f := &r.Fields[i]; f.Kind != http1.Nominated && strings.EqualFold(name, string(f.Name)) { // one that is nominated is not sent
				key = append(binary.AppendUvarint(append(key, 1), uint64(len(f.Value))), f.Value...)
			}
		}
		key = append(key, 0)
	}
	return callKey(m.key, key)
}

// item is the request as a part of a call. The call has only those fields that all its parts agree in.
func (m *merging) item(r *request, body []byte) *item {
	head := r.Request.Clone()
	head.Fields = slices.DeleteFunc(head.Fields, func(f http1.Field) bool {
		return f.Kind != http1.Host && !containsFold(m.cfg.ShareBy, string(f.Name))
	})
	head.Fields = append(head.Fields,
		http1.Field{Name: []byte("Content-Type"), Value: []byte("application/json")},
		http1.Field{Name: []byte("Accept"), Value: []byte("application/json")})
	hop := r.hop
	hop.Peer, hop.Trusted = r.Remote.Addr(), false
	hop.RequestID = bytes.Clone(hop.RequestID)
	return &item{body: body, head: head, hop: hop, price: r.price()}
}

// errNotMerged is an upstream that does not answer an array by an array.
var errNotMerged = errors.New("the upstream did not answer a merged request as it must")

// fetch sends items as one call. It returns an error where they are to be sent again, each by itself: the upstream has refused the whole for
// something that may be wrong with one of them, or has failed, and the configuration says so.
func (m *merging) fetch(ctx context.Context, items []*item) ([]coalesce.Result[*part], error) {
	whole, err := m.send(ctx, items)
	var failure *upstream.Error
	switch {
	case errors.As(err, &failure):
		return m.failed(items, err, !failure.Sent)
	case err != nil: // too many wait for the upstream, and as many calls more would not help
		return toAll(items, err), nil
	}
	if whole.status/100 != 2 {
		if len(items) == 1 {
			return []coalesce.Result[*part]{{Value: whole}}, nil
		}
		err := fmt.Errorf("%w: it answered %d", errNotMerged, whole.status)
		return m.failed(items, err, whole.status/100 == 4)
	}
	var values []json.RawMessage
	if err := json.Unmarshal(whole.body, &values); err != nil {
		return m.failed(items, fmt.Errorf("%w: %v", errNotMerged, err), false)
	}
	if len(values) != len(items) {
		return m.failed(items, fmt.Errorf("%w: %d values for %d requests", errNotMerged, len(values), len(items)), false)
	}
	results := make([]coalesce.Result[*part], len(items))
	for i, value := range values {
		results[i].Value = &part{target: whole.target, status: statusOf(value), contentType: jsonType, body: value, queued: whole.queued}
	}
	return results, nil
}

// failed gives all of them the failure, or has each of them sent again.
func (m *merging) failed(items []*item, err error, unserved bool) ([]coalesce.Result[*part], error) {
	if len(items) > 1 && (unserved || m.cfg.OnError == config.MergeEach) {
		return nil, err
	}
	return toAll(items, err), nil
}

// toAll gives all of them an error.
func toAll(items []*item, err error) []coalesce.Result[*part] {
	results := make([]coalesce.Result[*part], len(items))
	for i := range results {
		results[i].Err = err
	}
	return results
}

var jsonType = []byte("application/json")

// statusOf is the status that a value stands for: an object with an error and a status of 400 to 599 is that, any other is 200.
func statusOf(value json.RawMessage) int {
	if value[0] != '{' {
		return http.StatusOK
	}
	var failed struct {
		Error  json.RawMessage `json:"error"`
		Status int             `json:"status"`
	}
	if json.Unmarshal(value, &failed) != nil || len(failed.Error) == 0 || failed.Status < 400 || failed.Status > 599 {
		return http.StatusOK
	}
	return failed.Status
}

// send makes the call and reads the answer.
func (m *merging) send(ctx context.Context, items []*item) (*part, error) {
	size := 2
	for _, it := range items {
		size += len(it.body) + 1
	}
	body := append(make([]byte, 0, size), '[')
	for i, it := range items {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, it.body...)
	}
	first := items[0]
	head := *first.head
	head.Fields = slices.Clone(head.Fields)
	price := highest(items, func(it *item) int64 { return it.price })
	call, err := m.pool.Do(upstream.Own(ctx, &head, append(body, ']')), &first.hop, price)
	if err != nil {
		return nil, err
	}
	defer call.Close()
	for call.Response().Status < 200 {
		if failure := call.NextInterim(); failure != nil {
			return nil, failure
		}
	}
	resp := call.Response()
	whole := &part{target: call.Target(), queued: call.queued(), status: resp.Status}
	if kind, ok := resp.Get("content-type"); ok {
		whole.contentType = bytes.Clone(kind)
	}
	for {
		p, err := call.Body().Next()
		if err == io.EOF {
			return whole, nil
		}
		if err == nil && len(whole.body)+len(p) > maxMergedAnswer {
			err = fmt.Errorf("the answer is longer than %d bytes", maxMergedAnswer)
		}
		if err != nil {
			return nil, &upstream.Error{Kind: upstream.BadResponse, Target: whole.target, Err: err, Sent: true}
		}
		whole.body = append(whole.body, p...)
	}
}

// answerPart answers with a part.
func (r *request) answerPart(p *part) {
	r.Begin(p.status, nil)
	r.AddDate()
	if p.contentType != nil {
		r.Add(contentTypeName, p.contentType)
	}
	r.AddString("Via", "1.1 sluice")
	r.addOwn()
	r.Respond(p.body)
}

var contentTypeName = []byte("Content-Type")

func containsFold(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
}
