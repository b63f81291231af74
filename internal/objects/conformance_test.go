package objects_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/sluicegate/sluice/internal/objects"
)

// A fixture is a store and a look behind it.
type fixture struct {
	objects.Store
	remains func(t *testing.T) []string // everything that takes up room: keys, and whatever else there is
}

// stores opens an empty store of every kind.
var stores = []struct {
	name string
	open func(t *testing.T) fixture
}{
	{"directory", openDir},
	{"S3", func(t *testing.T) fixture {
		return openS3(t, newS3Server(), "/?path_style=true&prefix=a/b&region=eu-central-1", false)
	}},
}

// conformance is what every store must do.
var conformance = []struct {
	name string
	test func(t *testing.T, f fixture)
}{
	{"what is put can be had", testPutOpen},
	{"ranges", testRanges},
	{"a faulty upload leaves nothing", testFaultyNew},
	{"a faulty upload leaves what was there", testFaultyOld},
	{"several put the same key", testConcurrentPuts},
	{"open while deleted", testOpenDelete},
	{"delete", testDelete},
	{"a list is that of a model", testList},
	{"long lists", testLongList},
	{"nothing is done after cancel", testCanceled},
	{"keys", testKeys},
	{"check", testCheck},
	{"sweep leaves what is stored", testSweepKeeps},
}

func TestConformance(t *testing.T) {
	for _, s := range stores {
		t.Run(s.name, func(t *testing.T) {
			for _, c := range conformance {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					c.test(t, s.open(t))
				})
			}
		})
	}
}

// key returns a key of 26 characters that ends with a number.
func key(n int) string { return fmt.Sprintf("k%025d", n) }

// noise is content that no two seeds share, and that repeats itself at no distance that a buffer has.
func noise(seed uint64, size int) []byte {
	data := make([]byte, size)
	const period = 65_537
	var s [32]byte
	binary.LittleEndian.PutUint64(s[:], seed)
	rand.NewChaCha8(s).Read(data[:min(size, period)])
	for n := period; n < size; n *= 2 {
		copy(data[n:], data[:n])
	}
	return data
}

func mustPut(t *testing.T, s objects.Store, key string, data []byte) {
	t.Helper()
	info, err := s.Put(t.Context(), key, bytes.NewReader(data), int64(len(data)), -1)
	if err != nil {
		t.Fatalf("Put of %d bytes: %v", len(data), err)
	}
	if info.Size != int64(len(data)) || info.SHA256 != sha256.Sum256(data) {
		t.Fatalf("Put of %d bytes = %d bytes with SHA-256 %x, want %x", len(data), info.Size, info.SHA256, sha256.Sum256(data))
	}
}

// read returns a range of an object.
func read(t *testing.T, s objects.Store, key string, offset, length int64) ([]byte, error) {
	t.Helper()
	r, err := s.Open(t.Context(), key, offset, length)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func expectContent(t *testing.T, s objects.Store, key string, want []byte) {
	t.Helper()
	r, err := s.Open(t.Context(), key, 0, -1)
	if err != nil {
		t.Errorf("%s: %v", key, err)
		return
	}
	defer r.Close()
	got := make([]byte, len(want)+1)
	n, err := io.ReadFull(r, got)
	if err != io.EOF && err != io.ErrUnexpectedEOF || !bytes.Equal(got[:n], want) {
		t.Errorf("%s holds %d bytes, %v, want the %d that were put", key, n, err, len(want))
	}
}

func expectRemains(t *testing.T, f fixture, want ...string) {
	t.Helper()
	if got := f.remains(t); !slices.Equal(got, want) {
		t.Errorf("there remains %q, want %q", got, want)
	}
}

func expectError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want one that is %q", what, err, want)
	}
}

// partSize is from where on S3 needs more than one part for content of unknown size.
const partSize = 8 << 20

func testPutOpen(t *testing.T, f fixture) {
	before := time.Now().Add(-2 * time.Second) // services have a clock with seconds
	for i, size := range []int{0, 1, 1000, 64 << 10, 64<<10 + 1, 200_000, 2_000_000, partSize - 1, partSize, partSize + 1, 2*partSize + 5} {
		for j, known := range []bool{true, false} {
			if known && size > partSize/2 { // as for two million
				continue
			}
			data, k, announced := noise(uint64(i), size), key(2*i+j), int64(size)
			if !known {
				announced = -1
			}
			info, err := f.Put(t.Context(), k, iotest.DataErrReader(bytes.NewReader(data)), announced, int64(size))
			if err != nil || info.Size != int64(size) || info.SHA256 != sha256.Sum256(data) {
				t.Fatalf("Put of %d bytes, known: %t, = %d bytes, %x, %v", size, known, info.Size, info.SHA256, err)
			}
			expectContent(t, f, k, data)
			stat, err := f.Stat(t.Context(), k)
			if err != nil || stat.Size != int64(size) || stat.Modified.Before(before) || stat.Modified.After(time.Now().Add(2*time.Second)) {
				t.Errorf("Stat = %+v, %v, want %d bytes, now", stat, err, size)
			}
		}
	}
	mustPut(t, f, key(0), []byte("something else")) // it is replaced
	expectContent(t, f, key(0), []byte("something else"))
}

