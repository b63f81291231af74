//go:build !unix

package http1

import "net"

// Probe cannot look at a socket without reading from it here: a client that leaves is noticed when the response is
// written, and a request on a connection that the target has closed fails and may be repeated.
type Probe struct{}

// NewProbe makes a probe of nc.
func NewProbe(net.Conn) *Probe { return nil }

// Gone reports whether the peer is known to have closed the connection.
func (*Probe) Gone() bool { return false }

// Sent reports whether bytes are known to have arrived that nobody has read.
func (*Probe) Sent() bool { return false }

// Quiet reports that nothing is known against using the connection again.
func (*Probe) Quiet() bool { return true }
