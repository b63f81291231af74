//go:build unix

package http1

import (
	"net"
	"syscall"
)

// peerGone reports whether the peer has closed the connection, without reading from it or waiting.
func peerGone(nc net.Conn) bool {
	n, err := peek(nc)
	if err != nil {
		return err != syscall.EAGAIN && err != syscall.EINTR && err != errNoPeek
	}
	return n == 0
}

// peerSent reports whether bytes have arrived that nobody has read.
func peerSent(nc net.Conn) bool {
	n, err := peek(nc)
	return err == nil && n > 0
}

// errNoPeek says that the connection is not a socket.
const errNoPeek = syscall.ENOTSOCK

// Quiet reports whether the peer is there and has sent nothing that nobody has read: what an idle connection to a
// server must be if it is to be used again.
func Quiet(nc net.Conn) bool {
	_, err := peek(nc)
	return err == syscall.EAGAIN || err == errNoPeek
}

// peek looks at the next byte of the socket. It does not take part in the locking of reads, so it may be called while
// another goroutine waits in Read.
func peek(nc net.Conn) (n int, err error) {
	if t, ok := nc.(interface{ NetConn() net.Conn }); ok { // TLS: whatever the peer sends is unexpected here, too
		nc = t.NetConn()
	}
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return 0, errNoPeek
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0, errNoPeek
	}
	var b [1]byte
	if cerr := raw.Control(func(fd uintptr) {
		n, _, err = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	}); cerr != nil {
		return 0, errNoPeek
	}
	return n, err
}
