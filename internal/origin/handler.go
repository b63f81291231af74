package origin

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/valyala/fasthttp"
)

const drainBuffer = 32 << 10

// answer is the JSON body.
type answer struct {
	Path     string      `json:"path"` // as in the request line, without the query
	Method   string      `json:"method"`
	Counter  int64       `json:"counter"`            // numbers the answers of this server from 1
	Received *received   `json:"received,omitempty"` // absent if the request had no body
	Headers  [][2]string `json:"headers,omitempty"`  // name and value, as they arrived and in their order
}

// received describes the body of a request.
type received struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // in hexadecimal
	text   []byte // the first maxEcho+1 bytes, if they are asked for
}

// handle answers one request. fasthttp runs it on the goroutine of the connection.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	path := pathOf(ctx)
	if strings.HasPrefix(path, "/_origin/") {
		s.control(ctx, path)
		return
	}
	visited := s.tally.enter(path)
	leave := func() { s.tally.leave(visited) }
	if !s.visit(ctx, path, leave) {
		leave()
	}
}

// pathOf returns the path as the request line spells it. fasthttp's own would be normalized, and would take the first
// segment of "//a/b" for a host.
func pathOf(ctx *fasthttp.RequestCtx) string {
	target := ctx.Request.Header.RequestURI()
	if len(target) > 0 && target[0] != '/' {
		target = ctx.URI().PathOriginal() // of the absolute form, http://host/path
	}
	path, _, _ := bytes.Cut(target, []byte("?"))
	return string(path)
}

// visit reads a request and prepares its response. It reports whether leave has been handed to a body that is written
// after the handler has returned.
func (s *Server) visit(ctx *fasthttp.RequestCtx, path string, leave func()) (handed bool) {
	a, err := parseAsk(ctx.QueryArgs())
	got, broken := s.drain(ctx, a.echo)
	if broken != nil {
		refuse(ctx, fasthttp.StatusBadRequest, broken)
		ctx.SetConnectionClose() // where the next request begins is unknown
		return false
	}
	if err == nil && a.echo && (got == nil || len(got.text) > maxEcho) {
		err = fmt.Errorf("query parameter echo: expected a body of at most %d bytes", maxEcho)
	}
	if err == nil && !ctx.Request.Header.IsHTTP11() && (a.chunked || a.events >= 0) {
		err = errors.New("query parameters chunked and sse need HTTP/1.1")
	}
	if err != nil {
		refuse(ctx, fasthttp.StatusBadRequest, err)
		return false
	}
	wait, fail := a.sleep, false
	if path != "/healthz" {
		wait, fail = wait+s.latency(), s.unlucky()
	}
	if !s.pause(wait) {
		refuse(ctx, fasthttp.StatusServiceUnavailable, ErrClosed)
		ctx.SetConnectionClose()
		return false
	}
	if fail {
		a = ask{bytes: -1, events: -1, status: fasthttp.StatusInternalServerError}
	}
	return s.respond(ctx, a, answer{Path: path, Method: string(ctx.Method()), Received: got}, leave)
}

// respond prepares the response that a asks for. It reports whether leave has been handed to its body.
func (s *Server) respond(ctx *fasthttp.RequestCtx, a ask, body answer, leave func()) (handed bool) {
	ctx.SetStatusCode(a.status)
	if a.status < 200 {
		ctx.SetConnectionClose() // a client waits for a second response, and none will come
	}
	if a.cache != "" {
		ctx.Response.Header.Set(fasthttp.HeaderCacheControl, a.cache)
	}
	switch {
	case a.status < 200 || a.status == fasthttp.StatusNoContent || a.status == fasthttp.StatusNotModified:
		return false
	case a.events >= 0:
		ctx.SetContentType("text/event-stream")
		return stream(ctx, &events{total: a.events, interval: a.interval, pause: s.pause, done: leave}, inChunks)
	case a.echo:
		ctx.SetContentTypeBytes(ctx.Request.Header.ContentType())
		ctx.Response.SetBodyRaw(body.Received.text)
		return false
	case a.bytes >= 0:
		ctx.SetContentType("application/octet-stream")
		return stream(ctx, &filler{size: a.bytes, done: leave}, a.framing(int(a.bytes)))
	}
	body.Counter = s.sequence.Add(1)
	if a.headers {
		body.Headers = fields(ctx.Request.Header.RawHeaders())
	}
	if text := writeJSON(ctx, body); a.chunked {
		stream(ctx, bytes.NewReader(text), inChunks)
	}
	return false
}

