package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/admit"
	"github.com/sluicegate/sluice/internal/datadir"
	"github.com/sluicegate/sluice/internal/jobs"
	"github.com/sluicegate/sluice/internal/journal"
)

// desk is where a test's jobs are kept: on an embedded log, and with faults when it says so.
type desk struct {
	*jobs.JournalLog
	jobs.Blobs
	service *jobs.Service

	mu      sync.Mutex
	failLog error // of commands that accept jobs; guarded by mu
	failPut error // likewise of blobs
	failGet error
}

func (d *desk) fails(where *error, with error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	*where = with
}

func (d *desk) failure(of *error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return *of
}

// enqueueKind is the second byte of the command that accepts a job.
const enqueueKind = 1

func (d *desk) Do(ctx context.Context, cmd []byte) (jobs.Reply, error) {
	if err := d.failure(&d.failLog); err != nil && cmd[1] == enqueueKind {
		return jobs.Reply{}, err
	}
	return d.JournalLog.Do(ctx, cmd)
}

func (d *desk) Put(ctx context.Context, name string, r io.Reader, max int64) (int64, error) {
	if err := d.failure(&d.failPut); err != nil {
		return 0, err
	}
	return d.Blobs.Put(ctx, name, r, max)
}

func (d *desk) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := d.failure(&d.failGet); err != nil {
		return nil, err
	}
	return d.Blobs.Open(ctx, name)
}

