package book_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"math"
	"slices"
	"testing"

	"github.com/sluicegate/sluice/book"
)

func encoded(t testing.TB, b *book.Book) []byte {
	t.Helper()
	data, err := b.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// someBook has a price with two bids, one of them repriced, and one with a bid that is partly served.
func someBook(t testing.TB) *book.Book {
	b := new(book.Book)
	mustSell(t, b, 200)
	mustBid(t, b, 1, 500, 3)
	mustBid(t, b, 2, 150, math.MaxUint64)
	mustBid(t, b, 3, 50, 4)
	b.Reprice(1, math.MaxUint64)
	return b
}

// leftBook has supply left over.
func leftBook(t testing.TB) *book.Book {
	b := new(book.Book)
	mustSell(t, b, 300)
	mustBid(t, b, 1, 100, 3)
	return b
}

// summed appends a checksum to the rest of a snapshot.
func summed(data []byte) []byte {
	return binary.BigEndian.AppendUint32(bytes.Clone(data), crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)))
}

// snapshot builds one of any numbers.
func snapshot(numbers ...uint64) []byte {
	data := []byte("SLUICEBK\x01")
	for _, n := range numbers {
		data = binary.AppendUvarint(data, n)
	}
	return summed(data)
}

// TestFormat holds the bytes of version 1: snapshots written by any release must stay readable.
func TestFormat(t *testing.T) {
	const header = "534c55494345424b" + "01"
	for _, c := range []struct {
		name string
		b    *book.Book
		want string
	}{
		{"empty", new(book.Book), header + "00" + "00" + "00" + "00"},
		{"leftover", leftBook(t), header + "01" + "ac02" + "c801" + "00"},
		{"bids", someBook(t), header + "04" + "c801" + "00" + "02" +
			"00" + "01" + // the highest price, two bids
			"01" + "00" + "02" + "9501" + // place 2, owner 2, 150
			"01" + "03" + "01" + "ab02" + // place 4, ID 1, owner 1, 300
			"faffffffffffffffff01" + "00" + // price 4, one bid
			"02" + "00" + "03" + "31"}, // place 3, owner 3, 50
	} {
		body, err := hex.DecodeString(c.want)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := encoded(t, c.b), summed(body); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %x\nwant %x", c.name, got, want)
		}
	}
}

