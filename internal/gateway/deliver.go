package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/sluicegate/sluice/internal/admit"
	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/jobs"
	"github.com/sluicegate/sluice/internal/upstream"
)

// work has the jobs of each async route of next sent, as many at once as it says, and those of routes that are there no more wait.
func (g *Gateway) work(old, next *settings) {
	if g.jobs == nil {
		return
	}
	before, after := old.workers(), next.workers()
	for queue, n := range before {
		if after[queue] != n {
			g.jobs.Service.Unhandle(queue)
		}
	}
	for queue, n := range after {
		if before[queue] != n {
			g.jobs.Service.Handle(queue, jobs.HandlerFunc(g.runJob), n)
		}
	}
}

// workers returns how many jobs of each async route may be sent at once. A nil s has no routes.
func (s *settings) workers() map[string]int {
	all := map[string]int{}
	if s != nil {
		for _, r := range s.routes {
			if r.async != nil {
				all[r.async.queue] = r.async.cfg.Workers
			}
		}
	}
	return all
}

// stopJobs gives the jobs that are being sent until ctx ends. What is not done then another process sends again.
func (g *Gateway) stopJobs(ctx context.Context) {
	if err := g.jobs.Service.Close(ctx); err != nil {
		g.log.Info("jobs were not waited for, and are sent again later", "reason", err)
	}
}

// asyncRoute finds the route that a queue's jobs are sent by.
func (s *settings) asyncRoute(queue string) *route {
	i := slices.IndexFunc(s.routes, func(r *route) bool { return r.async != nil && r.async.queue == queue })
	if i < 0 {
		return nil
	}
	return s.routes[i]
}

// runJob makes one attempt to send what a job keeps, through the upstream that its route has now.
func (g *Gateway) runJob(ctx context.Context, c *jobs.Claim) jobs.Result {
	route := g.settings.Load().asyncRoute(c.Queue)
	if route == nil { // it has just gone
		return jobs.Result{Verdict: jobs.Abandon}
	}
	payload, err := c.Payload()
	if err != nil {
		g.log.Warn("a job can't be read", "job", c.ID.String(), "error", err)
		return jobs.Result{Verdict: jobs.Retry, Error: "what is kept of the request can't be read now"}
	}
	kept, err := parseKept(payload)
	if err != nil {
		return jobs.Result{Verdict: jobs.Fail, Error: err.Error()}
	}
	kept.addJob(c)
	d := delivery{claim: c, kept: kept, pool: route.pool, blobs: g.jobs.Blobs, maxResult: cmp.Or(g.jobs.MaxResult, maxResult)}
	for {
		call, err := d.send(ctx)
		if err == nil {
			return d.receive(ctx, call)
		}
		if !d.again(ctx, err) {
			g.log.Debug("an attempt of a job failed", "job", c.ID.String(), "attempt", c.Attempt, "error", err)
			return d.failed(ctx, err)
		}
	}
}

// addJob adds the fields by which the upstream can tell attempts of a job from others.
func (k *keptRequest) addJob(c *jobs.Claim) {
	keyed := slices.ContainsFunc(k.head.Fields, func(f http1.Field) bool { return http1.EqualFold(f.Name, "idempotency-key") })
	if !keyed {
		k.head.Fields = append(k.head.Fields, http1.FieldOf([]byte("Idempotency-Key"), []byte(strconv.Quote(c.ID.String()))))
	}
	k.head.Fields = append(k.head.Fields, http1.FieldOf([]byte(attemptName), strconv.AppendInt(nil, int64(c.Attempt), 10)))
}

// delivery is one attempt of a job.
type delivery struct {
	claim *jobs.Claim
	kept  *keptRequest
	pool  *backend
	blobs jobs.Blobs

	maxResult int64
}

