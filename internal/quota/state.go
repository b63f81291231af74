package quota

import (
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/internal/ordered"
)

// What users may who have no limits of their own, until [State.Set] says otherwise.
const (
	DefaultBytes = 50_000_000 // a month
	DefaultRate  = 120        // requests a minute
)

// Bounds of the state. They are rules of the state machine: nodes that are to agree need the same.
const (
	MaxBytes        = 1 << 60 // of a quota; sums of what is within it do not wrap
	MaxRate         = 1_000_000
	MaxUsers        = 4 << 20 // that have limits of their own, or reserved or used something this month
	MaxReservations = 4 << 20 // at once
)

// sweep is how many users that nothing needs to be known of any more a command forgets at most: more than it can add.
const sweep = 8

// Limits are what a user may.
type Limits struct {
	Bytes uint64 // stored in a calendar month
	Rate  uint32 // requests a minute
}

// ID names a reservation. Whoever makes it draws it at random, and never again.
type ID [16]byte

// A Reservation is bytes that something may take that is not stored yet.
type Reservation struct {
	ID      ID
	User    string
	Bytes   uint64
	Session uint64 // whose end releases it; 0: no session's
	Month   Month  // in which it was made
}

// State is what users may, used and reserved. It is a state machine, or a part of one: everything it does follows from its commands. Make one
// with NewState; it is not safe for concurrent use.
type State struct {
	users    ordered.List[*user]
	oldest   *user // the first in the order in which months were noted, which rise
	newest   *user
	holds    map[ID]*hold
	first    *hold // in the order in which they were made
	last     *hold
	sessions map[uint64]*hold // the last one of each session
	defaults Limits
	now      uint64 // the latest time of a command, milliseconds since 1970
	month    Month  // of now
	until    uint64 // when it ends
	sums     uint64 // of the digests of users and reservations

	maxUsers, maxHolds int // no part of the state
}

type user struct {
	name       string
	hash       uint64 // of the name
	own        Limits // where it is 0, that of all applies
	hasBytes   bool
	hasRate    bool
	month      Month  // that used and reserved are of
	used       uint64 // is stored
	reserved   uint64 // by reservations of the month
	holds      int    // reservations of any month
	prev, next *user  // in the order of State.oldest
}

type hold struct {
	id         ID
	user       *user
	bytes      uint64
	month      Month
	session    uint64
	prev, next *hold // in the order of State.first
	older      *hold // of the session
	newer      *hold
}

// NewState returns a state without users, whose clock is at 1970.
func NewState() *State {
	s := &State{
		holds: map[ID]*hold{}, sessions: map[uint64]*hold{}, defaults: Limits{DefaultBytes, DefaultRate},
		maxUsers: MaxUsers, maxHolds: MaxReservations,
	}
	s.setMonth()
	return s
}

// Outcome is what became of a command.
type Outcome byte

const (
	Done     Outcome = iota
	Invalid          // not a command, or numbers and names that are none
	Over             // the bytes are more than what is left of the quota
	Full             // a bound of the state is reached
	NotFound         // no such reservation
	Exists           // a reservation has this id
)

// A Reply says what became of a command. Only [Done] changes anything but the clock.
type Reply struct {
	Outcome Outcome
	Month   Month // of the reservation
	Usage   Usage // of the user, afterwards
}

// Usage is what a user may and used this month. Used and Reserved are more than Limits.Bytes only if that was lowered below them.
type Usage struct {
	Limits
	OwnBytes, OwnRate bool // set for this user
	Used, Reserved    uint64
	Month             Month
}

// Advance moves the clock, which never goes back, and forgets some users of whom nothing needs to be known.
func (s *State) Advance(now uint64) {
	if now > s.now {
		if s.now = now; now >= s.until {
			s.setMonth()
		}
	}
	for range sweep {
		if s.oldest == nil || s.oldest.month == s.month {
			return
		}
		s.settle(s.touch(s.oldest))
	}
}

func (s *State) setMonth() {
	s.month = MonthOf(s.now)
	s.until = uint64((s.month + 1).Start().UnixMilli())
}

// Reserve sets bytes aside in the current month.
func (s *State) Reserve(r Reservation) Reply {
	switch {
	case r.Bytes > MaxBytes || CheckUser(r.User) != nil:
		return Reply{Outcome: Invalid}
	case s.holds[r.ID] != nil:
		return s.reply(Exists, r.User)
	case len(s.holds) >= s.maxHolds:
		return s.reply(Full, r.User)
	}
	if usage := s.Usage(r.User); r.Bytes > usage.Left() {
		return s.reply(Over, r.User)
	}
	u, known := s.users.Get(r.User)
	if !known {
		if s.users.Len() >= s.maxUsers {
			return s.reply(Full, r.User)
		}
		u = s.enlist(r.User)
	}
	s.touch(u)
	s.sums -= u.digest()
	u.reserved += r.Bytes
	u.holds++
	s.sums += u.digest()
	s.hold(&hold{id: r.ID, user: u, bytes: r.Bytes, month: s.month, session: r.Session})
	return s.reply(Done, r.User)
}

// Left is what may still be reserved.
func (u *Usage) Left() uint64 {
	taken := u.Used + u.Reserved // at most MaxBytes
	return u.Bytes - min(taken, u.Bytes)
}

// Commit counts bytes of a reservation as used in its month, and ends it. More than were reserved are Invalid, and the reservation stays.
func (s *State) Commit(id ID, bytes uint64) Reply {
	h := s.holds[id]
	switch {
	case h == nil:
		return Reply{Outcome: NotFound}
	case bytes > h.bytes:
		return Reply{Outcome: Invalid, Month: h.month, Usage: s.Usage(h.user.name)}
	}
	return s.end(h, bytes)
}

