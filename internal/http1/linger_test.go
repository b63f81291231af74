package http1_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/http1"
)

// A peer that looks at the response only when it can't send any more gets it, however much it has to send: so does nginx, which passes on what
// its own client sends for as long as that keeps up.
func TestRefusedUploadIsAnswered(t *testing.T) {
	s := serve(t, limits(), func(x *http1.Exchange) { refuse(x, &http1.Error{Status: 403, Reason: "quota"}) })
	for range 5 {
		c := s.dial(t)
		c.send("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n")
		chunk := make([]byte, 256<<10)
		for end := time.Now().Add(patience); ; {
			c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
			_, err := c.Write(chunk)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil || time.Now().After(end) {
				t.Fatalf("sending went on without a pause, until %v", err)
			}
		}
		if resp, _ := c.response("PUT"); resp.StatusCode != 403 {
			t.Errorf("status %d, want 403", resp.StatusCode)
		}
		c.Close()
	}
}