// startDesk opens jobs that are closed after the gateway.
func startDesk(t testing.TB) *desk {
	t.Helper()
	dir, err := datadir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	log := slog.New(slog.DiscardHandler)
	broker, err := journal.Embed(journal.EmbedConfig{Dir: dir, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	blobs, err := journal.OpenBlobs(t.Context(), broker, "jobs")
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{Blobs: jobs.JournalBlobs(blobs)}
	if d.JournalLog, err = jobs.OpenLog(t.Context(), broker, journal.Config{Name: "jobs", Dir: dir, Log: log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.JournalLog.Close() })
	if d.service, err = jobs.Open(t.Context(), jobs.Options{Log: d, Blobs: d, Node: dir.ID(), Logger: log}); err != nil {
		t.Fatal(err)
	}
	return d
}

// later is a gateway whose route /later/* is async, in front of an upstream, and with more routes.
type later struct {
	*gate
	*desk
	t testing.TB
}

func startLater(t testing.TB, upstream http.Handler, async string, more ...string) *later {
	t.Helper()
	s := httptest.NewServer(upstream)
	t.Cleanup(s.Close)
	l := &later{desk: startDesk(t), t: t}
	l.gate = start(t, parse(t, laterConfig(s.URL, async, more...)), func(o *Options) { o.Jobs = &Jobs{Service: l.service, Blobs: l.desk} })
	return l
}

func laterConfig(url, async string, more ...string) string {
	text := "data_dir: d\nidentify: {sources: [{header: X-User}]}\nupstreams: {u: {targets: [\"" + url + "\"]}}\nroutes:\n"
	if async != "none" {
		text += "  - {path: /later/*, methods: [POST, PUT], upstream: u, async: {" + async + "}}\n"
	}
	return text + strings.Join(more, "") + "  - {path: /now/*, upstream: u}\n"
}

// send sends a request of a client, with pairs of fields.
func (l *later) send(method, path string, body io.Reader, fields ...string) (*http.Response, string) {
	l.t.Helper()
	req, err := http.NewRequest(method, "http://"+l.addr+path, body)
	if err != nil {
		l.t.Fatal(err)
	}
	req.Header.Set("X-User", "alice")
	for i := 0; i+1 < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	req.Close = true
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		l.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	return resp, string(text)
}

// view is what a client is told of a job.
type view struct {
	ID       string
	State    string
	Attempts int
	Status   int
	Error    string
	Next     string `json:"next_attempt"`
	Bytes    int64  `json:"result_bytes"`
}

// accepted sends a request that must be accepted, and returns where its job is.
func (l *later) accepted(path string, body io.Reader, fields ...string) string {
	l.t.Helper()
	resp, text := l.send("POST", path, body, fields...)
	var v view
	if err := json.Unmarshal([]byte(text), &v); err != nil || resp.StatusCode != 202 {
		l.t.Fatalf("%s with %s, expected 202 with a job", resp.Status, text)
	}
	where := resp.Header.Get("Location")
	if where != "/jobs/"+v.ID || resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("Cache-Control") != "no-store" {
		l.t.Errorf("job %s is at %q in %v", v.ID, where, resp.Header)
	}
	return where
}

// until waits until a job is as a test wants it.
func (l *later) until(where, what string, is func(v view) bool) view {
	l.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		resp, text := l.send("GET", where, nil)
		var v view
		if err := json.Unmarshal([]byte(text), &v); err != nil || resp.StatusCode != 200 {
			l.t.Fatalf("%s with %s, expected a job", resp.Status, text)
		}
		finished := v.State == "done" || v.State == "failed"
		if is(v) {
			if retry := resp.Header.Get("Retry-After"); finished != (retry == "") {
				l.t.Errorf("Retry-After is %q for a job that is %s", retry, v.State)
			}
			return v
		}
		if time.Now().After(deadline) || finished {
			l.t.Fatalf("the job is %s, expected it %s", text, what)
		}
	}
}

func (l *later) done(where string) view {
	l.t.Helper()
	return l.until(where, "done", func(v view) bool { return v.State == "done" })
}

// expect fails the test unless an answer is a problem.
func expectProblem(t testing.TB, resp *http.Response, text string, status int, name string) {
	t.Helper()
	var p struct {
		Type   string
		Status int
	}
	if err := json.Unmarshal([]byte(text), &p); err != nil || resp.StatusCode != status || p.Status != status || !strings.HasSuffix(p.Type, "#"+name) {
		t.Errorf("%s with %s, expected the problem %s", resp.Status, text, name)
	}
}

// counted is how many jobs there are.
func (l *later) counted() (n int) {
	l.t.Helper()
	all, err := l.service.Stats()
	if err != nil {
		l.t.Fatal(err)
	}
	for _, q := range all {
		n += q.Queued + q.Running + q.Done + q.Failed
	}
	return n
}

func (l *later) blobCount() int {
	l.t.Helper()
	all, err := l.Blobs.List(context.Background())
	if err != nil {
		l.t.Fatal(err)
	}
	return len(all)
}

// seen is a request as an upstream has got it.
type seen struct {
	head, body string
}

// scribe is an upstream that writes down what it gets, and answers 201 with a body.
func scribe(got chan<- seen) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		var head bytes.Buffer
		fmt.Fprintln(&head, r.Method, r.RequestURI, r.Host, r.ContentLength, r.TransferEncoding)
		r.Header.Write(&head)
		got <- seen{head.String(), string(body)}
		w.Header().Set("Content-Type", "text/fancy")
		w.Header().Set("X-Dropped", "x")
		w.WriteHeader(201)
		io.WriteString(w, "made")
	}
}