// send sends the request, and returns when the final response has begun. It ends with ctx.
func (d *delivery) send(ctx context.Context) (admitted, error) {
	req, err := d.request(ctx)
	if err != nil {
		return admitted{}, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		req.Within = time.Until(deadline)
	}
	call, err := d.pool.Do(req, &d.kept.hop, d.kept.price)
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

// request makes the request. A body in the store is opened anew each time.
func (d *delivery) request(ctx context.Context) (*upstream.Request, error) {
	head := d.kept.head
	head.Fields = slices.Clone(head.Fields)
	if d.claim.Blob == "" {
		req := upstream.Own(ctx, &head, d.kept.body)
		if len(d.kept.body) == 0 { // RFC 9110 section 8.6: said of methods that expect a body
			head.Fields = append(head.Fields, http1.FieldOf([]byte("Content-Length"), []byte("0")))
		}
		return req, nil
	}
	reading, stop := context.WithCancel(ctx)
	body, err := d.blobs.Open(reading, d.claim.Blob)
	if err != nil {
		stop()
		return nil, fmt.Errorf("opening the body: %w", err)
	}
	return upstream.OwnStream(ctx, &head, body, d.claim.BlobSize, stop), nil
}

// again reports whether to send the request once more within the attempt: it was not sent, for the upstream had no room for it. It waits first.
func (d *delivery) again(ctx context.Context, err error) bool {
	var refusal *admit.Refusal
	if !errors.As(err, &refusal) || refusal.Reason == admit.Closed || ctx.Err() != nil {
		return false
	}
	timer := time.NewTimer(max(refusal.RetryAfter, 100*time.Millisecond))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// failed is the result of an attempt without a response. The client sees its text, which doesn't tell where the upstream is.
func (d *delivery) failed(ctx context.Context, err error) jobs.Result {
	var refusal *admit.Refusal
	var failure *upstream.Error
	text := "the request's body can't be read from the store"
	switch {
	case errors.As(err, &refusal): // it was not sent: the upstream had no room, or the route goes to another one by now
		return jobs.Result{Verdict: jobs.Abandon}
	case ctx.Err() != nil, errors.As(err, &failure) && failure.Kind == upstream.TotalTimeout:
		text = "no answer within " + d.claim.Timeout.String()
	case failure != nil && failure.Kind != upstream.ClientBody:
		text = failure.Kind.String()
	}
	return jobs.Result{Verdict: jobs.Retry, Error: text}
}

// Bounds of what is kept of a response.
const (
	maxResult     = 16 << 20  // bytes of a body, unless the options say otherwise
	maxKeptHead   = 4 << 10   // bytes of field lines
	maxRetryAfter = time.Hour // that an upstream can ask for
)

// notKept is in the note of a job whose result was not kept.
const notKept = "the upstream's answer was not kept"

// receive reads the response, and says what becomes of the job.
func (d *delivery) receive(ctx context.Context, call admitted) jobs.Result {
	defer call.Close()
	resp := call.Response()
	result := jobs.Result{Verdict: verdict(resp.Status), Status: resp.Status, Head: keptHead(resp)}
	if result.Verdict == jobs.Retry {
		result.After = retryAfter(resp, time.Now())
	}
	if result.Verdict != jobs.Succeed {
		result.Error = fmt.Sprintf("the upstream answered %d", resp.Status)
	}
	body := &bodyReader{body: call.Body(), max: d.maxResult}
	inline, err := readUpTo(nil, body, jobs.MaxPayload-len(result.Head))
	switch {
	case err == nil && len(inline)+len(result.Head) <= jobs.MaxPayload:
		result.Body = inline
	case err == nil && result.Verdict == jobs.Retry && d.claim.Attempt < int(d.claim.MaxAttempts): // another answer may follow
		result.Error += "; " + notKept + ", for it is too large before the last attempt"
	case err == nil:
		result.Blob = fmt.Sprintf("%s-%d.result", d.claim.ID, d.claim.Fence)
		result.BlobSize, err = d.blobs.Put(ctx, result.Blob, body.after(inline), d.maxResult)
	}
	return d.complete(ctx, result, body, err)
}

// complete is the result of an attempt whose response was read as far as err says.
func (d *delivery) complete(ctx context.Context, result jobs.Result, body *bodyReader, err error) jobs.Result {
	if err == nil {
		return result
	}
	result.Blob, result.BlobSize = "", 0
	switch {
	case body.err == errBodyTooLarge:
		result.Error = fmt.Sprintf("%s: it has more than %d bytes", notKept, d.maxResult)
	case body.err != nil && body.err != io.EOF && ctx.Err() == nil: // what it did is not known, so it is to do it again
		return jobs.Result{Verdict: jobs.Retry, Error: "the answer broke off"}
	case ctx.Err() != nil:
		return jobs.Result{Verdict: jobs.Retry, Error: "no whole answer within " + d.claim.Timeout.String()}
	default: // the upstream has done it
		result.Error = notKept + ", for the store of large ones does not take it"
	}
	return result
}

// verdict says what a status makes of a job: what may be better next time is tried again.
func verdict(status int) jobs.Verdict {
	switch {
	case status < 400:
		return jobs.Succeed
	case status == 408, status == 425, status == 429, status >= 500:
		return jobs.Retry
	}
	return jobs.Fail
}

// retryAfter is how long the upstream asks to wait, up to maxRetryAfter; 0 if it doesn't.
func retryAfter(resp *http1.Response, now time.Time) time.Duration {
	value, ok := resp.Get("retry-after")
	if !ok {
		return 0
	}
	if seconds, err := strconv.ParseUint(string(value), 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	at, err := http.ParseTime(string(value))
	if err != nil {
		return 0
	}
	return max(0, min(at.Sub(now), maxRetryAfter))
}

// keptFields are those of a response that say what its body is.
var keptFields = []string{"content-type", "content-encoding", "content-language", "content-disposition", "content-location", "location", "etag", "last-modified"}

// keptHead is what is kept of a response's head, as field lines. Fields that don't fit are left out.
func keptHead(resp *http1.Response) (lines []byte) {
	for i := range resp.Fields {
		f := &resp.Fields[i]
		if len(lines)+len(f.Name)+len(f.Value)+4 <= maxKeptHead && f.Kind == http1.Other && containsFold(keptFields, string(f.Name)) {
			lines = http1.AppendField(lines, f.Name, f.Value)
		}
	}
	return lines
}
