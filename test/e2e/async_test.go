package e2e_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// An asyncOrigin is an upstream of jobs. What it answers is in the path: /later/NAME/STATUS/…, the next status for each attempt.
type asyncOrigin struct {
	*httptest.Server
	hold atomic.Pointer[chan struct{}] // nil: answers don't wait

	mu    sync.Mutex
	calls map[string][]asyncCall // by path
}

type asyncCall struct {
	sum     [sha256.Size]byte
	size    int64
	attempt string
	key     string
}

func newAsyncOrigin(t *testing.T) *asyncOrigin {
	o := &asyncOrigin{calls: map[string][]asyncCall{}}
	o.Server = httptest.NewServer(o)
	t.Cleanup(o.Close)
	return o
}

func (o *asyncOrigin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sum := sha256.New()
	size, err := io.Copy(sum, r.Body)
	if err != nil {
		return // it isn't a call
	}
	call := asyncCall{size: size, attempt: r.Header.Get("Sluice-Attempt"), key: r.Header.Get("Idempotency-Key")}
	sum.Sum(call.sum[:0])
	o.mu.Lock()
	o.calls[r.URL.Path] = append(o.calls[r.URL.Path], call)
	o.mu.Unlock()
	if hold := o.hold.Load(); hold != nil {
		select {
		case <-*hold:
		case <-r.Context().Done():
			return
		}
	}
	steps := strings.Split(strings.TrimPrefix(r.URL.Path, "/later/"), "/")[1:]
	attempt, _ := strconv.Atoi(call.attempt)
	status, _ := strconv.Atoi(steps[max(0, min(attempt, len(steps))-1)])
	w.WriteHeader(status)
	fmt.Fprintf(w, "%d bytes", size)
}

// of returns the calls of a path.
func (o *asyncOrigin) of(path string) []asyncCall {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.calls[path])
}

// asyncNode is a gateway with an async route and a directory of its own, which is started anew after it has been killed.
type asyncNode struct {
	*gateway
	t      *testing.T
	config string
}

func newAsyncNode(t *testing.T, o *asyncOrigin, async string, more ...string) *asyncNode {
	dir := t.TempDir()
	n := &asyncNode{t: t, config: filepath.Join(dir, "sluice.yaml")}
	writeFile(t, n.config, listeners+"data_dir: data\nidentify: {sources: [{header: X-User}]}\nmax_connections: 10000\n"+upstream([]string{o.URL})+
		strings.Join(more, "")+"routes:\n  - {path: /later/*, methods: [POST], upstream: app, async: {"+async+"}}\n")
	n.start()
	return n
}

func (n *asyncNode) start() { n.gateway = startGateway(n.t, "serve", "-c", n.config) }

func (n *asyncNode) kill() {
	n.signal(syscall.SIGKILL)
	n.endedBy(syscall.SIGKILL)
}

// accepted sends a request that must be accepted, and returns where its job is.
func (n *asyncNode) accepted(path, body string, fields ...string) string {
	n.t.Helper()
	r := do(n.t, "POST", n.url+path, body, append(fields, "X-User", "alice")...)
	r.expect(n.t, 202, `"state":"`)
	return r.Header.Get("Location")
}

// asyncJob is a job as its client sees it.
type asyncJob struct {
	ID       string
	State    string
	Attempts int
	Status   int
	Error    string
}

func (n *asyncNode) job(where string) (j asyncJob) {
	n.t.Helper()
	r := get(n.t, n.url+where, "X-User", "alice")
	r.expect(n.t, 200, `"state":"`)
	if err := json.Unmarshal([]byte(r.body), &j); err != nil {
		n.t.Fatal(err)
	}
	return j
}

func (n *asyncNode) until(where, state string) (j asyncJob) {
	n.t.Helper()
	await(n.t, "a job that is "+state, func() bool { j = n.job(where); return j.State == state })
	return j
}

// sluice runs a command about jobs against the node, and returns what it has printed.
func (n *asyncNode) sluice(code int, args ...string) string {
	n.t.Helper()
	p := start(n.t, append(args, "--admin", n.admin)...)
	if got := p.wait(); got != code {
		n.t.Fatalf("sluice %q ended with %d, expected %d: %s", args, got, code, p.stderr.String())
	}
	return p.stdout.String()
}

func asyncContent(size int, seed byte) string {
	p := make([]byte, size)
	rand.NewChaCha8([32]byte{seed}).Read(p)
	return string(p)
}