// What is sent later is what is sent at once, but for the fields that say so.
func TestAsyncIsTheSameRequest(t *testing.T) {
	got := make(chan seen, 1)
	l := startLater(t, scribe(got), "", "  - {path: /also/*, upstream: u}\n")
	long := strings.Repeat("0123456789", 20_000)
	for name, c := range map[string]struct {
		body   string
		fields []string
	}{
		"plain":        {"hello", []string{"Content-Type", "text/plain", "Authorization", "Basic eDp5", "X-Forwarded-For", "1.2.3.4", "Cookie", "a=b; c=d"}},
		"empty":        {"", nil},
		"one hop":      {"x", []string{"Connection", "X-Hop, close", "X-Hop", "1", "Keep-Alive", "5", "Te", "trailers", "Upgrade", "foo", "Proxy-Authorization", "p"}},
		"long":         {long, []string{"Content-Encoding", "identity"}},
		"own key":      {"x", []string{"Idempotency-Key", "mine"}},
		"spoofed":      {"x", []string{"Sluice-Attempt", "9", "X-Request-Id", "abc"}},
		"just inline":  {long[:32<<10-400], nil},
		"32 KiB":       {long[:32<<10], nil},
		"strange head": {"x", []string{"X-Bytes", "\xff\xfe ü", "X-Empty", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			path := "/a%20b//c?d=%zz&e"
			l.send("POST", "/now"+path, strings.NewReader(c.body), append(c.fields, "X-Request-Id", "id")...)
			now := <-got
			where := l.accepted("/later"+path, strings.NewReader(c.body), append(c.fields, "X-Request-Id", "id")...)
			then := <-got
			v := l.done(where)
			if v.Attempts != 1 || v.Status != 201 || v.Bytes != 4 || v.Error != "" {
				t.Errorf("the job is %+v", v)
			}
			want := strings.Replace(now.head, "/now/", "/later/", 1)
			if name != "own key" {
				want += "Idempotency-Key: " + strconv.Quote(v.ID) + "\r\n"
			}
			if name == "spoofed" {
				want = strings.Replace(want, "Sluice-Attempt: 9\r\n", "", 1)
			}
			want += "Sluice-Attempt: 1\r\n"
			if sorted(then.head) != sorted(want) {
				t.Errorf("the upstream got\n%s\nexpected\n%s", sorted(then.head), sorted(want))
			}
			if then.body != c.body {
				t.Errorf("the upstream got a body of %d bytes, expected %d", len(then.body), len(c.body))
			}
			resp, body := l.send("GET", where+"/result", nil)
			if resp.StatusCode != 201 || body != "made" || resp.Header.Get("Content-Type") != "text/fancy" || resp.Header.Get("X-Dropped") != "" {
				t.Errorf("the result is %s %v with %q", resp.Status, resp.Header, body)
			}
			if resp, body := l.send("HEAD", where+"/result", nil); resp.StatusCode != 201 || body != "" || resp.ContentLength != 4 {
				t.Errorf("HEAD: %s of %d bytes with %q", resp.Status, resp.ContentLength, body)
			}
		})
	}
	if n := gather(t, l.reg)["sluice_outcomes_total queued"]; n != 9 {
		t.Errorf("%v requests count as queued, expected the 9 that were accepted", n)
	}
	if n := l.blobCount(); n != 0 {
		t.Errorf("%d bodies are left of jobs that are done", n)
	}
}

// sorted has the lines behind the first in one order.
func sorted(head string) string {
	first, rest, _ := strings.Cut(head, "\n")
	lines := strings.Split(strings.TrimSpace(rest), "\r\n")
	for i := range lines {
		for j := range lines[:i] {
			if lines[i] < lines[j] {
				lines[i], lines[j] = lines[j], lines[i]
			}
		}
	}
	return first + "\n" + strings.Join(lines, "\n")
}

// script is an upstream whose answers are in the path, the next one for each attempt: /later/503/200.
func script(w http.ResponseWriter, r *http.Request) {
	attempt, _ := strconv.Atoi(r.Header.Get("Sluice-Attempt"))
	steps := strings.Split(strings.TrimPrefix(r.URL.Path, "/later/"), "/")
	step := steps[min(attempt, len(steps))-1]
	if step == "hang" {
		io.Copy(io.Discard, r.Body) // else the server doesn't see the client leave
		<-r.Context().Done()
		return
	}
	if step == "cut" {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "cut")
		return
	}
	if step == "drop" {
		panic(http.ErrAbortHandler)
	}
	status, _ := strconv.Atoi(step)
	w.Header().Set("Retry-After", "1")
	w.WriteHeader(status)
	fmt.Fprint(w, "attempt ", attempt)
}

