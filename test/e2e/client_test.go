package e2e_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// newClient makes a client with connections of its own. It follows no redirect and touches no body.
func newClient(t *testing.T) *http.Client {
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 100}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		Timeout:       2 * patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// reply is a response that was read to its end.
type reply struct {
	*http.Response
	body string
}

// do sends one request on a connection of its own. fields are pairs of names and values.
func do(t *testing.T, method, url, body string, fields ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Add(fields[i], fields[i+1])
	}
	req.Close = true
	resp, err := newClient(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return readReply(t, resp)
}

func get(t *testing.T, url string, fields ...string) reply {
	t.Helper()
	return do(t, "GET", url, "", fields...)
}

func readReply(t *testing.T, resp *http.Response) reply {
	t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("the body broke off after %d bytes: %v", len(body), err)
	}
	return reply{resp, string(body)}
}

// expect fails the test unless the reply has the status, and text in its body.
func (r reply) expect(t *testing.T, status int, text string) {
	t.Helper()
	if r.StatusCode != status || !strings.Contains(r.body, text) {
		t.Fatalf("got %s with %.300q, expected %d with %q", r.Status, r.body, status, text)
	}
}

// expectProblem fails the test unless the reply is one of the gateway's own errors.
func (r reply) expectProblem(t *testing.T, status int, name string) {
	t.Helper()
	var p struct {
		Type, Title, Detail string
		Status              int
		RequestID           string `json:"request_id"`
	}
	if err := json.Unmarshal([]byte(r.body), &p); err != nil {
		t.Fatalf("got %s with %.300q, expected a problem: %v", r.Status, r.body, err)
	}
	id := r.Header.Get("X-Request-Id")
	switch {
	case r.StatusCode != status || p.Status != status || !strings.HasSuffix(p.Type, "#"+name):
		t.Fatalf("got %s with %s, expected %d and the type %s", r.Status, r.body, status, name)
	case r.Header.Get("Content-Type") != "application/problem+json":
		t.Errorf("a problem of type %q", r.Header.Get("Content-Type"))
	case p.Title == "" || p.Detail == "":
		t.Errorf("a problem that does not say what is wrong: %s", r.body)
	case id == "" || id != p.RequestID:
		t.Errorf("the request id is %q in the head and %q in the body", id, p.RequestID)
	}
}

// rawConn is a connection whose bytes the test writes itself.
type rawConn struct {
	*net.TCPConn
	t  *testing.T
	br *bufio.Reader
}

func dial(t *testing.T, addr string) *rawConn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(patience))
	return &rawConn{nc.(*net.TCPConn), t, bufio.NewReader(nc)}
}

func (c *rawConn) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// read returns the next response, an interim one too. method is what it answers.
func (c *rawConn) read(method string) reply {
	c.t.Helper()
	resp, err := http.ReadResponse(c.br, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("no response: %v", err)
	}
	return readReply(c.t, resp)
}

// ask sends a GET and returns the response.
func (c *rawConn) ask(target string) reply {
	c.t.Helper()
	c.send("GET " + target + " HTTP/1.1\r\nHost: e2e\r\n\r\n")
	return c.read("GET")
}

// expectClosed waits until the peer has closed the connection, and fails the test if it sends anything before.
func (c *rawConn) expectClosed() {
	c.t.Helper()
	rest, err := io.ReadAll(c.br)
	if err != nil || len(rest) > 0 {
		c.t.Errorf("expected the connection to be closed, got %.100q, %v", rest, err)
	}
}

// serveHTTP runs an origin in the test and returns its URL.
func serveHTTP(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.Config.DisableGeneralOptionsHandler = true // OPTIONS * is for the handler, too
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

// serveRaw runs an origin that handles connections itself, and returns its URL. The connection is closed when the
// handler returns.
func serveRaw(t *testing.T, handle func(c *net.TCPConn, br *bufio.Reader)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				nc.SetDeadline(time.Now().Add(2 * patience))
				handle(nc.(*net.TCPConn), bufio.NewReader(nc))
			}()
		}
	}()
	return "http://" + ln.Addr().String()
}

// readHead reads a message's head as it came, its empty line included.
func readHead(br *bufio.Reader) (string, error) {
	var head bytes.Buffer
	for {
		line, err := br.ReadString('\n')
		head.WriteString(line)
		if err != nil || line == "\r\n" {
			return head.String(), err
		}
	}
}

// nobody returns a URL where every connection is refused: its port belongs to the client's end of a connection, which
// the test holds, so that no other program can begin to listen there.
func nobody(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return "http://" + dial(t, ln.Addr().String()).LocalAddr().String()
}

func refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// metrics scrapes the gateway. The text must be what Prometheus reads.
func (g *gateway) metrics() map[string]*dto.MetricFamily {
	g.t.Helper()
	r := get(g.t, g.admin+"/metrics")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(r.body))
	if r.StatusCode != 200 || err != nil {
		g.t.Fatalf("/metrics: %s, %v", r.Status, err)
	}
	return families
}

// metric returns the value of a counter or gauge, or the count of a histogram, by its labels in pairs; 0 if it is not
// there.
func (g *gateway) metric(name string, labels ...string) float64 {
	g.t.Helper()
	for _, m := range g.metrics()[name].GetMetric() {
		if hasLabels(m, labels) {
			return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return 0
}

func hasLabels(m *dto.Metric, pairs []string) bool {
	have := make(map[string]string)
	for _, l := range m.GetLabel() {
		have[l.GetName()] = l.GetValue()
	}
	for i := 0; i < len(pairs); i += 2 {
		if have[pairs[i]] != pairs[i+1] {
			return false
		}
	}
	return true
}

// gatewayStatus is what the tests read of /api/v1/status.
type gatewayStatus struct {
	Draining    bool
	Connections int
	Upstreams   []struct {
		Name      string
		Retries   int
		Admission struct {
			InFlight int `json:"in_flight"`
			Waiting  int
		}
		Targets []struct {
			Address string
			Healthy bool
			Calls   int
		}
	}
}

func (g *gateway) state() gatewayStatus {
	g.t.Helper()
	var s gatewayStatus
	r := get(g.t, g.admin+"/api/v1/status")
	if err := json.Unmarshal([]byte(r.body), &s); err != nil {
		g.t.Fatalf("/api/v1/status: %s, %v", r.Status, err)
	}
	return s
}

func (g *gateway) awaitReady() {
	g.t.Helper()
	await(g.t, "/readyz to succeed", func() bool { return get(g.t, g.admin+"/readyz").StatusCode == 200 })
}
