package window_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/sluicegate/sluice/window"
)

func someSnapshot() window.Snapshot {
	return window.Snapshot{
		Taken: time.Unix(0, 1_800_000_000_000_000_001), Timeframe: time.Second, Precision: 100 * time.Millisecond, Elapsed: 3,
		Buckets: []window.Bucket{{Age: 0, Count: 1}, {Age: 2, Count: 300}, {Age: 9, Count: 1 << 62}},
	}
}

func someTable() window.TableSnapshot {
	return window.TableSnapshot{
		Taken: time.Unix(0, 1_800_000_000_000_000_001), Timeframe: time.Second, Precision: 100 * time.Millisecond, Elapsed: 3,
		Windows: []window.Named{
			{Name: "", Buckets: []window.Bucket{{Age: 0, Count: 1}}},
			{Name: "alice", Buckets: []window.Bucket{{Age: 1, Count: 2}, {Age: 2, Count: 3}}},
			{Name: "bob", Buckets: []window.Bucket{{Age: 9, Count: 4}}},
		},
	}
}

func encoded(t testing.TB, s interface{ MarshalBinary() ([]byte, error) }) []byte {
	t.Helper()
	data, err := s.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestFormat holds the bytes of version 1: files written by any release must stay readable.
func TestFormat(t *testing.T) {
	const (
		header = "534c55494345574e" + "01" // magic, version
		frame  = "18fae27693b40001" + "000000003b9aca00" + "0000000005f5e100" + "0000000000000003"
		window = header + "01" + "0000000000000030" + frame + "03" + "0001" + "01ac02" + "06808080808080808040"
		table  = header + "02" + "0000000000000037" + frame + "03" +
			"00" + "01" + "0001" +
			"05616c696365" + "02" + "0102" + "0003" +
			"03626f62" + "01" + "0904"
	)
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{{"window", encoded(t, someSnapshot()), window}, {"table", encoded(t, someTable()), table}} {
		want, err := hex.DecodeString(c.want)
		if err != nil {
			t.Fatal(err)
		}
		want = binary.BigEndian.AppendUint32(want, crc32.Checksum(want, crc32.MakeTable(crc32.Castagnoli)))
		if !bytes.Equal(c.got, want) {
			t.Errorf("%s:\n got %x\nwant %x", c.name, c.got, want)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	for _, want := range []window.Snapshot{someSnapshot(), {}, {Taken: time.Unix(0, 0), Timeframe: 1, Precision: 1}} {
		var got window.Snapshot
		if err := got.UnmarshalBinary(encoded(t, want)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, error %v, want %+v", got, err, want)
		}
	}
	for _, want := range []window.TableSnapshot{someTable(), {}} {
		var got window.TableSnapshot
		if err := got.UnmarshalBinary(encoded(t, want)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, error %v, want %+v", got, err, want)
		}
	}
}

func TestTimeThatDoesNotFit(t *testing.T) {
	for _, taken := range []time.Time{
		time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC),
		time.Unix(0, math.MinInt64), // which the file uses to say that there is no time
	} {
		s := someSnapshot()
		s.Taken = taken
		if _, err := s.MarshalBinary(); err == nil {
			t.Errorf("encoded %v", taken)
		}
	}
}

// sealed gives data a right length and checksum.
func sealed(data []byte) []byte {
	data = bytes.Clone(data[:len(data)-4])
	binary.BigEndian.PutUint64(data[10:], uint64(len(data)-18))
	return binary.BigEndian.AppendUint32(data, crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)))
}

func TestRefusedBytes(t *testing.T) {
	good := encoded(t, someSnapshot())
	edit := func(change func(data []byte) []byte) []byte { return change(bytes.Clone(good)) }
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"nothing", nil, window.ErrTruncated},
		{"half the magic", good[:4], window.ErrTruncated},
		{"the header alone", good[:18], window.ErrTruncated},
		{"all but the last byte", good[:len(good)-1], window.ErrTruncated},
		{"text", []byte("hello, world, this is not a snapshot at all"), window.ErrForeign},
		{"one strange byte", []byte("x"), window.ErrForeign},
		{"zeros", make([]byte, 100), window.ErrForeign},
		{"a table", encoded(t, someTable()), window.ErrForeign},
		{"a kind that does not exist", sealed(edit(func(d []byte) []byte { d[9] = 3; return d })), window.ErrForeign},
		{"version 2", edit(func(d []byte) []byte { d[8] = 2; return d }), window.ErrNewer},
		{"version 2, short", []byte("SLUICEWN\x02"), window.ErrNewer},
		{"version 0", edit(func(d []byte) []byte { d[8] = 0; return d }), window.ErrDamaged},
		{"a byte too many", append(bytes.Clone(good), 0), window.ErrDamaged},
		{"a torn end", edit(func(d []byte) []byte { clear(d[len(d)/2:]); return d }), window.ErrDamaged},
		{"a length beyond all files", edit(func(d []byte) []byte { d[10] = 0xff; return d }), window.ErrTruncated},
		{"content that ends early", sealed(good[:len(good)-1]), window.ErrDamaged},
		{"content that goes on", sealed(append(bytes.Clone(good), 0)), window.ErrDamaged},
		{"no timeframe", sealed(edit(func(d []byte) []byte { clear(d[26:34]); return d })), window.ErrDamaged},
		{"more buckets than bytes", sealed(edit(func(d []byte) []byte { d[50] = 0x7f; return d })), window.ErrDamaged},
		{"an empty bucket", sealed(edit(func(d []byte) []byte { d[52] = 0; return d })), window.ErrDamaged},
		{"a number longer than it needs to be", sealed(edit(func(d []byte) []byte {
			return append(d[:50], 0x83, 0x00, 0, 1, 0, 1, 0, 1, 'c', 'r', 'c', '!')
		})), window.ErrDamaged},
	} {
		got := window.Snapshot{Elapsed: 42}
		err := got.UnmarshalBinary(c.data)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", c.name, err, c.want)
		}
		if !reflect.DeepEqual(got, window.Snapshot{Elapsed: 42}) {
			t.Errorf("%s: the snapshot became %+v", c.name, got)
		}
	}
}