func TestSnapshotIsAppended(t *testing.T) {
	b := someBook(t)
	got, _ := b.AppendBinary([]byte("before"))
	if want := append([]byte("before"), encoded(t, b)...); !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

func TestRoundTrip(t *testing.T) {
	for name, b := range map[string]*book.Book{"empty": new(book.Book), "leftover": leftBook(t), "bids": someBook(t)} {
		got := restored(t, b)
		if got.Hash() != b.Hash() || got.Stats() != b.Stats() || !slices.Equal(slices.Collect(got.All()), slices.Collect(b.All())) {
			t.Errorf("%s: %+v, want %+v", name, got.Stats(), b.Stats())
		}
		if x, y := mustBid(t, got, 9, 1, 9), mustBid(t, b, 9, 1, 9); x != y {
			t.Errorf("%s: the next bid is %+v, want %+v", name, x, y)
		}
	}
}

func TestRefusedBytes(t *testing.T) {
	const top = math.MaxUint64
	good := encoded(t, someBook(t))
	edit := func(i int, b byte) []byte {
		data := bytes.Clone(good)
		data[i] = b
		return data
	}
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"nothing", nil, book.ErrDamaged},
		{"text", []byte("hello, world, this is no snapshot at all"), book.ErrDamaged},
		{"half the magic", good[:4], book.ErrDamaged},
		{"the magic alone", good[:8], book.ErrDamaged},
		{"no body", good[:9], book.ErrDamaged},
		{"version 2", edit(8, 2), book.ErrNewer},
		{"version 2, short", []byte("SLUICEBK\x02"), book.ErrNewer},
		{"version 0", edit(8, 0), book.ErrDamaged},
		{"no numbers", snapshot(), book.ErrDamaged},
		{"numbers that end early", snapshot(4, 200, 0, 2, 0, 1, 1, 0, 2), book.ErrDamaged},
		{"numbers that go on", snapshot(1, 300, 200, 0, 0), book.ErrDamaged},
		{"a number longer than it needs to be", summed([]byte("SLUICEBK\x01\x80\x00\x00\x00\x00")), book.ErrDamaged},
		{"a number of more than 64 bits", summed(append([]byte("SLUICEBK\x01"), bytes.Repeat([]byte{0xff}, 11)...)), book.ErrDamaged},
		{"a counter that is near its end", snapshot(1<<63+1, 0, 0, 0), book.ErrDamaged},
		{"more left over than sold", snapshot(1, 300, 301, 0), book.ErrDamaged},
		{"more prices than bytes", snapshot(1, 0, 0, 5, 0, 0, 0, 0, 0, 0), book.ErrDamaged},
		{"more bids than bytes", snapshot(1, 0, 0, 1, 0, 5, 0, 0, 0, 0), book.ErrDamaged},
		{"supply left over beside a bid", snapshot(1, 5, 5, 1, 0, 0, 0, 0, 0, 0), book.ErrDamaged},
		{"a place that was not given out yet", snapshot(1, 0, 0, 1, 0, 0, 1, 0, 0, 0), book.ErrDamaged},
		{"a second place that was not given out yet", snapshot(1, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0), book.ErrDamaged},
		{"places that wrap around", snapshot(1<<63, 0, 0, 1, 0, 1, 1<<63-1, 0, 0, 0, 1<<63, 0, 0, 0), book.ErrDamaged},
		{"a bid without a name", snapshot(1, 0, 0, 1, 0, 0, 0, 1, 0, 0), book.ErrDamaged},
		{"a name twice", snapshot(2, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0), book.ErrDamaged},
		{"a place twice", snapshot(3, 0, 0, 2, 0, 0, 2, 1, 0, 0, 0, 0, 2, 2, 0, 0), book.ErrDamaged},
		{"a place that is another's name", snapshot(3, 0, 0, 2, 0, 0, 2, 1, 0, 0, 0, 0, 2, 0, 0, 0), book.ErrDamaged},
		{"volumes beyond 64 bits", snapshot(2, 0, 0, 1, 0, 1, 0, 0, 0, top-1, 0, 0, 0, 0), book.ErrDamaged},
		{"a volume beyond 64 bits", snapshot(1, 0, 0, 1, 0, 0, 0, 0, 0, top), book.ErrDamaged},
		{"a price below 0", snapshot(2, 0, 0, 2, top, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0), book.ErrDamaged},
		{"a distance beyond price 0", snapshot(2, 0, 0, 2, top, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0), book.ErrDamaged},
	} {
		got := leftBook(t)
		err := got.UnmarshalBinary(c.data)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", c.name, err, c.want)
		}
		if got.Hash() != leftBook(t).Hash() {
			t.Errorf("%s: the book became %+v", c.name, got.Stats())
		}
	}
}

