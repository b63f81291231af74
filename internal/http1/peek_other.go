//go:build !unix

package http1

import "net"

// peerGone cannot look at a socket without reading from it here, so a client that leaves is noticed when the response
// is written.
func peerGone(net.Conn) bool { return false }

func peerSent(net.Conn) bool { return false }

// Quiet cannot tell here; a request on a connection that the peer has closed fails and may be repeated.
func Quiet(net.Conn) bool { return true }
