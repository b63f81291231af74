package config

import (
	"slices"
	"strings"
	"time"

	"github.com/sluicegate/sluice/flush"
)

// Coalesce says how requests that ask for the same share one call.
type Coalesce struct {
	// Hold is how long a request may wait for others before its call is sent, 0 to 1m; 0 sends at once. Default 50ms.
	Hold Duration `yaml:"hold"`
	// MaxBatch is how many requests wait for one call to be sent at most, 1 to 100000. Default 128.
	MaxBatch int `yaml:"max_batch"`
	// Policy says when to send within these bounds. Default ppo.
	Policy FlushPolicy `yaml:"policy"`
	// CallCost is what a call is worth: how long one request may wait to save one. 1us to 1h, default 25ms.
	CallCost Duration `yaml:"call_cost"`
	// PolicyFile is what sluice train wrote, for the policy ppo; a relative path is relative to the directory of the configuration file. Default "":
	// the policy in the program.
	PolicyFile string `yaml:"policy_file"`
	// Network is what PolicyFile holds; nil without one.
	Network *flush.Network `yaml:"-"`
	// Agent is the host:port of the program that decides, over gRPC, with the policy remote. Default "".
	Agent string `yaml:"agent"`
	// AgentTimeout is how long that may take; then a policy of ours decides. 100us to 10s, default 5ms.
	AgentTimeout Duration `yaml:"agent_timeout"`
	// Freshness says whether a call under way may answer a request that came after it was sent. Default strict.
	Freshness Freshness `yaml:"freshness"`
	// ShareBy are header fields whose values tell apart who may share: with them named, requests that carry credentials may
	// share with those that carry the same values. At most 16. Default none.
	ShareBy []string `yaml:"share_by"`
	// ShareAcross are header fields that name clients in Identify and that answers do not depend on: requests that differ in them
	// may share. Not Authorization or Cookie. At most 16. Default none: who comes with such a field shares with nobody.
	ShareAcross []string `yaml:"share_across"`
}

// FlushPolicy is when the call of those who wait is sent.
type FlushPolicy string

// The policies.
const (
	PolicyImmediate FlushPolicy = "immediate" // at once
	PolicyTimer     FlushPolicy = "timer"     // when the first has waited for the hold time
	PolicySize      FlushPolicy = "size"      // when the batch is full
	PolicyBalance   FlushPolicy = "balance"   // when they have waited for as long, together, as a call is worth
	PolicyThreshold FlushPolicy = "threshold" // when they are as many as the rate of arrivals makes worthwhile
	PolicyPPO       FlushPolicy = "ppo"       // when a network that has learned from much traffic says so
	PolicyRemote    FlushPolicy = "remote"    // when the agent says so
)

func (FlushPolicy) values() []string {
	return []string{"immediate", "timer", "size", "balance", "threshold", "ppo", "remote"}
}

// Freshness is how old an answer may be when it is shared.
type Freshness string

// The choices of freshness.
const (
	Strict  Freshness = "strict"  // from a call that was sent after the request came
	Relaxed Freshness = "relaxed" // from a call that was under way when it came, too
)

func (Freshness) values() []string { return []string{"strict", "relaxed"} }

func (c *Coalesce) defaults() {
	*c = Coalesce{
		Hold: 50 * time.Millisecond, MaxBatch: 128, Policy: PolicyPPO, CallCost: 25 * time.Millisecond, AgentTimeout: agentTimeout,
		Freshness: Strict,
	}
}

// maxShareBy bounds what is read of every request to tell who may share.
const maxShareBy = 16

func (c *Coalesce) validate(at *node, r *report) {
	r.flush(at, c.Hold, c.CallCost)
	r.policyFile(at, c.Policy, c.PolicyFile)
	r.agent(at, c.Policy, c.Agent, c.AgentTimeout)
	r.between(at.get("max_batch"), c.MaxBatch, 1, 100_000)
	r.shareBy(at.get("share_by"), c.ShareBy)
	r.shareBy(at.get("share_across"), c.ShareAcross)
	for i, name := range c.ShareAcross {
		if strings.EqualFold(name, "Authorization") || strings.EqualFold(name, "Cookie") {
			r.errorf(at.get("share_across").item(i), "%s is a credential: expected a field that names clients, or share_by", name)
		}
	}
}

// flush reports what is no time to send a batch at.
func (r *report) flush(at *node, hold, callCost Duration) {
	r.durationBetween(at.get("hold"), hold, 0, time.Minute)
	r.durationBetween(at.get("call_cost"), callCost, time.Microsecond, time.Hour)
}

