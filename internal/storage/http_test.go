package storage_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicegate/sluice/internal/datadir"
	"github.com/sluicegate/sluice/internal/journal"
	"github.com/sluicegate/sluice/internal/objects"
	"github.com/sluicegate/sluice/internal/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A node is a storage that serves, with all that it stands on.
type node struct {
	t       testing.TB
	storage *storage.Storage
	server  *storage.Server
	broker  *journal.Broker
	dir     *datadir.Dir
	content string // the directory of the content
	url     string
	client  *http.Client
	stop    func()
}

// testLog shows what a node logs when the test fails.
func testLog(t testing.TB) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }

// serve starts a node with an embedded log below path, and stops it with the test.
func serve(t testing.TB, path string, options ...func(*storage.Options)) *node {
	t.Helper()
	n := &node{t: t, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}, content: filepath.Join(path, "objects")}
	var err error
	n.dir, err = datadir.Open(path)
	for errors.Is(err, datadir.ErrInUse) { // by what another test starts, between its fork and its exec
		n.dir, err = datadir.Open(path)
	}
	if err != nil {
		t.Fatal(err)
	}
	if n.broker, err = journal.Embed(journal.EmbedConfig{Dir: n.dir, Log: testLog(t)}); err != nil {
		t.Fatal(err)
	}
	n.start(options)
	return n
}

func (n *node) start(options []func(*storage.Options)) {
	n.t.Helper()
	dir, err := objects.OpenDir(n.content)
	if err != nil {
		n.t.Fatal(err)
	}
	opts := storage.Options{Dir: n.dir, Broker: n.broker, Objects: dir, Log: testLog(n.t), Workers: 2, CollectEvery: 10 * time.Millisecond}
	for _, option := range options {
		option(&opts)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if n.storage, err = storage.Open(ctx, opts); err != nil {
		n.t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		n.t.Fatal(err)
	}
	n.url = "http://" + ln.Addr().String()
	n.server = storage.NewServer(n.storage, nil)
	serving, end := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- n.server.Serve(serving, ln) }()
	n.stop = sync.OnceFunc(func() {
		n.client.CloseIdleConnections()
		end()
		err := <-served
		n.server.Close()
		if err := errors.Join(err, n.storage.Close(ctxOf(n.t))); err != nil {
			n.t.Error(err)
		}
		n.broker.Close()
		dir.Close()
		n.dir.Close()
	})
	n.t.Cleanup(n.stop)
}