// TestAcceptedBytes holds near misses of what is refused, so that each is refused for its own reason.
func TestAcceptedBytes(t *testing.T) {
	const top = math.MaxUint64
	for name, data := range map[string][]byte{
		"a counter not quite near its end": snapshot(1<<63, 0, 0, 0),
		"all that was sold is left":        snapshot(1, 300, 300, 0),
		"the last place":                   snapshot(1, 0, 0, 1, 0, 0, 0, 0, 0, 0),
		"two bids":                         snapshot(2, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0),
		"two that were repriced":           snapshot(4, 0, 0, 2, 0, 0, 2, 2, 0, 0, 0, 0, 3, 2, 0, 0),
		"volumes of 64 bits":               snapshot(2, 0, 0, 1, 0, 1, 0, 0, 0, top-2, 0, 0, 0, 0),
		"the highest price and the lowest": snapshot(2, 0, 0, 2, 0, 0, 0, 0, 0, 0, top-1, 0, 1, 0, 0, 0),
	} {
		var b book.Book
		if err := b.UnmarshalBinary(data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEveryFlippedBitIsFound damages a good snapshot in every place, and cuts it short everywhere.
func TestEveryFlippedBitIsFound(t *testing.T) {
	good := encoded(t, someBook(t))
	for bit := range len(good) * 8 {
		data := bytes.Clone(good)
		data[bit/8] ^= 1 << (bit % 8)
		if err := new(book.Book).UnmarshalBinary(data); !errors.Is(err, book.ErrDamaged) && !errors.Is(err, book.ErrNewer) {
			t.Fatalf("with bit %d flipped: %v", bit, err)
		}
	}
	for n := range good {
		if err := new(book.Book).UnmarshalBinary(good[:n]); !errors.Is(err, book.ErrDamaged) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
}

// FuzzSnapshot gives any bytes to the decoder, as they are and with a right checksum. What it takes must be the one
// encoding of a book that keeps its promises from then on.
func FuzzSnapshot(f *testing.F) {
	for _, b := range []*book.Book{new(book.Book), leftBook(f), someBook(f)} {
		f.Add(encoded(f, b))
	}
	f.Add([]byte("SLUICEBK\x02"))
	f.Add(snapshot(1<<63, 0, 0, 1, 0, 1, 1<<63-1, 0, 0, 0, 1<<63, 0, 0, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzOne(t, data)
		if len(data) >= 4 {
			fuzzOne(t, summed(data[:len(data)-4]))
		}
	})
}

func fuzzOne(t *testing.T, data []byte) {
	var b book.Book
	if err := b.UnmarshalBinary(data); err != nil {
		if !errors.Is(err, book.ErrDamaged) && !errors.Is(err, book.ErrNewer) {
			t.Fatalf("error %v is of no kind", err)
		}
		return
	}
	if again := encoded(t, &b); !bytes.Equal(again, data) {
		t.Fatalf("%x encodes to %x", data, again)
	}
	s, hash := b.Stats(), b.Hash()
	var open uint64
	for bid := range b.All() {
		open += bid.Volume
		if got, ok := b.Get(bid.ID); !ok || got != bid {
			t.Fatalf("bid %+v is found as %+v", bid, got)
		}
	}
	if open != s.Open || s.Left > 0 && s.Bids > 0 || s.Sold != s.Left+s.Allocated {
		t.Fatalf("bids of %d: %+v", open, s)
	}
	if next, err := b.Bid(book.Order{Volume: 1, Price: 1}); err == nil && s.Left == 0 {
		b.Cancel(next.ID)
		if b.Stats() != s || b.Hash() == hash {
			t.Fatalf("%+v became %+v, the counter moved: %v", s, b.Stats(), b.Hash() != hash)
		}
	}
	drain(t, &b)
}

// drain serves what can be served, and cancels the rest.
func drain(t *testing.T, b *book.Book) {
	s := b.Stats()
	fills := mustSell(t, b, min(s.Open, math.MaxUint64-s.Sold))
	for bid, some := b.First(); some; bid, some = b.First() {
		b.Cancel(bid.ID)
	}
	if got := b.Stats(); got.Bids != 0 || got.Open != 0 || got.Prices != 0 || len(fills) > s.Bids {
		t.Fatalf("%+v drained to %+v, %d fills", s, got, len(fills))
	}
}

// TestNamesThatShareAHash has IDs far apart whose hashes in the index are equal: multiples of the multiplier's inverse
// change only the lower half of the product. No book gets there by itself within years.
func TestNamesThatShareAHash(t *testing.T) {
	const apart = 0xfc6c1fb2caea70d // times 0x9e3779b97f4a7c15 is 17, mod 2⁶⁴
	for gone := range uint64(3) {
		var b book.Book
		err := b.UnmarshalBinary(snapshot(1<<62, 0, 0, 1, 0, 2, 0, 0, 0, 0, apart-1, 0, 1, 0, apart-1, 0, 2, 0))
		if err != nil {
			t.Fatal(err)
		}
		for owner := range uint64(3) {
			id := book.ID(1 + owner*apart)
			if got, ok := b.Get(id); !ok || got != (book.Bid{ID: id, Owner: owner, Price: math.MaxUint64, Volume: 1}) {
				t.Errorf("bid %d: %+v, %v", id, got, ok)
			}
		}
		if got, _ := b.Cancel(book.ID(1 + gone*apart)); got.Owner != gone {
			t.Errorf("cancelled %+v, want that of owner %d", got, gone)
		}
		if got := mustSell(t, &b, 2); len(got) != 2 || b.Len() != 0 {
			t.Errorf("served %+v, %d left", got, b.Len())
		}
	}
}
