package main

import (
	"context"
	"time"

	"github.com/sluicegate/sluice/book"
	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/limit"
	"github.com/sluicegate/sluice/internal/live"
	"github.com/sluicegate/sluice/internal/market"
	"github.com/sluicegate/sluice/internal/meter"
	"github.com/sluicegate/sluice/internal/version"
)

// Of long lists the first so many are shown.
const (
	shownClients = 20
	shownLevels  = 10
	shownFills   = 10
)

// glance says where the figures of the node are.
func (n *node) glance() live.Options {
	return live.Options{
		Node:      live.Node{ID: n.state.id, Version: version.Get().Version, Listen: n.url(), Config: n.cfg.Path, Started: time.Now()},
		Metrics:   n.reg,
		Log:       n.log,
		Upstreams: n.upstreams,
		Clients:   n.clients,
		Market:    n.state.auction,
		Jobs:      n.state.later.figures(),
		Parts:     n.parts,
	}
}

// look keeps the figures current. The function that it returns stops that.
func (n *node) look(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.live.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

func (n *node) upstreams() (list []live.Upstream) {
	for _, u := range n.gate.Status().Upstreams {
		up := live.Upstream{Name: u.Name}
		for _, t := range u.Targets {
			up.InFlight += t.InFlight
			up.Targets = append(up.Targets, live.Target{Address: t.Address, Healthy: t.Healthy, Ejected: t.Ejected, InFlight: t.InFlight, Calls: t.Calls})
		}
		if a := u.Admission; a != nil {
			up.InFlight, up.MaxInFlight, up.Waiting, up.MaxWaiting = int64(a.InFlight), a.MaxInFlight, a.Waiting, a.MaxWaiting
		}
		list = append(list, up)
	}
	return list
}

// clients are those that have sent the most requests.
func (n *node) clients() (list []live.Client) {
	page, err := n.state.meter.List(meter.Query{Kind: meter.Client, Sort: meter.SortCount, Descending: true, Limit: shownClients})
	if err != nil { // of the query, which is right
		return nil
	}
	refused := n.refused()
	for _, row := range page.Meters {
		c := live.Client{Name: row.Name, Count: row.Count, Refused: refused[row.Name], Limits: n.allowance(row.Name)}
		switch {
		case row.Rate10s != nil:
			c.Rate = *row.Rate10s
		case row.Rate1s != nil:
			c.Rate = *row.Rate1s
		}
		list = append(list, c)
	}
	return list
}

func (n *node) refused() map[string]uint64 {
	page, err := n.state.meter.List(meter.Query{Kind: meter.Refused, Sort: meter.SortCount, Descending: true, Limit: meter.MaxLimit})
	if err != nil {
		return nil
	}
	counts := make(map[string]uint64, len(page.Meters))
	for _, row := range page.Meters {
		counts[row.Name] = row.Count
	}
	return counts
}

// allowance is what the rules for single clients leave to one, but those that nodes share.
func (n *node) allowance(client string) (list []live.Limit) {
	for _, rule := range n.gate.Limits().List() {
		if rule.Per != string(config.PerClient) || rule.Mode != string(config.ModeLocal) {
			continue
		}
		answer, err := n.gate.Limits().Check(&limit.Query{Key: &client, Rule: &rule.Name, Peek: true})
		if err == nil {
			list = append(list, live.Limit{Rule: rule.Name, Limit: answer.Limit, Remaining: answer.Remaining, Rate: rule.Rate})
		}
	}
	return list
}

// auction is the market as it stands, nil where there is none.
func (s *state) auction() (shown *live.Market) {
	if s.trade == nil {
		return nil
	}
	shown = new(live.Market)
	s.trade.market.Read(func(st *market.State) { // of one that has stopped nothing is shown
		stats := st.Stats()
		shown.Bids, shown.Volume, shown.Leftover = stats.Book.Bids, stats.Book.Open, stats.Book.Left
		for _, l := range st.Levels(make([]book.Level, 0, shownLevels), shownLevels) {
			shown.Levels = append(shown.Levels, live.MarketLevel{Price: l.Price, Volume: l.Volume, Bids: l.Bids})
		}
		last := st.LastFill()
		fills, _ := st.Fills(nil, last-min(last, shownFills), shownFills)
		for i := len(fills) - 1; i >= 0; i-- {
			f := fills[i]
			shown.Fills = append(shown.Fills, live.MarketFill{Time: time.UnixMilli(int64(f.Time)).UTC(), Username: f.Username, Price: f.Price, Volume: f.Volume})
		}
	})
	return shown
}

// parts says what is switched off, and how to switch it on.
func (n *node) parts() []live.Part {
	cfg := n.gate.Config()
	var coalesces, caches, gates bool
	for _, r := range cfg.Routes {
		coalesces, caches = coalesces || r.Coalesce != nil || r.Merge != nil, caches || r.Cache != nil
	}
	for _, u := range cfg.Upstreams {
		gates = gates || u.MaxInFlight > 0
	}
	return []live.Part{
		{Name: "limits", On: len(cfg.Limits) > 0, How: "limits:\n  client: {rate: 100/s, burst: 50}\nroutes:\n  - {path: /*, upstream: api, limits: [client]}"},
		{Name: "coalescing", On: coalesces, How: "routes:\n  - {path: /*, upstream: api, coalesce: {call_cost: 25ms, freshness: relaxed}}"},
		{Name: "cache", On: caches, How: "routes:\n  - {path: /*, upstream: api, cache: {max_ttl: 10s}}"},
		{Name: "admission", On: gates, How: "upstreams:\n  api: {max_in_flight: 64, queue: {max: 1000, timeout: 2s}}"},
		{Name: "jobs", On: n.state.later != nil, How: "data_dir: ./sluice-data\nroutes:\n  - {path: /uploads/*, methods: [POST], upstream: api, async: {max_attempts: 8}}"},
		{Name: "quotas", On: false, How: "sluice store --listen :5000   # its own admin listener, on 5001, shows quotas"},
		{Name: "market", On: n.state.trade != nil, How: "data_dir: ./sluice-data\nmarket: {listen: 127.0.0.1:8083}\nlimits:\n  capacity: {from: market, requests_per_unit: 1000}"},
	}
}
