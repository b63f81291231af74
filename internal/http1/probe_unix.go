//go:build unix

package http1

import (
	"net"
	"syscall"
)

// Probe looks at a socket without reading from it or waiting. It does not take part in the locking of reads, so it may
// be used while another goroutine waits in Read. It must not be used by two goroutines at once.
type Probe struct {
	raw  syscall.RawConn // nil: the connection is not a socket, and nothing can be told
	look func(fd uintptr)
	buf  [1]byte
	n    int
	err  error
}

// NewProbe makes a probe of nc; of a TLS connection it looks at the socket below.
func NewProbe(nc net.Conn) *Probe {
	if t, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = t.NetConn()
	}
	p := new(Probe)
	if sc, ok := nc.(syscall.Conn); ok {
		p.raw, _ = sc.SyscallConn()
	}
	p.look = func(fd uintptr) {
		p.n, _, p.err = syscall.Recvfrom(int(fd), p.buf[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	}
	return p
}

// peek looks at the next byte. known is false if nothing can be told.
func (p *Probe) peek() (n int, err error, known bool) {
	if p.raw == nil || p.raw.Control(p.look) != nil {
		return 0, nil, false
	}
	return p.n, p.err, p.err != syscall.EINTR
}

// Gone reports whether the peer has closed the connection.
func (p *Probe) Gone() bool {
	n, err, known := p.peek()
	return known && err != syscall.EAGAIN && (err != nil || n == 0)
}

// Sent reports whether bytes have arrived that nobody has read.
func (p *Probe) Sent() bool {
	n, err, known := p.peek()
	return known && err == nil && n > 0
}

// Quiet reports whether the peer is there and has sent nothing that nobody has read: what an idle connection to a
// server must be if it is to be used again.
func (p *Probe) Quiet() bool {
	_, err, known := p.peek()
	return !known || err == syscall.EAGAIN
}
