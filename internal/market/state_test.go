package market_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/internal/market"
)

// A machine is a state that is told what to do in words.
type machine struct {
	*market.State
	t   *testing.T
	now uint64
}

func newMachine(t *testing.T) *machine { return &machine{market.NewState(), t, 1e12} }

// do applies a command and checks the reply.
func (m *machine) do(c market.Command, want market.Reply) {
	m.t.Helper()
	c.Time = m.now
	if got := m.Apply(c.Encode()); got != want {
		m.t.Errorf("%+v: %+v, want %+v", c, got, want)
	}
}

func bid(name string, volume, price uint64) market.Command {
	return market.Command{Kind: "buy", Name: name, Volume: volume, Price: price}
}

func sale(volume uint64) market.Command { return market.Command{Kind: "sell", Volume: volume} }

func (m *machine) balance(name string, want market.Balance) {
	m.t.Helper()
	if got, _ := m.Balance(name); got != want {
		m.t.Errorf("balance of %s: %+v, want %+v", name, got, want)
	}
}

func id(n byte) *market.ID { return &market.ID{n} }

// An order under a key is done once, and answered the same for 24 hours.
func TestKeys(t *testing.T) {
	m := newMachine(t)
	keyed := func(c market.Command, n byte) market.Command { c.Key = id(n); return c }
	first := market.Reply{ID: 1, Rest: 10}
	m.do(keyed(bid("a", 10, 1), 1), first)
	m.do(keyed(bid("a", 10, 1), 1), first)
	m.do(keyed(sale(4), 2), market.Reply{Allocated: 4})
	m.do(keyed(sale(4), 2), market.Reply{Allocated: 4})
	m.do(keyed(bid("a", 10, 1), 1), first) // as it was then
	for _, other := range []market.Command{bid("a", 11, 1), bid("a", 10, 2), bid("b", 10, 1), sale(10)} {
		m.do(keyed(other, 1), market.Reply{Outcome: market.KeyReused})
	}
	m.do(keyed(bid("nobody", 0, 1), 3), market.Reply{})
	m.do(keyed(bid("nobody", 1, 1), 3), market.Reply{Outcome: market.KeyReused})
	if _, known := m.Balance("nobody"); known {
		t.Error("a bid for nothing made its user known")
	}
	m.now += market.KeyTime - 1
	m.do(keyed(bid("a", 10, 1), 1), first)
	m.now++
	m.do(keyed(bid("a", 10, 1), 1), market.Reply{ID: 2, Rest: 10})
	m.do(keyed(bid("a", 10, 1), 1), market.Reply{ID: 2, Rest: 10})
	if s := m.Stats(); s.Orders != 2 || s.Sales != 1 || s.Book.Open != 16 || s.Keys != 1 {
		t.Errorf("%+v", s)
	}
}

// What was refused is not remembered under its key: it may be possible later.
func TestRefusalsAreNotRemembered(t *testing.T) {
	m := newMachine(t)
	m.do(bid("a", math.MaxUint64, 1), market.Reply{ID: 1, Rest: math.MaxUint64})
	again := bid("b", 1, 1)
	again.Key = id(1)
	m.do(again, market.Reply{Outcome: market.Overflow})
	m.do(market.Command{Kind: "cancel", Bid: 1}, market.Reply{ID: 1, Rest: math.MaxUint64})
	m.do(again, market.Reply{ID: 2, Rest: 1})
}

func TestOverflow(t *testing.T) {
	m := newMachine(t)
	m.do(sale(math.MaxUint64), market.Reply{Rest: math.MaxUint64})
	m.do(sale(1), market.Reply{Outcome: market.Overflow})
	m.do(bid("a", math.MaxUint64, math.MaxUint64), market.Reply{ID: 1, Allocated: math.MaxUint64})
	m.do(sale(1), market.Reply{Outcome: market.Overflow}) // all that was ever sold counts
	m.balance("a", market.Balance{Allocated: math.MaxUint64, Balance: math.MaxUint64})
	m.do(bid("a", math.MaxUint64, 0), market.Reply{ID: 2, Rest: math.MaxUint64})
	m.do(bid("b", 1, 0), market.Reply{Outcome: market.Overflow})
	if _, known := m.Balance("b"); known {
		t.Error("a bid that was refused made its user known")
	}
}