func testRanges(t *testing.T, f fixture) {
	data := noise(0, 1000)
	mustPut(t, f, key(1), data)
	mustPut(t, f, key(2), nil)
	const huge = 1<<63 - 1
	for _, tc := range []struct {
		key            string
		offset, length int64
		want           []byte
		err            error
	}{
		{key(1), 0, 1, data[:1], nil},
		{key(1), 0, 1000, data, nil},
		{key(1), 0, 1001, data, nil},
		{key(1), 0, 0, nil, nil},
		{key(1), 0, huge, data, nil},
		{key(1), 1, huge, data[1:], nil},
		{key(1), 1, -1, data[1:], nil},
		{key(1), 10, 20, data[10:30], nil},
		{key(1), 999, 1, data[999:], nil},
		{key(1), 999, 5, data[999:], nil},
		{key(1), 1000, -1, nil, nil},
		{key(1), 1000, 5, nil, nil},
		{key(1), 1001, -1, nil, objects.ErrRange},
		{key(1), 1001, 0, nil, objects.ErrRange},
		{key(1), -1, -1, nil, objects.ErrRange},
		{key(1), huge, huge, nil, objects.ErrRange},
		{key(2), 0, -1, nil, nil},
		{key(2), 0, 10, nil, nil},
		{key(2), 1, -1, nil, objects.ErrRange},
		{key(3), 0, -1, nil, objects.ErrNotFound},
		{key(3), 0, 0, nil, objects.ErrNotFound},
		{key(3), 5, 5, nil, objects.ErrNotFound},
	} {
		got, err := read(t, f, tc.key, tc.offset, tc.length)
		if !bytes.Equal(got, tc.want) || !errors.Is(err, tc.err) {
			t.Errorf("%d bytes from %d on of %s: %d bytes, %v, want %d, %v", tc.length, tc.offset, tc.key, len(got), err, len(tc.want), tc.err)
		}
	}
}

var errBroken = errors.New("the line is broken")

// readerFunc makes a reader of a function.
type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// fault is a Put that must fail.
type fault struct {
	name      string
	content   func(cancel context.CancelFunc) io.Reader
	size, max int64
	want      error // nil for any
}

func faults() []fault {
	of := func(size int, then ...io.Reader) func(context.CancelFunc) io.Reader {
		return func(context.CancelFunc) io.Reader {
			return io.MultiReader(append([]io.Reader{bytes.NewReader(noise(9, size))}, then...)...)
		}
	}
	broken := iotest.ErrReader(errBroken)
	cancels := func(size int) func(context.CancelFunc) io.Reader {
		return func(cancel context.CancelFunc) io.Reader {
			return io.MultiReader(bytes.NewReader(noise(9, size)), readerFunc(func(p []byte) (int, error) { cancel(); p[0] = 0; return 1, nil }))
		}
	}
	unread := func(context.CancelFunc) io.Reader { return iotest.ErrReader(errBroken) }
	return []fault{
		{"fails at once", of(0, broken), 1000, -1, errBroken},
		{"fails at once, though nothing is announced", of(0, broken), 0, -1, errBroken},
		{"fails at once, size unknown", of(0, broken), -1, -1, errBroken},
		{"fails midway", of(100_000, broken), 200_000, -1, errBroken},
		{"fails midway, size unknown", of(100_000, broken), -1, -1, errBroken},
		{"fails in the third part", of(2*partSize+1000, broken), -1, -1, errBroken},
		{"fails after the last byte", of(1000, broken), 1000, -1, errBroken},
		{"ends early", of(999), 1000, -1, objects.ErrSize},
		{"ends before anything", of(0), 1000, -1, objects.ErrSize},
		{"ends after a million", of(1_000_000), 1_000_001, -1, objects.ErrSize},
		{"goes on by one", of(1001), 1000, -1, objects.ErrSize},
		{"goes on", of(1_000_000), 1000, -1, objects.ErrSize},
		{"goes on, though nothing is announced", of(1), 0, -1, objects.ErrSize},
		{"announces too much", unread, 1001, 1000, objects.ErrTooLarge},
		{"is too much", of(1001), -1, 1000, objects.ErrTooLarge},
		{"is too much in the second part", of(partSize + 1001), -1, partSize + 1000, objects.ErrTooLarge},
		{"is something where nothing is allowed", of(1), -1, 0, objects.ErrTooLarge},
		{"is canceled at once", cancels(0), 1000, -1, context.Canceled},
		{"is canceled midway", cancels(100_000), 200_000, -1, context.Canceled},
		{"is canceled in the second part", cancels(partSize), -1, -1, context.Canceled},
		{"is canceled by the last byte", cancels(999), 1000, -1, context.Canceled},
		{"never goes on", of(10, readerFunc(func([]byte) (int, error) { return 0, nil })), 1000, -1, io.ErrNoProgress},
		{"says it read more than it could", of(10, readerFunc(func(p []byte) (int, error) { return len(p) + 1, nil })), 1_000_000, -1, nil},
		{"says it read less than nothing", of(10, readerFunc(func([]byte) (int, error) { return -1, nil })), 1000, -1, nil},
	}
}

