// Package traffic sends light synthetic traffic to a gateway, so that there is something to look at.
//
// Several named clients with different shares (the X-User field says which) send a mix of requests: mostly GETs of a few
// hot paths, some of others, some POSTs and PUTs with small bodies, now and then one that is slow or fails, and now and
// then a burst of one client on one path. The query strings are those that package origin understands.
//
// What is sent, and the times between, follow from a seed alone; see [Script]. The generator is an open loop: it does
// not wait for an answer before the next request, unless too many are waiting already, when it leaves requests out and
// counts them as skipped.
package traffic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of Options, and the range of the rate.
const (
	DefaultRate        = 30
	DefaultMaxInFlight = 64
	DefaultTimeout     = 30 * time.Second
	MaxRate            = 10_000
)

// Options says what to send, and where to. Zero means the default.
type Options struct {
	BaseURL     string        // of the gateway, such as http://127.0.0.1:8080; required, without a query
	Rate        float64       // requests per second on average; at most MaxRate
	Seed        uint64        // of the script
	MaxInFlight int           // requests that may wait for their answer at once
	Timeout     time.Duration // of one request, its body included
}

// Stats counts requests by what became of them.
type Stats struct {
	Started     int64 `json:"started"`
	OK          int64 `json:"ok"`           // answered with 2xx
	Redirected  int64 `json:"redirected"`   // 3xx; never followed
	Limited     int64 `json:"limited"`      // 429
	ClientError int64 `json:"client_error"` // any other 4xx
	ServerError int64 `json:"server_error"` // 5xx
	Failed      int64 `json:"failed"`       // no answer, or one that broke off
	Canceled    int64 `json:"canceled"`     // given up because Run was told to stop
	Skipped     int64 `json:"skipped"`      // not sent, because MaxInFlight were waiting
}

// counts is Stats while they change.
type counts struct {
	started, ok, redirected, limited, clientError, serverError, failed, canceled, skipped atomic.Int64
}

// Generator sends traffic. Make it with [New]; its methods may be called from any goroutine.
type Generator struct {
	opts   Options
	counts counts
}

// New returns a generator that sends nothing yet. Its error says which option is wrong.
func New(opts Options) (*Generator, error) {
	base, err := url.Parse(opts.BaseURL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("traffic: base URL: %w", err)
	case base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.RawQuery != "" || base.Fragment != "":
		return nil, fmt.Errorf("traffic: base URL: expected one such as http://127.0.0.1:8080, got %q", opts.BaseURL)
	case !(opts.Rate >= 0 && opts.Rate <= MaxRate): // written so that NaN is refused
		return nil, fmt.Errorf("traffic: rate must be between 0 and %d requests per second, got %v", MaxRate, opts.Rate)
	case opts.MaxInFlight < 0:
		return nil, fmt.Errorf("traffic: requests in flight must not be negative, got %d", opts.MaxInFlight)
	case opts.Timeout < 0:
		return nil, fmt.Errorf("traffic: timeout must not be negative, got %v", opts.Timeout)
	}
	opts.BaseURL = strings.TrimSuffix(opts.BaseURL, "/")
	if opts.Rate == 0 {
		opts.Rate = DefaultRate
	}
	if opts.MaxInFlight == 0 {
		opts.MaxInFlight = DefaultMaxInFlight
	}
	if opts.Timeout == 0 {
		opts.Timeout = DefaultTimeout
	}
	return &Generator{opts: opts}, nil
}

// Stats returns the counts so far, of all calls of Run together. While Run is running, requests that are started and
// still wait for their answer are in none of the outcomes.
func (g *Generator) Stats() Stats {
	c := &g.counts
	return Stats{
		Started: c.started.Load(), OK: c.ok.Load(), Redirected: c.redirected.Load(), Limited: c.limited.Load(),
		ClientError: c.clientError.Load(), ServerError: c.serverError.Load(), Failed: c.failed.Load(),
		Canceled: c.canceled.Load(), Skipped: c.skipped.Load(),
	}
}

// Run sends the script from its beginning until ctx ends. It then gives up the requests in flight, waits for their
// goroutines and returns the error of ctx; there is no other. A gateway that cannot be reached is counted, not reported.
func (g *Generator) Run(ctx context.Context) error {
	transport := &http.Transport{MaxIdleConnsPerHost: g.opts.MaxInFlight, DisableCompression: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{
		Transport:     transport,
		Timeout:       g.opts.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	var inFlight sync.WaitGroup
	defer inFlight.Wait()
	slots := make(chan struct{}, g.opts.MaxInFlight) // one taken per request in flight
	pace := pacer{next: time.Now()}
	for req := range Script(g.opts.Seed, g.opts.Rate) {
		if !pace.wait(ctx, req.After) {
			break
		}
		select {
		case slots <- struct{}{}:
			g.counts.started.Add(1)
			inFlight.Go(func() {
				g.send(ctx, client, req)
				<-slots
			})
		default:
			g.counts.skipped.Add(1)
		}
	}
	return ctx.Err()
}

// send makes one request and counts its outcome.
func (g *Generator) send(ctx context.Context, client *http.Client, r Request) {
	status, err := g.exchange(ctx, client, r)
	switch {
	case err != nil && ctx.Err() != nil:
		g.counts.canceled.Add(1)
	case err != nil:
		g.counts.failed.Add(1)
	default:
		g.counts.outcome(status).Add(1)
	}
}

// exchange sends r, reads the whole answer and returns its status.
func (g *Generator) exchange(ctx context.Context, client *http.Client, r Request) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, r.Method, g.opts.BaseURL+r.Path, strings.NewReader(r.Body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("X-User", r.User)
	req.Header.Set("User-Agent", "sluice-traffic")
	if r.Body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, errors.Join(err, resp.Body.Close())
}

// outcome returns the counter of an answer.
func (c *counts) outcome(status int) *atomic.Int64 {
	switch {
	case status == http.StatusTooManyRequests:
		return &c.limited
	case status >= 500:
		return &c.serverError
	case status >= 400:
		return &c.clientError
	case status >= 300:
		return &c.redirected
	}
	return &c.ok
}

// maxLag is how far the requests may fall behind their times and still be caught up with, which is done at once. What
// lies further back, as after a suspended machine, is forgotten: the traffic is meant to be light.
const maxLag = time.Second

// pacer holds requests back until their time. Times are absolute, so that delays do not add up.
type pacer struct{ next time.Time }

// wait returns true when after has passed since the time of the request before, and false as soon as ctx ends.
func (p *pacer) wait(ctx context.Context, after time.Duration) bool {
	p.next = p.next.Add(after)
	delay := time.Until(p.next)
	if delay < -maxLag {
		p.next = time.Now()
	}
	if delay <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
