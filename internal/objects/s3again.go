package objects

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/minio/minio-go/v7"
)

// s3Tries is how often something is tried that may go better another time.
const s3Tries = 3

// again does what can be done again without harm. The client can do that by itself, but not well: its second attempt reads the body with the
// reader of the first, which the transport may still be reading. After a failure that may pass it has waited for up to 200 ms, at random.
func again(ctx context.Context, do func() error) (err error) {
	for range s3Tries {
		if err = do(); err == nil || ctx.Err() != nil || !mayPass(err) {
			break
		}
	}
	return err
}

// mayPass reports whether a failure says nothing about the request.
func mayPass(err error) bool {
	var r minio.ErrorResponse
	if !errors.As(err, &r) { // of the network
		return true
	}
	switch r.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return r.Code == minio.InternalError || r.Code == "SlowDown" // also with status 200
}

// held reads memory for one attempt. After stop it touches it no more.
type held struct {
	mu   sync.Mutex
	data []byte // guarded by mu
}

// Read implements [io.Reader].
func (h *held) Read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, h.data)
	h.data = h.data[n:]
	return n, nil
}

func (h *held) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.data = nil
}
