package e2e_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// largeBody is the size of a large body, in bytes.
func largeBody() int64 {
	switch {
	case os.Getenv("SLUICE_E2E_FULL") == "1":
		return 1 << 30
	case raceEnabled:
		return 128 << 20
	default:
		return 256 << 20
	}
}

// maxGrowth is how much the resident memory of the process may grow while large bodies pass, in KiB.
const maxGrowth = 64 << 10

// noise is a body that can be made again from its seed, and in which no part repeats another.
func noise(seed byte, size int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{seed}), size)
}

func digest(t *testing.T, r io.Reader) string {
	t.Helper()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		t.Fatal(err)
	}
	return hexSum(h)
}

func hexSum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// bodies is an origin that sends noise of the size that ?bytes asks for, and answers an upload with its SHA-256.
func bodies(w http.ResponseWriter, r *http.Request) {
	if r.Method == "PUT" {
		h := sha256.New()
		if _, err := io.CopyBuffer(h, r.Body, make([]byte, 256<<10)); err == nil {
			io.WriteString(w, hexSum(h))
		}
		return
	}
	size := largeBody()
	if r.URL.Path == "/known" {
		w.Header().Set("Content-Length", fmt.Sprint(size))
	}
	io.CopyBuffer(struct{ io.Writer }{w}, noise(1, size), make([]byte, 256<<10))
}

func TestLargeBodiesAreNeverHeldWhole(t *testing.T) {
	t.Parallel()
	g := serve(t, inFront([]string{serveHTTP(t, bodies)}))
	client := newClient(t)
	wantDown, wantUp := digest(t, noise(1, largeBody())), digest(t, noise(2, largeBody()))

	upload := func(length int64) string {
		req, err := http.NewRequestWithContext(t.Context(), "PUT", g.url, io.NopCloser(noise(2, largeBody())))
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = length
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return readReply(t, resp).body
	}
	download := func(path string) string {
		req, err := http.NewRequestWithContext(t.Context(), "GET", g.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return digest(t, resp.Body)
	}
	get(t, g.url+"/warm?bytes=0")
	before := g.status("VmRSS")
	for _, c := range []struct {
		name, got, want string
	}{
		{"upload of known length", upload(largeBody()), wantUp},
		{"upload in chunks", upload(-1), wantUp},
		{"download of known length", download("/known"), wantDown},
		{"download in chunks", download("/chunks"), wantDown},
	} {
		if c.got != c.want {
			t.Errorf("%s: SHA-256 %s, expected %s", c.name, c.got, c.want)
		}
	}
	growth := g.status("VmHWM") - before
	t.Logf("resident memory grew by at most %d KiB from %d KiB for four bodies of %d MiB", growth, before, largeBody()>>20)
	if growth >= maxGrowth {
		t.Errorf("resident memory grew by %d KiB, expected less than %d", growth, maxGrowth)
	}
}

// Each event is sent only when the client has got the one before.
func TestServerSentEventsInLockStep(t *testing.T) {
	t.Parallel()
	got := make(chan int)
	g := serve(t, inFront([]string{serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 20 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
			select {
			case <-got:
			case <-r.Context().Done():
				return
			}
		}
	})}))
	req, err := http.NewRequestWithContext(t.Context(), "GET", g.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := newClient(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	events := bufio.NewReader(resp.Body)
	for i := range 20 {
		line, err := events.ReadString('\n')
		if want := fmt.Sprintf("data: %d\n", i); err != nil || line != want {
			t.Fatalf("got %q, %v, expected %q", line, err, want)
		}
		events.ReadString('\n')
		got <- i
	}
	if rest, err := io.ReadAll(events); err != nil || len(rest) > 0 {
		t.Errorf("behind the last event: %q, %v", rest, err)
	}
}

// A body passes on in both directions while neither is complete: each piece is sent only when the echo of the one
// before has come back.
func TestBothDirectionsInLockStep(t *testing.T) {
	t.Parallel()
	g := serve(t, inFront([]string{serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		w.(http.Flusher).Flush()
		buf := make([]byte, 1024)
		for {
			n, err := r.Body.Read(buf)
			w.Write(buf[:n])
			w.(http.Flusher).Flush()
			if err != nil {
				return
			}
		}
	})}))
	c := dial(t, g.addr())
	c.send("POST / HTTP/1.1\r\nHost: e2e\r\nTransfer-Encoding: chunked\r\n\r\n")
	resp, err := http.ReadResponse(c.br, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		piece := fmt.Sprintf("piece %02d", i)
		c.send("8\r\n" + piece + "\r\n")
		echo := make([]byte, len(piece))
		if _, err := io.ReadFull(resp.Body, echo); err != nil || string(echo) != piece {
			t.Fatalf("sent %q, got %q, %v", piece, echo, err)
		}
	}
	c.send("0\r\n\r\n")
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
		t.Errorf("behind the last piece: %q, %v", rest, err)
	}
}

