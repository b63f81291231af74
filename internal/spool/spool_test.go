package spool_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/internal/spool"
)

// content is n bytes that tell every place from every other.
func content(n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(p)
	return p
}

func started(o spool.Options, expected int) *spool.Body {
	b := spool.New(o)
	b.Expect(expected)
	return b
}

func readAll(r *spool.Reader) ([]byte, error) {
	var all []byte
	for {
		p, err := r.Next()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, p...)
	}
}

func TestManyReaders(t *testing.T) {
	const readers = 20
	want := content(5<<20 + 17)
	b := started(spool.Options{Window: 2 * spool.Block, Dir: t.TempDir()}, readers)
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			r := b.Open()
			defer r.Close()
			if got, err := readAll(r); err != nil || sha256.Sum256(got) != sha256.Sum256(want) {
				t.Errorf("a reader got %d bytes and %v, expected %d", len(got), err, len(want))
			}
		})
	}
	if _, err := b.Write(want); err != nil {
		t.Error(err)
	}
	b.Close(nil)
	wg.Wait()
}

// Whatever sizes are written and read, each reader gets the body from its beginning, or is told that it cannot.
func TestModel(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		window := rapid.IntRange(2, 4).Draw(t, "window")
		file := rapid.IntRange(1, 8).Draw(t, "file")
		want := content(rapid.IntRange(0, 20*spool.Block).Draw(t, "size"))
		b := started(spool.Options{Window: window * spool.Block, File: int64(file) * spool.Block, Dir: dir}, 1)
		type reader struct {
			*spool.Reader
			off int
		}
		readers := []*reader{{Reader: b.Open()}}
		step := func(r *reader) error {
			p, err := r.Next()
			if !bytes.Equal(p, want[r.off:r.off+len(p)]) {
				t.Fatalf("the %d bytes at %d are not those that were written", len(p), r.off)
			}
			r.off += len(p)
			return err
		}
		written := 0
		for written < len(want) {
			for i, r := range readers { // the first keeps up, so the writer never waits
				if i == 0 || rapid.IntRange(0, 3).Draw(t, "reads") == 0 {
					for r.Ready() {
						if err := step(r); errors.Is(err, spool.ErrBehind) && i > 0 {
							break
						} else if err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			if rapid.Bool().Draw(t, "joins") {
				if r := b.Open(); r != nil {
					readers = append(readers, &reader{Reader: r})
				} else if written < spool.Block*window {
					t.Fatal("the beginning is gone although the window is not full")
				}
			}
			n := min(rapid.IntRange(1, spool.Block*(window-1)).Draw(t, "n"), len(want)-written)
			if _, err := b.Write(want[written : written+n]); err != nil {
				t.Fatal(err)
			}
			written += n
		}
		b.Close(nil)
		for i, r := range readers {
			var err error
			for err == nil {
				err = step(r)
			}
			lag := len(want) - r.off
			if err == io.EOF && lag != 0 || err != io.EOF && (i == 0 || !errors.Is(err, spool.ErrBehind) || lag < file*spool.Block) {
				t.Fatalf("reader %d ended %d bytes before the end with %v", i, lag, err)
			}
			r.Close()
		}
	})
}

func TestWriterWaitsForTheFastestReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := started(spool.Options{Window: 2 * spool.Block}, 1)
		written := make(chan int, 1)
		go func() {
			n, err := b.Write(make([]byte, 10*spool.Block))
			if !errors.Is(err, spool.ErrAbandoned) {
				t.Errorf("the write ended with %v", err)
			}
			b.Close(err)
			written <- n
		}()
		synctest.Wait()
		r := b.Open()
		for range 3 {
			r.Next()
		}
		synctest.Wait()
		r.Close()
		if n := <-written; n != 5*spool.Block {
			t.Errorf("%d blocks were written ahead of a reader of 3, expected a window of 2", n/spool.Block-3)
		}
		if b.Joinable() || b.Open() != nil {
			t.Error("an abandoned body can be joined")
		}
	})
}

