//go:build unix

package upstream

import (
	"io"
	"net"
	"os"
	"syscall"
)

// turn sends a request and reads the beginning of the answer, and looks before it sends.
//
// A kept connection may have been closed by the target, or hold bytes that nobody asked for, which would be taken for
// the answer: one client would get what was meant for another. So the socket must be looked at, and a look is a system
// call. But the runtime's Read begins with one that fails, as no answer can be there yet, before it waits. Here that
// read comes before the request is written: it is the look, and the count of system calls stays what it was.
type turn struct {
	nc      net.Conn
	raw     syscall.RawConn
	step    func(fd uintptr) bool // t.advance, made once
	request []byte                // nil once it is written
	into    []byte
	n       int
	err     error
}

// newTurn returns nil for a connection that is no socket.
func newTurn(nc net.Conn) *turn {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	t := &turn{nc: nc, raw: raw}
	t.step = t.advance
	return t
}

// take writes the request and reads once, up to the connection's deadlines. It returns errStale, and has written
// nothing, if the connection is not as quiet as it must be.
func (t *turn) take(request, into []byte) (int, error) {
	t.request, t.into, t.n, t.err = request, into, 0, nil
	err := t.raw.Read(t.step)
	t.request, t.into = nil, nil
	if err == nil {
		err = t.err
	}
	return t.n, err
}

// advance is called by the runtime once, and again whenever the socket may have become readable, until it returns true.
func (t *turn) advance(fd uintptr) bool {
	n, err := recv(int(fd), t.into)
	switch {
	case t.request != nil && err != syscall.EAGAIN:
		t.err = errStale
	case t.request != nil:
		// A failed write is not the end: the target may have answered before it closed, and its answer tells more.
		t.nc.Write(t.request)
		t.request = nil
		return false
	case err == syscall.EAGAIN:
		return false
	case err != nil:
		t.err = os.NewSyscallError("read", err)
	case n == 0:
		t.err = io.EOF
	default:
		t.n = n
	}
	return true
}

func recv(fd int, p []byte) (int, error) {
	for {
		if n, err := syscall.Read(fd, p); err != syscall.EINTR {
			return n, err
		}
	}
}