// serveWebSocket is an origin that greets, echoes every message, and closes with 4002 when it is told "bye". What the
// client closes with goes to closed.
func serveWebSocket(t *testing.T, closed chan<- websocket.StatusCode) string {
	return serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"e2e"}, CompressionMode: websocket.CompressionContextTakeover})
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(-1)
		ctx := context.Background()
		c.Write(ctx, websocket.MessageText, []byte("hello from "+r.URL.Path))
		for {
			kind, message, err := c.Read(ctx)
			if err != nil {
				closed <- websocket.CloseStatus(err)
				return
			}
			if string(message) == "bye" {
				c.Close(4002, "as you wish")
				closed <- 0
				return
			}
			c.Write(ctx, kind, message)
		}
	})
}

func dialWebSocket(t *testing.T, g *gateway) (*websocket.Conn, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	c, resp, err := websocket.Dial(ctx, g.url+"/socket", &websocket.DialOptions{
		HTTPClient: newClient(t), Subprotocols: []string{"e2e"}, CompressionMode: websocket.CompressionContextTakeover,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	c.SetReadLimit(-1)
	if c.Subprotocol() != "e2e" || resp.Header.Get("X-Request-Id") == "" {
		t.Errorf("subprotocol %q, head %v", c.Subprotocol(), resp.Header)
	}
	if _, hello, err := c.Read(ctx); err != nil || string(hello) != "hello from /socket" {
		t.Fatalf("greeted with %q, %v", hello, err)
	}
	return c, ctx
}

func TestWebSocket(t *testing.T) {
	t.Parallel()
	closed := make(chan websocket.StatusCode, 1)
	g := serve(t, inFront([]string{serveWebSocket(t, closed)}))
	c, ctx := dialWebSocket(t, g)
	large, err := io.ReadAll(noise(3, 8<<20))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []struct {
		kind websocket.MessageType
		text string
	}{
		{websocket.MessageText, "short"}, {websocket.MessageText, ""}, {websocket.MessageBinary, string(large)},
		{websocket.MessageText, strings.Repeat("compressible ", 1<<20)},
	} {
		written := make(chan error, 1)
		go func() { written <- c.Write(ctx, m.kind, []byte(m.text)) }()
		kind, got, err := c.Read(ctx)
		if werr := <-written; err != nil || werr != nil || kind != m.kind || string(got) != m.text {
			t.Fatalf("sent %d bytes, %v; got %v with %d bytes, %v", len(m.text), werr, kind, len(got), err)
		}
	}
	if err := c.Close(4001, "enough"); err != nil {
		t.Errorf("closing: %v", err)
	}
	if status := receive(t, "the origin to see the close", closed); status != 4001 {
		t.Errorf("the origin saw the status %d, expected 4001", status)
	}

	c, ctx = dialWebSocket(t, g)
	if err := c.Write(ctx, websocket.MessageText, []byte("bye")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != 4002 {
		t.Errorf("the client saw %v, expected the status 4002", err)
	}
	receive(t, "the origin to be done", closed)
	await(t, "no connection to be left", func() bool { return g.state().Connections == 0 })
}

// A WebSocket's end that vanishes without a word takes the other end with it.
func TestWebSocketCutOff(t *testing.T) {
	t.Parallel()
	closed := make(chan websocket.StatusCode, 1)
	g := serve(t, inFront([]string{serveWebSocket(t, closed)}))
	c, _ := dialWebSocket(t, g)
	c.CloseNow()
	receive(t, "the origin to notice", closed)
	await(t, "no connection to be left", func() bool { return g.state().Connections == 0 })
}

// After a switch of protocols either side may end its half and still receive.
func TestTunnelHalfClose(t *testing.T) {
	t.Parallel()
	g := serve(t, inFront([]string{serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		nc, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer nc.Close()
		nc.SetDeadline(time.Now().Add(patience))
		io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: counting\r\n\r\nready\n")
		n, err := io.Copy(io.Discard, rw)
		fmt.Fprintf(nc, "%d bytes, %v\n", n, err)
	})}))
	c := dial(t, g.addr())
	c.send("GET / HTTP/1.1\r\nHost: e2e\r\nConnection: upgrade\r\nUpgrade: counting\r\n\r\nearly")
	if head, err := readHead(c.br); err != nil || !strings.HasPrefix(head, "HTTP/1.1 101 ") || !strings.Contains(head, "Upgrade: counting\r\n") {
		t.Fatalf("got %q, %v", head, err)
	}
	if line, err := c.br.ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	c.send(" and late")
	c.CloseWrite()
	if line, err := c.br.ReadString('\n'); err != nil || line != "14 bytes, <nil>\n" {
		t.Errorf("got %q, %v", line, err)
	}
	c.expectClosed()
}
