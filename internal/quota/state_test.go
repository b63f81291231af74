package quota_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/quota"
)

func at(year int, month time.Month, day int) uint64 {
	return uint64(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).UnixMilli())
}

func hold(n byte, user string, bytes uint64) quota.Reservation {
	return quota.Reservation{ID: quota.ID{n}, User: user, Bytes: bytes}
}

func expect(t *testing.T, got quota.Reply, want quota.Outcome) {
	t.Helper()
	if got.Outcome != want {
		t.Errorf("outcome %d, want %d: %+v", got.Outcome, want, got)
	}
}

func used(t *testing.T, s *quota.State, user string, used, reserved uint64) {
	t.Helper()
	if u := s.Usage(user); u.Used != used || u.Reserved != reserved {
		t.Errorf("%s used %d and reserved %d, want %d and %d", user, u.Used, u.Reserved, used, reserved)
	}
}

// Fifty reservations of a megabyte are the whole quota, to the byte.
func TestToTheByte(t *testing.T) {
	s := quota.NewState()
	s.Advance(at(2026, 11, 1))
	for i := range byte(50) {
		expect(t, s.Reserve(hold(i, "1", 1_000_000)), quota.Done)
	}
	expect(t, s.Reserve(hold(50, "1", 1)), quota.Over)
	expect(t, s.Reserve(hold(50, "1", 0)), quota.Done)
	expect(t, s.Reserve(hold(51, "2", quota.DefaultBytes+1)), quota.Over)
	expect(t, s.Reserve(hold(51, "2", math.MaxUint64)), quota.Invalid)
	expect(t, s.Reserve(hold(51, "2", quota.MaxBytes)), quota.Over)
	expect(t, s.Commit(quota.ID{0}, 999_999), quota.Done)
	expect(t, s.Commit(quota.ID{1}, 1_000_001), quota.Invalid)
	expect(t, s.Reserve(hold(51, "1", 2)), quota.Over)
	expect(t, s.Reserve(hold(51, "1", 1)), quota.Done)
	used(t, s, "1", 999_999, 49_000_001)
}

// What was reserved in a month counts in it, also if it is stored in the next; and what was stored in a month that is over is not given back.
func TestMonths(t *testing.T) {
	s := quota.NewState()
	s.Advance(at(2026, 11, 30))
	s.Reserve(hold(1, "1", 30_000_000))
	s.Reserve(hold(2, "1", 20_000_000))
	november := s.Commit(quota.ID{1}, 30_000_000).Month
	used(t, s, "1", 30_000_000, 20_000_000)

	s.Advance(at(2026, 12, 1) - 1)
	expect(t, s.Reserve(hold(3, "1", 1)), quota.Over)
	s.Advance(at(2026, 12, 1))
	used(t, s, "1", 0, 0)
	expect(t, s.Reserve(hold(3, "1", quota.DefaultBytes)), quota.Done)
	if r := s.Commit(quota.ID{2}, 20_000_000); r.Month != november || r.Month.String() != "2026-11" {
		t.Errorf("committed in %v", r.Month)
	}
	used(t, s, "1", 0, quota.DefaultBytes)
	if s.Credit("1", 30_000_000, november) {
		t.Error("what was stored in November was given back in December")
	}
	s.Advance(at(2026, 11, 30)) // a node whose clock is behind
	used(t, s, "1", 0, quota.DefaultBytes)
	december := s.Commit(quota.ID{3}, quota.DefaultBytes).Month
	if !s.Credit("1", quota.DefaultBytes, december) || s.Credit("1", 1, december) {
		t.Error("what was stored in December was not given back, once")
	}
	used(t, s, "1", 0, 0)
	if at := (december + 1).Start(); !at.Equal(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("December ends at %v", at)
	}
}

// A quota may be lowered below what is used; then nothing more is reserved until enough was deleted.
func TestLowered(t *testing.T) {
	s := quota.NewState()
	s.Reserve(hold(1, "1", 40))
	month := s.Commit(quota.ID{1}, 40).Month
	low, rate := uint64(30), uint32(7)
	expect(t, s.Set("1", quota.Change{Bytes: &low, Rate: &rate}), quota.Done)
	expect(t, s.Reserve(hold(2, "1", 1)), quota.Over)
	s.Credit("1", 15, month)
	expect(t, s.Reserve(hold(2, "1", 6)), quota.Over)
	expect(t, s.Reserve(hold(2, "1", 5)), quota.Done)
	if u := s.Usage("1"); !u.OwnBytes || !u.OwnRate || u.Rate != 7 || u.Bytes != 30 {
		t.Errorf("%+v", u)
	}
	expect(t, s.Set("1", quota.Change{Reset: true}), quota.Done)
	if u := s.Usage("1"); u.Limits != (quota.Limits{Bytes: quota.DefaultBytes, Rate: quota.DefaultRate}) || u.OwnBytes {
		t.Errorf("%+v", u)
	}
	expect(t, s.Set("", quota.Change{Bytes: &low}), quota.Done)
	expect(t, s.Reserve(hold(3, "9", 31)), quota.Over)
	zero, many := uint32(0), uint64(quota.MaxBytes+1)
	for _, c := range []quota.Change{{Rate: &zero}, {Bytes: &many}} {
		expect(t, s.Set("1", c), quota.Invalid)
	}
}

