//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds a failing test, not a passing one.
const patience = 60 * time.Second

func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// text is output of a process. Safe for concurrent use.
type text struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *text) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *text) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func (o *text) count(s string) int { return strings.Count(o.String(), s) }

// clusterProcess is a run of the program.
type clusterProcess struct {
	cmd            *exec.Cmd
	stdout, stderr text
	ended          chan struct{}
}

// program prepares the program, with this test's binary in the part of sluice.
func program(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], append([]string{"-sluice", os.Args[0]}, args...)...)
	cmd.Env = append(os.Environ(), mainEnv+"=1")
	return cmd
}

func needPrograms(t *testing.T) {
	t.Helper()
	if _, _, err := programs(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("SKIPPED: %v", err)
	}
}

// startCluster runs the program until it says what runs.
func startCluster(t *testing.T, args ...string) *clusterProcess {
	t.Helper()
	needPrograms(t)
	p := &clusterProcess{cmd: program(append([]string{"-port", "0", "-base", "0"}, args...)...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.cmd.Wait(); close(p.ended) }()
	t.Cleanup(func() {
		p.interrupt(t)
		if t.Failed() {
			t.Logf("%s\n%s", p.stdout.String(), p.stderr.String())
		}
	})
	await(t, "the cluster runs", func() bool {
		select {
		case <-p.ended:
			t.Fatalf("it has ended: %s", p.stderr.String())
		default:
		}
		return p.stdout.count("ctrl-C stops") > 0
	})
	return p
}

// interrupt is ctrl-C, and returns the exit code.
func (p *clusterProcess) interrupt(t *testing.T) int {
	p.cmd.Process.Signal(os.Interrupt)
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Error("it does not end")
		p.cmd.Process.Signal(os.Interrupt) // kills what it has started
		<-p.ended
	}
	return p.cmd.ProcessState.ExitCode()
}

// found returns what a pattern's group matches in what the program says.
func (p *clusterProcess) found(t *testing.T, pattern string) string {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(p.stdout.String())
	if m == nil {
		t.Fatalf("nothing matches %s in\n%s", pattern, p.stdout.String())
	}
	return m[1]
}

func (p *clusterProcess) gateway(t *testing.T) string { return p.found(t, `nginx +(http://\S+)`) }
func (p *clusterProcess) dir(t *testing.T) string     { return p.found(t, `\(NAME.pid\) are in (\S+)\.`) }

