package quota_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/internal/quota"
)

// A model is the quotas as one would write them down: every stored thing and every reservation is a line, and sums are taken when asked for.
type model struct {
	now    uint64
	stored []line
	held   map[quota.ID]line
	own    map[string]quota.Change
	all    quota.Limits
}

type line struct {
	user    string
	bytes   uint64
	month   quota.Month
	session uint64
}

func newModel() *model {
	return &model{held: map[quota.ID]line{}, own: map[string]quota.Change{}, all: quota.Limits{Bytes: quota.DefaultBytes, Rate: quota.DefaultRate}}
}

func (m *model) month() quota.Month { return quota.MonthOf(m.now) }

func (m *model) usage(user string) quota.Usage {
	v := quota.Usage{Limits: m.all, Month: m.month()}
	if c := m.own[user]; c.Bytes != nil {
		v.Bytes, v.OwnBytes = *c.Bytes, true
	}
	if c := m.own[user]; c.Rate != nil {
		v.Rate, v.OwnRate = *c.Rate, true
	}
	for _, l := range m.stored {
		if l.user == user && l.month == m.month() {
			v.Used += l.bytes
		}
	}
	for _, l := range m.held {
		if l.user == user && l.month == m.month() {
			v.Reserved += l.bytes
		}
	}
	return v
}

func (m *model) reserve(r quota.Reservation) quota.Outcome {
	u := m.usage(r.User)
	switch _, exists := m.held[r.ID]; {
	case r.Bytes > quota.MaxBytes:
		return quota.Invalid
	case exists:
		return quota.Exists
	case r.Bytes > 0 && u.Used+u.Reserved+r.Bytes > u.Bytes:
		return quota.Over
	}
	m.held[r.ID] = line{r.User, r.Bytes, m.month(), r.Session}
	return quota.Done
}

func (m *model) commit(id quota.ID, bytes uint64) quota.Outcome {
	l, ok := m.held[id]
	switch {
	case !ok:
		return quota.NotFound
	case bytes > l.bytes:
		return quota.Invalid
	}
	delete(m.held, id)
	l.bytes = bytes
	m.stored = append(m.stored, l)
	return quota.Done
}

func (m *model) set(user string, c quota.Change) quota.Outcome {
	was := m.own[user]
	if c.Reset {
		was = quota.Change{}
		if user == "" {
			m.all = quota.Limits{Bytes: quota.DefaultBytes, Rate: quota.DefaultRate}
		}
	}
	if c.Bytes != nil {
		was.Bytes = c.Bytes
	}
	if c.Rate != nil {
		was.Rate = c.Rate
	}
	if user != "" {
		m.own[user] = was
		return quota.Done
	}
	if was.Bytes != nil {
		m.all.Bytes = *was.Bytes
	}
	if was.Rate != nil {
		m.all.Rate = *was.Rate
	}
	return quota.Done
}

// A pair is a state and the model that it is compared with.
type pair struct {
	t     *rapid.T
	state *quota.State
	model *model
	now   uint64
	ids   byte
}

var (
	users    = []string{"1", "2", "zoë"}
	epoch    = uint64(time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC).UnixMilli())
	sizes    = []uint64{0, 1, 2, 999_999, 1_000_000, 20_000_000, quota.DefaultBytes, quota.DefaultBytes + 1, quota.MaxBytes, quota.MaxBytes + 1}
	day      = uint64(24 * time.Hour / time.Millisecond)
	sessions = []uint64{0, 1, 7}
)

func (p *pair) id() quota.ID {
	p.ids++
	return quota.ID{p.ids}
}

// known draws an id that may be held.
func (p *pair) known() quota.ID { return quota.ID{rapid.ByteRange(0, p.ids).Draw(p.t, "id")} }

func (p *pair) user() string { return rapid.SampledFrom(users).Draw(p.t, "user") }

func (p *pair) size() uint64 { return rapid.SampledFrom(sizes).Draw(p.t, "bytes") }

// expect compares what became of a command, and what is known of its user.
func (p *pair) expect(user string, got quota.Reply, want quota.Outcome) {
	p.t.Helper()
	if got.Outcome != want {
		p.t.Fatalf("outcome %d, want %d", got.Outcome, want)
	}
	if got.Outcome == quota.Done && got.Usage != p.model.usage(user) {
		p.t.Fatalf("%s has %+v, want %+v", user, got.Usage, p.model.usage(user))
	}
}

func (p *pair) step() {
	p.now += rapid.Uint64Range(0, 6).Draw(p.t, "days") * day // one node's clock may be behind that of another
	p.now -= rapid.Uint64Range(0, 6).Draw(p.t, "days back") * day
	p.model.now = max(p.model.now, p.now)
	switch rapid.IntRange(0, 7).Draw(p.t, "command") {
	case 0, 1:
		r := quota.Reservation{ID: p.id(), User: p.user(), Bytes: p.size(), Session: rapid.SampledFrom(sessions).Draw(p.t, "session")}
		if rapid.IntRange(0, 9).Draw(p.t, "again") == 0 {
			r.ID = p.known()
		}
		p.expect(r.User, p.state.Apply(quota.EncodeReserve(p.now, r)), p.model.reserve(r))
	case 2:
		id, bytes := p.known(), p.size()
		user := p.model.held[id].user
		p.expect(user, p.state.Apply(quota.EncodeCommit(p.now, id, bytes)), p.model.commit(id, bytes))
	case 3:
		id := p.known()
		user := p.model.held[id].user
		p.expect(user, p.state.Apply(quota.EncodeRelease(p.now, id)), p.model.commit(id, 0))
	case 4:
		p.credit()
	case 5:
		p.endSession()
	case 6:
		p.set()
	default:
		p.restart()
	}
	p.check()
}

