// Package limit is the stage that decides whether a request may pass.
//
// A [Stage] lives as long as the process and remembers who spent what. [Rules] are what one configuration says; a reload
// makes new ones over the same memory. A [Set] is the rules of one route, which decides a request by all of them at once, all or
// nothing, and leaves in a [Grant] what the client is told, and what is given back if a later stage cannot serve it.
//
//	standing := rules.Standing(name, addr)          // denied, exempt, or neither
//	outcome := set.Decide(&grant, &request)         // spends from all rules, or from none
//	grant.AddFields(exchange)                       // RateLimit-Policy, RateLimit
//	grant.Refund()                                  // nothing was served after all
//
// The arithmetic is that of package gcra. Who decides a rule is its mode: a [backend]. Those of one mode decide together; modes go
// one after the other, the cheapest first, and what the earlier ones took is given back if a later one refuses.
package limit

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicegate/sluice/gcra"
	"github.com/sluicegate/sluice/internal/config"
)

// Stage remembers who spent what. Make one with New, and Close it. Its methods are safe for concurrent use.
type Stage struct {
	start time.Time // what all times are counted from
	adHoc *account  // of limits that come with the question, see Check
	rules atomic.Pointer[Rules]
	// shared is what nodes have in common, nil without Redis.
	shared *Shared
	find   FindLimit // nil unless OverrideBy was called

	asking sync.RWMutex // held for reading during a Check, so that none is under way after Close
	closed bool         // guarded by asking

	mu       sync.Mutex // guards accounts
	accounts map[accountKey]*account

	stop, stopped chan struct{}
}

// accountKey says what the keys of an account mean. Another Per is another account.
type accountKey struct {
	rule string
	per  config.LimitPer
}

// account is what is remembered for one rule, whatever its limit: a reload keeps it.
type account struct {
	name    string
	limiter *gcra.Limiter[string] // its limit is never used

	allowed, refused, shadowRefused atomic.Uint64            // decisions
	alone                           [len(ways)]atomic.Uint64 // those without Redis
}

// maxAdHocKeys is how many keys are remembered for limits that come with the question.
const maxAdHocKeys = 100_000

// adHocName stands for those limits in metrics; it is no name that a rule can have.
const adHocName = "(ad hoc)"

// New makes a stage that has no rules yet. Rules of the modes strict and lease need shared, which the caller closes after the stage; nil is none.
// New starts a goroutine, which Close ends, that forgets idle clients.
func New(shared *Shared) *Stage {
	s := &Stage{
		start:    time.Now(),
		shared:   shared,
		accounts: make(map[accountKey]*account),
		stop:     make(chan struct{}),
		stopped:  make(chan struct{}),
	}
	s.adHoc = s.newAccount(adHocName, maxAdHocKeys)
	s.rules.Store(&Rules{})
	go s.sweepUntilClosed()
	return s
}

func (s *Stage) newAccount(name string, maxKeys int) *account {
	// The keys that the hot path asks with are views of a connection's buffer, so the limiter has to keep copies.
	l, err := gcra.New[string](gcra.Config{MaxKeys: maxKeys, Clock: gcra.Since(s.start), CloneKeys: true})
	if err != nil {
		panic(err) // the configuration allows 1 key and more
	}
	return &account{name: name, limiter: l}
}

// Close stops what the stage does in the background, and waits for it and for every Check; later ones fail. It must be called once, after the
// last request of the traffic.
func (s *Stage) Close() {
	s.asking.Lock()
	s.closed = true
	s.asking.Unlock()
	close(s.stop)
	<-s.stopped
}

// Apply makes the rules of a configuration. They go on where those of the one before were: a client that has spent something
// has still spent it, under a new rate too. What rules that are gone remembered is forgotten.
func (s *Stage) Apply(cfg *config.Config) *Rules {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := make(map[accountKey]*account, len(cfg.Limits))
	rules := newRules(cfg, s.start, s.shared, s.find, func(l *config.Limit) *account {
		key := accountKey{l.Name, l.Per}
		if kept[key] = s.accounts[key]; kept[key] == nil {
			kept[key] = s.newAccount(l.Name, l.MaxKeys)
		}
		return kept[key]
	})
	s.accounts = kept
	s.rules.Store(rules)
	return rules
}

// since is t as a time of the limiters.
func (s *Stage) since(t time.Time) time.Duration { return t.Sub(s.start) }

const (
	sweepInterval = time.Second
	// idleTime is how long a client is remembered after its allowance is whole again: adding it anew costs more than finding it.
	idleTime = time.Minute
	// sweepBudget bounds the work of one interval for each rule, in steps of some 100 ns.
	sweepBudget = 50_000
)

func (s *Stage) sweepUntilClosed() {
	defer close(s.stopped)
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
			before := s.since(time.Now()) - idleTime
			for _, a := range s.everyAccount() {
				a.limiter.Sweep(before, sweepBudget)
			}
		}
	}
}

// everyAccount lists the accounts of the rules in force, in their order, and the one of limits that come with the question.
func (s *Stage) everyAccount() []*account {
	var all []*account
	for _, r := range s.rules.Load().rules {
		all = append(all, r.account)
	}
	return append(all, s.adHoc)
}