// policyFile reports a file that nobody reads.
func (r *report) policyFile(at *node, policy FlushPolicy, name string) {
	if name != "" && policy != PolicyPPO {
		r.errorf(at.get("policy_file"), "read for the policy ppo alone, and the policy is %s", policy)
	}
}

// agentTimeout is the default: several times what a program on the same machine takes.
const agentTimeout = 5 * time.Millisecond

// agent reports a policy without the agent that it asks, and an agent that nobody asks.
func (r *report) agent(at *node, policy FlushPolicy, address string, timeout Duration) {
	r.durationBetween(at.get("agent_timeout"), timeout, 100*time.Microsecond, 10*time.Second)
	switch {
	case policy == PolicyRemote && address == "" && at.find("agent") == nil:
		r.errorf(at.get("policy"), "remote needs agent: where the program listens that decides, as in 127.0.0.1:50051")
	case policy != PolicyRemote && address != "":
		r.errorf(at.get("agent"), "asked by the policy remote alone, and the policy is %s", policy)
	case address != "":
		r.remoteAddress(at.get("agent"), address)
	}
}

// Merge says how requests that differ are sent as one: their JSON bodies as an array, whose answers are handed back by
// position.
type Merge struct {
	// Hold is how long a request may wait for others, 0 to 1m. Default 10ms.
	Hold Duration `yaml:"hold"`
	// MaxBatch is how many requests make one call at most, 1 to 10000. Default 32.
	MaxBatch int `yaml:"max_batch"`
	// Policy says when to send within these bounds. Default ppo.
	Policy FlushPolicy `yaml:"policy"`
	// CallCost is what a call is worth: how long one request may wait to save one. 1us to 1h, default 50ms.
	CallCost Duration `yaml:"call_cost"`
	// PolicyFile is what sluice train wrote, for the policy ppo; a relative path is relative to the directory of the configuration file. Default "":
	// the policy in the program.
	PolicyFile string `yaml:"policy_file"`
	// Network is what PolicyFile holds; nil without one.
	Network *flush.Network `yaml:"-"`
	// Agent is the host:port of the program that decides, over gRPC, with the policy remote. Default "".
	Agent string `yaml:"agent"`
	// AgentTimeout is how long that may take; then a policy of ours decides. 100us to 10s, default 5ms.
	AgentTimeout Duration `yaml:"agent_timeout"`
	// OnError says what becomes of the requests of a call that failed, or was not answered by as many values. Default fail.
	OnError MergeOnError `yaml:"on_error"`
	// MaxItem bounds a request's body; a longer one is sent alone. 1B to 16MiB, default 1MiB.
	MaxItem Size `yaml:"max_item"`
	// ShareBy are header fields whose values must agree for requests to be merged. At most 16. Default none.
	ShareBy []string `yaml:"share_by"`
}

// MergeOnError is what becomes of the requests of a call that failed, although the upstream may have served it.
type MergeOnError string

// The choices.
const (
	MergeEach MergeOnError = "each" // each is sent again, alone
	MergeFail MergeOnError = "fail" // each gets the failure
)

func (MergeOnError) values() []string { return []string{"each", "fail"} }

func (m *Merge) defaults() {
	*m = Merge{
		Hold: 10 * time.Millisecond, MaxBatch: 32, Policy: PolicyPPO, CallCost: 50 * time.Millisecond, AgentTimeout: agentTimeout,
		OnError: MergeFail, MaxItem: MiB,
	}
}

func (m *Merge) validate(at *node, r *report) {
	r.flush(at, m.Hold, m.CallCost)
	r.policyFile(at, m.Policy, m.PolicyFile)
	r.agent(at, m.Policy, m.Agent, m.AgentTimeout)
	r.between(at.get("max_batch"), m.MaxBatch, 1, 10_000)
	r.sizeBetween(at.get("max_item"), m.MaxItem, 1, 16*MiB)
	r.shareBy(at.get("share_by"), m.ShareBy)
}

// shareBy reports what are no header fields to tell apart who may share.
func (r *report) shareBy(list *node, names []string) {
	if len(names) > maxShareBy {
		r.errorf(list, "%d header fields, expected at most %d", len(names), maxShareBy)
	}
	for i, name := range names {
		r.fieldName(list.item(i), name)
		if slices.ContainsFunc(names[:i], func(other string) bool { return strings.EqualFold(name, other) }) {
			r.errorf(list.item(i), "duplicate header field %s, expected it once", name)
		}
	}
}
