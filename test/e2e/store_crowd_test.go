package e2e_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sluicegate/sluice/test/redistest"
)

// A depotCluster is nodes of one storage on one NATS cluster, with a directory and a Redis that they share.
type depotCluster struct {
	t       *testing.T
	nats    *natsCluster
	redis   *redistest.Server
	content string
	dirs    []string
	nodes   []*depot
	places  *places
	began   time.Time
}

func startDepots(t *testing.T, servers, n int) *depotCluster {
	t.Helper()
	c := &depotCluster{
		t: t, nats: startNATS(t, servers), redis: redistest.Start(t), content: t.TempDir(), nodes: make([]*depot, n), places: newPlaces(n), began: time.Now(),
	}
	for i := range n {
		c.dirs = append(c.dirs, t.TempDir())
		c.start(i)
	}
	return c
}

func (c *depotCluster) start(i int) {
	c.t.Helper()
	c.nodes[i] = startDepot(c.t, c.dirs[i], "--nats", c.nats.url(), "--objects", c.content, "--redis", "redis://"+c.redis.Addr, "--snapshot-every", "1000")
	c.places.set(i, c.nodes[i].url)
}

func (c *depotCluster) kill(i int) {
	c.t.Helper()
	c.places.set(i, "")
	c.nodes[i].signal(syscall.SIGKILL)
	c.nodes[i].endedBy(syscall.SIGKILL)
}

// say notes what happens, for whom the test fails.
func (c *depotCluster) say(format string, args ...any) {
	c.t.Logf("%6.1fs %s", time.Since(c.began).Seconds(), fmt.Sprintf(format, args...))
}

// A client stores one object, in one way or another, and knows what became of it.
type storeClient struct {
	number   int
	user     string
	client   *http.Client
	places   *places
	gate     chan struct{} // the second half of the first upload waits until it is closed
	status   int           // of the last answer that says what became of it
	allowed  []string      // contents that the object may have; none: it may be absent too
	absent   bool          // it may be
	location string        // of the job
	retries  int
}

func (s *storeClient) object() string { return fmt.Sprintf("dir-%d/o%d", s.number%10, s.number) }

// content is what a client stores, of a size between 1 and 30,000 bytes.
func (s *storeClient) content(version int) string {
	r := rand.New(rand.NewPCG(uint64(s.number), uint64(version)))
	text := make([]byte, 1+r.IntN(30_000))
	for i := range text {
		text[i] = byte(r.Uint32())
	}
	return string(text)
}

// A gated body stops in the middle until somebody opens the gate.
type gated struct {
	*strings.Reader
	gate chan struct{}
}

func (g *gated) Read(p []byte) (int, error) {
	if half := g.Len() - int(g.Size())/2; half > 0 {
		return g.Reader.Read(p[:min(len(p), half)])
	}
	<-g.gate
	return g.Reader.Read(p)
}

// send repeats a request until a node says what became of it. unsure says whether an attempt before may have had an effect.
func (s *storeClient) send(method, target, body string, head ...string) (status int, answer http.Header, unsure bool) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); s.retries++ {
		where := s.places.at(s.number + s.retries)
		req, err := http.NewRequest(method, where+target, &gated{strings.NewReader(body), s.gate})
		if err != nil || where == "" {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		req.ContentLength = int64(len(body))
		for i := 0; i < len(head); i += 2 {
			req.Header.Set(head[i], head[i+1])
		}
		resp, err := s.client.Do(req)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		if err == nil && resp.StatusCode != 503 {
			return resp.StatusCode, resp.Header, unsure
		}
		unsure = true
		time.Sleep(20 * time.Millisecond)
	}
	return 0, nil, true
}

func (s *storeClient) target() string {
	return "/object-storage/bucket-1/" + s.object() + "?userId=" + s.user
}

// put stores a version of the content.
func (s *storeClient) put(version int) {
	text := s.content(version)
	status, _, unsure := s.send("PUT", s.target(), text)
	s.status = status
	switch {
	case status == 200 || status == 201:
		s.allowed, s.absent = []string{text}, false
	case unsure:
		s.allowed = append(s.allowed, text)
	}
}

func (s *storeClient) run() {
	switch s.absent = true; {
	case s.number%5 < 2:
		status, head, _ := s.send("POST", "/object-storage?userId="+s.user, orderOf("bucket-1", s.object(), len(s.content(0))),
			"Content-Type", "application/json", "Idempotency-Key", fmt.Sprint("key-", s.number))
		if s.status = status; status == 202 {
			s.location, s.absent = head.Get("Location"), false
		}
	default:
		s.put(0)
		if s.status == 201 && s.number%10 == 7 {
			s.put(1)
		}
		if s.status == 201 && s.number%10 == 8 {
			if status, _, _ := s.send("DELETE", s.target(), ""); status == 204 || status == 404 {
				s.allowed, s.absent = nil, true
			}
		}
	}
}

// check looks at what is stored in the end.
func (s *storeClient) check(t *testing.T, d *depot) {
	t.Helper()
	r := get(t, d.url+s.target())
	switch {
	case s.status != 200 && s.status != 201 && s.status != 202 && s.status != 403:
		t.Errorf("client %d was answered %d", s.number, s.status)
	case r.StatusCode == 404 && s.absent:
	case s.location != "":
		var record struct{ ObjectID, UserID string }
		if r.StatusCode != 200 || json.Unmarshal([]byte(r.body), &record) != nil || record.ObjectID != s.object() || record.UserID != s.user {
			t.Errorf("client %d was answered 202, and %s is %d %.200s", s.number, s.object(), r.StatusCode, r.body)
		}
	case r.StatusCode != 200 || !slices.Contains(s.allowed, r.body):
		sum := sha256.Sum256([]byte(r.body))
		t.Errorf("client %d was answered %d, and %s is %d with %d bytes, %s", s.number, s.status, s.object(), r.StatusCode, len(r.body), hex.EncodeToString(sum[:4]))
	}
}

