package e2e_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
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

// patience is how long a test waits for something that must happen. It bounds a failing test, not a passing one.
const patience = 2 * time.Minute

// await waits until cond holds.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// receive takes a value from ch, or fails the test.
func receive[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain: %s", what)
		panic("unreachable")
	}
}

// output collects what a process prints. Safe for concurrent use.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// process is one run of the program, or of another one.
type process struct {
	t              *testing.T
	cmd            *exec.Cmd
	stdout, stderr output
	ended          chan struct{} // closed when the process has ended and its output is complete
}

// start runs the program under test.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	return startCommand(t, os.Getenv(binaryEnv), args...)
}

// startCommand runs a program. The test's cleanup ends it, and fails the test for a data race or a panic.
func startCommand(t *testing.T, path string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(path, args...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		p.cmd.Wait() // how it ended is in ProcessState
	}()
	t.Cleanup(p.cleanup)
	return p
}

func (p *process) cleanup() {
	p.signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(2 * time.Second):
		p.cmd.Process.Kill()
		<-p.ended
	}
	for _, bad := range []string{"DATA RACE", "panic"} {
		if strings.Contains(p.stderr.String(), bad) {
			p.t.Errorf("%s in the output of the process", bad)
		}
	}
	if p.t.Failed() {
		p.t.Logf("%s\n%s%s%v", p.cmd, tail(p.stdout.String()), tail(p.stderr.String()), p.cmd.ProcessState)
	}
}

// tail is the end of a long output.
func tail(s string) string {
	const most = 16 << 10
	if len(s) <= most {
		return s
	}
	return "…" + s[len(s)-most:]
}

// signal sends sig; a process that has ended already is left alone.
func (p *process) signal(sig os.Signal) {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("%v: %v", sig, err)
	}
}

// wait waits for the end of the process and returns its exit code, -1 if a signal ended it.
func (p *process) wait() int {
	p.t.Helper()
	receive(p.t, "the end of the process", p.ended)
	return p.cmd.ProcessState.ExitCode()
}

// endedBy waits for the end of the process and checks that it was sig, and not the program, that made it end.
func (p *process) endedBy(sig syscall.Signal) {
	p.t.Helper()
	p.wait()
	if status := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != sig {
		p.t.Errorf("ended with %v, expected %v to end it", p.cmd.ProcessState, sig)
	}
}

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// awaitOutput waits until re matches in out and returns the submatches.
func (p *process) awaitOutput(out *output, re string) []string {
	p.t.Helper()
	pattern := regexp.MustCompile(re)
	var found []string
	await(p.t, "output that matches "+re, func() bool {
		over := !p.running()
		if found = pattern.FindStringSubmatch(out.String()); found == nil && over {
			p.t.Fatalf("the process has ended without output that matches %s", re)
		}
		return found != nil
	})
	return found
}

// logged returns the complete log lines with the message msg, oldest first.
func (p *process) logged(msg string) []map[string]any {
	var lines []map[string]any
	for line := range strings.Lines(p.stderr.String()) {
		var entry map[string]any
		if strings.HasSuffix(line, "\n") && json.Unmarshal([]byte(line), &entry) == nil && entry["msg"] == msg {
			lines = append(lines, entry)
		}
	}
	return lines
}

// status reads a value of /proc/PID/status in KiB, and skips the test where there is none.
func (p *process) status(name string) int64 {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Skipf("the memory of a process is read from /proc: %v", err)
	}
	found := regexp.MustCompile(name + `:\s+(\d+) kB`).FindSubmatch(text)
	if found == nil {
		p.t.Fatalf("no %s in %s", name, text)
	}
	kib, err := strconv.ParseInt(string(found[1]), 10, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return kib
}

// descriptors counts the open descriptors of the process, and skips the test where they can't be seen.
func (p *process) descriptors() int {
	p.t.Helper()
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		p.t.Skipf("the descriptors of a process are read from /proc: %v", err)
	}
	return len(fds)
}

// gateway is a running `sluice serve` or `sluice demo`.
type gateway struct {
	*process
	url, admin string // http://127.0.0.1:PORT
	config     string // the file, "" without one
}

// addr is the host:port of the clients' listener.
func (g *gateway) addr() string { return strings.TrimPrefix(g.url, "http://") }

// startGateway runs the program with args and waits until it says where it listens.
func startGateway(t *testing.T, args ...string) *gateway {
	t.Helper()
	g := &gateway{process: start(t, args...)}
	g.awaitOutput(&g.stderr, `"msg":"sluice is serving".*\n`)
	line := g.logged("sluice is serving")[0]
	g.url, _ = line["listen"].(string)
	g.admin, _ = line["admin"].(string)
	if !strings.HasPrefix(g.url, "http://127.0.0.1:") || !strings.HasPrefix(g.admin, "http://127.0.0.1:") {
		t.Fatalf("no addresses in %v", line)
	}
	return g
}

// listeners is the part of a configuration that says where to listen.
const listeners = "listen: 127.0.0.1:0\nadmin: {listen: 127.0.0.1:0}\n"

// serve runs a gateway with a configuration that lacks its listeners.
func serve(t *testing.T, config string) *gateway {
	t.Helper()
	return serveFile(t, listeners+config)
}

// serveFile runs a gateway with a whole configuration.
func serveFile(t *testing.T, config string) *gateway {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sluice.yaml")
	writeFile(t, path, config)
	g := startGateway(t, "serve", "-c", path)
	g.config = path
	return g
}

// rewrite replaces the configuration file, but for its listeners.
func (g *gateway) rewrite(config string) {
	g.t.Helper()
	writeFile(g.t, g.config, listeners+config)
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// upstream is the section of a configuration with one upstream, app. more is indented under it.
func upstream(targets []string, more ...string) string {
	config := "upstreams:\n  app:\n    targets: [" + strings.Join(targets, ", ") + "]\n"
	for _, line := range more {
		config += "    " + line + "\n"
	}
	return config
}

// inFront is a configuration without listeners: every path goes to the targets, which are URLs.
func inFront(targets []string, more ...string) string {
	return upstream(targets, more...) + "routes: [{path: /*, upstream: app}]\n"
}

// startOrigin runs `sluice origin` and returns its URL.
func startOrigin(t *testing.T, args ...string) (*process, string) {
	t.Helper()
	p := start(t, append([]string{"origin", "--listen", "127.0.0.1:0"}, args...)...)
	return p, p.awaitOutput(&p.stderr, `listening on (http://127\.0\.0\.1:\d+)`)[1]
}