// A request is answered at once and sent later, byte for byte, and who sent it is told what came of it.
func TestAsyncRoute(t *testing.T) {
	t.Parallel()
	o := newAsyncOrigin(t)
	n := newAsyncNode(t, o, "max_attempts: 2")
	for i, size := range []int{0, 1000, 5 << 20} {
		body, path := asyncContent(size, byte(i)), fmt.Sprintf("/later/%d/200", i)
		where := n.accepted(path, body)
		j := n.until(where, "done")
		calls := o.of(path)
		if len(calls) != 1 || calls[0].sum != sha256.Sum256([]byte(body)) || calls[0].attempt != "1" || calls[0].key != strconv.Quote(j.ID) {
			t.Errorf("of %d bytes the origin got %+v", size, calls)
		}
		get(t, n.url+where+"/result", "X-User", "alice").expect(t, 200, fmt.Sprintf("%d bytes", size))
		for _, path := range []string{where, where + "/result"} {
			get(t, n.url+path, "X-User", "mallory").expectProblem(t, 404, "unknown-job")
		}
		do(t, "DELETE", n.url+where, "", "X-User", "mallory").expectProblem(t, 404, "unknown-job")
	}
	if got := n.metric("sluice_jobs", "queue", "/later/*", "state", "done"); got != 3 {
		t.Errorf("%v jobs are done, as /metrics has it", got)
	}
	get(t, n.admin+"/api/v1/jobs/stats").expect(t, 200, `"done": 3`)
	get(t, n.admin+"/api/v1/events?after=0").expect(t, 200, `"kind": "accepted"`)
}

// What fails for good is kept for operators, who look at it, try it again and purge it.
func TestAsyncDeadLetters(t *testing.T) {
	t.Parallel()
	o := newAsyncOrigin(t)
	n := newAsyncNode(t, o, "max_attempts: 2")
	large := asyncContent(100_000, 1)
	again := n.accepted("/later/again/503/503", large)
	bad := n.accepted("/later/bad/400", "no good")
	if j := n.until(bad, "failed"); j.Attempts != 1 || j.Status != 400 {
		t.Errorf("what the origin refused: %+v", j)
	}
	if j := n.until(again, "failed"); j.Attempts != 2 || j.Status != 503 || j.Error != "the upstream answered 503" {
		t.Errorf("what the origin had no time for: %+v", j)
	}
	id := strings.TrimPrefix(again, "/jobs/")
	list := n.sluice(0, "jobs", "list", "--state", "failed", "--queue", "/later/*", "--owner", "alice")
	if !strings.Contains(list, id) || !strings.Contains(list, strings.TrimPrefix(bad, "/jobs/")) || strings.Count(list, "\n") != 3 {
		t.Errorf("the list is\n%s", list)
	}
	if shown := n.sluice(0, "jobs", "show", id); !strings.Contains(shown, "POST /later/again/503/503") || !strings.Contains(shown, "100000 bytes") {
		t.Errorf("shown is\n%s", shown)
	}
	if body := n.sluice(0, "jobs", "show", id, "--body"); body != large {
		t.Errorf("shown is a body of %d bytes", len(body))
	}
	if result := n.sluice(0, "jobs", "show", id, "--result"); result != "100000 bytes" {
		t.Errorf("shown is the answer %q", result)
	}
	n.sluice(1, "jobs", "retry", "0000000000000000000000000a")
	n.sluice(0, "jobs", "retry", id) // fails again, after as many attempts
	await(t, "two more attempts", func() bool { return len(o.of("/later/again/503/503")) == 4 })
	n.until(again, "failed")
	if out := n.sluice(0, "jobs", "purge", "--queue", "/later/*"); out != "2 purged\n" {
		t.Errorf("purge prints %q", out)
	}
	get(t, n.url+again, "X-User", "alice").expectProblem(t, 404, "unknown-job")
	if list := n.sluice(0, "jobs", "list", "--json"); !strings.Contains(list, `"jobs": []`) {
		t.Errorf("after the purge the list is %s", list)
	}
	for _, call := range o.of("/later/again/503/503") {
		if call.sum != sha256.Sum256([]byte(large)) || call.key != strconv.Quote(id) {
			t.Errorf("an attempt sent %+v", call)
		}
	}
}

