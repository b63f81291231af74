package upstream

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// checkHealth asks t for its health until the pool is closed.
func (p *Pool) checkHealth(t *target) {
	h := p.cfg.Health
	transport := &http.Transport{DisableKeepAlives: true}
	client := &http.Client{
		Transport:     transport,
		Timeout:       h.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	streak := 0 // checks in a row that disagree with what the target is held for
	tick := time.NewTicker(h.Interval)
	defer tick.Stop()
	for {
		err := check(p.ctx, client, t, h.Path)
		if p.ctx.Err() != nil {
			return
		}
		streak = p.judge(t, err, streak)
		select {
		case <-p.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// judge changes what t is held for when enough checks in a row disagree with it, and returns the new streak.
func (p *Pool) judge(t *target, err error, streak int) int {
	healthy := t.healthy.Load()
	if healthy == (err == nil) {
		return 0
	}
	streak++
	switch {
	case healthy && streak >= p.cfg.Health.UnhealthyAfter:
		t.healthy.Store(false)
		p.log.Warn("target unhealthy", "target", t.addr, "checks", streak, "last", err)
		return 0
	case !healthy && streak >= p.cfg.Health.HealthyAfter:
		t.healthy.Store(true)
		t.failures.Store(0)
		t.ejectedUntil.Store(0)
		p.log.Info("target healthy", "target", t.addr, "checks", streak)
		return 0
	}
	return streak
}

// check asks once. Any 2xx or 3xx is a success.
func check(ctx context.Context, client *http.Client, t *target, path string) error {
	scheme := "http"
	if t.tls {
		scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, "GET", scheme+"://"+t.host+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "sluice-health")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 399 {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

// RetryAfter is how long, at least, it takes an unhealthy target to come back.
func (p *Pool) RetryAfter() time.Duration {
	if p.cfg.Health == nil {
		return time.Second
	}
	return max(time.Second, p.cfg.Health.Interval*time.Duration(p.cfg.Health.HealthyAfter))
}
