// Package lease is the arithmetic of limits that many nodes share: what the common ledger decides, and what a node does with the tokens it
// has on loan. It has no clock, no lock, no goroutine and no socket. internal/redislimit runs it over Redis, where a Lua script is the
// [Ledger]; bench/simlease runs a thousand nodes of it in virtual time.
//
// # The ledger
//
// For each key the ledger holds a GCRA state in microseconds, exactly: the theoretical arrival time is a whole number of microseconds and a
// fraction over the denominator of T, so that no rate drifts ([Interval]). A token is charged when it is taken from the ledger, whatever
// becomes of it. So from any start on, over all nodes,
//
//	tokens admitted until t  <=  rate·t + burst+1
//
// and no node that dies, is cut off or lies can change that.
//
// # Leases, and every window of time
//
// A node takes tokens ahead of use. If that were all, it could keep them while the ledger's debt is paid by time, and spend them next to
// tokens earned since: the sum above would hold, but a window of time could see more than rate·t + burst+1. So the ledger also counts the
// tokens that are out, and the debt of a key is never less than that:
//
//	TAT >= now + out·T
//
// It is enough to apply this floor whenever the key is looked at. Let D be the key's debt in tokens and u those out and not yet spent. A
// leased token that is spent lowers u by one; a token that is taken raises D and u; one spent at once raises D; what is returned lowers both;
// time lowers D at the rate, never below u. So D-u, which lies between 0 and burst+1, grows by one with every token spent and falls no faster
// than the rate: no window of length t sees more than rate·t + burst+1 tokens spent.
//
// A lease belongs to a slot, a second of the ledger's time, and ends with the slot after its own; until then the node must spend it, renew it or
// give it back. Renewing moves what is left to the present slot and says that the rest was spent. So the ledger needs two counters per key and
// not one per node, and what a dead node held weighs on the key for two seconds at most. The node counts the lifetime on its own
// monotonic clock, from before it asked, and less a 64th for the clocks' drift: what its wall clock shows plays no part.
//
// # The node
//
// An [Account] is one node's share of one key. It asks for as many tokens as it will use in some 200 ms, and a quarter before it runs out it asks
// again, so that requests hardly ever wait. A key that sees a request now and then leases nothing and behaves as a strict one. When the ledger has
// no more to give, the node refuses on its own until more can have come back, and asks less and less often the smaller the portions are.
package lease