func TestAsyncAttempts(t *testing.T) {
	l := startLater(t, http.HandlerFunc(script), "max_attempts: 2, timeout: 200ms")
	var all sync.WaitGroup
	for path, want := range map[string]view{
		"200":       {State: "done", Attempts: 1, Status: 200},
		"303":       {State: "done", Attempts: 1, Status: 303},
		"404":       {State: "failed", Attempts: 1, Status: 404, Error: "the upstream answered 404"},
		"400":       {State: "failed", Attempts: 1, Status: 400, Error: "the upstream answered 400"},
		"503/200":   {State: "done", Attempts: 2, Status: 200},
		"408/200":   {State: "done", Attempts: 2, Status: 200},
		"425/200":   {State: "done", Attempts: 2, Status: 200},
		"429/403":   {State: "failed", Attempts: 2, Status: 403, Error: "the upstream answered 403"},
		"500/502":   {State: "failed", Attempts: 2, Status: 502, Error: "the upstream answered 502"},
		"hang/200":  {State: "done", Attempts: 2, Status: 200},
		"hang/hang": {State: "failed", Attempts: 2, Error: "no answer within 200ms"},
		"cut/200":   {State: "done", Attempts: 2, Status: 200},
		"cut/cut":   {State: "failed", Attempts: 2, Error: "the answer broke off"},
		"drop/drop": {State: "failed", Attempts: 2, Error: "connection lost"},
	} {
		where := l.accepted("/later/"+path, strings.NewReader("x"))
		all.Go(func() {
			got := l.until(where, want.State, func(v view) bool { return v.State == want.State })
			got.ID, got.Bytes = "", 0
			if got != want {
				t.Errorf("%s: the job is %+v, expected %+v", path, got, want)
			}
			resp, text := l.send("GET", where+"/result", nil)
			switch {
			case want.Status == 0:
				expectProblem(t, resp, text, 409, "no-result")
			case resp.StatusCode != want.Status || text != fmt.Sprint("attempt ", want.Attempts):
				t.Errorf("%s: the result is %s with %q", path, resp.Status, text)
			}
		})
	}
	all.Wait()
}

// The upstream says when to try again.
func TestAsyncRetryAfter(t *testing.T) {
	l := startLater(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", r.URL.Query().Get("after"))
		w.WriteHeader(503)
	}), "")
	for after, want := range map[string]time.Duration{
		"100": 100 * time.Second, "1000000": time.Hour, time.Now().Add(10 * time.Minute).UTC().Format(http.TimeFormat): 10 * time.Minute,
	} {
		before := time.Now()
		where := l.accepted("/later/x?after="+strings.ReplaceAll(after, " ", "%20"), nil)
		v := l.until(where, "to be tried again", func(v view) bool { return v.Next != "" })
		next, err := time.Parse(time.RFC3339, v.Next)
		if wait := next.Sub(before); err != nil || wait < want-2*time.Second || wait > want+patience {
			t.Errorf("Retry-After: %s: the next attempt is in %v, expected %v", after, wait, want)
		}
		resp, text := l.send("GET", where, nil)
		if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err != nil || seconds < int(want.Seconds())-60 || seconds > int(want.Seconds())+5 {
			t.Errorf("%s: the client is told to ask again in %q", text, resp.Header.Get("Retry-After"))
		}
	}
}

func TestAsyncKeys(t *testing.T) {
	got := make(chan seen, 10)
	l := startLater(t, scribe(got), "", "  - {path: /other/*, methods: [POST], upstream: u, async: {}}\n")
	long := strings.Repeat("x", 100_000)
	for name, body := range map[string]string{"short": "hello", "long": long} {
		key := []string{"Idempotency-Key", `"` + name + `"`}
		first := l.accepted("/later/a?b", strings.NewReader(body), key...)
		l.done(first)
		<-got
		if again := l.accepted("/later/a?b", strings.NewReader(body), key...); again != first {
			t.Errorf("%s: the same key gives the job %s, and then %s", name, first, again)
		}
		for what, c := range map[string][]string{
			"another body":   {"POST", "/later/a?b", body + "x"},
			"another path":   {"POST", "/later/a?c", body},
			"another method": {"PUT", "/later/a?b", body},
			"another type":   {"POST", "/later/a?b", body, "Content-Type", "text/plain"},
		} {
			resp, text := l.send(c[0], c[1], strings.NewReader(c[2]), append(key, c[3:]...)...)
			if expectProblem(t, resp, text, 422, "idempotency-key-reused"); t.Failed() {
				t.Fatalf("%s: %s", name, what)
			}
		}
		if bobs := l.accepted("/later/a?b", strings.NewReader(body), append(key, "X-User", "bob")...); bobs == first {
			t.Errorf("%s: the key of one client gives the job of another", name)
		}
		<-got
		if others := l.accepted("/other/a?b", strings.NewReader(body), key...); others == first {
			t.Errorf("%s: the key on one route gives the job of another", name)
		}
		<-got
	}
	for _, bad := range []string{strings.Repeat("k", 256), "a b", "ü"} {
		resp, text := l.send("POST", "/later/a", nil, "Idempotency-Key", bad)
		expectProblem(t, resp, text, 400, "invalid-parameter")
	}
	resp, text := l.ask2("POST /later/a HTTP/1.1\r\nHost: h\r\nIdempotency-Key: a\r\nIdempotency-Key: b\r\nContent-Length: 0\r\n\r\n")
	expectProblem(t, resp, text, 400, "invalid-parameter")
	if n := l.counted(); n != 6 {
		t.Errorf("%d jobs, expected 6", n)
	}
	select {
	case r := <-got:
		t.Errorf("the upstream got %q once more", r.head)
	default:
	}
}

