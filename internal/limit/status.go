package limit

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Status is a rule as operators see it.
type Status struct {
	Name          string  `json:"name"`
	Rate          string  `json:"rate,omitempty"`
	Burst         *int64  `json:"burst,omitempty"`
	Per           string  `json:"per,omitempty"`
	Cost          string  `json:"cost,omitempty"`
	Mode          string  `json:"mode,omitempty"`
	Shadow        bool    `json:"shadow"`
	Overrides     int     `json:"overrides"`
	Allowed       uint64  `json:"allowed"`
	Refused       uint64  `json:"refused"`
	ShadowRefused uint64  `json:"shadow_refused"`
	Keys          int     `json:"keys"`
	MaxKeys       int     `json:"max_keys"`
	Expired       uint64  `json:"expired"`     // keys forgotten while idle: nothing was lost
	Evicted       uint64  `json:"evicted"`     // keys forgotten in debt, for want of space
	LostDebt      float64 `json:"lost_debt_s"` // how long those would still have had to wait, in seconds
}

// List is the state of every rule in force, in the order of the configuration, and of the limits that come with the question.
func (s *Stage) List() []Status {
	var list []Status
	for _, r := range s.rules.Load().rules {
		st := r.status()
		st.Rate, st.Burst, st.Per, st.Cost = r.cfg.Rate.String(), &r.cfg.Burst, string(r.cfg.Per), r.cfg.Cost.String()
		st.Mode, st.Shadow, st.Overrides = string(r.cfg.Mode), r.cfg.Shadow, len(r.overrides)
		list = append(list, st)
	}
	return append(list, s.adHoc.status())
}

func (a *account) status() Status {
	stats := a.limiter.Stats()
	return Status{
		Name:          a.name,
		Allowed:       a.allowed.Load(),
		Refused:       a.refused.Load(),
		ShadowRefused: a.shadowRefused.Load(),
		Keys:          stats.Keys,
		MaxKeys:       stats.MaxKeys,
		Expired:       stats.Expired,
		Evicted:       stats.Evicted,
		LostDebt:      stats.LostDebt.Seconds(),
	}
}

var (
	decisions = prometheus.NewDesc("sluice_limit_decisions_total", "Decisions of a rule. A request that is refused counts for those that refused it.",
		[]string{"rule", "outcome"}, nil)
	keys      = prometheus.NewDesc("sluice_limit_keys", "Keys that a rule remembers now.", []string{"rule"}, nil)
	forgotten = prometheus.NewDesc("sluice_limit_forgotten_total", "Keys that a rule has forgotten: idle ones, which loses nothing, and ones in debt, for want of space.",
		[]string{"rule", "state"}, nil)
	lostDebt = prometheus.NewDesc("sluice_limit_lost_debt_seconds_total", "How long the keys that were forgotten in debt would still have had to wait.",
		[]string{"rule"}, nil)
)

// Describe implements prometheus.Collector.
func (s *Stage) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{decisions, keys, forgotten, lostDebt} {
		ch <- d
	}
	if s.shared != nil {
		describeShared(ch)
	}
}

// Collect implements prometheus.Collector.
func (s *Stage) Collect(ch chan<- prometheus.Metric) {
	for _, a := range s.everyAccount() {
		st := a.status()
		count := func(d *prometheus.Desc, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
		}
		count(decisions, float64(st.Allowed), st.Name, "allowed")
		count(decisions, float64(st.Refused), st.Name, "refused")
		count(decisions, float64(st.ShadowRefused), st.Name, "shadow_refused")
		count(forgotten, float64(st.Expired), st.Name, "idle")
		count(forgotten, float64(st.Evicted), st.Name, "indebted")
		count(lostDebt, st.LostDebt, st.Name)
		ch <- prometheus.MustNewConstMetric(keys, prometheus.GaugeValue, float64(st.Keys), st.Name)
	}
	if s.shared == nil {
		return
	}
	s.shared.collect(ch)
	for _, r := range s.rules.Load().rules {
		for way := range r.alone {
			count(ch, alone, r.alone[way].Load(), r.name, string(ways[way]))
		}
	}
}
