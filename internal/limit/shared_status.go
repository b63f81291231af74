package limit

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicegate/sluice/internal/redislimit"
)

var (
	redisRoundTrips = prometheus.NewDesc("sluice_limit_redis_round_trips_total", "Pipelines sent to Redis for limits.", nil, nil)
	redisCalls      = prometheus.NewDesc("sluice_limit_redis_calls_total", "Scripts run in those pipelines.", nil, nil)
	redisReloads    = prometheus.NewDesc("sluice_limit_redis_script_reloads_total", "How often Redis had forgotten the scripts.", nil, nil)
	redisErrors     = prometheus.NewDesc("sluice_limit_redis_errors_total", "Calls that Redis did not answer in time, by kind.", []string{"kind"}, nil)
	redisDuration   = prometheus.NewDesc("sluice_limit_redis_duration_seconds", "How long those pipelines took.", nil, nil)
	redisBreaker    = prometheus.NewDesc("sluice_limit_redis_breaker", "1 for the state of the breaker: closed, open or half-open.", []string{"state"}, nil)
	redisOpened     = prometheus.NewDesc("sluice_limit_redis_breaker_opened_total", "How often the breaker has opened.", nil, nil)
	nodes           = prometheus.NewDesc("sluice_limit_nodes", "Nodes that share the limits, as last heard.", nil, nil)
	sharedDecisions = prometheus.NewDesc("sluice_limit_shared_decisions_total", "Decisions of shared rules by mode; failed ones were left to on_error.",
		[]string{"mode", "outcome"}, nil)
	refundedTokens = prometheus.NewDesc("sluice_limit_strict_refunded_tokens_total", "Tokens given back in mode strict.", nil, nil)
	leaseTokens    = prometheus.NewDesc("sluice_limit_lease_tokens_total", "Tokens in mode lease: leased, and of those spent, returned, expired, and unknown.",
		[]string{"state"}, nil)
	leaseKeys    = prometheus.NewDesc("sluice_limit_lease_keys", "Keys that this node holds leases of, or remembers.", nil, nil)
	leaseCrowded = prometheus.NewDesc("sluice_limit_lease_crowded_total", "Requests of mode lease decided in Redis, for want of room for their keys.", nil, nil)
	alone        = prometheus.NewDesc("sluice_limit_without_redis_total", "Decisions of a shared rule without Redis, by what it did: its on_error.",
		[]string{"rule", "on_error"}, nil)
	overrides = prometheus.NewDesc("sluice_limit_overrides", "Overrides set at run time that this node knows.", nil, nil)
)

func describeShared(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		redisRoundTrips, redisCalls, redisReloads, redisErrors, redisDuration, redisBreaker, redisOpened, nodes, sharedDecisions,
		refundedTokens, leaseTokens, leaseKeys, leaseCrowded, alone, overrides,
	} {
		ch <- d
	}
}

// collect reports what the shared limits count.
func (s *Shared) collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	link := s.link.Stats()
	collectLink(ch, link)
	collectStrict(ch, s.stricts.Stats())
	leases := s.leases.Stats()
	collectLeases(ch, leases)
	gauge(leaseKeys, leases.Keys)
	gauge(nodes, link.Nodes)
	gauge(overrides, s.overrides.Len())
	for _, state := range []string{"closed", "open", "half-open"} {
		is := 0
		if link.Breaker == state {
			is = 1
		}
		gauge(redisBreaker, is, state)
	}
}

func count(ch chan<- prometheus.Metric, d *prometheus.Desc, n uint64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

func collectLink(ch chan<- prometheus.Metric, st redislimit.Stats) {
	count(ch, redisRoundTrips, st.RoundTrips)
	count(ch, redisCalls, st.Calls)
	count(ch, redisReloads, st.Reloads)
	count(ch, redisOpened, st.Opened)
	for kind, n := range st.Errors {
		count(ch, redisErrors, n, kind)
	}
	buckets, total := make(map[float64]uint64), uint64(0)
	for i, n := range st.Latency.Counts {
		total += n
		if i < len(st.Latency.Bounds) {
			buckets[float64(st.Latency.Bounds[i])/float64(time.Second)] = total
		}
	}
	ch <- prometheus.MustNewConstHistogram(redisDuration, total, st.Latency.Sum.Seconds(), buckets)
}

func collectStrict(ch chan<- prometheus.Metric, st redislimit.StrictStats) {
	count(ch, sharedDecisions, st.Allowed, "strict", "allowed")
	count(ch, sharedDecisions, st.Refused, "strict", "refused")
	count(ch, refundedTokens, st.Refunded)
}

func collectLeases(ch chan<- prometheus.Metric, st redislimit.LeaseStats) {
	count(ch, sharedDecisions, st.Allowed, "lease", "allowed")
	count(ch, sharedDecisions, st.Refused, "lease", "refused")
	count(ch, sharedDecisions, st.Failed, "lease", "failed")
	count(ch, leaseCrowded, st.Crowded)
	for state, n := range map[string]int64{
		"leased": st.Leased, "spent": st.Spent, "returned": st.Returned, "expired": st.Expired, "unknown": st.Unknown,
	} {
		count(ch, leaseTokens, uint64(max(0, n)), state)
	}
}
