package lease

import (
	"time"

	"github.com/sluicegate/sluice/gcra"
)

// How a node plans ahead.
const (
	horizon  = 200 * time.Millisecond // how long a slice should last
	idle     = 250 * time.Millisecond // an account not asked for so long gives back what it holds
	firstGap = 10 * time.Millisecond  // the shortest wait between two messages about a key that has run dry
	longGap  = horizon                // and the longest
	trust    = time.Second            // how long a refusal by the ledger is believed; another node may return tokens
	small    = 16                     // a portion of fewer tokens makes the node ask less often
	large    = 64                     // a portion of more makes it ask more often
)

// An Account is one node's share of one key. Times are the node's own, monotonic, since any start. It is not safe for concurrent use.
//
// Its owner calls [Account.Take] for each request. A verdict that says Call obliges the owner to send what [Account.Send] returns and to hand the
// outcome to [Account.Receive] and [Account.Settle], to [Account.Lose] or to [Account.Abort], exactly once.
type Account struct {
	Interval Interval
	Counters Counters

	tokens     int64         // to be spent until then:
	until      time.Duration // when the lease ends
	slot       int64         // the slot of the lease
	registered int64         // tokens that the ledger counts as out on our behalf
	due        int64         // tokens among them that aren't leased: see Settle

	calling  bool
	sent     Exchange
	sentAt   time.Duration
	tat      time.Duration // when the ledger's debt is paid, as of its last answer
	asked    time.Duration // when it gave it
	gap      time.Duration // how long to stay silent after an answer that gave less than was wanted
	silent   time.Duration // until when no message is sent
	refilled time.Duration // when the last exchange was sent; 0: never
	demand   int64         // tokens asked for since
	slice    int64         // tokens that were to last for a horizon, when last planned
	touched  time.Duration // when a request last came
}

// Counters says what became of an account's tokens: Spent, Returned and Expired add up to Leased, less what it still holds.
type Counters struct {
	Leased   int64 // taken from the ledger
	Spent    int64
	Returned int64
	Expired  int64 // not spent before the lease ended, or by the request they were for
	Unknown  int64 // asked for in calls without an answer: at most so many were charged for nothing; not in Leased
}

// A Verdict is what an account says to a request. Exactly one of Taken, Wait and Refused is true.
type Verdict struct {
	Taken   bool          // the tokens are spent
	Refused bool          // there are none, not before RetryAfter
	Wait    bool          // the answer to the present call decides: ask again when it is there
	Call    bool          // the owner must make a call now
	Retry   time.Duration // if Refused, how long until it is worth trying again; [gcra.Never]
}

// Take decides a request for n tokens at the time now.
func (a *Account) Take(now time.Duration, n int64) Verdict {
	v := a.Check(now, n)
	if v.Taken {
		return a.Spend(now, n)
	}
	return v
}

// Check says what Take would, and spends nothing; Spend must follow a verdict of Taken, at the same time.
func (a *Account) Check(now time.Duration, n int64) Verdict {
	a.expire(now)
	a.touched = now
	switch {
	case n < 0 || n > a.Interval.Size || a.Interval.Q == 0:
		return Verdict{Refused: true, Retry: gcra.Never}
	case n <= a.tokens:
		return Verdict{Taken: true}
	}
	if wait := a.wait(now, n); wait > 0 {
		a.demand += n
		return Verdict{Refused: true, Retry: wait}
	}
	return Verdict{Wait: true, Call: !a.calling}
}

// Spend spends n tokens that are there.
func (a *Account) Spend(now time.Duration, n int64) Verdict {
	a.demand += n
	a.tokens -= n
	a.due = max(0, a.due-n)
	a.Counters.Spent += n
	return Verdict{Taken: true, Call: !a.calling && now >= a.silent && a.tokens < a.slice/4}
}

// wait returns how long the node refuses n tokens without asking the ledger, 0 for not at all.
func (a *Account) wait(now time.Duration, n int64) time.Duration {
	there := a.tat + a.Interval.duration(a.Interval.Times(n-a.tokens)) - a.Interval.duration(a.Interval.Times(a.Interval.Size))
	retry := max(there-now, a.silent-now)
	if now < a.silent || there > now && now < a.asked+trust {
		return retry
	}
	return 0
}

// Refund takes back n tokens that were spent for nothing, at most as many as the ledger counts as out on this node's behalf. It returns how
// many it couldn't take: they are to be returned to the ledger.
func (a *Account) Refund(now time.Duration, n int64) (rest int64) {
	a.expire(now)
	most := a.registered
	if a.calling { // it may have been settled already
		most = a.sent.Carry
	}
	kept := max(0, min(n, most-a.tokens))
	a.tokens += kept
	a.Counters.Spent -= n
	a.Counters.Returned += n - kept
	return n - kept
}

// expire drops the tokens of a lease that has ended.
func (a *Account) expire(now time.Duration) {
	if now < a.until {
		return
	}
	a.Counters.Expired += a.tokens
	a.tokens, a.registered = 0, 0
}

// Send begins a call that asks for what n tokens (0: nobody waits) and the key's traffic need, and returns the message.
func (a *Account) Send(now time.Duration, n int64) Exchange {
	a.expire(now)
	a.plan(now)
	need := max(0, n-a.tokens)
	a.sent = Exchange{Slot: a.slot, Settle: a.registered, Carry: min(a.tokens, a.registered), Need: need, Want: max(0, a.slice-max(0, a.tokens-n))}
	a.calling, a.sentAt, a.refilled, a.demand = true, now, now, 0
	return a.sent
}

