package e2e_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// A localCluster is a run of deploy/cluster, which `make cluster` starts.
type localCluster struct {
	*process
	gateway string
	nodes   []string
	dir     string
}

// startCluster runs the cluster of the program under test on free ports.
func startCluster(t *testing.T, args ...string) *localCluster {
	t.Helper()
	peer(t, "nginx")
	peer(t, "redis-server")
	program := filepath.Join(t.TempDir(), "cluster")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/sluicegate/sluice/deploy/cluster").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c := &localCluster{dir: filepath.Join(t.TempDir(), "data")}
	c.process = startCommand(t, program, append([]string{"-sluice", os.Getenv(binaryEnv), "-port", "0", "-base", "0", "-dir", c.dir}, args...)...)
	t.Cleanup(func() { c.signal(os.Interrupt); c.wait() }) // it takes more than the moment that other processes are given
	c.awaitOutput(&c.stdout, "ctrl-C stops")
	c.gateway = c.awaitOutput(&c.stdout, `nginx +(\S+)`)[1]
	for _, found := range regexp.MustCompile(`store-\d +(\S+)`).FindAllStringSubmatch(c.stdout.String(), -1) {
		c.nodes = append(c.nodes, found[1])
	}
	return c
}

// killed ends one of the programs with SIGKILL, and waits until that is reported.
func (c *localCluster) killed(name string) {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join(c.dir, name+".pid"))
	if err != nil {
		c.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		c.t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		c.t.Fatal(err)
	}
	c.awaitOutput(&c.stderr, name+` has ended \(signal: killed\)`)
}

// order asks for an object of a million bytes.
func order(t *testing.T, base, user string, object int) reply {
	t.Helper()
	body := fmt.Sprintf(`{"objectId":"%d","sizeInByte":1000000,"bucketName":"bucket-1","fileName":"f1.png"}`, object)
	return do(t, "POST", base+"/object-storage?userId="+user, body, "Content-Type", "application/json", "Idempotency-Key", fmt.Sprint("order-", object))
}

// used is how much of a user's quota is used up, when nothing is under way any more.
func (c *localCluster) used(user string) (bytes int64) {
	c.t.Helper()
	var q struct{ Used, Reserved int64 }
	await(c.t, "all jobs are done", func() bool {
		r := get(c.t, c.gateway+"/quota?userId="+user)
		return r.StatusCode == 200 && json.Unmarshal([]byte(r.body), &q) == nil && q.Reserved == 0
	})
	return q.Used
}

// What a newcomer tries first: a cluster, objects up to the quota and not beyond, and a node, a NATS server and Redis that are killed in between.
func TestCluster(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	accepted := 0
	for i := range 60 {
		switch i {
		case 10:
			c.killed("store-2")
		case 20:
			c.killed("nats-3")
		case 30:
			c.killed("redis")
		}
		var r reply
		await(t, "an answer that is final", func() bool { // a log that has lost its leader needs a moment to find another
			r = order(t, c.gateway, "1", i)
			return r.StatusCode != 503
		})
		switch r.StatusCode {
		case 202:
			accepted++
		case 403:
			r.expectProblem(t, 403, "storage-quota-exceeded")
		default:
			t.Fatalf("order %d: %s %s", i, r.Status, r.body)
		}
	}
	if used := c.used("1"); accepted != 50 || used != 50_000_000 {
		t.Errorf("%d objects of a million bytes were accepted, and %d bytes are used, want 50", accepted, used)
	}
	for i, node := range c.nodes {
		if i != 1 { // which was killed
			order(t, node, "1", 100).expectProblem(t, 403, "storage-quota-exceeded")
		}
	}
	c.uploads(t)
	c.signal(os.Interrupt)
	if code := c.wait(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// uploads puts content through nginx, and more than the quota allows: whoever sends it is told so, and not that a gateway is bad.
func (c *localCluster) uploads(t *testing.T) {
	content := make([]byte, 30_000_000)
	rand.NewChaCha8([32]byte{}).Read(content)
	file := filepath.Join(t.TempDir(), "content")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	url := func(object string) string { return c.gateway + "/object-storage/bucket-1/" + object + "?userId=2" }
	if got := curl(t, "-T", file, "-w", " %{http_code}", url("a")); !strings.HasSuffix(got, " 201") {
		t.Errorf("an upload: %s", got)
	}
	for range 10 {
		// Go's client fails when it is answered while it sends; curl reads the answer.
		if got := curl(t, "-T", file, "-w", " %{http_code}", url("b")); !strings.Contains(got, "storage-quota-exceeded") || !strings.HasSuffix(got, " 403") {
			t.Errorf("an upload beyond the quota: %s", got)
		}
	}
	if got := curl(t, url("a")); got != string(content) {
		t.Errorf("read %d bytes that are not those that were put", len(got))
	}
	if used := c.used("2"); used != int64(len(content)) {
		t.Errorf("%d bytes are used, want %d", used, len(content))
	}
}