func TestBounds(t *testing.T) {
	m := newMachine(t)
	m.Bound(2, 3, 2, 1)
	m.do(bid("a", 1, 1), market.Reply{ID: 1, Rest: 1})
	m.do(bid("b", 1, 1), market.Reply{ID: 2, Rest: 1})
	m.do(bid("c", 1, 1), market.Reply{Outcome: market.Full, Bound: market.UserBound})
	m.do(bid("b", 1, 1), market.Reply{ID: 3, Rest: 1})
	m.do(bid("b", 1, 1), market.Reply{Outcome: market.Full, Bound: market.BidBound})
	m.do(sale(5), market.Reply{Allocated: 3, Rest: 2})

	keyed := sale(1)
	for i := range byte(2) {
		keyed.Key = id(i)
		m.do(keyed, market.Reply{Rest: 1})
		m.now += 1000
	}
	keyed.Key = id(9)
	m.do(keyed, market.Reply{Outcome: market.Full, Bound: market.KeyBound, Wait: market.KeyTime - 2000})
	m.do(sale(1), market.Reply{Rest: 1}) // without a key
	keyed.Key = id(0)
	m.do(keyed, market.Reply{Rest: 1}) // a key that is known
	m.now += market.KeyTime - 2000
	keyed.Key = id(9)
	m.do(keyed, market.Reply{Rest: 1})

	m.do(market.Command{Kind: "lease", Key: id(1), Name: "b", Volume: 1}, market.Reply{Allocated: 1, Rest: 1})
	m.do(market.Command{Kind: "lease", Key: id(2), Name: "b", Volume: 1}, market.Reply{Outcome: market.Full, Bound: market.LeaseBound})
}

func TestLeases(t *testing.T) {
	m := newMachine(t)
	take := func(n byte, name string, units uint64) market.Command {
		return market.Command{Kind: "lease", Key: id(n), Name: name, Volume: units}
	}
	back := func(n byte, left uint64) market.Command {
		return market.Command{Kind: "return", Key: id(n), Volume: left}
	}
	m.do(take(1, "a", 10), market.Reply{Outcome: market.NotFound})
	m.do(bid("a", 100, 1), market.Reply{ID: 1, Rest: 100})
	m.do(bid("b", 5, 0), market.Reply{ID: 2, Rest: 5})
	m.do(take(1, "a", 10), market.Reply{}) // nothing was allocated
	m.do(sale(100), market.Reply{Allocated: 100})

	m.do(take(1, "a", 60), market.Reply{Allocated: 60, Rest: 40})
	m.do(take(1, "a", 60), market.Reply{Allocated: 60, Rest: 40}) // its outcome was unknown
	m.do(take(1, "b", 1), market.Reply{Outcome: market.KeyReused})
	m.do(take(2, "a", 60), market.Reply{Allocated: 40})
	m.do(take(3, "a", 60), market.Reply{})
	m.balance("a", market.Balance{Allocated: 100, Leased: 100})

	m.do(back(1, 61), market.Reply{Outcome: market.Invalid})
	m.do(back(1, 25), market.Reply{Allocated: 25, Rest: 25})
	m.do(back(1, 25), market.Reply{Outcome: market.NotFound})
	m.balance("a", market.Balance{Allocated: 100, Spent: 35, Leased: 40, Balance: 25})

	m.now += market.LeaseTime // the node that had lease 2 is gone
	m.do(back(2, 40), market.Reply{Outcome: market.NotFound})
	m.balance("a", market.Balance{Allocated: 100, Spent: 75, Balance: 25})
	m.do(take(2, "a", 1), market.Reply{Allocated: 1, Rest: 24})
}

// However far the clock jumps, a command sweeps only so much, and what it hasn't swept counts as gone.
func TestClockJumps(t *testing.T) {
	m := newMachine(t)
	for i := range byte(100) {
		c := sale(1)
		c.Key = id(i)
		m.do(c, market.Reply{Rest: 1})
	}
	m.now += market.KeyTime
	m.do(market.Command{Kind: "cancel"}, market.Reply{Outcome: market.NotFound})
	if n := m.Stats().Keys; n == 0 || n >= 100 {
		t.Errorf("%d keys are left after one command, want some of them gone", n)
	}
	c := sale(2)
	c.Key = id(99)
	m.do(c, market.Reply{Rest: 2})
	for range 20 {
		m.do(market.Command{Kind: "cancel"}, market.Reply{Outcome: market.NotFound})
	}
	if n := m.Stats().Keys; n != 1 {
		t.Errorf("%d keys are left, want the new one", n)
	}
	m.now = 0 // a node whose clock is behind
	m.do(c, market.Reply{Rest: 2})
}

func TestFillsAreRemembered(t *testing.T) {
	m := newMachine(t)
	const all = market.MaxFills + 5
	m.do(sale(all), market.Reply{Rest: all})
	for i := range uint64(all) {
		m.do(bid("a", 1, 0), market.Reply{ID: i + 1, Allocated: 1})
	}
	for _, c := range []struct {
		after, first, lost uint64
		n                  int
	}{
		{0, 6, 5, 3}, {4, 6, 1, 3}, {5, 6, 0, 3}, {6, 7, 0, 3}, {all - 1, all, 0, 1}, {all, 0, 0, 0}, {all + 9, 0, 0, 0},
	} {
		fills, lost := m.Fills(nil, c.after, 3)
		if len(fills) != c.n || lost != c.lost || c.n > 0 && fills[0].Sequence != c.first {
			t.Errorf("after %d: %d fills, %d lost: %+v", c.after, len(fills), lost, fills)
		}
	}
}

