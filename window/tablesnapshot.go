package window

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A TableSnapshot is what a table held at one moment. It is plain data; the zero TableSnapshot is that of an empty table.
type TableSnapshot struct {
	Taken     time.Time     // wall time
	Timeframe time.Duration // of all windows
	Precision time.Duration // of all windows
	Elapsed   time.Duration // how much of the newest bucket had passed
	Windows   []Named       // those that are not empty, in the order of their names, which differ
}

// Named is one window of a TableSnapshot.
type Named struct {
	Name    string
	Buckets []Bucket // those that are not empty, newest first
}

// total returns what all buckets count together.
func (n Named) total() uint64 {
	s := Snapshot{Buckets: n.Buckets}
	return s.Total()
}

// Snapshot copies the windows that are not empty at the instant now, which is wall on the wall clock. The function name
// gives each key a name of its own. Adds go on meanwhile: each window is copied at one moment, but not all at the same.
func (t *Table[K]) Snapshot(now Instant, wall time.Time, name func(K) string) TableSnapshot {
	s := TableSnapshot{
		Taken:     wall.Round(0),
		Timeframe: t.timeframe,
		Precision: t.precision,
		Elapsed:   time.Duration((uint64(max(now, 0)) + t.phase) % uint64(t.precision)),
	}
	for key, w := range t.All() {
		if list := w.bucketsAt(now); len(list) > 0 {
			s.Windows = append(s.Windows, Named{Name: name(key), Buckets: list})
		}
	}
	slices.SortFunc(s.Windows, func(a, b Named) int { return strings.Compare(a.Name, b.Name) })
	return s
}

// bucketsAt returns the buckets that are not empty with their ages at the instant now.
func (w *Window) bucketsAt(now Instant) []Bucket {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.epoch(now)
	w.turnLocked(e)
	return w.bucketsLocked(e)
}

// RestoreTable returns a table that holds what s held, each window moved to the instant now as by [Restore]. The function
// key turns a name back into its key. If s has more windows than maxKeys, those that counted most are restored, and the
// others are reported by [Table.Dropped].
//
// It returns the errors that [NewTable] and [Restore] do, and that of the function key.
func RestoreTable[K comparable](timeframe, precision time.Duration, maxKeys int, s TableSnapshot,
	key func(name string) (K, error), now Instant, wall time.Time) (*Table[K], error) {
	t, err := NewTable[K](timeframe, precision, maxKeys)
	if err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	m := moveTo(now, wall, s.Taken, timeframe+precision, s.Elapsed, s.Precision)
	t.phase = m.phase(precision)
	list := slices.Clone(s.Windows)
	slices.SortStableFunc(list, func(a, b Named) int { return cmp.Compare(b.total(), a.total()) })
	for _, n := range list {
		k, err := key(n.Name)
		if err != nil {
			return nil, fmt.Errorf("restoring window %q: %w", n.Name, err)
		}
		t.restore(k, m, now, n.Buckets)
	}
	return t, nil
}

// restore puts in one window, if there is anything left of it and room for it.
func (t *Table[K]) restore(key K, m move, now Instant, list []Bucket) {
	if e := t.find(key); e != nil { // the function key made one of two names
		e.window.refill(m, now, list)
		return
	}
	w := newWindow(t.timeframe, t.precision, t.size, t.phase)
	w.refill(m, now, list)
	count := w.Count(now)
	if count == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known.Len()+t.fresh.Len() >= t.max {
		t.dropped.Active++
		t.dropped.Count += count
		return
	}
	e := &entry[K]{key: key, window: w, chain: t.chain(key)}
	t.insertLocked(e, now)
	if count > 1 {
		t.promoteLocked(e)
	}
}

// MarshalBinary encodes s in the format of [Snapshot.MarshalBinary]. It returns an error that wraps [ErrDamaged] if s
// contradicts itself, as it does if two windows have the same name.
func (s TableSnapshot) MarshalBinary() ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	body, err := appendFrame(nil, s.Taken, s.Timeframe, s.Precision, s.Elapsed)
	if err != nil {
		return nil, err
	}
	body = binary.AppendUvarint(body, uint64(len(s.Windows)))
	for _, n := range s.Windows {
		body = binary.AppendUvarint(body, uint64(len(n.Name)))
		body = append(body, n.Name...)
		body = appendBuckets(body, n.Buckets)
	}
	return seal(kindTable, body), nil
}

// UnmarshalBinary decodes what MarshalBinary encoded, and nothing else, with the errors of [Snapshot.UnmarshalBinary].
func (s *TableSnapshot) UnmarshalBinary(data []byte) error {
	body, err := open(kindTable, data)
	if err != nil {
		return err
	}
	d := decoder{rest: body}
	var got TableSnapshot
	got.Taken, got.Timeframe, got.Precision, got.Elapsed = d.frame()
	for range d.varint(uint64(len(d.rest))) {
		name := string(d.bytes(d.varint(uint64(len(d.rest)))))
		got.Windows = append(got.Windows, Named{Name: name, Buckets: d.buckets()})
		if d.err != nil {
			break
		}
	}
	if err := d.end(); err != nil {
		return err
	}
	if err := got.check(); err != nil {
		return err
	}
	*s = got
	return nil
}

// check reports whether a table could have made s. The zero TableSnapshot passes.
func (s *TableSnapshot) check() error {
	if s.Timeframe == 0 && s.Precision == 0 && s.Elapsed == 0 && len(s.Windows) == 0 {
		return nil
	}
	size, err := checkFrame(s.Timeframe, s.Precision, s.Elapsed)
	if err != nil {
		return err
	}
	for i, n := range s.Windows {
		if i > 0 && n.Name <= s.Windows[i-1].Name {
			return fmt.Errorf("%w: window %q out of place", ErrDamaged, n.Name)
		}
		if len(n.Buckets) == 0 {
			return fmt.Errorf("%w: window %q is empty", ErrDamaged, n.Name)
		}
		if err := checkBuckets(n.Buckets, size); err != nil {
			return fmt.Errorf("window %q: %w", n.Name, err)
		}
	}
	return nil
}