// ctxOf bounds what a test waits for, and no passing test.
func ctxOf(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// await waits until cond holds.
func await(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// An answer is a response that was read to its end.
type answer struct {
	status int
	head   http.Header
	body   string
}

// ask sends a request; head is names and values of fields in turn.
func (n *node) ask(method, target, body string, head ...string) answer {
	n.t.Helper()
	req, err := http.NewRequest(method, n.url+target, strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	for i := 0; i < len(head); i += 2 {
		req.Header.Add(head[i], head[i+1])
	}
	resp, err := n.client.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

func (n *node) get(target string, head ...string) answer {
	n.t.Helper()
	return n.ask("GET", target, "", head...)
}

func (n *node) put(object, body string, head ...string) answer {
	n.t.Helper()
	return n.ask("PUT", "/object-storage/bucket-1/"+object+"?userId=1", body, head...)
}

// is checks the status, and what the body says.
func (a answer) is(t testing.TB, status int, says ...string) answer {
	t.Helper()
	if a.status != status {
		t.Errorf("answered %d %s, want %d", a.status, a.body, status)
	}
	for _, text := range says {
		if !strings.Contains(a.body, text) {
			t.Errorf("answered %s, want it to say %s", a.body, text)
		}
	}
	return a
}

// problem checks an error: its type, and what its detail and its field say.
func (a answer) problem(t testing.TB, status int, name string, says ...string) {
	t.Helper()
	if a.head.Get("Content-Type") != "application/problem+json" || !strings.Contains(a.body, "#"+name+`"`) {
		t.Errorf("answered %d %s, want a problem %s", a.status, a.body, name)
	}
	a.is(t, status, says...)
}

// json reads the body.
func (a answer) json(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		t.Fatalf("%s: %v", a.body, err)
	}
}

type usage struct{ Quota, Used, Reserved, Available uint64 }

func (n *node) usage(user string) (u usage) {
	n.t.Helper()
	n.get("/quota?userId="+user).is(n.t, 200).json(n.t, &u)
	return u
}

// used checks what a user used, with nothing reserved.
func (n *node) used(user string, bytes uint64) {
	n.t.Helper()
	if u := n.usage(user); u.Used != bytes || u.Reserved != 0 {
		n.t.Errorf("user %s: %+v, want %d used", user, u, bytes)
	}
}

// order asks for a record, and waits for the job.
func (n *node) order(user, body string, head ...string) answer {
	n.t.Helper()
	a := n.ask("POST", "/object-storage?userId="+user, body, append(head, "Content-Type", "application/json")...)
	if a.status == 202 {
		n.done(a.head.Get("Location"))
	}
	return a
}

// done waits until a job is done, and returns what is told of it.
func (n *node) done(location string) (a answer) {
	n.t.Helper()
	await(n.t, "the job is done", func() bool {
		a = n.get(location).is(n.t, 200)
		return strings.Contains(a.body, `"state":"done"`)
	})
	return a
}

const pngOrder = `{"objectId":"1cbs5","sizeInByte":1000000,"bucketName":"bucket-1","fileName":"f1.png"}`

// blobs lists what is in the directory of the content.
func (n *node) blobs() (names []string) {
	n.t.Helper()
	err := filepath.WalkDir(n.content, func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, d.Name())
		}
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// tidy waits until the directory has the blobs of the catalogue, and nothing else.
func (n *node) tidy() {
	n.t.Helper()
	var want []string
	await(n.t, "no garbage", func() bool {
		garbage := 0
		if err := n.storage.Read(func(s *storage.State) { garbage = s.Stats().Garbage }); err != nil {
			n.t.Fatal(err)
		}
		return garbage == 0
	})
	n.storage.Read(func(s *storage.State) {
		for _, e := range s.Entries() {
			want = append(want, storage.KeyOf(e.Blob))
		}
	})
	slices.Sort(want)
	if got := n.blobs(); !slices.Equal(got, want) {
		n.t.Errorf("in the directory are %q, want %q", got, want)
	}
}

// The first steps of a new user, and what is there after a restart.
func TestTheFirstSteps(t *testing.T) {
	path := t.TempDir()
	n := serve(t, path)
	a := n.order("1", pngOrder).is(t, 202, `"state":"queued"`)
	job := n.done(a.head.Get("Location")).is(t, 200, `"object":{"objectId":"1cbs5"`, `"status":201`)
	check := func() {
		t.Helper()
		n.get("/object-storage/bucket-1?userId=1").is(t, 200, `"objectId":"1cbs5","sizeInByte":1000000`)
		r := n.get("/object-storage/bucket-1/1cbs5?userId=1").is(t, 200, `"sizeInByte":1000000,"bucketName":"bucket-1","fileName":"f1.png","userId":"1"`)
		if r.head.Get("Content-Type") != "application/json" || r.head.Get("Content-Disposition") != "attachment; filename=f1.png" {
			t.Errorf("%v", r.head)
		}
		n.get("/object-storage/bucket-1/1cbs5?userId=2").problem(t, 404, "unknown-object")
		n.get(strings.Replace(a.head.Get("Location"), "userId=1", "userId=2", 1)).problem(t, 404, "unknown-job")
		if again := n.get(a.head.Get("Location")); again.body != job.body {
			t.Errorf("the job was %s, and is %s", job.body, again.body)
		}
		n.used("1", 1_000_000)
		n.used("2", 0)
		n.tidy()
	}
	check()
	n.stop()
	n = serve(t, path)
	check()
	n.ask("DELETE", "/object-storage/bucket-1/1cbs5?userId=1", "").is(t, 204)
	n.get("/object-storage/bucket-1/1cbs5?userId=1").problem(t, 404, "unknown-object")
	n.used("1", 0)
	n.tidy()
}

// The same key is the same job, whatever is left of the quota.
func TestIdempotency(t *testing.T) {
	n := serve(t, t.TempDir())
	whole := strings.Replace(pngOrder, "1000000", "50000000", 1)
	first := n.order("1", whole, "Idempotency-Key", "k").is(t, 202)
	again := n.order("1", whole, "Idempotency-Key", "k").is(t, 202, `"state":"done"`)
	if first.head.Get("Location") != again.head.Get("Location") {
		t.Errorf("%s, and then %s", first.body, again.body)
	}
	n.order("1", pngOrder, "Idempotency-Key", "k").problem(t, 422, "idempotency-key-reused")
	n.order("1", pngOrder, "Idempotency-Key", "l").problem(t, 403, "storage-quota-exceeded", `"quota":50000000,"used":50000000,"reserved":0,"requested":1000000`,
		`"resets_at":"`)
	n.order("2", pngOrder, "Idempotency-Key", "k").is(t, 202)
	n.used("1", 50_000_000)
}

func TestRate(t *testing.T) {
	n := serve(t, t.TempDir())
	rate := uint32(3)
	if _, err := n.storage.SetLimits(ctxOf(t), "1", storage.Rate(rate)); err != nil {
		t.Fatal(err)
	}
	for range rate {
		n.get("/object-storage/bucket-1?userId=1").is(t, 200)
	}
	a := n.get("/object-storage/bucket-1?userId=1")
	a.problem(t, 429, "quota-exceeded", `"violated-policies":["user"]`)
	if a.head.Get("Retry-After") == "" || a.head.Get("RateLimit-Policy") != `"user";q=3;w=60` {
		t.Errorf("%v", a.head)
	}
	n.get("/object-storage/bucket-1?userId=2").is(t, 200)
	if q := n.get("/quota?userId=1").is(t, 200); q.head.Get("RateLimit") != "" {
		t.Errorf("what doesn't count says %s", q.head.Get("RateLimit"))
	}
}