// A killed node loses nothing that it accepted, and does not forget keys.
func TestAsyncKilled(t *testing.T) {
	t.Parallel()
	const requests, kills = 200, 3
	o := newAsyncOrigin(t)
	n := newAsyncNode(t, o, "workers: 8")
	var place atomic.Pointer[string]
	place.Store(&n.url)
	wheres := make([]string, requests)
	var accepted atomic.Int64
	var all sync.WaitGroup
	client := newClient(t)
	send := func(i int) string { // repeats a request until it is answered
		for failed := false; ; failed = true {
			if failed && t.Context().Err() != nil {
				return ""
			}
			where, err := sendKeyed(client, *place.Load(), i)
			if err == nil {
				return where
			}
			time.Sleep(10 * time.Millisecond) // the node is away
		}
	}
	for w := range 10 {
		all.Go(func() {
			for i := w; i < requests; i += 10 {
				wheres[i] = send(i)
				accepted.Add(1)
			}
		})
	}
	for k := range kills {
		await(t, "progress", func() bool { return accepted.Load() >= int64((k+1)*requests/(kills+2)) })
		n.kill()
		n.start()
		place.Store(&n.url)
	}
	all.Wait()
	distinct := map[string]bool{}
	for i, where := range wheres {
		distinct[where] = true
		j := n.until(where, "done")
		path := fmt.Sprintf("/later/%d/200", i)
		calls := o.of(path)
		if j.Status != 200 || len(calls) == 0 {
			t.Errorf("%s is %+v, and the origin got it %d times", path, j, len(calls))
		}
		for _, call := range calls {
			if call.sum != sha256.Sum256([]byte(asyncBody(i))) || call.key != fmt.Sprintf(`"key-%d"`, i) {
				t.Errorf("%s: the origin got %+v", path, call)
			}
		}
	}
	if len(distinct) != requests {
		t.Errorf("%d jobs of %d requests", len(distinct), requests)
	}
	n.kill()
	n.start()
	for _, i := range []int{0, 1, requests - 1} {
		again, err := sendKeyed(client, n.url, i)
		if err != nil || again != wheres[i] {
			t.Errorf("the key of request %d gives %s, %v after a restart, and gave %s", i, again, err, wheres[i])
		}
	}
	var stats struct{ Queues []map[string]any }
	if err := json.Unmarshal([]byte(get(t, n.admin+"/api/v1/jobs/stats").body), &stats); err != nil || len(stats.Queues) != 1 || stats.Queues[0]["done"] != float64(requests) {
		t.Errorf("the figures are %v, %v, expected %d jobs that are done", stats, err, requests)
	}
}

// asyncBody is small for most requests, and goes to the store for some.
func asyncBody(i int) string {
	if i%20 == 0 {
		return asyncContent(200_000, byte(i))
	}
	return fmt.Sprint("body ", i)
}

// sendKeyed sends request i, whose answer must be that it is accepted.
func sendKeyed(client *http.Client, url string, i int) (where string, err error) {
	req, err := http.NewRequest("POST", fmt.Sprintf("%s/later/%d/200", url, i), strings.NewReader(asyncBody(i)))
	if err != nil {
		return "", err
	}
	req.Header.Set("Idempotency-Key", fmt.Sprintf(`"key-%d"`, i))
	req.Header.Set("X-User", "alice")
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != 202 {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return resp.Header.Get("Location"), err
}

// A node that is stopped in order gives back what it can't finish, without counting the attempt.
func TestAsyncStopped(t *testing.T) {
	t.Parallel()
	o := newAsyncOrigin(t)
	hold := make(chan struct{})
	o.hold.Store(&hold)
	n := newAsyncNode(t, o, "workers: 1", "shutdown_timeout: 100ms\n")
	first, second := n.accepted("/later/a/200", "a"), n.accepted("/later/b/200", "b")
	await(t, "the first job at the origin", func() bool { return len(o.of("/later/a/200")) == 1 })
	n.signal(syscall.SIGTERM)
	if code := n.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	close(hold)
	n.start()
	for _, where := range []string{first, second} {
		if j := n.until(where, "done"); j.Attempts != 1 {
			t.Errorf("the job is %+v, expected one attempt that counts", j)
		}
	}
}

// A job that ran on a node that died is done by another.
func TestAsyncElsewhere(t *testing.T) {
	t.Parallel()
	o := newAsyncOrigin(t)
	nats := "nats: " + startNATS(t, 1).url() + "\n"
	hold := make(chan struct{})
	o.hold.Store(&hold)
	dying := newAsyncNode(t, o, "", nats)
	body := asyncContent(300_000, 1)
	where := dying.accepted("/later/a/200", body)
	await(t, "the job at the origin", func() bool { return len(o.of("/later/a/200")) == 1 })
	other := newAsyncNode(t, o, "", nats)
	if j := other.job(where); j.State != "running" {
		t.Errorf("the other node says that the job is %+v", j)
	}
	dying.kill()
	o.hold.Store(nil)
	if j := other.until(where, "done"); j.Attempts != 2 {
		t.Errorf("the job is %+v", j)
	}
	for _, call := range o.of("/later/a/200") {
		if call.sum != sha256.Sum256([]byte(body)) {
			t.Errorf("the origin got %+v", call)
		}
	}
}

// Bodies of jobs that are done don't stay on the disk.
func TestAsyncDisk(t *testing.T) {
	t.Parallel()
	const bodies, size = 10, 5 << 20
	o := newAsyncOrigin(t)
	n := newAsyncNode(t, o, "")
	for i := range bodies {
		n.until(n.accepted(fmt.Sprintf("/later/%d/200", i), asyncContent(size, byte(i))), "done")
	}
	await(t, "less on the disk", func() bool { return onDisk(t, filepath.Join(filepath.Dir(n.config), "data")) < bodies*size/3 })
}

// onDisk is the size of all files below dir, some of which may go meanwhile.
func onDisk(t *testing.T, dir string) (total int64) {
	t.Helper()
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				total += info.Size()
			}
		}
		return nil
	})
	return total
}