// pid reads the number of a member's process, 0 if there is none.
func pid(t *testing.T, dir, name string) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name+".pid"))
	if errors.Is(err, os.ErrNotExist) || len(b) == 0 {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// ask sends a request and returns the status and the body.
func ask(t *testing.T, method, url string, body io.Reader, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

var allMembers = []string{"nginx", "redis", "nats-1", "nats-2", "nats-3", "store-1", "store-2", "store-3"}

// The nodes share the requests, a node that is killed is not missed, it is reported and started again, and an interrupt leaves nothing behind.
func TestCluster(t *testing.T) {
	t.Parallel()
	p := startCluster(t, "-restart", "100ms", "--", "--workers", "7")
	dir, gateway := p.dir(t), p.gateway(t)
	answered := map[string]int{}
	for range 30 {
		status, body := ask(t, "GET", gateway+"/x?userId=1", nil)
		if status != 200 || !strings.Contains(body, "userId=1") {
			t.Fatalf("%d %s", status, body)
		}
		node, _, _ := strings.Cut(body, " ")
		answered[node]++
	}
	if len(answered) != 3 {
		t.Errorf("who answered how often: %v, want three nodes", answered)
	}
	pids := map[string]int{}
	for _, name := range allMembers {
		if pids[name] = pid(t, dir, name); pids[name] == 0 || syscall.Kill(pids[name], 0) != nil {
			t.Errorf("%s is not running", name)
		}
	}
	if err := syscall.Kill(pids["store-2"], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for range 30 {
		if status, body := ask(t, "GET", gateway+"/x", nil); status != 200 {
			t.Fatalf("without a node: %d %s", status, body)
		}
	}
	await(t, "another store-2", func() bool { n := pid(t, dir, "store-2"); return n != 0 && n != pids["store-2"] })
	if p.stderr.count("store-2 has ended (signal: killed) and is started again in 100ms") != 1 {
		t.Error("the end of store-2 is not reported")
	}
	await(t, "store-2 among those who answer", func() bool {
		_, body := ask(t, "GET", gateway+"/x", nil)
		return strings.HasPrefix(body, strings.TrimPrefix(p.found(t, `store-2 +(http://\S+)`), "http://"))
	})
	if code := p.interrupt(t); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	for name, n := range pids {
		if syscall.Kill(n, 0) == nil {
			t.Errorf("%s is still running", name)
		}
	}
	if p.stderr.count("stopped in order") != 3 {
		t.Error("the nodes were not stopped in order")
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left behind: %v", dir, err)
	}
}

// What nginx.conf promises.
func TestGateway(t *testing.T) {
	t.Parallel()
	p := startCluster(t, "--", "--workers", "7")
	gateway := p.gateway(t)
	status, body := ask(t, "GET", gateway+"/a%2Fb?userId=1&x=%20", nil, "X-Forwarded-For", "9.9.9.9")
	want := fmt.Sprintf("userId=1&x=%%20 host=%s for=[127.0.0.1]", strings.TrimPrefix(gateway, "http://"))
	if status != 200 || !strings.Contains(body, want) || !strings.Contains(body, `"--workers" "7"`) {
		t.Errorf("%d %s, want %s, and the flags of the command line", status, body, want)
	}
	only := strings.TrimPrefix(p.found(t, `store-2 +(http://\S+)`), "http://")
	for range 10 { // a GET that the other nodes break off
		if status, body := ask(t, "GET", gateway+"/only?"+only, nil); status != 200 || body != only {
			t.Errorf("%d %s, want the answer of %s", status, body, only)
		}
	}
	if status, _ = ask(t, "POST", gateway+"/die", strings.NewReader("{}")); status != 502 {
		t.Errorf("a POST whose node broke off: %d, want 502", status)
	}
	await(t, "an answer that is an answer", func() bool { status, _ := ask(t, "GET", gateway+"/unavailable", nil); return status == 503 })
	testStreams(t, p, gateway)
	p.interrupt(t) // all that the nodes have printed is there
	if p.stderr.count("| breaks off /only") == 0 {
		t.Error("no node broke off")
	}
	for what, want := range map[string]int{"POST /die": 1, "GET /unavailable": 1} {
		if n := p.stderr.count("| " + what); n != want {
			t.Errorf("%s was sent %d times, want %d", what, n, want)
		}
	}
}

// The node has the beginning of a body while the client still has the end, and there is no limit to its size.
func testStreams(t *testing.T, p *clusterProcess, gateway string) {
	r, w := io.Pipe()
	go func() {
		w.Write(make([]byte, 1000))
		defer w.Close()
		for deadline := time.Now().Add(patience); p.stderr.count("the body has begun") == 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				w.CloseWithError(errors.New("the node has not seen the beginning"))
				return
			}
		}
		for range 64 {
			w.Write(make([]byte, 1<<20))
		}
	}()
	if status, body := ask(t, "PUT", gateway+"/stream", r); status != 200 || body != fmt.Sprint(64<<20+1000) {
		t.Errorf("%d %s, want all of it", status, body)
	}
}

// Data stays with -dir, and what is left by one that was killed is no hindrance.
func TestClusterKeepsData(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	for range 2 {
		p := startCluster(t, "-dir", dir, "-nodes", "1")
		if p.stdout.count("store-2") > 0 || p.stdout.count("It is kept.") != 1 {
			t.Errorf("it says\n%s", p.stdout.String())
		}
		if code := p.interrupt(t); code != 0 {
			t.Errorf("exit code %d, want 0", code)
		}
		if _, err := os.Stat(filepath.Join(dir, "nats-1", "jetstream")); err != nil {
			t.Errorf("the log is not kept: %v", err)
		}
		if leftover, _ := filepath.Glob(filepath.Join(dir, "*.pid")); leftover != nil {
			t.Errorf("there remains %q", leftover)
		}
	}
}

// Without -restart what has ended is reported, and the rest goes on; nginx's workers go with their master.
func TestClusterReports(t *testing.T) {
	t.Parallel()
	p := startCluster(t, "-nodes", "2")
	dir := p.dir(t)
	for _, name := range []string{"redis", "nats-2", "store-1", "nginx"} {
		if err := syscall.Kill(pid(t, dir, name), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		await(t, "the report", func() bool {
			return p.stderr.count("cluster | "+name+" has ended (signal: killed); -restart 5s would start it again") == 1
		})
	}
	addr := strings.TrimPrefix(p.gateway(t), "http://")
	await(t, "nginx's port", func() bool {
		l, err := net.Listen("tcp", addr)
		if err == nil {
			l.Close()
		}
		return err == nil
	})
	if code := p.interrupt(t); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// Whoever read the output has gone: all the same, everything ends.
func TestClusterUnread(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	dir := filepath.Join(t.TempDir(), "data")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := program("-port", "0", "-base", "0", "-nodes", "1", "-dir", dir)
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.Close()
	w.Close()
	await(t, "nginx", func() bool { return pid(t, dir, "nginx") != 0 })
	var pids []int
	for _, name := range []string{"nginx", "redis", "nats-1", "nats-2", "nats-3", "store-1"} {
		pids = append(pids, pid(t, dir, name))
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	for _, n := range pids {
		if syscall.Kill(n, 0) == nil {
			t.Errorf("process %d is still running", n)
		}
	}
}

func TestClusterFails(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	for _, tc := range []struct {
		name string
		args []string
		env  []string
		code int
		want string
	}{
		{"help", []string{"-help"}, nil, 0, "Usage: cluster"},
		{"unknown flag", []string{"-x"}, nil, 2, "-x"},
		{"nodes", []string{"-nodes", "10"}, nil, 2, "-nodes: expected 1 to 9"},
		{"port", []string{"-port", "70000"}, nil, 2, "-port: expected 0 to 65535"},
		{"base", []string{"-base", "-1"}, nil, 2, "-base: expected 0 to 65000"},
		{"restart", []string{"-restart", "-1s"}, nil, 2, "-restart: expected a duration"},
		{"taken port", []string{"-port", port, "-base", "0"}, nil, 1, "port " + port + " can't be had: "},
		{"missing program", nil, []string{"PATH=/nowhere"}, 1, "apt-get install "},
		{"a node that ends", []string{"-base", "0", "-port", "0", "-sluice", "/bin/false"}, nil, 1, "has ended before all were ready (exit status 1)"},
		{"no such program", []string{"-base", "0", "-port", "0", "-sluice", "/nowhere"}, nil, 1, "starting store-1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cmd, dir := program(tc.args...), t.TempDir()
			cmd.Env = append(cmd.Env, append(tc.env, "TMPDIR="+dir)...)
			stuck := time.AfterFunc(patience, func() { cmd.Process.Signal(os.Interrupt) })
			defer stuck.Stop()
			out, _ := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != tc.code || !strings.Contains(string(out), tc.want) {
				t.Errorf("exit code %d, want %d, with %q:\n%s", code, tc.code, tc.want, out)
			}
			if left, _ := filepath.Glob(dir + "/*"); left != nil {
				t.Errorf("there remains %q", left)
			}
		})
	}
}