// stream makes body that of the response, and reports whether it is going to be read and closed: not for HEAD, where
// fasthttp would end a body in chunks with an empty line although it has sent none of it, which a client takes for the
// beginning of the next response.
func stream(ctx *fasthttp.RequestCtx, body io.Reader, length int) bool {
	if ctx.IsHead() {
		ctx.Response.ResetBody()
		ctx.Response.Header.SetContentLength(length)
		return false
	}
	ctx.Response.SetBodyStream(body, length)
	return true
}

// drain reads the body of the request to its end, and keeps the beginning of it if asked to; nil if it has none.
func (s *Server) drain(ctx *fasthttp.RequestCtx, keep bool) (*received, error) {
	body, length := ctx.RequestBodyStream(), int64(ctx.Request.Header.ContentLength())
	if body == nil || length == 0 {
		return nil, nil
	}
	digest, kept := sha256.New(), &beginning{}
	var w io.Writer = digest
	if keep {
		w = io.MultiWriter(digest, kept)
	}
	n, err := s.digest(w, body)
	if err == nil && length > 0 && n != length {
		err = io.ErrUnexpectedEOF // fasthttp reports the end of the connection like the end of the body
	}
	if err != nil {
		return nil, fmt.Errorf("the body of the request broke off after %d bytes: %w", n, err)
	}
	return &received{n, hex.EncodeToString(digest.Sum(nil)), kept.text}, nil
}

// beginning keeps the first maxEcho+1 bytes that are written to it: one more than are sent back, to tell that there were more.
type beginning struct{ text []byte }

func (b *beginning) Write(p []byte) (int, error) {
	b.text = append(b.text, p[:min(len(p), maxEcho+1-len(b.text))]...)
	return len(p), nil
}

// digest copies body to w through a buffer that requests share. Reading goes on to the first io.EOF and not beyond:
// after it, fasthttp's stream would take the next request for a chunk.
func (s *Server) digest(w io.Writer, body io.Reader) (n int64, err error) {
	buf := s.buffers.Get().(*[drainBuffer]byte)
	defer s.buffers.Put(buf)
	for {
		m, err := body.Read(buf[:])
		w.Write(buf[:m]) // never fails: hashes, and memory
		n += int64(m)
		if err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
	}
}

// fields splits a header block, which fasthttp has found well-formed, into names and values.
func fields(block []byte) [][2]string {
	var list [][2]string
	for line := range bytes.Lines(block) {
		if name, value, ok := bytes.Cut(line, []byte(":")); ok {
			list = append(list, [2]string{string(name), string(bytes.TrimSpace(value))})
		}
	}
	return list
}

// control answers the paths below /_origin/.
func (s *Server) control(ctx *fasthttp.RequestCtx, path string) {
	if _, err := s.drain(ctx, false); err != nil {
		refuse(ctx, fasthttp.StatusBadRequest, err)
		ctx.SetConnectionClose()
		return
	}
	ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	switch {
	case path == "/_origin/stats" && (ctx.IsGet() || ctx.IsHead()):
		writeJSON(ctx, s.Stats())
	case path == "/_origin/stats":
		notAllowed(ctx, "GET, HEAD")
	case path == "/_origin/reset" && ctx.IsPost():
		s.Reset()
		ctx.SetStatusCode(fasthttp.StatusNoContent)
	case path == "/_origin/reset":
		notAllowed(ctx, "POST")
	default:
		refuse(ctx, fasthttp.StatusNotFound, fmt.Errorf("there is nothing at %s, only /_origin/stats and /_origin/reset", path))
	}
}

func notAllowed(ctx *fasthttp.RequestCtx, allow string) {
	ctx.Response.Header.Set(fasthttp.HeaderAllow, allow)
	refuse(ctx, fasthttp.StatusMethodNotAllowed, fmt.Errorf("the method must be one of: %s", allow))
}

// refuse prepares an answer that says why there is no other.
func refuse(ctx *fasthttp.RequestCtx, status int, err error) {
	ctx.SetStatusCode(status)
	writeJSON(ctx, struct {
		Error string `json:"error"`
	}{err.Error()})
}

// writeJSON makes v the body of the response, and returns that body.
func writeJSON(ctx *fasthttp.RequestCtx, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic("origin: " + err.Error()) // only types of this package, all of which can be encoded
	}
	ctx.SetContentType("application/json")
	text = append(text, '\n')
	ctx.Response.SetBodyRaw(text)
	return text
}
