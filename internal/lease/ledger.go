package lease

import "time"

// Slot is the length of a slot of the ledger's time, in microseconds. Every node and the ledger must agree on it.
const Slot = int64(time.Second / time.Microsecond)

// An Entry is what the ledger holds about one key; the zero Entry is a key never seen. Times are in microseconds of the ledger's clock.
//
// It is the plain form of what ledger.lua does in Redis, and the test there walks both through the same story.
type Entry struct {
	TAT  int64 // the theoretical arrival time, whole microseconds
	Rest int64 // and the fraction, over Den
	Den  int64 // Q of the limit that left it
	Slot int64 // the slot that Cur belongs to
	Cur  int64 // tokens out that were leased or renewed in Slot
	Prev int64 // and in the slot before
}

// Advance brings the entry up to now: drops leases that have ended, and applies TAT >= now + out·T.
func (e *Entry) Advance(i Interval, now int64) {
	if e.Den != i.Q {
		if e.Rest > 0 { // another limit's fraction: less than a microsecond, in favour of the limit
			e.TAT++
		}
		e.Rest, e.Den = 0, i.Q
	}
	slot := max(now/Slot, e.Slot)
	if e.Cur+e.Prev > 0 {
		if slot > e.Slot {
			e.floor(i, (e.Slot+1)*Slot, e.Cur+e.Prev)
			e.Prev, e.Cur = e.Cur, 0
		}
		if slot > e.Slot+1 {
			e.floor(i, (e.Slot+2)*Slot, e.Prev)
			e.Prev = 0
		}
	}
	e.Slot = slot
	e.floor(i, now, e.Cur+e.Prev)
}

// floor applies TAT >= at + out·T. Under a new limit more may be out than a whole allowance.
func (e *Entry) floor(i Interval, at, out int64) {
	least := i.Times(min(out, i.Size))
	least.Whole += at
	if i.less(Span{e.TAT, e.Rest}, least) {
		e.TAT, e.Rest = least.Whole, least.Rest
	}
}

func (e *Entry) debt(now int64) Span { return Span{e.TAT - now, e.Rest} }

func (e *Entry) charge(i Interval, s Span) {
	t := i.plus(Span{e.TAT, e.Rest}, s)
	e.TAT, e.Rest = t.Whole, t.Rest
}

// A Cost is one of the rules that decide a request together.
type Cost struct {
	Entry    *Entry
	Interval Interval
	N        int64
	Refused  bool // set by Decide
	Debt     Span // set by Decide: after it if all were allowed, else as it was
}

// Decide spends all the costs at the time now, or none of them; then the entries stay as they were.
func Decide(now int64, costs []Cost) (allowed bool) {
	before := make([]Entry, len(costs))
	allowed = true
	for k := range costs {
		c := &costs[k]
		before[k] = *c.Entry
		c.Entry.Advance(c.Interval, now)
		c.Debt = c.Entry.debt(now)
		c.Refused = c.Interval.less(c.Interval.Room(c.N), c.Debt)
		if c.Refused {
			allowed = false
		} else {
			c.Entry.charge(c.Interval, c.Interval.Times(c.N))
		}
	}
	for k := len(costs) - 1; k >= 0; k-- {
		c := &costs[k]
		if !allowed {
			*c.Entry = before[k]
			continue
		}
		c.Debt = c.Entry.debt(now)
	}
	return allowed
}

// An Exchange is what a node tells and asks the ledger about one key, in one message. A node has one under way per key, and never
// sends it twice: what it doesn't know to have arrived it must treat as lost.
type Exchange struct {
	Slot   int64 // of the lease that is settled
	Settle int64 // tokens of that lease that count as out: all of them cease to
	Carry  int64 // those of them that the node still holds and wants renewed
	Back   int64 // tokens of that lease that nobody spent and the node gives back; see also Refund
	Need   int64 // tokens to spend at once: all or none
	Want   int64 // tokens to lease beyond that: as many as may be; 0 unless Size·P < 2⁵³
}

// Refund is the Slot of an exchange that gives back tokens that were spent, and not leased. For those there is no exact account of time: a window sees
// no more than the limit of what was spent less what was refunded in it.
const Refund = -1

// A Grant is the ledger's answer.
type Grant struct {
	Granted  int64         // Need, if it was there, and what was leased
	Carried  int64         // Carry, or 0 if the lease had ended
	Debt     Span          // the key's debt now
	Slot     int64         // the slot of the lease
	Lifetime time.Duration // until the lease ends
}

// Exchange carries out x at the time now.
func (e *Entry) Exchange(i Interval, now int64, x Exchange) Grant {
	e.Advance(i, now)
	carried, back := e.settle(x)
	e.giveBack(i, now, back)
	granted := e.grant(i, now, x)
	return Grant{
		Granted: granted, Carried: carried, Debt: e.debt(now), Slot: e.Slot,
		Lifetime: time.Duration(min((e.Slot+2)*Slot-now, 2*Slot)) * time.Microsecond,
	}
}

// settle takes a lease off the books and renews what is left of it. Of a lease that has ended nothing is renewed or returned: time has begun to pay
// for its tokens, and to take them from the debt as well would let others spend that time again.
func (e *Entry) settle(x Exchange) (carried, back int64) {
	switch x.Slot {
	case e.Slot:
		e.Cur = max(0, e.Cur-x.Settle) + x.Carry
	case e.Slot - 1:
		e.Prev = max(0, e.Prev-x.Settle)
		e.Cur += x.Carry
	case Refund:
		return 0, x.Back
	default:
		return 0, 0
	}
	return x.Carry, x.Back
}

// giveBack takes n tokens from the debt, but not below that of the tokens out. The floor also charges leases that a ledger which lost its
// memory doesn't know.
func (e *Entry) giveBack(i Interval, now, n int64) {
	t := i.minus(Span{e.TAT, e.Rest}, i.Times(n))
	e.TAT, e.Rest = t.Whole, t.Rest
	e.floor(i, now, e.Cur+e.Prev)
}

// grant hands out what is needed and, beyond that, at most half of what is left, so that a node that comes next finds something too. When what is
// left is little beside what is wanted it is handed out whole: several nodes that take half each would need many messages for it.
func (e *Entry) grant(i Interval, now int64, x Exchange) int64 {
	left := i.Fits(e.debt(now)) - x.Need
	if left < 0 {
		return 0
	}
	extra := left
	if left > x.Want/2 {
		extra = min(x.Want, (left+1)/2)
	}
	e.charge(i, i.Times(x.Need+extra))
	e.Cur += extra
	return x.Need + extra
}