func TestAbort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := started(spool.Options{}, 1)
		r := b.Open()
		defer r.Close()
		go func() {
			synctest.Wait()
			r.Abort()
		}()
		if _, err := r.Next(); !errors.Is(err, spool.ErrAborted) {
			t.Errorf("Next returned %v", err)
		}
	})
}

func TestErrorReachesReadersBehindTheData(t *testing.T) {
	b := started(spool.Options{}, 1)
	r := b.Open()
	defer r.Close()
	b.Write([]byte("some"))
	broken := errors.New("broken")
	b.Close(broken)
	if got, err := readAll(r); string(got) != "some" || err != broken {
		t.Errorf("got %q and %v", got, err)
	}
}

// A disk that takes nothing costs those who need it, and nobody else.
func TestNoDisk(t *testing.T) {
	b := started(spool.Options{Window: 2 * spool.Block, Dir: "/nonexistent"}, 2)
	fast, slow := b.Open(), b.Open()
	want := content(6 * spool.Block)
	go func() { b.Write(want); b.Close(nil) }()
	got, err := readAll(fast)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the fast reader got %d bytes and %v", len(got), err)
	}
	if got, err := readAll(slow); !errors.Is(err, spool.ErrBehind) || !bytes.Equal(got, want[:len(got)]) {
		t.Errorf("the slow reader got %d bytes and %v", len(got), err)
	}
	fast.Close()
	slow.Close()
}

// One who was expected and comes when the beginning is lost gets nothing, and is not waited for any more.
func TestTooLate(t *testing.T) {
	b := started(spool.Options{Window: 2 * spool.Block, Dir: "/nonexistent"}, 2)
	fast := b.Open()
	go func() { b.Write(content(6 * spool.Block)); b.Close(nil) }()
	if _, err := readAll(fast); err != nil {
		t.Error(err)
	}
	if b.Open() != nil {
		t.Fatal("there is a beginning")
	}
	fast.Close()
	select {
	case <-b.Released():
	default:
		t.Error("nobody is left, and nothing was given back")
	}
}

// The file has no name, and a body that all keep up with has none at all.
func TestNothingIsLeftOnDisk(t *testing.T) {
	dir := t.TempDir()
	b := started(spool.Options{Window: 2 * spool.Block, Dir: dir}, 2)
	fast, slow := b.Open(), b.Open()
	go func() { b.Write(make([]byte, 20*spool.Block)); b.Close(nil) }()
	if _, err := readAll(fast); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%s is left", left[0].Name())
	}
	if got, err := readAll(slow); err != nil || len(got) != 20*spool.Block {
		t.Errorf("the slow reader got %d bytes and %v", len(got), err)
	}
	fast.Close()
	slow.Close()
}

// When the last reader leaves a body that has not ended, its source hears of it, once, although the writer has nothing to write.
func TestAbandoned(t *testing.T) {
	for _, tt := range []struct {
		name  string
		leave func(b *spool.Body)
		want  int
	}{
		{"the readers close", func(b *spool.Body) {
			b.Expect(2)
			one, two := b.Open(), b.Open()
			one.Close()
			two.Close()
			two.Close()
		}, 1},
		{"one closes, one declines", func(b *spool.Body) { b.Expect(2); b.Open().Close(); b.Decline() }, 1},
		{"nobody is expected", func(b *spool.Body) { b.Expect(0) }, 1},
		{"the readers come and go before they are expected", func(b *spool.Body) { b.Open().Close(); b.Expect(1) }, 1},
		{"one is on the way", func(b *spool.Body) { b.Expect(2); b.Open().Close() }, 0},
		{"nobody has said how many are on the way", func(b *spool.Body) { b.Open().Close() }, 0},
		{"the body ended before", func(b *spool.Body) { b.Expect(1); r := b.Open(); b.Close(nil); r.Close() }, 0},
	} {
		told := 0
		tt.leave(spool.New(spool.Options{Abandoned: func() { told++ }}))
		if told != tt.want {
			t.Errorf("%s: told %d times, expected %d", tt.name, told, tt.want)
		}
	}
}