func (l *later) ask2(raw string) (*http.Response, string) { return l.ask(l.t.(*testing.T), raw) }

// A body that is not what it says, or not all there, makes no job, and leaves nothing.
func TestAsyncBrokenBodies(t *testing.T) {
	l := startLater(t, http.NotFoundHandler(), "", "  - {path: /small/*, methods: [POST], upstream: u, max_body: 100000B, async: {}}\n")
	long := strings.Repeat("x", 100_001)
	for name, c := range map[string]struct {
		raw    string
		status int // 0: the connection is closed
		kind   string
	}{
		"declared too long":  {"POST /small/a HTTP/1.1\r\nHost: h\r\nContent-Length: 100001\r\n\r\n" + long, 413, "body-too-large"},
		"chunked too long":   {"POST /small/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n186a1\r\n" + long + "\r\n0\r\n\r\n", 413, "body-too-large"},
		"broken chunk":       {"POST /later/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n", 400, "bad-request"},
		"long, broken chunk": {"POST /later/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n186a1\r\n" + long + "\r\nzz\r\n", 400, "bad-request"},
		"both lengths":       {"POST /later/a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "bad-request"},
		"too much head":      {"POST /later/a HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("x", 40_000) + "\r\n\r\n", 431, "header-too-large"},
	} {
		resp, text := l.ask2(c.raw)
		if expectProblem(t, resp, text, c.status, c.kind); t.Failed() {
			t.Fatal(name)
		}
	}
	for name, raw := range map[string]string{
		"short":      "POST /later/a HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nhello",
		"long":       "POST /later/a HTTP/1.1\r\nHost: h\r\nContent-Length: 100002\r\n\r\n" + long,
		"in a chunk": "POST /later/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n186a1\r\n" + long[1:],
	} {
		if answer := l.halfClosed(raw); answer != "" {
			t.Errorf("%s: a body that ended early is answered with %q", name, answer)
		}
	}
	if n, b := l.counted(), l.blobCount(); n != 0 || b != 0 {
		t.Errorf("%d jobs and %d bodies, expected none", n, b)
	}
	where := l.accepted("/small/b", strings.NewReader(long[1:]))
	l.until(where, "failed", func(v view) bool { return v.Status == 404 })
}

// halfClosed sends raw and no more, and returns what comes.
func (l *later) halfClosed(raw string) string {
	l.t.Helper()
	nc := dialTCP(l.t, l.addr)
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(nc, raw); err != nil {
		l.t.Fatal(err)
	}
	nc.CloseWrite()
	answer, err := io.ReadAll(nc)
	if err != nil && len(answer) > 0 {
		l.t.Fatal(err)
	}
	return string(answer)
}

// While jobs can't be kept nothing is accepted, and what may be accepted is said to be.
func TestAsyncUnavailable(t *testing.T) {
	l := startLater(t, http.NotFoundHandler(), "")
	unavailable := fmt.Errorf("%w: the disk is full", journal.ErrUnavailable)
	l.fails(&l.failLog, unavailable)
	resp, text := l.send("POST", "/later/a", strings.NewReader("x"))
	expectProblem(t, resp, text, 503, "jobs-unavailable")
	if resp.Header.Get("Retry-After") == "" || strings.Contains(text, "disk") {
		t.Errorf("%v with %s", resp.Header, text)
	}
	l.fails(&l.failLog, fmt.Errorf("%w: %w", unavailable, journal.ErrUnknown))
	resp, text = l.send("POST", "/later/a", strings.NewReader("x"), "Idempotency-Key", "k")
	expectProblem(t, resp, text, 503, "outcome-unknown")
	if !strings.Contains(text, "same Idempotency-Key, and it is accepted once") {
		t.Errorf("it doesn't say what to do: %s", text)
	}
	resp, text = l.send("POST", "/later/a", strings.NewReader("x"))
	expectProblem(t, resp, text, 503, "outcome-unknown")
	l.fails(&l.failLog, nil)
	l.fails(&l.failPut, unavailable)
	resp, text = l.send("POST", "/later/a", strings.NewReader(strings.Repeat("x", 100_000)))
	expectProblem(t, resp, text, 503, "jobs-unavailable")
	if n := l.counted(); n != 0 {
		t.Errorf("%d jobs, expected none", n)
	}
}

// A body that can't be read from the store is tried again.
func TestAsyncBodyAway(t *testing.T) {
	got := make(chan seen, 1)
	l := startLater(t, scribe(got), "")
	l.fails(&l.failGet, errors.New("the secret address is down"))
	body := strings.Repeat("x", 100_000)
	where := l.accepted("/later/a", strings.NewReader(body))
	v := l.until(where, "to be tried again", func(v view) bool { return v.Next != "" })
	if strings.Contains(v.Error, "secret") || v.Error == "" {
		t.Errorf("the client is told %q", v.Error)
	}
	l.fails(&l.failGet, nil)
	l.done(where)
	if r := <-got; r.body != body {
		t.Errorf("the upstream got %d bytes", len(r.body))
	}
}

// Results are kept up to a size.
func TestAsyncResults(t *testing.T) {
	const most = 1 << 20
	body := make([]byte, most+1)
	rand.NewChaCha8([32]byte{}).Read(body)
	l := startLater(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		status, _ := strconv.Atoi(r.URL.Query().Get("status"))
		w.WriteHeader(status)
		w.Write(body[:n])
	}), "max_attempts: 1")
	l.jobs.MaxResult = most // nothing runs yet
	for _, c := range []struct {
		n, status int
		state     string
	}{{32<<10 - 100, 200, "done"}, {32<<10 + 1, 200, "done"}, {most, 200, "done"}, {100_000, 404, "failed"}, {100_000, 503, "failed"}} {
		where := l.accepted(fmt.Sprintf("/later/a?n=%d&status=%d", c.n, c.status), nil)
		v := l.until(where, c.state, func(v view) bool { return v.State == c.state })
		if resp, got := l.send("GET", where+"/result", nil); v.Bytes != int64(c.n) || resp.StatusCode != c.status || got != string(body[:c.n]) {
			t.Errorf("of %d bytes with %d the result has %d, and is %s with %d", c.n, c.status, v.Bytes, resp.Status, len(got))
		}
	}
	where := l.accepted(fmt.Sprintf("/later/a?n=%d&status=200", len(body)), nil)
	if v := l.done(where); v.Status != 200 || !strings.Contains(v.Error, "more than 1048576 bytes") || v.Bytes != 0 {
		t.Errorf("the job with a result that is too large is %+v", v)
	}
	resp, text := l.send("GET", where+"/result", nil)
	if expectProblem(t, resp, text, 409, "no-result"); !strings.Contains(text, "more than 1048576 bytes") {
		t.Errorf("it doesn't say why there is none: %s", text)
	}
}