// put also finds out whether the reader is used afterwards: a server's handler has something else in the body's memory by then.
func (c fault) put(t *testing.T, f fixture, key string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	content, returned := c.content(cancel), false // the race detector sees a Read that comes late
	info, err := f.Put(ctx, key, readerFunc(func(p []byte) (int, error) {
		if returned {
			t.Errorf("content that %s is read after Put", c.name)
		}
		return content.Read(p)
	}), c.size, c.max)
	returned = true
	if err == nil || !errors.Is(err, c.want) && c.want != nil {
		t.Errorf("content that %s: %+v, %v, want %v", c.name, info, err, c.want)
	}
}

func testFaultyNew(t *testing.T, f fixture) {
	for _, c := range faults() {
		c.put(t, f, key(1))
		_, err := f.Stat(t.Context(), key(1))
		expectError(t, "Stat after content that "+c.name, err, objects.ErrNotFound)
		expectRemains(t, f)
	}
}

func testFaultyOld(t *testing.T, f fixture) {
	mustPut(t, f, key(1), []byte("old"))
	for _, c := range faults() {
		c.put(t, f, key(1))
		expectContent(t, f, key(1), []byte("old"))
		expectRemains(t, f, key(1))
	}
}

func testConcurrentPuts(t *testing.T, f fixture) {
	const writers, puts = 6, 4
	allowed := map[[sha256.Size]byte]bool{}
	for i := range writers {
		allowed[sha256.Sum256(noise(uint64(i), 100_000+i))] = true
	}
	mustPut(t, f, key(1), noise(0, 100_000))
	var writing, reading sync.WaitGroup
	ended := make(chan struct{})
	for range 2 {
		reading.Go(func() {
			for {
				select {
				case <-ended:
					return
				default:
				}
				if got, err := read(t, f, key(1), 0, -1); err != nil || !allowed[sha256.Sum256(got)] {
					t.Errorf("read %d bytes, %v, that nobody has put", len(got), err)
				}
			}
		})
	}
	for i := range writers {
		writing.Go(func() {
			for range puts {
				data := noise(uint64(i), 100_000+i)
				if _, err := f.Put(t.Context(), key(1), bytes.NewReader(data), int64(len(data)), -1); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writing.Wait()
	close(ended)
	reading.Wait()
	expectRemains(t, f, key(1))
}

func testOpenDelete(t *testing.T, f fixture) {
	data := noise(1, 3<<20)
	mustPut(t, f, key(1), data)
	r, err := f.Open(t.Context(), key(1), 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	half := make([]byte, 1<<20)
	if _, err := io.ReadFull(r, half); err != nil {
		t.Fatal(err)
	}
	if err := f.Delete(t.Context(), key(1)); err != nil {
		t.Fatal(err)
	}
	_, err = f.Open(t.Context(), key(1), 0, -1)
	expectError(t, "Open of what was deleted", err, objects.ErrNotFound)
	rest, err := io.ReadAll(r)
	if err == nil && !bytes.Equal(append(half, rest...), data) {
		t.Errorf("what was deleted while it was read ended after %d bytes as if that were all", len(half)+len(rest))
	}
	expectRemains(t, f)
}

func testDelete(t *testing.T, f fixture) {
	for range 2 {
		if err := f.Delete(t.Context(), key(1)); err != nil {
			t.Errorf("Delete of what isn't there: %v", err)
		}
		mustPut(t, f, key(1), []byte("x"))
		mustPut(t, f, key(2), []byte("y"))
		if err := f.Delete(t.Context(), key(1)); err != nil {
			t.Error(err)
		}
		_, err := f.Stat(t.Context(), key(1))
		expectError(t, "Stat of what was deleted", err, objects.ErrNotFound)
		expectRemains(t, f, key(2))
	}
}

func testList(t *testing.T, f fixture) {
	random := rand.New(rand.NewPCG(1, 2))
	letters := "019az"
	model := map[string]int64{}
	for len(model) < 150 {
		k := make([]byte, 26+random.IntN(39))
		for i := range k {
			k[i] = letters[random.IntN(len(letters))]
		}
		model[string(k)] = random.Int64N(100)
	}
	for k, size := range model {
		mustPut(t, f, k, noise(1, int(size)))
	}
	all := slices.Sorted(maps.Keys(model))
	some := func() string { // mostly the beginning of a key
		k := all[random.IntN(len(all))]
		return k[:random.IntN(len(k)+1)%(1+random.IntN(4))]
	}
	for range 100 {
		prefix, after, limit := some(), all[random.IntN(len(all))], random.IntN(40)
		if random.IntN(2) == 0 {
			after = some()
		}
		var want []string
		for _, k := range all {
			if strings.HasPrefix(k, prefix) && k > after && (limit == 0 || len(want) < limit) {
				want = append(want, k)
			}
		}
		page, err := f.List(t.Context(), prefix, after, limit)
		var got []string
		for _, e := range page {
			got = append(got, e.Key)
			if e.Size != model[e.Key] || e.Modified.IsZero() {
				t.Errorf("%+v is listed, want %d bytes", e, model[e.Key])
			}
		}
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("List(%q, %q, %d) = %q, %v\nwant %q", prefix, after, limit, got, err, want)
		}
	}
}

func testLongList(t *testing.T, f fixture) {
	const n = objects.MaxList + 5
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := worker; i < n; i += 8 {
				if _, err := f.Put(t.Context(), key(i), strings.NewReader(""), 0, 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, limit := range []int{0, -1, objects.MaxList + 1, objects.MaxList} {
		if page, err := f.List(t.Context(), "", "", limit); err != nil || len(page) != objects.MaxList {
			t.Errorf("List of at most %d: %d, %v, want %d", limit, len(page), err, objects.MaxList)
		}
	}
	var got int
	for after := ""; ; {
		page, err := f.List(t.Context(), "", after, 250)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page {
			if e.Key != key(got) {
				t.Fatalf("entry %d of all pages is %s", got, e.Key)
			}
			got++
		}
		if len(page) < 250 {
			break
		}
		after = page[len(page)-1].Key
	}
	if got != n {
		t.Errorf("all pages have %d objects, want %d", got, n)
	}
}

func testCanceled(t *testing.T, f fixture) {
	data := noise(1, 10<<20)
	mustPut(t, f, key(1), data)
	reading, stop := context.WithCancel(t.Context())
	r, err := f.Open(reading, key(1), 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	stop()
	if n, err := io.Copy(io.Discard, r); !errors.Is(err, context.Canceled) {
		t.Errorf("content was read on after cancel: %d bytes, %v", n, err)
	}
	_, err = f.Put(reading, key(2), strings.NewReader("x"), 1, -1)
	expectError(t, "Put", err, context.Canceled)
	_, err = f.Open(reading, key(1), 0, -1)
	expectError(t, "Open", err, context.Canceled)
	_, err = f.Stat(reading, key(1))
	expectError(t, "Stat", err, context.Canceled)
	_, err = f.List(reading, "", "", 10)
	expectError(t, "List", err, context.Canceled)
	_, err = f.Sweep(reading, 0)
	expectError(t, "Sweep", err, context.Canceled)
	expectError(t, "Delete", f.Delete(reading, key(1)), context.Canceled)
	expectError(t, "Check", f.Check(reading), context.Canceled)
	expectRemains(t, f, key(1))
}

func testCheck(t *testing.T, f fixture) {
	for range 2 {
		if err := f.Check(t.Context()); err != nil {
			t.Error(err)
		}
	}
	expectRemains(t, f)
}

func testSweepKeeps(t *testing.T, f fixture) {
	mustPut(t, f, key(1), []byte("x"))
	if n, err := f.Sweep(t.Context(), 0); n != 0 || err != nil {
		t.Errorf("Sweep = %d, %v, want nothing to do", n, err)
	}
	expectContent(t, f, key(1), []byte("x"))
}
