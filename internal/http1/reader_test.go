package http1

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
)

// pattern is an endless stream of which every piece tells where it is from, in reads of random sizes.
type pattern struct {
	rng *rand.Rand
	at  int64
}

func (p *pattern) Read(b []byte) (int, error) {
	if p.rng.IntN(20) == 0 {
		return 0, nil
	}
	n := min(len(b), 1+p.rng.IntN(1<<(1+p.rng.IntN(17))))
	for i := range b[:n] {
		b[i] = byteAt(p.at)
		p.at++
	}
	return n, nil
}

func byteAt(at int64) byte { return byte(at ^ at>>8*3 ^ at>>16*5) }

// readerModel drives a reader as heads and bodies do, and knows what must come out.
type readerModel struct {
	t    *testing.T
	rng  *rand.Rand
	rd   reader
	at   int64  // of the stream, what is consumed
	head []byte // the head of the message under way, in the reader's buffer
	copy []byte // what it was when it was pinned
}

// Whatever the sizes of reads, heads and bodies: every byte comes out once and in order, and a pinned head stays.
func TestReaderProperty(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := &readerModel{t: t, rng: rand.New(rand.NewPCG(seed, 4))}
			m.rd.reset(&pattern{rng: m.rng})
			for range 60 {
				m.message()
			}
		})
	}
}

func (m *readerModel) message() {
	const maxHead = 40 << 10
	m.rd.release()
	m.head, m.copy = nil, nil
	size := 1 + m.rng.IntN(1<<(1+m.rng.IntN(15)))
	m.await(size, maxHead)
	m.head = m.rd.buffered()[:size:size]
	m.copy = bytes.Clone(m.head)
	m.consume(size)
	m.rd.pin()
	for left := m.rng.IntN(1 << (1 + m.rng.IntN(18))); left > 0; {
		left -= m.piece(left)
	}
}

// piece reads some of a body: whatever is there, or a line of which the reader must hold all at once.
func (m *readerModel) piece(left int) int {
	if m.rng.IntN(3) == 0 {
		n := min(left, 1+m.rng.IntN(maxTrailer-1))
		m.await(n, maxTrailer)
		m.consume(n)
		return n
	}
	if len(m.rd.buffered()) == 0 {
		if m.rng.IntN(2) == 0 {
			m.rd.widen(int64(left))
		}
		m.fill(1)
	}
	n := min(left, len(m.rd.buffered()))
	m.consume(n)
	return n
}

// await fills until n bytes are buffered.
func (m *readerModel) await(n, max int) {
	for len(m.rd.buffered()) < n {
		m.fill(max)
	}
}

func (m *readerModel) fill(max int) {
	m.t.Helper()
	before := bytes.Clone(m.rd.buffered())
	if err := m.rd.fill(max); err != nil {
		m.t.Fatalf("fill with %d of at most %d buffered: %v", len(before), max, err)
	}
	after := m.rd.buffered()
	if len(after) <= len(before) || !bytes.HasPrefix(after, before) {
		m.t.Fatalf("fill changed the %d bytes that were buffered, or added none to them (%d)", len(before), len(after))
	}
	m.check()
}

func (m *readerModel) consume(n int) {
	m.t.Helper()
	for i, c := range m.rd.buffered()[:n] {
		if c != byteAt(m.at+int64(i)) {
			m.t.Fatalf("byte %d of the stream came out wrong", m.at+int64(i))
		}
	}
	m.rd.consume(n)
	m.at += int64(n)
	m.check()
}

func (m *readerModel) check() {
	m.t.Helper()
	if !bytes.Equal(m.head, m.copy) {
		m.t.Fatal("the pinned head changed")
	}
}

func TestReaderFull(t *testing.T) {
	var rd reader
	rd.reset(bytes.NewReader(make([]byte, 5000)))
	for {
		err := rd.fill(1000)
		if err == errFull {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := len(rd.buffered()); n < 1000 {
		t.Errorf("full with %d bytes", n)
	}
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

func TestReaderNoProgress(t *testing.T) {
	var rd reader
	rd.reset(stuck{})
	if err := rd.fill(10); err != io.ErrNoProgress {
		t.Errorf("%v, want %v", err, io.ErrNoProgress)
	}
}

// Ready never promises what Next does not keep: after yes, Next does not read from the connection.
func TestReadyKeepsItsWord(t *testing.T) {
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 5))
		var raw []byte
		for range rng.IntN(4) {
			n := 1 + rng.IntN(20)
			raw = append(AppendChunkSize(raw, n), make([]byte, n)...)
			raw = append(raw, crlf...)
		}
		raw = append(raw, "0\r\n"...)
		if rng.IntN(2) == 0 {
			raw = append(raw, "A: b\r\nC: d\r\n"...)
		}
		raw = append(raw, crlf...)
		raw = append(raw, "GET / HTTP/1.1\r\n"[:rng.IntN(16)]...)
		src := &dripping{rng: rng, left: raw}
		var b Body
		var rd reader
		rd.reset(src)
		b.reset(&rd, Chunked)
		for {
			ready, reads := b.Ready(), src.reads
			_, err := b.Next()
			if ready && src.reads > reads {
				t.Fatalf("seed %d: Next had to read although Ready said that it would not", seed)
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
	}
}

// dripping delivers left in small pieces and counts the reads.
type dripping struct {
	rng   *rand.Rand
	left  []byte
	reads int
}

func (d *dripping) Read(b []byte) (int, error) {
	d.reads++
	if len(d.left) == 0 {
		return 0, io.EOF
	}
	n := copy(b, d.left[:min(1+d.rng.IntN(12), len(d.left))])
	d.left = d.left[n:]
	return n, nil
}