// An answer of which no body was kept isn't shown as one that had none.
func TestAsyncResultBeforeTheLast(t *testing.T) {
	l := startLater(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(503)
		w.Write(make([]byte, 100_000))
	}), "max_attempts: 2")
	where := l.accepted("/later/a", nil)
	l.until(where, "tried", func(v view) bool { return v.Next != "" })
	l.send("DELETE", where, nil)
	v := l.until(where, "cancelled", func(v view) bool { return v.State == "failed" })
	if !strings.Contains(v.Error, "cancelled") || !strings.Contains(v.Error, "answered 503") {
		t.Errorf("the job is %+v", v)
	}
	resp, text := l.send("GET", where+"/result", nil)
	expectProblem(t, resp, text, 409, "no-result")
}

// Jobs are told about to those who sent them, and to nobody else.
func TestTellJob(t *testing.T) {
	hold := make(chan struct{})
	l := startLater(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/later/") {
			<-hold
		}
	}), "workers: 1",
		"  - {path: /jobs/*, upstream: u}\n")
	defer close(hold)
	running := l.accepted("/later/a", nil)
	l.until(running, "running", func(v view) bool { return v.State == "running" })
	l.accepted("/later/b", nil)
	queued := l.accepted("/later/c", nil)
	for _, path := range []string{running, running + "/result", queued} {
		resp, text := l.send("GET", path, nil, "X-User", "bob")
		expectProblem(t, resp, text, 404, "unknown-job")
		if resp, text := l.send("HEAD", path, nil, "X-User", "bob"); resp.StatusCode != 404 || text != "" {
			t.Errorf("HEAD for another: %s with %q", resp.Status, text)
		}
	}
	resp, text := l.send("DELETE", queued, nil, "X-User", "bob")
	expectProblem(t, resp, text, 404, "unknown-job")
	resp, text = l.send("GET", "/jobs/"+jobs.NewID(time.Now()).String(), nil)
	expectProblem(t, resp, text, 404, "unknown-job")
	resp, text = l.send("GET", running+"/result", nil)
	expectProblem(t, resp, text, 409, "no-result")
	if resp.Header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After is %q for a job that runs", resp.Header.Get("Retry-After"))
	}
	for path, allow := range map[string]string{running: "GET, HEAD, DELETE", running + "/result": "GET, HEAD"} {
		for _, method := range []string{"POST", "PUT", "OPTIONS"} {
			resp, text := l.send(method, path, nil)
			if expectProblem(t, resp, text, 405, "method-not-allowed"); resp.Header.Get("Allow") != allow {
				t.Errorf("%s %s: allows %q", method, path, resp.Header.Get("Allow"))
			}
		}
	}
	resp, text = l.send("DELETE", running, nil)
	expectProblem(t, resp, text, 409, "not-cancelled")
	if resp, text := l.send("DELETE", queued, nil); resp.StatusCode != 200 || !strings.Contains(text, `"state":"failed"`) || !strings.Contains(text, "cancelled") {
		t.Errorf("DELETE of a job that is queued: %s with %s", resp.Status, text)
	}
	for _, path := range []string{"/jobs/", "/jobs/x", running + "/x", running + "/", "/jobs/" + strings.Repeat("u", 26)} {
		if resp, text := l.send("GET", path, nil); resp.StatusCode != 200 {
			t.Errorf("GET %s, which no job has: %s with %s, expected what the route says", path, resp.Status, text)
		}
	}
}

