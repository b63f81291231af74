package counter

import (
	"errors"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/window"
)

const (
	contentType = "application/json; charset=utf-8"
	problemType = "application/problem+json"
	notFound    = `{"type":"about:blank","title":"Not Found","status":404,"detail":"only / is counted"}`
)

var limits = http1.Limits{
	MaxConns:      100_000,
	MaxHeader:     16 << 10,
	MaxURI:        8 << 10,
	HeaderTimeout: 10 * time.Second,
	IdleTimeout:   75 * time.Second,
	BodyTimeout:   30 * time.Second,
	WriteTimeout:  30 * time.Second,
}

// handle answers one request. A request is counted when all of it has arrived.
func (c *Counter) handle(x *http1.Exchange) {
	if x.Refusal != nil {
		answer(x, x.Refusal.Status, "text/plain; charset=utf-8", []byte(x.Refusal.Reason+"\n"))
		return
	}
	if err := drainBody(&x.Body); err != nil {
		x.CloseAfter() // where the next request begins is unknown
		status := 400
		if errors.Is(err, os.ErrDeadlineExceeded) {
			status = 408
		}
		answer(x, status, "text/plain; charset=utf-8", []byte("the body of the request broke off\n"))
		return
	}
	if string(x.Path) != "/" {
		answer(x, 404, problemType, []byte(notFound))
		return
	}
	n := c.window.AddCount(window.Now(), 1)
	c.keeper.changed()
	var buf [len(`{"requestCount":}`) + 20]byte
	answer(x, 200, contentType, appendCount(buf[:0], n))
}

func answer(x *http1.Exchange, status int, contentType string, body []byte) {
	x.Begin(status, nil)
	x.AddDate()
	x.AddString("Content-Type", contentType)
	x.Respond(body)
}

func appendCount(dst []byte, n uint64) []byte {
	dst = append(dst, `{"requestCount":`...)
	dst = strconv.AppendUint(dst, n, 10)
	return append(dst, '}')
}

// drainBody reads the body of the request to its end, if it has one.
func drainBody(body *http1.Body) error {
	for {
		if _, err := body.Next(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}
