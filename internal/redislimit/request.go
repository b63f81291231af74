package redislimit

import (
	"strings"

	"github.com/sluicegate/sluice/gcra"
	"github.com/sluicegate/sluice/internal/lease"
)

// A Request is one of the rules that decide a request together. A key is limited per rule: the same key under two rules is two clients.
type Request struct {
	Rule     string // the rule's name; it must not be empty
	Key      string // who is limited by it
	Limit    gcra.Limit
	N        int64         // the cost
	Decision gcra.Decision // set by Decide and Peek; as of Redis's clock in strict mode, as far as this node knows in lease mode
}

// key returns the name of the request's value in Redis. Colons in the rule are escaped, which keeps ("a:b", "c") and ("a", "b:c") apart.
func (l *Link) key(r *Request) string {
	rule := r.Rule
	if strings.ContainsAny(rule, "%:") {
		rule = strings.ReplaceAll(strings.ReplaceAll(rule, "%", "%25"), ":", "%3A")
	}
	return l.prefix + "tat:" + rule + ":" + r.Key
}

// intervals are the limits of requests as the ledger reckons with them.
func intervals(requests []Request) ([]lease.Interval, error) {
	all := make([]lease.Interval, len(requests))
	for k := range requests {
		i, err := lease.NewInterval(requests[k].Limit)
		if err != nil {
			return nil, err
		}
		all[k] = i
	}
	return all, nil
}

// spans appends spans as the scripts take them.
func spans(args []any, all ...lease.Span) []any {
	for _, s := range all {
		args = append(args, s.Whole, s.Rest)
	}
	return args
}
