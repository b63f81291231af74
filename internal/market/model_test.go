package market_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/sluicegate/sluice/internal/market"
)

// A model is the market as one would write it down: lists, searched from end to end.
type model struct {
	now    uint64
	bids   []modelBid // in the order of their arrival
	last   uint64
	left   uint64
	sold   uint64
	users  []modelUser // in the order of their first bid
	keys   map[market.ID]modelKey
	leases map[market.ID]*modelLease
	fills  []market.Fill
}

type modelBid struct {
	market.Bid
	name string
}

type modelUser struct {
	name string
	market.Balance
}

type modelKey struct {
	at    uint64
	what  string
	reply market.Reply
}

type modelLease struct {
	at    uint64
	user  string
	units uint64
	ended bool
}

func newModel() *model {
	return &model{keys: map[market.ID]modelKey{}, leases: map[market.ID]*modelLease{}}
}

func (m *model) user(name string) *modelUser {
	for i := range m.users {
		if m.users[i].name == name {
			return &m.users[i]
		}
	}
	return nil
}

func (m *model) apply(c market.Command) market.Reply {
	m.now = max(m.now, c.Time)
	for _, l := range m.leases {
		if !l.ended && l.at+market.LeaseTime <= m.now {
			m.end(l, 0)
		}
	}
	switch c.Kind {
	case "buy", "sell":
		return m.order(c)
	case "cancel":
		i := slices.IndexFunc(m.bids, func(b modelBid) bool { return b.ID == c.Bid })
		if i < 0 {
			return market.Reply{Outcome: market.NotFound}
		}
		b := m.bids[i]
		m.bids = slices.Delete(m.bids, i, i+1)
		return market.Reply{ID: b.ID, Allocated: b.Volume - b.Open, Rest: b.Open}
	case "lease":
		return m.lease(c)
	default:
		l := m.leases[*c.Key]
		if l == nil || l.ended {
			return market.Reply{Outcome: market.NotFound}
		}
		if c.Volume > l.units {
			return market.Reply{Outcome: market.Invalid}
		}
		m.end(l, c.Volume)
		return market.Reply{Allocated: c.Volume, Rest: m.user(l.user).Balance.Balance}
	}
}

func (m *model) order(c market.Command) market.Reply {
	what := fmt.Sprintf("%s %q %d %d", c.Kind, c.Name, c.Volume, c.Price)
	if c.Key != nil {
		if k, ok := m.keys[*c.Key]; ok && k.at+market.KeyTime > m.now {
			if k.what != what {
				return market.Reply{Outcome: market.KeyReused}
			}
			return k.reply
		}
	}
	var r market.Reply
	switch {
	case c.Volume == 0:
	case c.Kind == "buy":
		r = m.buy(c)
	default:
		r = m.sell(c)
	}
	if c.Key != nil && r.Outcome == market.Done {
		m.keys[*c.Key] = modelKey{m.now, what, r}
	}
	return r
}

func (m *model) buy(c market.Command) market.Reply {
	got := min(c.Volume, m.left)
	open := c.Volume - got
	for _, b := range m.bids {
		if open > math.MaxUint64-b.Open {
			return market.Reply{Outcome: market.Overflow}
		}
		open += b.Open
	}
	m.last++
	if m.user(c.Name) == nil {
		m.users = append(m.users, modelUser{name: c.Name})
	}
	b := modelBid{market.Bid{ID: m.last, Price: c.Price, Volume: c.Volume, Open: c.Volume, Time: m.now}, c.Name}
	if got > 0 {
		m.left -= got
		m.fill(&b, got)
	}
	if b.Open > 0 {
		m.bids = append(m.bids, b)
	}
	return market.Reply{ID: b.ID, Allocated: got, Rest: b.Open}
}

func (m *model) sell(c market.Command) market.Reply {
	if c.Volume > math.MaxUint64-m.sold {
		return market.Reply{Outcome: market.Overflow}
	}
	m.sold += c.Volume
	left := c.Volume
	for left > 0 && len(m.bids) > 0 {
		best := 0
		for i := range m.bids {
			if m.bids[i].Price > m.bids[best].Price {
				best = i
			}
		}
		n := min(left, m.bids[best].Open)
		left -= n
		m.fill(&m.bids[best], n)
		if m.bids[best].Open == 0 {
			m.bids = slices.Delete(m.bids, best, best+1)
		}
	}
	m.left += left
	return market.Reply{Allocated: c.Volume - left, Rest: left}
}