func (p *pair) credit() {
	if len(p.model.stored) == 0 {
		p.state.Advance(p.now)
		return
	}
	i := rapid.IntRange(0, len(p.model.stored)-1).Draw(p.t, "which")
	l := p.model.stored[i]
	p.model.stored = append(p.model.stored[:i:i], p.model.stored[i+1:]...)
	want := quota.Done
	if l.month != p.model.month() {
		want = quota.NotFound
	}
	r := p.state.Apply(quota.EncodeCredit(p.now, l.user, l.bytes, l.month))
	if l.bytes > 0 { // nothing, taken off nothing, may be said either way
		p.expect(l.user, r, want)
	}
}

func (p *pair) endSession() {
	session := rapid.SampledFrom(sessions).Draw(p.t, "session")
	p.state.Advance(p.now)
	p.state.ReleaseSession(session, func(id quota.ID) {
		if l, ok := p.model.held[id]; !ok || l.session != session {
			p.t.Fatalf("session %d had %+v", session, l)
		}
		delete(p.model.held, id)
	})
	for id, l := range p.model.held {
		if session != 0 && l.session == session {
			p.t.Fatalf("session %d still has %x", session, id)
		}
	}
}

func (p *pair) set() {
	var c quota.Change
	if rapid.Bool().Draw(p.t, "sets bytes") {
		bytes := min(p.size(), quota.MaxBytes)
		c.Bytes = &bytes
	}
	if rapid.Bool().Draw(p.t, "sets rate") {
		rate := rapid.Uint32Range(1, quota.MaxRate).Draw(p.t, "rate")
		c.Rate = &rate
	}
	c.Reset = rapid.Bool().Draw(p.t, "resets")
	user := rapid.SampledFrom(append([]string{""}, users...)).Draw(p.t, "user or all")
	p.expect(user, p.state.Apply(quota.EncodeSet(p.now, user, c)), p.model.set(user, c))
}

// restart goes on with what a snapshot says.
func (p *pair) restart() {
	p.state.Advance(p.now)
	var buf bytes.Buffer
	if err := p.state.Snapshot(&buf); err != nil {
		p.t.Fatal(err)
	}
	restored := quota.NewState()
	if err := restored.Restore(bytes.NewReader(buf.Bytes())); err != nil {
		p.t.Fatal(err)
	}
	var again bytes.Buffer
	if err := restored.Snapshot(&again); err != nil || restored.Hash() != p.state.Hash() || !bytes.Equal(again.Bytes(), buf.Bytes()) {
		p.t.Fatalf("restored, the state is another one: %v", err)
	}
	p.state = restored
}

func (p *pair) check() {
	for _, user := range users {
		if got, want := p.state.Usage(user), p.model.usage(user); got != want {
			p.t.Fatalf("%s has %+v, want %+v", user, got, want)
		}
	}
	n := 0
	for r := range p.state.Reservations() {
		if l := p.model.held[r.ID]; l != (line{r.User, r.Bytes, r.Month, r.Session}) {
			p.t.Fatalf("%+v, want %+v", r, l)
		}
		n++
	}
	if n != len(p.model.held) {
		p.t.Fatalf("%d reservations, want %d", n, len(p.model.held))
	}
}

// The state does what a list of all that was ever reserved and stored says.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &pair{t: t, state: quota.NewState(), model: newModel(), now: epoch}
		for range rapid.IntRange(1, 60).Draw(t, "commands") {
			p.step()
		}
	})
}

// The same commands give the same hash, and commands that change something another one.
func TestHash(t *testing.T) {
	a, b := quota.NewState(), quota.NewState()
	seen := map[uint64]string{a.Hash(): "nothing"}
	big := uint64(1) << 40
	for i, cmd := range [][]byte{
		quota.EncodeReserve(epoch, quota.Reservation{ID: quota.ID{1}, User: "1", Bytes: 10}),
		quota.EncodeReserve(epoch, quota.Reservation{ID: quota.ID{2}, User: "1", Bytes: 10, Session: 1}),
		quota.EncodeCommit(epoch, quota.ID{1}, 3),
		quota.EncodeRelease(epoch, quota.ID{2}),
		quota.EncodeSet(epoch, "1", quota.Change{Bytes: &big}),
		quota.EncodeSet(epoch, "", quota.Change{Bytes: &big}),
		quota.EncodeCredit(epoch, "1", 3, quota.MonthOf(epoch)),
		quota.EncodeRelease(epoch+1, quota.ID{9}),
	} {
		a.Apply(cmd)
		b.Apply(cmd)
		what := fmt.Sprintf("command %d", i)
		if before, twice := seen[a.Hash()]; twice {
			t.Errorf("the hash after %s is that of %s", what, before)
		}
		if seen[a.Hash()] = what; a.Hash() != b.Hash() {
			t.Errorf("after %s, two states have different hashes", what)
		}
	}
}