// plan sets the slice to what the key uses in a horizon, but lets it at most double and a bit.
func (a *Account) plan(now time.Duration) {
	if a.refilled == 0 {
		return
	}
	elapsed := max(now-a.refilled, time.Millisecond)
	used := int64(float64(a.demand) * float64(horizon) / float64(elapsed))
	most := min(a.Interval.Size/2, (exact-1)/max(1, a.Interval.P)-1)
	if !a.leasable() {
		most = 0
	}
	a.slice = max(0, min(used, 2*a.slice+4, most))
	if a.slice < 2 {
		a.slice = 0 // one token at a time is what asking each time gives
	}
}

// leasable reports whether the ledger, which has 53 bits, can reckon with any number of tokens that may be out.
func (a *Account) leasable() bool {
	return a.Interval.Size < exact/max(1, a.Interval.P)
}

// Receive ends a call with the ledger's answer. The owner then serves those who waited, with Take, and calls Settle.
func (a *Account) Receive(now time.Duration, g Grant) {
	a.expire(now)
	a.calling = false
	if g.Carried == 0 {
		a.Counters.Expired += a.tokens
		a.tokens = 0
	}
	a.due = min(a.sent.Need, g.Granted)
	a.Counters.Leased += g.Granted
	a.registered = g.Carried + g.Granted - a.due
	a.tokens += g.Granted
	a.slot, a.until = g.Slot, a.sentAt+g.Lifetime-g.Lifetime/64
	a.tat, a.asked = now+a.Interval.duration(g.Debt), now
	a.pace(now, g)
}

// Settle gives up what was granted to be spent at once and was not, because nobody waited any more, or others came first. It isn't leased, so
// the ledger counts on its having been spent; and returning it later would give back what has come back with time meanwhile.
func (a *Account) Settle() {
	unused := min(a.due, a.tokens) // an answer that took longer than the lease lasts has left nothing
	a.tokens -= unused
	a.Counters.Expired += unused
	a.due = 0
}

// pace decides how long to stay silent after an answer: when the ledger has nothing left, several tokens should come back before it is asked
// again, but never so many that the allowance could be whole and tokens go to waste.
func (a *Account) pace(now time.Duration, g Grant) {
	window := a.Interval.duration(a.Interval.Times(a.Interval.Size))
	switch {
	case a.Interval.Fits(g.Debt) > 0:
		a.silent = now
		if g.Granted == a.sent.Need+a.sent.Want {
			a.gap = 0
		}
		return
	case g.Granted < small:
		a.gap *= 2
	case g.Granted > large:
		a.gap /= 2
	}
	a.gap = min(max(a.gap, min(firstGap, window/10)), longGap, window/4)
	a.silent = now + a.gap
}

// Lose ends a call of which it isn't known whether it reached the ledger. What the node holds may be spent until the lease it came with
// ends; what it would have got is lost.
func (a *Account) Lose(now time.Duration) {
	a.calling = false
	a.registered = 0 // whether it was settled isn't known, and it must not be twice
	a.Counters.Unknown += a.sent.Need + a.sent.Want
	a.expire(now)
}

// Abort ends a call that was not sent.
func (a *Account) Abort() { a.calling = false }

// Due returns what an account has to give back or to settle at the time now, if it is idle or its lease is about to end, and when to look
// again, 0 for not before it leases again. The message need not arrive.
func (a *Account) Due(now time.Duration) (x Exchange, send bool, again time.Duration) {
	a.expire(now)
	again = a.Next(now)
	if again == 0 || again > now {
		return Exchange{}, false, again
	}
	return a.Close(), true, 0
}

// Next returns when Due has something to do, 0 for not before the account leases again.
func (a *Account) Next(now time.Duration) time.Duration {
	switch {
	case a.calling:
		return now + idle
	case a.tokens == 0 && a.registered == 0:
		return 0
	}
	return max(now, min(a.touched+idle, a.until-idle/2))
}

// Close ends the lease and returns the message that gives back what is left. While a call is under way that is nothing: two messages about the
// same tokens could come in any order, and time begin to pay for tokens between them.
func (a *Account) Close() (x Exchange) {
	if a.calling {
		a.Counters.Expired += a.tokens
	} else {
		x = Exchange{Slot: a.slot, Settle: a.registered, Back: a.tokens}
		a.Counters.Returned += a.tokens
	}
	a.tokens, a.registered = 0, 0
	return x
}

// Idle reports whether an account can be forgotten without loss: it holds nothing, no call is under way, and what it knows of the ledger is old.
func (a *Account) Idle(now time.Duration) bool {
	a.expire(now)
	return !a.calling && a.tokens == 0 && a.registered == 0 && now >= a.touched+trust
}

// Calling reports whether a call is under way.
func (a *Account) Calling() bool { return a.calling }

// Holds returns the tokens that the account could spend at the time now.
func (a *Account) Holds(now time.Duration) int64 {
	a.expire(now)
	return a.tokens
}

// Decision says what the node knows about the key at the time now: its own tokens, and what the ledger had when it last answered. Other
// nodes may have changed that since.
func (a *Account) Decision(now time.Duration, v Verdict) gcra.Decision {
	if a.Interval.Q == 0 {
		return gcra.Decision{RetryAfter: gcra.Never}
	}
	a.expire(now)
	held := a.Interval.Times(a.tokens)
	debt := Span{Whole: int64(max(0, a.tat-now) / time.Microsecond)}
	return gcra.Decision{
		Allowed: v.Taken, Limit: a.Interval.Size, RetryAfter: v.Retry,
		Remaining:  min(a.Interval.Size, a.tokens+a.Interval.Fits(debt)),
		ResetAfter: a.Interval.duration(a.Interval.minus(debt, held)),
	}
}
