package journal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicegate/sluice/internal/datadir"
	"github.com/sluicegate/sluice/internal/journal"
)

// embedBlobs opens blobs on an embedded broker below path. close ends both, once.
func embedBlobs(t *testing.T, path string) (b *journal.Blobs, close func()) {
	t.Helper()
	dir, err := datadir.Open(path)
	for errors.Is(err, datadir.ErrInUse) { // by what another test starts, between its fork and its exec
		dir, err = datadir.Open(path)
	}
	if err != nil {
		t.Fatal(err)
	}
	broker, err := journal.Embed(journal.EmbedConfig{Dir: dir, Log: testLog(t)})
	if err != nil {
		dir.Close()
		t.Fatal(err)
	}
	close = func() {
		broker.Close()
		dir.Close()
	}
	t.Cleanup(close)
	b, err = journal.OpenBlobs(t.Context(), broker, "test")
	if err != nil {
		t.Fatal(err)
	}
	return b, close
}

// dialBlobs opens blobs on the servers of a cluster.
func dialBlobs(t *testing.T, c *cluster) *journal.Blobs {
	t.Helper()
	broker, err := journal.Dial(journal.DialConfig{URL: c.url(), Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	b, err := journal.OpenBlobs(ctx, broker, "test")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// content is n bytes that depend on seed.
func content(n int, seed uint64) []byte {
	p := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{byte(seed)})
	rng.Read(p)
	return p
}

func put(t *testing.T, b *journal.Blobs, name string, data []byte) {
	t.Helper()
	if n, err := b.Put(t.Context(), name, bytes.NewReader(data), int64(len(data))); err != nil || n != int64(len(data)) {
		t.Fatalf("Put of %d bytes = %d, %v", len(data), n, err)
	}
}

func readBlob(b *journal.Blobs, name string) ([]byte, error) {
	r, err := b.Open(context.Background(), name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func has(t *testing.T, b *journal.Blobs, name string, want []byte) {
	t.Helper()
	if got, err := readBlob(b, name); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%q has %d bytes, %v, want the %d that were put", name, len(got), err, len(want))
	}
}

// lists checks the names that are there.
func lists(t *testing.T, b *journal.Blobs, want ...string) {
	t.Helper()
	all, err := b.List(t.Context())
	var names []string
	for _, i := range all {
		names = append(names, i.Name)
		if since := time.Since(i.Time); since < -time.Minute || since > time.Hour {
			t.Errorf("%q was put at %v", i.Name, i.Time)
		}
	}
	if err != nil || !slices.Equal(names, want) {
		t.Errorf("List = %q, %v, want %q", names, err, want)
	}
}

// chunk is the size of a message.
const chunk = 128 << 10

// blobSizes are on both sides of where something happens.
var blobSizes = []int{0, 1, chunk - 1, chunk, chunk + 1, 3*chunk + 7}

// suite is what blobs do on every broker.
func suite(t *testing.T, b *journal.Blobs) {
	lists(t, b)
	var names []string
	for _, n := range blobSizes {
		name := fmt.Sprintf("%d bytes.*.> ü/..", n) // names are bytes, whatever they mean to somebody
		put(t, b, name, content(n, uint64(n)))
		names = append(names, name)
	}
	for i, n := range blobSizes {
		has(t, b, names[i], content(n, uint64(n)))
	}
	lists(t, b, names...)
	if _, err := b.Put(t.Context(), names[1], strings.NewReader("x"), 1); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Put under the name of another: %v, want fs.ErrExist", err)
	}
	has(t, b, names[1], content(1, 1))
	for range 2 {
		if err := b.Delete(t.Context(), names[5]); err != nil {
			t.Errorf("Delete: %v", err)
		}
	}
	if _, err := readBlob(b, names[5]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of what was deleted: %v, want fs.ErrNotExist", err)
	}
	lists(t, b, names[:5]...)
	put(t, b, names[5], []byte("another"))
	has(t, b, names[5], []byte("another"))
}

func TestBlobs(t *testing.T) {
	t.Parallel()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		b, _ := embedBlobs(t, t.TempDir())
		suite(t, b)
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		c := startCluster(t, 3)
		b := dialBlobs(t, c)
		suite(t, b)
		c.stop(0)
		has(t, dialBlobs(t, c), fmt.Sprintf("%d bytes.*.> ü/..", chunk+1), content(chunk+1, chunk+1))
	})
}

