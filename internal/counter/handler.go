package counter

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/sluicegate/sluice/window"
)

const (
	contentType = "application/json; charset=utf-8"
	problemType = "application/problem+json"
	notFound    = `{"type":"about:blank","title":"Not Found","status":404,"detail":"only / is counted"}`
)

// timeout is for how many seconds a connection may idle, and how many a request may take to arrive and be answered.
const timeout = 75

func newHTTP(c *Counter) *fasthttp.Server {
	return &fasthttp.Server{
		Handler:                      c.handle,
		Name:                         "sluice",
		Logger:                       errorLog{c.log},
		ConnState:                    c.conns.changed,
		Concurrency:                  100_000,
		ReadBufferSize:               16 << 10, // the largest head of a request
		StreamRequestBody:            true,
		MaxRequestBodySize:           64 << 10, // with streaming, what is buffered and not what is accepted
		DisablePreParseMultipartForm: true,
		// fasthttp's goroutine that retires idle workers looks up from its sleep only this often, also to end.
		MaxIdleWorkerDuration: 100 * time.Millisecond,
	}
}

// handle answers one request. A request is counted when all of it has arrived.
func (c *Counter) handle(ctx *fasthttp.RequestCtx) {
	if c.stopping.Load() {
		ctx.SetConnectionClose()
	}
	if err := drainBody(ctx); err != nil {
		ctx.Error("the body of the request broke off", fasthttp.StatusBadRequest)
		ctx.SetConnectionClose() // where the next request begins is unknown
		return
	}
	if !isRoot(ctx) {
		ctx.SetStatusCode(fasthttp.StatusNotFound)
		ctx.SetContentType(problemType)
		ctx.SetBodyString(notFound)
		return
	}
	n := c.window.AddCount(window.Now(), 1)
	c.keeper.changed()
	ctx.SetContentType(contentType)
	var buf [len(`{"requestCount":}`) + 20]byte
	ctx.Response.SetBody(appendAnswer(buf[:0], n))
}

func appendAnswer(dst []byte, n uint64) []byte {
	dst = append(dst, `{"requestCount":`...)
	dst = strconv.AppendUint(dst, n, 10)
	return append(dst, '}')
}

// isRoot reports whether the path of the request is /, whatever its query.
func isRoot(ctx *fasthttp.RequestCtx) bool {
	target := ctx.Request.Header.RequestURI()
	if len(target) == 1 {
		return target[0] == '/'
	}
	if target[0] != '/' { // the absolute form, http://host/path, or the * of OPTIONS
		return bytes.Contains(target, []byte("://")) && string(ctx.Path()) == "/"
	}
	return target[1] == '?'
}

// drainBody reads the body of the request to its end, if it has one.
func drainBody(ctx *fasthttp.RequestCtx) error {
	body := ctx.RequestBodyStream()
	if body == nil {
		return nil
	}
	_, err := io.Copy(io.Discard, body)
	if err == nil && ctx.Conn().(*conn).ended {
		// fasthttp reports the end of the connection like the end of the body. To find the latter it reads no further.
		err = io.ErrUnexpectedEOF
	}
	return err
}

// errorLog passes fasthttp's messages about connections on.
type errorLog struct{ log *slog.Logger }

func (l errorLog) Printf(format string, args ...any) { l.log.Warn(fmt.Sprintf(format, args...)) }