// Release ends a reservation of which nothing was used.
func (s *State) Release(id ID) Reply { return s.Commit(id, 0) }

// ReleaseSession ends the reservations of a session, the youngest first, and calls each with their ids. 0 is no session.
func (s *State) ReleaseSession(session uint64, each func(ID)) {
	if session == 0 {
		return
	}
	for h := s.sessions[session]; h != nil; h = s.sessions[session] {
		s.end(h, 0)
		each(h.id)
	}
}

// Sessions returns those that have reservations, in rising order.
func (s *State) Sessions() []uint64 { return slices.Sorted(maps.Keys(s.sessions)) }

// end takes a reservation out, of which so many bytes were used.
func (s *State) end(h *hold, used uint64) Reply {
	u := s.touch(h.user)
	s.sums -= u.digest()
	if h.month == u.month {
		u.reserved -= h.bytes
		u.used += used
	}
	u.holds--
	s.sums += u.digest()
	s.letGo(h)
	s.settle(u)
	r := s.reply(Done, u.name)
	r.Month = h.month
	return r
}

// Credit takes bytes that were used in a month off what the user used, if that month is current, and reports whether it is. They must have been
// committed before and not credited; others are not credited.
func (s *State) Credit(name string, bytes uint64, month Month) bool {
	u, known := s.users.Get(name)
	if !known || month != s.month || u.month != month || u.used < bytes {
		return false
	}
	s.sums -= u.digest()
	u.used -= bytes
	s.sums += u.digest()
	s.settle(u)
	return true
}

// A Change sets limits. A nil leaves one as it is; Reset takes both back to those of all, or of all to what they are by default, first.
type Change struct {
	Bytes *uint64
	Rate  *uint32
	Reset bool
}

// Set changes the limits of a user, or with "" those of everybody who has none of their own. What is used and reserved stays.
func (s *State) Set(name string, c Change) Reply {
	if c.Bytes != nil && *c.Bytes > MaxBytes || c.Rate != nil && (*c.Rate > MaxRate || *c.Rate == 0) || name != "" && CheckUser(name) != nil {
		return Reply{Outcome: Invalid}
	}
	if name == "" {
		s.setDefaults(c)
		return s.reply(Done, name)
	}
	u, known := s.users.Get(name)
	if !known {
		if s.users.Len() >= s.maxUsers {
			return s.reply(Full, name)
		}
		u = s.enlist(name)
	}
	s.touch(u)
	s.sums -= u.digest()
	u.change(c)
	s.sums += u.digest()
	s.settle(u)
	return s.reply(Done, name)
}

func (s *State) setDefaults(c Change) {
	if c.Reset {
		s.defaults = Limits{DefaultBytes, DefaultRate}
	}
	if c.Bytes != nil {
		s.defaults.Bytes = *c.Bytes
	}
	if c.Rate != nil {
		s.defaults.Rate = *c.Rate
	}
}

func (u *user) change(c Change) {
	if c.Reset {
		u.own, u.hasBytes, u.hasRate = Limits{}, false, false
	}
	if c.Bytes != nil {
		u.own.Bytes, u.hasBytes = *c.Bytes, true
	}
	if c.Rate != nil {
		u.own.Rate, u.hasRate = *c.Rate, true
	}
}

func (s *State) reply(o Outcome, name string) Reply {
	return Reply{Outcome: o, Month: s.month, Usage: s.Usage(name)}
}

// Usage returns what a user may and used. Of one that nothing is known of, it is what all may. The name "" has the limits of everybody without
// their own.
func (s *State) Usage(name string) Usage {
	v := Usage{Limits: s.defaults, Month: s.month}
	if u, known := s.users.Get(name); known {
		u.tell(&v)
	}
	return v
}

// tell adds what is known of the user to the limits of all.
func (u *user) tell(v *Usage) {
	if u.hasBytes {
		v.Bytes, v.OwnBytes = u.own.Bytes, true
	}
	if u.hasRate {
		v.Rate, v.OwnRate = u.own.Rate, true
	}
	if u.month == v.Month {
		v.Used, v.Reserved = u.used, u.reserved
	}
}

// Users yields those that have limits of their own, or used or reserved something, by name, from one name on.
func (s *State) Users(from string) iter.Seq2[string, Usage] {
	return func(yield func(string, Usage) bool) {
		for name, u := range s.users.From(from) {
			v := Usage{Limits: s.defaults, Month: s.month}
			if u.tell(&v); u.month != s.month && !v.OwnBytes && !v.OwnRate {
				continue // it is forgotten soon
			}
			if !yield(name, v) {
				return
			}
		}
	}
}

// Reservation returns a reservation.
func (s *State) Reservation(id ID) (Reservation, bool) {
	h := s.holds[id]
	if h == nil {
		return Reservation{}, false
	}
	return h.view(), true
}

func (h *hold) view() Reservation { return Reservation{h.id, h.user.name, h.bytes, h.session, h.month} }

// Reservations yields all of them, the oldest first.
func (s *State) Reservations() iter.Seq[Reservation] {
	return func(yield func(Reservation) bool) {
		for h := s.first; h != nil && yield(h.view()); h = h.next {
		}
	}
}

// Len returns how many users are known, and how many reservations there are.
func (s *State) Len() (users, reservations int) { return s.users.Len(), len(s.holds) }

// Clock returns the latest time of a command, and its month.
func (s *State) Clock() (ms uint64, m Month) { return s.now, s.month }

// enlist adds a user, who must not be known.
func (s *State) enlist(name string) *user {
	name = strings.Clone(name)
	u := &user{name: name, hash: digestName(name), month: s.month}
	s.users.Put(name, u)
	s.link(u)
	s.sums += u.digest()
	return u
}