// Beside no async route the paths of jobs are like others.
func TestNoJobs(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	defer s.Close()
	g := start(t, parse(t, "upstreams: {u: {targets: [%q]}}\nroutes: [{path: /*, upstream: u}]\n", s.URL))
	if resp, _ := g.ask(t, get("/jobs/"+jobs.NewID(time.Now()).String())); resp.StatusCode != 200 {
		t.Errorf("%s, expected the upstream's answer", resp.Status)
	}
}

// Jobs wait for a route that has gone, and are sent when it is back.
func TestAsyncReload(t *testing.T) {
	var calls atomic.Int64
	first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { calls.Add(1); w.WriteHeader(503) }))
	defer first.Close()
	second := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	defer second.Close()
	l := startLater(t, http.NotFoundHandler(), "")
	other := "  - {path: /keeps/*, methods: [POST], upstream: u, async: {}}\n"
	l.Apply(parse(t, laterConfig(first.URL, "", other)))
	where := l.accepted("/later/a", nil)
	l.until(where, "tried", func(v view) bool { return v.Next != "" })
	l.Apply(parse(t, laterConfig(first.URL, "none", other)))
	tried := l.until(where, "waiting", func(v view) bool { return v.State == "queued" })
	resp, _ := l.send("POST", "/later/b", nil)
	if resp.StatusCode != 404 {
		t.Errorf("a route that is gone answers %s", resp.Status)
	}
	// It is due within a second of its first failure. Whoever is on the other queue then shows that this one is left alone.
	time.Sleep(time.Until(mustParse(t, tried.Next)))
	l.until(l.accepted("/keeps/a", nil), "tried", func(v view) bool { return v.Attempts == 1 && v.State == "queued" })
	if v := l.until(where, "waiting", func(v view) bool { return v.State == "queued" }); v.Attempts != tried.Attempts {
		t.Errorf("it was tried without a route: %+v, before %+v", v, tried)
	}
	l.Apply(parse(t, laterConfig(second.URL, "workers: 2", other)))
	if v := l.done(where); v.Attempts != tried.Attempts+1 {
		t.Errorf("the job is %+v, was %+v", v, tried)
	}
}