func TestBlobsRestart(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	b, end := embedBlobs(t, path)
	put(t, b, "kept", content(2*chunk, 1))
	end()
	b, _ = embedBlobs(t, path)
	has(t, b, "kept", content(2*chunk, 1))
	lists(t, b, "kept")
}

// stored is how many bytes the broker keeps for blobs.
func stored(t *testing.T, c *cluster) uint64 {
	t.Helper()
	conn, err := nats.Connect(c.url())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), "SLUICE_test_blobs")
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.Bytes
}

// What fails leaves nothing, neither to see nor on the disk.
func TestBlobsInterrupted(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	b := dialBlobs(t, c)
	broken := errors.New("the client left")
	cancelled, cancel := context.WithCancel(t.Context())
	for _, test := range []struct {
		name string
		ctx  context.Context
		r    io.Reader
		want error
	}{
		{"its reader fails", t.Context(), io.MultiReader(bytes.NewReader(content(2*chunk+5, 1)), iotest.ErrReader(broken)), broken},
		{"its reader breaks off", t.Context(), io.MultiReader(bytes.NewReader(content(2*chunk+5, 1)), iotest.ErrReader(io.ErrUnexpectedEOF)), io.ErrUnexpectedEOF},
		{"too long", t.Context(), bytes.NewReader(content(3*chunk+1, 1)), journal.ErrBlobTooLarge},
		{"its context ends", cancelled, io.MultiReader(bytes.NewReader(content(chunk, 1)), readFunc(func([]byte) (int, error) {
			cancel()
			return 0, io.EOF
		})), context.Canceled},
	} {
		if _, err := b.Put(test.ctx, test.name, test.r, 3*chunk); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		if _, err := b.Open(t.Context(), test.name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: Open: %v, want fs.ErrNotExist", test.name, err)
		}
	}
	lists(t, b)
	if n := stored(t, c); n != 0 {
		t.Errorf("%d bytes are left on the disk", n)
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// What a process that died left unfinished is invisible, and gone after the next start.
func TestBlobsOfTheDead(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	b, end := embedBlobs(t, path)
	put(t, b, "whole", content(chunk, 1))
	var died bool
	_, err := b.Put(t.Context(), "half", io.MultiReader(bytes.NewReader(content(160*chunk, 1)), readFunc(func([]byte) (int, error) {
		died = true
		end() // the broker is away, so that nothing is tidied up
		return 0, io.ErrNoProgress
	})), 1<<30)
	if !died || !errors.Is(err, io.ErrNoProgress) {
		t.Fatalf("Put: %v, want it to end with its reader", err)
	}
	before := diskUse(t, path)
	b, end = embedBlobs(t, path)
	lists(t, b, "whole")
	has(t, b, "whole", content(chunk, 1))
	end()
	if after := diskUse(t, path); after > before-60*chunk {
		t.Errorf("%d bytes on disk after the start, and %d before, want those of whole blocks less", after, before)
	}
}

// diskUse is the size of the blocks of all streams below path.
func diskUse(t *testing.T, path string) (total int64) {
	t.Helper()
	err := filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".blk" {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}

// Chunks that went amiss, or aren't what was written, never look like the whole.
func TestBlobsDamaged(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	b := dialBlobs(t, c)
	conn, err := nats.Connect(c.url())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	for i, lost := range []uint64{1, 6, 11} { // the first, middle and last chunk of three: a blob is 3 chunks and its end
		name := fmt.Sprint("blob", i)
		put(t, b, name, content(3*chunk, 1))
		s, err := js.Stream(t.Context(), "SLUICE_test_blobs")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.DeleteMsg(t.Context(), lost); err != nil {
			t.Fatal(err)
		}
		if got, err := readBlob(b, name); !errors.Is(err, journal.ErrDamaged) || len(got) >= 3*chunk {
			t.Errorf("without chunk %d: read %d bytes, %v, want less and ErrDamaged", i+1, len(got), err)
		}
	}
	put(t, b, "swapped", content(2*chunk, 1))
	s, err := js.Stream(t.Context(), "SLUICE_test_blobs")
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.GetMsg(t.Context(), 14)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteMsg(t.Context(), 14); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), m.Subject, content(chunk, 2)); err != nil {
		t.Fatal(err)
	}
	if got, err := readBlob(b, "swapped"); !errors.Is(err, journal.ErrDamaged) || len(got) > chunk {
		t.Errorf("with another chunk: read %d bytes, %v, want one chunk at most and ErrDamaged", len(got), err)
	}
}

// One chunk is in memory, however long the blob is.
func TestBlobsMemory(t *testing.T) {
	b, _ := embedBlobs(t, t.TempDir())
	const size = 48 << 20
	var peak uint64
	watch := func(r io.Reader) io.Reader {
		var read int
		return readFunc(func(p []byte) (int, error) {
			n, err := r.Read(p)
			if read += n; read>>23 != (read-n)>>23 { // every 8 MiB
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapAlloc)
			}
			return n, err
		})
	}
	if n, err := b.Put(t.Context(), "large", watch(io.LimitReader(rand.NewChaCha8([32]byte{}), size)), size); n != size || err != nil {
		t.Fatalf("Put = %d, %v", n, err)
	}
	r, err := b.Open(t.Context(), "large")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := io.Copy(io.Discard, watch(r)); n != size || err != nil {
		t.Fatalf("read %d bytes, %v", n, err)
	}
	if peak > 32<<20 { // the server keeps a block or two, too
		t.Errorf("%d MiB of heap for a blob of 48 MiB", peak>>20)
	}
}