// watchQuotas asks all nodes for the quotas of users until stop is closed, and fails the test for a byte too many.
func (c *depotCluster) watchQuotas(users []string, stop chan struct{}) (looks *atomic.Int64, done chan struct{}) {
	looks, done = new(atomic.Int64), make(chan struct{})
	client := &http.Client{Timeout: 5 * time.Second}
	go func() {
		defer close(done)
		defer client.CloseIdleConnections()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
			user := users[i%len(users)]
			resp, err := client.Get(c.places.at(i) + "/quota?userId=" + user)
			if err != nil {
				continue
			}
			var u depotUsage
			err = json.NewDecoder(resp.Body).Decode(&u)
			resp.Body.Close()
			if err != nil || resp.StatusCode != 200 {
				continue
			}
			if looks.Add(1); u.Used+u.Reserved > u.Quota {
				c.t.Errorf("user %s is over quota: %+v", user, u)
			}
		}
	}()
	return looks, done
}

// A step is what happens to the cluster while uploads are under way.
type depotStep struct {
	what string
	do   func()
}

// steps kill nodes, Redis and a NATS server, and start them again.
func (c *depotCluster) steps() []depotStep {
	return []depotStep{
		{"kill node 0", func() { c.kill(0) }},
		{"start node 0", func() { c.start(0) }},
		{"kill Redis", c.redis.Kill},
		{"kill node 1", func() { c.kill(1) }},
		{"start Redis", c.redis.Restart},
		{"start node 1", func() { c.start(1) }},
		{"kill NATS server 0", func() { c.nats.kill(0) }},
		{"start NATS server 0", func() { c.nats.start(0) }},
		{"kill nodes 1 and 2", func() { c.kill(1); c.kill(2) }},
		{"start node 1", func() { c.start(1) }},
	}
}

// trouble opens the gates in turn, and does a step behind each, with uploads of that gate under way, and with those before the gates that are shut.
func (c *depotCluster) trouble(steps []depotStep, gates []chan struct{}, score *atomic.Int64) {
	c.t.Helper()
	for i, step := range steps {
		before := score.Load()
		close(gates[i])
		await(c.t, "progress", func() bool { return score.Load() > before })
		c.say("at %d: %s", score.Load(), step.what)
		step.do()
	}
}

// A thousand uploads at once by a few users, who want more than they may: no quota is exceeded by a byte, whatever dies; all that was answered is
// there, once; and the directory has what the catalogue has.
func TestStoreCluster(t *testing.T) {
	t.Parallel()
	c := startDepots(t, 3, 3)
	users := []string{"ada", "ben", "cy", "1"}
	uploads := 1000
	if raceEnabled {
		uploads = 400
	}
	quota := uint64(uploads) * 2500 // not enough for a quarter of them
	c.nodes[0].set("", quota)
	for _, d := range c.nodes {
		await(t, "all nodes know the quota", func() bool { return d.usage("anybody").Quota == quota })
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: uploads}, Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	var score atomic.Int64
	var running sync.WaitGroup
	stop := make(chan struct{})
	looks, watched := c.watchQuotas(users, stop)
	steps := c.steps()
	gates := make([]chan struct{}, len(steps))
	for i := range gates {
		gates[i] = make(chan struct{})
	}
	clients := make([]*storeClient, uploads)
	for i := range clients {
		clients[i] = &storeClient{number: i, user: users[i%len(users)], client: client, places: c.places, gate: gates[i/7%len(gates)]}
		running.Go(func() {
			clients[i].run()
			score.Add(1)
		})
	}
	await(t, "uploads are under way", func() bool { return c.nodes[0].usage(users[0]).Reserved > 0 })
	c.trouble(steps, gates, &score)
	running.Wait()
	c.start(2)
	close(stop)
	<-watched
	c.say("all are answered, %d looks at quotas", looks.Load())
	c.settle(clients, users)
	statuses, retries := map[int]int{}, 0
	for _, s := range clients {
		s.check(t, c.nodes[s.number%3])
		statuses[s.status]++
		retries += s.retries
	}
	c.say("answers by status %v, %d attempts without", statuses, retries)
	if statuses[403] == 0 || looks.Load() == 0 {
		t.Error("nobody came to the end of a quota, or nobody looked")
	}
	for _, d := range c.nodes {
		d.audit("bucket-1", users...)
	}
}

// settle waits until all jobs are done and nothing is reserved, on all nodes.
func (c *depotCluster) settle(clients []*storeClient, users []string) {
	c.t.Helper()
	for _, s := range clients {
		if s.location != "" {
			c.nodes[s.number%3].finished(s.location)
		}
	}
	c.say("all jobs are done")
	for _, d := range c.nodes {
		for _, user := range users {
			await(c.t, "nothing is reserved", func() bool { return d.usage(user) == c.nodes[0].usage(user) && d.usage(user).Reserved == 0 })
		}
	}
	c.say("nothing is reserved")
}