func mustParse(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// An upstream that is full costs a job no attempt: it waits in its worker.
func TestAsyncAdmission(t *testing.T) {
	var inside, most atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n := inside.Add(1); n > most.Load() {
			most.Store(n)
		}
		time.Sleep(20 * time.Millisecond) // longer than a place in the queue lasts
		inside.Add(-1)
	}))
	defer s.Close()
	l := &later{desk: startDesk(t), t: t}
	l.gate = start(t, parse(t, `
data_dir: d
identify: {sources: [{header: X-User}]}
upstreams: {u: {targets: [%q], max_in_flight: 1, queue: {max: 1, timeout: 5ms}}}
routes: [{path: /later/*, methods: [POST], upstream: u, async: {workers: 4, max_attempts: 1}}]
`, s.URL), func(o *Options) { o.Jobs = &Jobs{Service: l.service, Blobs: l.desk} })
	var jobs []string
	for i := range 6 {
		jobs = append(jobs, l.accepted(fmt.Sprint("/later/", i), nil))
	}
	for _, where := range jobs {
		if v := l.done(where); v.Attempts != 1 {
			t.Errorf("the job is %+v", v)
		}
	}
	if most.Load() != 1 {
		t.Errorf("%d calls at once, expected 1", most.Load())
	}
}

// A job that has waited for a slot until its attempt was over was not sent, so it isn't on its way to the dead letters.
func TestAsyncNoSlot(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d := delivery{claim: &jobs.Claim{}}
	for _, why := range []admit.Reason{admit.Full, admit.TimedOut, admit.Gone, admit.Closed} {
		if r := d.failed(ctx, &admit.Refusal{Reason: why}); r.Verdict != jobs.Abandon {
			t.Errorf("%v makes %+v of the attempt, expected it not to count", why, r)
		}
	}
}

// The jobs of one client keep their order, if the route says so.
func TestAsyncOrder(t *testing.T) {
	var mu sync.Mutex
	var order []string
	l := startLater(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, r.URL.Path)
		if r.URL.Path == "/later/1" && r.Header.Get("Sluice-Attempt") == "1" {
			w.WriteHeader(503)
		}
	}), "order: tenant, workers: 8")
	var last string
	want := []string{"/later/0", "/later/1", "/later/1"}
	for i := range 10 {
		last = l.accepted(fmt.Sprint("/later/", i), nil)
		if i > 1 {
			want = append(want, fmt.Sprint("/later/", i))
		}
	}
	l.done(last)
	if got := strings.Join(order, " "); got != strings.Join(want, " ") {
		t.Errorf("the upstream got %s, expected %s", got, want)
	}
}
