package sim

import (
	"time"

	"github.com/sluicegate/sluice/gcra"
	"github.com/sluicegate/sluice/internal/lease"
)

// request lets a request for key id come in on one of the nodes that its requests come in on.
func (w *world) request(id int) {
	k := w.key(id)
	cost := int64(1)
	if w.rnd.IntN(20) == 0 {
		cost = min(3, k.interval.Size)
	}
	n := w.nodes[(id*7919+w.rnd.IntN(w.Spread))%len(w.nodes)]
	w.result.Requests++
	k.asked += cost
	var d gcra.Decision
	if k.ideal, d = k.limit.Decide(k.ideal, w.now, cost); d.Allowed {
		k.wouldAdmit += cost
	}
	a := n.accounts[id]
	if a == nil {
		a = &account{Account: lease.Account{Interval: k.interval}}
		n.accounts[id] = a
	}
	w.ask(n, id, a, cost)
}

// ask puts a request to the node's account and does what the verdict says. It reports false if the request has to wait.
func (w *world) ask(n *node, id int, a *account, cost int64) {
	switch v := a.Take(n.clock(w.now), cost); {
	case v.Taken:
		w.admit(id, a, cost)
		if v.Call {
			w.call(n, id, a, 0)
		}
	case v.Refused:
		w.result.Refused++
	default:
		a.waiting = append(a.waiting, cost)
		if v.Call {
			w.call(n, id, a, cost)
		}
	}
}

func (w *world) admit(id int, a *account, cost int64) {
	k := w.key(id)
	k.admitted += cost
	before := min(cost, a.prepaid)
	a.prepaid -= before
	if cost > before {
		w.spend(k, cost-before)
	}
}

// call sends an account's message; the answer, or its absence, ends the call.
func (w *world) call(n *node, id int, a *account, need int64) {
	x := a.Send(n.clock(w.now), need)
	a.call++
	number, life := a.call, n.life
	open := func() bool { return n.life == life && a.Calling() && a.call == number }
	w.after(w.Timeout, func() {
		if open() {
			a.Lose(n.clock(w.now))
			w.result.Failed += int64(len(a.waiting))
			a.waiting = a.waiting[:0]
		}
	})
	w.send(n, id, x, func(g lease.Grant) {
		if !open() {
			return
		}
		a.Receive(n.clock(w.now), g)
		if len(a.waiting) > 0 {
			a.prepaid += min(x.Need, g.Granted)
		}
		waiting := a.waiting
		a.waiting = nil
		for _, cost := range waiting {
			w.ask(n, id, a, cost)
		}
		a.Settle()
		a.prepaid = 0
		w.watch(n, id, a)
	})
}

// send carries a message to the ledger and its answer back, if neither is lost. A node that is cut off loses either one.
func (w *world) send(n *node, id int, x lease.Exchange, answer func(lease.Grant)) {
	w.result.Calls++
	if n.cut && w.rnd.IntN(2) == 0 {
		return
	}
	w.after(w.latency(), func() {
		k := w.key(id)
		g := k.entry.Exchange(k.interval, int64(w.now/micro), x)
		if need := min(x.Need, g.Granted); need > 0 {
			w.spend(k, need)
		}
		if !n.cut && answer != nil {
			w.after(w.latency(), func() { answer(g) })
		}
	})
}

func (w *world) latency() time.Duration {
	return (w.Latency/10 + time.Duration(w.rnd.Int64N(int64(w.Latency)))).Round(micro)
}

// watch looks after an account that holds a lease until it doesn't.
func (w *world) watch(n *node, id int, a *account) {
	if a.watched {
		return
	}
	life := n.life
	var look func()
	look = func() {
		if n.life != life {
			return
		}
		now := n.clock(w.now)
		x, send, again := a.Due(now)
		if send {
			w.send(n, id, x, nil)
		}
		if a.watched = again > 0; a.watched {
			w.after((again-now).Round(micro)+micro, look)
		}
	}
	a.watched = true
	look()
}

// sweep forgets the accounts that hold nothing, a part of the nodes at a time.
func (w *world) sweep() {
	first := w.rnd.IntN(10)
	for i := first; i < len(w.nodes); i += 10 {
		n := w.nodes[i]
		for id, a := range n.accounts {
			if !a.watched && !a.Calling() && len(a.waiting) == 0 && a.Idle(n.clock(w.now)) {
				delete(n.accounts, id)
			}
		}
	}
	w.after(100*time.Millisecond, w.sweep)
}

// trouble cuts nodes off for a while, and kills some.
func (w *world) trouble() {
	if w.Trouble == 0 {
		return
	}
	const step = 100 * time.Millisecond
	if w.rnd.Float64() < float64(w.Trouble*len(w.nodes))/1000*step.Seconds() {
		w.kill(w.nodes[w.rnd.IntN(len(w.nodes))])
	}
	for _, n := range w.nodes {
		if !n.cut && w.rnd.Float64() < float64(w.Trouble)/1000*step.Seconds()/3 {
			n.cut = true
			w.after(time.Duration(w.rnd.Int64N(int64(6*time.Second))).Round(micro), func() { n.cut = false })
		}
	}
	w.after(step, w.trouble)
}

// kill ends a node, and starts one in its place that remembers nothing.
func (w *world) kill(n *node) {
	w.result.Deaths++
	for _, a := range n.accounts {
		w.result.Died += int64(len(a.waiting))
	}
	n.life++
	n.accounts = map[int]*account{}
}