func (m *model) fill(b *modelBid, n uint64) {
	b.Open -= n
	u := m.user(b.name)
	u.Allocated += n
	u.Balance.Balance += n
	m.fills = append(m.fills, market.Fill{
		Sequence: uint64(len(m.fills) + 1), Time: m.now, Bid: b.ID, Username: b.name, Price: b.Price, Volume: n, Open: b.Open,
	})
}

func (m *model) lease(c market.Command) market.Reply {
	u := m.user(c.Name)
	if u == nil {
		return market.Reply{Outcome: market.NotFound}
	}
	if l := m.leases[*c.Key]; l != nil && !l.ended {
		if l.user != c.Name {
			return market.Reply{Outcome: market.KeyReused}
		}
		return market.Reply{Allocated: l.units, Rest: u.Balance.Balance}
	}
	units := min(c.Volume, u.Balance.Balance)
	if units > 0 {
		m.leases[*c.Key] = &modelLease{at: m.now, user: c.Name, units: units}
		u.Leased += units
		u.Balance.Balance -= units
	}
	return market.Reply{Allocated: units, Rest: u.Balance.Balance}
}

func (m *model) end(l *modelLease, left uint64) {
	u := m.user(l.user)
	l.ended = true
	u.Leased -= l.units
	u.Spent += l.units - left
	u.Balance.Balance += left
}

// A player draws commands that meet each other: few users, prices and ids, and a clock that sometimes goes back.
type player struct {
	*rand.Rand
	now  uint64
	ids  uint64
	huge bool // some volumes are so large that no others fit beside them for long
}

func newPlayer(seed uint64) *player {
	return &player{Rand: rand.New(rand.NewPCG(seed, 1)), now: 1e12, huge: seed%5 == 0}
}

func (p *player) volume() uint64 {
	switch n := p.IntN(200); {
	case n == 0 && p.huge:
		return math.MaxUint64 - uint64(p.IntN(3))
	case n < 3:
		return 0
	default:
		return 1 + uint64(p.IntN(50))
	}
}

func (p *player) id(n int) *market.ID {
	id := market.ID{byte(p.IntN(n)), byte(n)}
	return &id
}

func (p *player) draw() market.Command {
	p.now += uint64(p.IntN(5000))
	if p.IntN(2000) == 0 {
		p.now += market.LeaseTime * uint64(p.IntN(30))
	}
	c := market.Command{Time: p.now - uint64(p.IntN(2)*p.IntN(100_000))}
	switch n := p.IntN(100); {
	case n < 45:
		c.Kind, c.Name, c.Volume, c.Price = "buy", fmt.Sprint("user ", p.IntN(20)), p.volume(), uint64(p.IntN(8))
		p.ids++
	case n < 70:
		c.Kind, c.Volume = "sell", p.volume()
	case n < 80:
		c.Kind, c.Bid = "cancel", max(p.ids, 20)-uint64(p.IntN(20))
	case n < 90:
		c.Kind, c.Name, c.Key, c.Volume = "lease", fmt.Sprint("user ", p.IntN(20)), p.id(40), uint64(p.IntN(100))
	default:
		c.Kind, c.Key, c.Volume = "return", p.id(40), uint64(p.IntN(30))
	}
	if (c.Kind == "buy" || c.Kind == "sell") && p.IntN(4) == 0 {
		c.Key = p.id(50)
		if p.IntN(2) == 0 {
			c.Volume, c.Price = 7, 0 // that some come with the same body again
			if c.Kind == "buy" {
				c.Name = "user 1"
			}
		}
	}
	return c
}

// view is all that can be read of a state.
type view struct {
	stats       market.Stats
	bids        map[string][]market.Bid
	balances    map[string]market.Balance
	allocations []market.Allocation
	fills       []market.Fill
	hash        uint64
}