// A full disk refuses blobs, and takes them again when there is room, in the same process.
func TestBlobsDiskFull(t *testing.T) {
	t.Parallel()
	disk := mount(t, "-t", "tmpfs", "-o", "size=24m", "tmpfs")
	b, _ := embedBlobs(t, filepath.Join(disk, "data"))
	put(t, b, "before", content(chunk, 1))
	ballast := fill(t, disk)
	if _, err := b.Put(t.Context(), "full", bytes.NewReader(content(8<<20, 2)), 8<<20); !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("Put on a full disk: %v, want ErrUnavailable", err)
	}
	ballast()
	for i := 0; ; i++ {
		name := fmt.Sprint("after", i)
		_, err := b.Put(t.Context(), name, bytes.NewReader(content(chunk, 3)), chunk)
		if err == nil {
			has(t, b, name, content(chunk, 3))
			break
		}
		if i > 100 || !errors.Is(err, journal.ErrUnavailable) {
			t.Fatalf("Put with room again: %v", err)
		}
	}
	has(t, b, "before", content(chunk, 1))
	if _, err := os.Stat(filepath.Join(disk, "ballast")); err == nil {
		t.Error("the ballast is still there")
	}
}

// A blob of which a part was removed while the rest was written, as a node would whose clock is an hour ahead, is none.
func TestBlobLosesAPart(t *testing.T) {
	b, _ := embedBlobs(t, t.TempDir())
	data := content(300_000, 1)
	at := 0
	r := readerFunc(func(p []byte) (int, error) {
		if at > 200_000 {
			if err := b.Delete(t.Context(), "a"); err != nil {
				return 0, err
			}
		}
		n := copy(p, data[at:])
		if at += n; n == 0 {
			return 0, io.EOF
		}
		return n, nil
	})
	if _, err := b.Put(t.Context(), "a", r, 1<<20); !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("Put: %v, want ErrUnavailable", err)
	}
	if _, err := readBlob(b, "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open: %v, want that there is none", err)
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