func TestRefusedTables(t *testing.T) {
	for name, spoil := range map[string]func(s *window.TableSnapshot){
		"names out of order": func(s *window.TableSnapshot) { s.Windows[1].Name = "carol" },
		"a name twice":       func(s *window.TableSnapshot) { s.Windows[1].Name = "bob" },
		"an empty window":    func(s *window.TableSnapshot) { s.Windows[1].Buckets = nil },
		"a bucket too old":   func(s *window.TableSnapshot) { s.Windows[2].Buckets[0].Age = 10 },
		"no precision":       func(s *window.TableSnapshot) { s.Precision = 0 },
	} {
		s := someTable()
		spoil(&s)
		if _, err := s.MarshalBinary(); !errors.Is(err, window.ErrDamaged) {
			t.Errorf("%s: error %v, want ErrDamaged", name, err)
		}
	}
	var s window.TableSnapshot
	if err := s.UnmarshalBinary(encoded(t, someSnapshot())); !errors.Is(err, window.ErrForeign) {
		t.Errorf("one window: error %v, want ErrForeign", err)
	}
}

// TestEveryFlippedBitIsFound damages good files in every place.
func TestEveryFlippedBitIsFound(t *testing.T) {
	for i, good := range [][]byte{encoded(t, someSnapshot()), encoded(t, someTable())} {
		for bit := range len(good) * 8 {
			data := bytes.Clone(good)
			data[bit/8] ^= 1 << (bit % 8)
			var s window.Snapshot
			var table window.TableSnapshot
			if s.UnmarshalBinary(data) == nil || table.UnmarshalBinary(data) == nil {
				t.Fatalf("file %d with bit %d flipped was taken", i, bit)
			}
		}
		for n := range good {
			var s window.Snapshot
			var table window.TableSnapshot
			if err := s.UnmarshalBinary(good[:n]); !errors.Is(err, window.ErrTruncated) {
				t.Fatalf("file %d cut to %d bytes: %v, want ErrTruncated", i, n, err)
			}
			if err := table.UnmarshalBinary(good[:n]); !errors.Is(err, window.ErrTruncated) {
				t.Fatalf("file %d cut to %d bytes: %v, want ErrTruncated", i, n, err)
			}
		}
	}
}

// FuzzSnapshot reads arbitrary bytes, as they are and with a right checksum. What is taken must encode to the same bytes
// again, so the file proves every count in it, and must restore to a window that counts no more.
func FuzzSnapshot(f *testing.F) {
	for _, good := range [][]byte{encoded(f, someSnapshot()), encoded(f, someTable()), encoded(f, window.Snapshot{})} {
		f.Add(good)
		f.Add(good[:len(good)/2])
	}
	f.Add([]byte("SLUICEWN\x02"))
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzOne(t, data)
		if len(data) >= 22 {
			fuzzOne(t, sealed(data))
		}
	})
}

func fuzzOne(t *testing.T, data []byte) {
	now, wall := at(5000), time.Unix(0, 1_800_000_000_000_000_000)
	var s window.Snapshot
	if err := s.UnmarshalBinary(data); err == nil {
		if again := encoded(t, s); !bytes.Equal(again, data) {
			t.Fatalf("%x encodes to %x", data, again)
		}
		w, err := window.Restore(time.Second, 100*time.Millisecond, s, now, wall)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.Count(now); got > s.Total() {
			t.Fatalf("the file counts %d, the window %d", s.Total(), got)
		}
	} else if !isReason(err) {
		t.Fatalf("error %v is of no kind", err)
	}
	var table window.TableSnapshot
	if err := table.UnmarshalBinary(data); err == nil {
		if again := encoded(t, table); !bytes.Equal(again, data) {
			t.Fatalf("%x encodes to %x", data, again)
		}
		if _, err := window.RestoreTable(time.Second, 100*time.Millisecond, 10, table, asIs, now, wall); err != nil {
			t.Fatal(err)
		}
	} else if !isReason(err) {
		t.Fatalf("error %v is of no kind", err)
	}
}

func isReason(err error) bool {
	return errors.Is(err, window.ErrForeign) || errors.Is(err, window.ErrNewer) ||
		errors.Is(err, window.ErrTruncated) || errors.Is(err, window.ErrDamaged)
}

func asIs(name string) (string, error) { return name, nil }