func look(s *market.State) view {
	v := view{stats: s.Stats(), bids: map[string][]market.Bid{}, balances: map[string]market.Balance{}, hash: s.Hash()}
	v.allocations = s.Allocations(nil, 0, math.MaxInt)
	v.fills, _ = s.Fills(nil, 0, math.MaxInt)
	for _, a := range v.allocations {
		v.bids[a.Username], _, _ = s.Bids(nil, a.Username, 0, math.MaxInt)
		v.balances[a.Username], _ = s.Balance(a.Username)
	}
	return v
}

// matches compares a state with the model.
func (m *model) matches(t *testing.T, s *market.State) {
	t.Helper()
	v := look(s)
	if len(v.allocations) != len(m.users) {
		t.Fatalf("%d users, want %d", len(v.allocations), len(m.users))
	}
	var allocated, open uint64
	for i, u := range m.users {
		if v.allocations[i] != (market.Allocation{Username: u.name, Allocated: u.Allocated}) {
			t.Fatalf("allocation %+v, want %+v", v.allocations[i], u)
		}
		// A lease whose time has passed may be swept later: its units count as spent or as leased, and never as balance.
		got := v.balances[u.name]
		if got.Balance != u.Balance.Balance || got.Spent+got.Leased != u.Spent+u.Leased || got.Leased < u.Leased {
			t.Fatalf("balance %+v, want %+v", got, u)
		}
		var bids []market.Bid
		for _, b := range m.bids {
			if b.name == u.name {
				bids = append(bids, b.Bid)
				open += b.Open
			}
		}
		if !slices.Equal(v.bids[u.name], bids) {
			t.Fatalf("bids of %s: %+v, want %+v", u.name, v.bids[u.name], bids)
		}
		allocated += u.Allocated
	}
	b := v.stats.Book
	if b.Sold != m.sold || b.Left != m.left || b.Open != open || b.Allocated != allocated || b.Sold != b.Left+b.Allocated || b.Left > 0 && b.Open > 0 {
		t.Fatalf("the book has %+v, want sold %d, left %d, open %d, allocated %d", b, m.sold, m.left, open, allocated)
	}
	kept := m.fills[len(m.fills)-min(len(m.fills), market.MaxFills):]
	if !slices.Equal(v.fills, kept) {
		t.Fatalf("%d fills, want %d, or they differ", len(v.fills), len(kept))
	}
}

func snapshot(t testing.TB, s *market.State) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := s.Snapshot(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// A live run, a full replay, and every snapshot with what follows it come to the same state, which is the model's.
func TestModel(t *testing.T) {
	seeds, commands := uint64(20), 3000
	if os.Getenv("SLUICE_SOAK") != "" {
		seeds, commands = 100, 100_000
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			outcomes := map[market.Outcome]bool{}
			p, m, live, restored := newPlayer(seed), newModel(), market.NewState(), market.NewState()
			var log [][]byte
			for i := range commands {
				c := p.draw()
				cmd := c.Encode()
				log = append(log, cmd)
				got, want := live.Apply(cmd), m.apply(c)
				if got != want {
					t.Fatalf("command %d %+v: %+v, want %+v", i, c, got, want)
				}
				outcomes[got.Outcome] = true
				if again := restored.Apply(cmd); again != got || restored.Hash() != live.Hash() {
					t.Fatalf("command %d %+v: %+v with the hash %x after a snapshot, want %+v with %x", i, c, again, restored.Hash(), got, live.Hash())
				}
				if p.IntN(commands/10) == 0 {
					m.matches(t, live)
					written := snapshot(t, live)
					restored = market.NewState()
					if err := restored.Restore(bytes.NewReader(written)); err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(snapshot(t, restored), written) {
						t.Fatal("a restored state has another snapshot")
					}
				}
			}
			m.matches(t, live)
			for _, o := range []market.Outcome{market.Done, market.Invalid, market.KeyReused, market.NotFound} {
				if !outcomes[o] {
					t.Errorf("the outcome %d was never seen", o)
				}
			}
			if outcomes[market.Overflow] != p.huge {
				t.Errorf("with huge volumes %v: overflows %v", p.huge, outcomes[market.Overflow])
			}
			replayed := market.NewState()
			for _, cmd := range log {
				replayed.Apply(cmd)
			}
			if replayed.Hash() != live.Hash() || !bytes.Equal(snapshot(t, replayed), snapshot(t, live)) {
				t.Error("a replay comes to another state")
			}
		})
	}
}
