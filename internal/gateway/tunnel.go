package gateway

import (
	"io"
	"net"

	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/upstream"
)

// tunnel passes bytes both ways after the upstream has switched protocols (to WebSocket, for example), until both
// sides have ended their half, or one has failed.
func (r *request) tunnel(call *upstream.Call) error {
	resp := call.Response()
	r.AddString("Connection", "Upgrade")
	for i := range resp.Fields {
		if resp.Fields[i].Kind == http1.Upgrade {
			r.Add(resp.Fields[i].Name, resp.Fields[i].Value)
		}
	}
	client, early, err := r.SwitchProtocols()
	if err != nil {
		return err
	}
	target, first := call.Tunnel()
	done := make(chan error, 1)
	go func() { done <- pipe(target, early, client) }()
	err = pipe(client, first, target)
	if other := <-done; err == nil {
		err = other
	}
	return err
}

// pipe copies what src sends to dst, after the bytes that were received already, and ends dst's input when src ends.
// A failure closes both, so that the other direction ends too.
func pipe(dst net.Conn, early []byte, src net.Conn) error {
	_, err := dst.Write(early)
	if err == nil {
		_, err = io.Copy(dst, src)
	}
	half, ok := dst.(interface{ CloseWrite() error })
	if err == nil && ok {
		err = half.CloseWrite()
	}
	if err != nil || !ok {
		dst.Close()
		src.Close()
	}
	return err
}