// Pages of bids go on behind a bid that is gone meanwhile.
func TestPagesOfBids(t *testing.T) {
	m := newMachine(t)
	for i := range uint64(10) {
		m.do(bid("a", 1, 1), market.Reply{ID: 2*i + 1, Rest: 1})
		m.do(bid("b", 1, 1), market.Reply{ID: 2*i + 2, Rest: 1})
	}
	m.do(market.Command{Kind: "cancel", Bid: 5}, market.Reply{ID: 5, Rest: 1})
	for after, want := range map[uint64][]uint64{0: {1, 3, 7}, 3: {7, 9, 11}, 4: {7, 9, 11}, 5: {7, 9, 11}, 17: {19}, 19: nil, math.MaxUint64: nil} {
		bids, all, known := m.Bids(nil, "a", after, 3)
		var ids []uint64
		for _, b := range bids {
			ids = append(ids, b.ID)
		}
		if !slices.Equal(ids, want) || all != 9 || !known {
			t.Errorf("after %d: %d of %d, want %d", after, ids, all, want)
		}
	}
}

// A name has the same meaning in every version: these are in logs.
func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"": false, "a": true, " ": true, "a b": true, "Zoë": true, "漢": true, strings.Repeat("x", 128): true, strings.Repeat("x", 129): false,
		"a\x00": false, "a\n": false, "\x7f": false, "\u0085": false, "\u00a0": true, "\xff": false, "\xed\xa0\x80": false, "\ufffd": true,
	} {
		if err := market.CheckName(name); (err == nil) != ok {
			t.Errorf("CheckName(%q) = %v", name, err)
		}
		cmd := market.Command{Kind: "buy", Name: name, Volume: 1}.Encode()
		if got := market.NewState().Apply(cmd).Outcome == market.Done; got != ok {
			t.Errorf("Apply took %q: %v", name, got)
		}
	}
}

// The bytes of commands and snapshots, and the hash, are in logs: they change with their versions alone.
func TestFormat(t *testing.T) {
	m := newMachine(t)
	c := bid("ab", 300, 2)
	c.Time, c.Key = 1, &market.ID{0xff}
	if got, want := fmt.Sprintf("%x", c.Encode()), "01010101ff000000000000000000000000000000ac02026162"; got != want {
		t.Errorf("a bid is %s, want %s", got, want)
	}
	m.do(c, market.Reply{ID: 1, Rest: 300})
	m.do(sale(7), market.Reply{Allocated: 7})
	m.do(market.Command{Kind: "lease", Key: id(1), Name: "ab", Volume: 5}, market.Reply{Allocated: 5, Rest: 2})
	const hash = uint64(0x8de9e13f1baa4a26)
	if m.Hash() != hash {
		t.Errorf("the hash is %#x, want %#x", m.Hash(), hash)
	}
}

func TestRestoreRefuses(t *testing.T) {
	m := newMachine(t)
	m.do(bid("a", 5, 1), market.Reply{ID: 1, Rest: 5})
	before := m.Hash()
	good := snapshot(t, m.State)
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 1
		if err := m.Restore(bytes.NewReader(bad)); !errors.Is(err, market.ErrSnapshot) {
			t.Errorf("byte %d: %v", i, err)
		}
		if err := m.Restore(bytes.NewReader(good[:i])); !errors.Is(err, market.ErrSnapshot) {
			t.Errorf("the first %d bytes: %v", i, err)
		}
	}
	if err := m.Restore(bytes.NewReader(append(good, 0))); !errors.Is(err, market.ErrSnapshot) {
		t.Errorf("a byte more: %v", err)
	}
	if m.Hash() != before {
		t.Error("what was refused changed the state")
	}
}

// played is a state with some of everything.
func played(t testing.TB) *market.State {
	s, p := market.NewState(), newPlayer(1)
	for range 300 {
		s.Apply(p.draw().Encode())
	}
	return s
}

func FuzzApply(f *testing.F) {
	p := newPlayer(2)
	for range 50 {
		f.Add(p.draw().Encode())
	}
	start := snapshot(f, played(f))
	f.Fuzz(func(t *testing.T, cmd []byte) {
		s := market.NewState()
		if err := s.Restore(bytes.NewReader(start)); err != nil {
			t.Fatal(err)
		}
		before := s.Hash()
		r := s.Apply(cmd)
		again, ok := market.Again(cmd)
		switch {
		case ok && !bytes.Equal(again, cmd):
			t.Errorf("%x encodes to %x", cmd, again)
		case !ok && (r != market.Reply{Outcome: market.Invalid} || s.Hash() != before):
			t.Errorf("%x is no command and had an effect: %+v", cmd, r)
		}
		if b := s.Stats().Book; b.Sold != b.Left+b.Allocated || b.Left > 0 && b.Open > 0 {
			t.Errorf("%+v", b)
		}
		if err := market.NewState().Restore(bytes.NewReader(snapshot(t, s))); err != nil {
			t.Error(err)
		}
	})
}

func FuzzRestore(f *testing.F) {
	f.Add(snapshot(f, market.NewState()))
	f.Add(snapshot(f, played(f)))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := market.NewState()
		if s.Restore(bytes.NewReader(data)) != nil {
			return
		}
		if !bytes.Equal(snapshot(t, s), data) {
			t.Error("a snapshot was restored that no state writes")
		}
		p := newPlayer(3)
		for range 200 {
			s.Apply(p.draw().Encode())
		}
	})
}