// A session's end releases what it reserved, and nothing else.
func TestSessions(t *testing.T) {
	s := quota.NewState()
	for i := range byte(9) {
		r := hold(i, "1", 1)
		r.Session = uint64(i % 3)
		s.Reserve(r)
	}
	s.Release(quota.ID{4})
	var gone []byte
	s.ReleaseSession(1, func(id quota.ID) { gone = append(gone, id[0]) })
	s.ReleaseSession(0, func(quota.ID) { t.Error("no session has ended") })
	if !slices.Equal(gone, []byte{7, 1}) {
		t.Errorf("released %v", gone)
	}
	used(t, s, "1", 0, 6)
}

// Users of whom nothing needs to be known are forgotten, so that names alone cost nothing for long.
func TestForgotten(t *testing.T) {
	s := quota.NewState()
	s.Advance(at(2026, 11, 1))
	for i := range 100 {
		id := quota.ID{byte(i)}
		s.Reserve(quota.Reservation{ID: id, User: fmt.Sprint(i), Bytes: 2})
		if i%2 == 0 {
			s.Release(id)
		} else if i > 1 {
			s.Commit(id, 1)
		}
	}
	if n, _ := s.Len(); n != 50 {
		t.Errorf("%d users, want those that used something", n)
	}
	ten := uint64(10)
	s.Set("3", quota.Change{Bytes: &ten})
	for range 7 {
		s.Advance(at(2026, 12, 1))
	}
	var left []string
	for name := range s.Users("") {
		left = append(left, name)
	}
	if n, _ := s.Len(); n != 2 || !slices.Equal(left, []string{"1", "3"}) { // one has a reservation, one a quota
		t.Errorf("%d users, %q", n, left)
	}
}

func TestBounds(t *testing.T) {
	s := quota.NewState()
	s.Bound(2, 3)
	s.Reserve(hold(1, "1", 1))
	s.Reserve(hold(2, "2", 1))
	expect(t, s.Reserve(hold(3, "3", 1)), quota.Full)
	expect(t, s.Set("3", quota.Change{}), quota.Full)
	s.Reserve(hold(3, "2", 1))
	expect(t, s.Reserve(hold(4, "2", 1)), quota.Full)
	expect(t, s.Reserve(hold(3, "2", 1)), quota.Exists)
	expect(t, s.Reserve(hold(5, "", 1)), quota.Invalid)
	expect(t, s.Reserve(hold(5, "a\x00", 1)), quota.Invalid)
	expect(t, s.Reserve(hold(5, strings.Repeat("a", quota.MaxUser+1), 1)), quota.Invalid)
}

func TestDamagedSnapshots(t *testing.T) {
	s := quota.NewState()
	s.Advance(at(2026, 11, 1))
	s.Reserve(hold(1, "1", 20))
	s.Reserve(hold(2, "2", 20))
	s.Commit(quota.ID{2}, 10)
	var buf bytes.Buffer
	if err := s.Snapshot(&buf); err != nil {
		t.Fatal(err)
	}
	hash := s.Hash()
	for i := range buf.Len() {
		for _, data := range [][]byte{buf.Bytes()[:i], append(bytes.Clone(buf.Bytes()), 0), flip(buf.Bytes(), i)} {
			if err := s.Restore(bytes.NewReader(data)); !errors.Is(err, quota.ErrSnapshot) {
				t.Fatalf("at %d of %d: %v", i, buf.Len(), err)
			}
		}
	}
	if s.Hash() != hash {
		t.Error("a damaged snapshot changed the state")
	}
}

func flip(data []byte, i int) []byte {
	data = bytes.Clone(data)
	data[i] ^= 1
	return data
}

// No bytes make Apply panic or exceed a quota, and what it makes can be written and read.
func FuzzApply(f *testing.F) {
	big := uint64(1) << 40
	for _, cmd := range [][]byte{
		quota.EncodeReserve(at(2026, 11, 1), hold(1, "1", 10)),
		quota.EncodeCommit(at(2026, 11, 1), quota.ID{1}, 3),
		quota.EncodeRelease(at(2026, 12, 1), quota.ID{1}),
		quota.EncodeSet(0, "1", quota.Change{Bytes: &big, Reset: true}),
		quota.EncodeCredit(0, "1", 3, quota.MonthOf(at(2026, 11, 1))),
	} {
		f.Add(cmd, cmd, cmd)
	}
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		s := quota.NewState()
		s.Apply(quota.EncodeReserve(at(2026, 11, 1), hold(1, "1", 10)))
		for _, cmd := range [][]byte{a, b, c, a} {
			before := s.Usage("1")
			r := s.Apply(cmd)
			after := s.Usage("1")
			if grew := after.Used+after.Reserved > before.Used+before.Reserved; grew && after.Used+after.Reserved > after.Bytes {
				t.Fatalf("%+v, and then %+v", before, after)
			}
			if r.Outcome != quota.Done && after.Month == before.Month && after != before {
				t.Fatalf("refused as %d, but %+v, and then %+v", r.Outcome, before, after)
			}
		}
		var buf bytes.Buffer
		if err := errors.Join(s.Snapshot(&buf), quota.NewState().Restore(&buf)); err != nil {
			t.Fatal(err)
		}
	})
}
