package main_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluicegate/sluice/window"
)

// build compiles the program once for all tests.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "counter")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "counter")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := build(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

func program(t *testing.T) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// A counter is the real program, running.
type counter struct {
	cmd    *exec.Cmd
	url    string
	stderr *strings.Builder // complete once the program has ended
}

// start runs the program on a free port until the test ends.
func start(t *testing.T, args ...string) *counter {
	t.Helper()
	c := &counter{stderr: new(strings.Builder)}
	c.cmd = exec.Command(program(t), append([]string{"--listen-address", "127.0.0.1:0"}, args...)...)
	c.cmd.Stderr = c.stderr
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.end(syscall.SIGKILL) })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	address, ok := strings.CutPrefix(line, "listening on ")
	if err != nil || !ok {
		c.end(syscall.SIGKILL)
		t.Fatalf("it said %q, error %v: %s", line, err, c.stderr)
	}
	c.url = "http://" + strings.TrimSpace(address)
	return c
}

// end sends a signal and waits for the program. Ending it again does nothing.
func (c *counter) end(signal os.Signal) error {
	if c.cmd.ProcessState != nil {
		return nil
	}
	if err := c.cmd.Process.Signal(signal); err != nil {
		return err
	}
	return c.cmd.Wait()
}

// do sends one request and returns status, content type and body.
func (c *counter) do(t *testing.T, method, path string) (status int, kind, body string) {
	t.Helper()
	request, err := http.NewRequest(method, c.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header.Get("Content-Type"), string(data)
}

func (c *counter) want(t *testing.T, count int) {
	t.Helper()
	status, kind, body := c.do(t, "GET", "/")
	if want := fmt.Sprintf(`{"requestCount":%d}`, count); status != 200 || kind != "application/json; charset=utf-8" || body != want {
		t.Errorf("answer %d, %q, %s, want %s", status, kind, body, want)
	}
}

// inTemp returns the flags for a state file of the test's own, and the file.
func inTemp(t *testing.T) (args []string, file string) {
	file = filepath.Join(t.TempDir(), "state.bin")
	// The long timeframe keeps slow machines from losing requests to the time that passes.
	return []string{"--persistence-timeframe", "10m", "--persistence-file", file}, file
}

func TestCountsRequestsForTheRootOnly(t *testing.T) {
	args, _ := inTemp(t)
	c := start(t, args...)
	for n := 1; n <= 4; n++ {
		c.want(t, n)
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PURGE"} {
		if status, _, _ := c.do(t, method, "/"); status != 200 {
			t.Errorf("%s: status %d", method, status)
		}
	}
	for _, path := range []string{"/other", "//", "/./", "/index.html", "/%2f"} {
		if status, _, _ := c.do(t, "GET", path); status != 404 {
			t.Errorf("%s: status %d, want 404", path, status)
		}
	}
	c.want(t, 11)
	if status, _, body := c.do(t, "GET", "/?query"); status != 200 || body != `{"requestCount":12}` {
		t.Errorf("with a query: %d %s", status, body)
	}
}

func TestConcurrentRequestsEachGetTheirOwnCount(t *testing.T) {
	args, _ := inTemp(t)
	c := start(t, args...)
	const workers, each = 8, 25
	var mu sync.Mutex
	seen := map[int]bool{}
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for range each {
				response, err := http.Get(c.url)
				if err != nil {
					t.Error(err)
					return
				}
				var answer struct{ RequestCount int }
				err = json.NewDecoder(response.Body).Decode(&answer)
				response.Body.Close()
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				seen[answer.RequestCount] = true
				mu.Unlock()
			}
		})
	}
	group.Wait()
	c.want(t, workers*each+1)
	if len(seen) == 0 || seen[0] || seen[workers*each+1] {
		t.Errorf("answers %v", seen)
	}
}

func TestRemembersAcrossACleanStop(t *testing.T) {
	for _, signal := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		// One write an hour: what the next process knows was written at the end.
		args, _ := inTemp(t)
		args = append(args, "--sync-interval", "1h")
		c := start(t, args...)
		for n := 1; n <= 4; n++ {
			c.want(t, n)
		}
		if err := c.end(signal); err != nil {
			t.Errorf("%v: %v: %s", signal, err, c.stderr)
		}
		start(t, args...).want(t, 5)
	}
}

func TestRemembersWhatWasSyncedBeforeAKill(t *testing.T) {
	args, file := inTemp(t)
	c := start(t, append(args, "--sync-interval", "5ms")...)
	for n := 1; n <= 4; n++ {
		c.want(t, n)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		var s window.Snapshot
		if err := window.Load(file, &s); err != nil {
			t.Fatal(err)
		}
		if s.Total() == 4 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the file holds %d requests after a minute", s.Total())
		}
	}
	c.end(syscall.SIGKILL)
	start(t, args...).want(t, 5)
}

func TestDamagedFileIsSetAside(t *testing.T) {
	args, file := inTemp(t)
	damaged := []byte("not a snapshot")
	if err := os.WriteFile(file, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	c := start(t, args...)
	c.want(t, 1)
	if err := c.end(syscall.SIGTERM); err != nil {
		t.Errorf("%v: %s", err, c.stderr)
	}
	aside, err := filepath.Glob(file + ".damaged-*")
	if err != nil || len(aside) != 1 {
		t.Fatalf("set aside: %v, error %v", aside, err)
	}
	if got, err := os.ReadFile(aside[0]); err != nil || string(got) != string(damaged) {
		t.Errorf("the file set aside holds %q, error %v", got, err)
	}
	if !strings.Contains(c.stderr.String(), aside[0]) {
		t.Errorf("it did not say where the file is now: %q", c.stderr)
	}
}

func TestRefusesMistakes(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"--persistence-timeframe 0s", "timeframe 0s must be positive"},
		{"--persistence-timeframe -1s", "timeframe -1s must be positive"},
		{"--precision 0s", "precision 0s must be positive"},
		{"--precision -5ms", "precision -5ms must be positive"},
		{"--precision 61s", "precision 1m1s must not exceed the timeframe 1m0s"},
		{"--precision 1ns", "more than"},
		{"--precision 100", "invalid value"},
		{"--persistence-timeframe soon", "invalid value"},
		{"--sync-interval 0s", "sync interval 0s must be positive"},
		{"--sync-interval -1s", "sync interval -1s must be positive"},
		{"--unknown", "not defined"},
		{"argument", `unexpected argument "argument"`},
	} {
		dir := t.TempDir()
		cmd := exec.Command(program(t), append([]string{"--listen-address", "127.0.0.1:0"}, strings.Fields(c.args)...)...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok || exit.ExitCode() != 2 || !strings.Contains(string(out), c.says) {
			t.Errorf("%s: %v, %s, want exit code 2 and %q", c.args, err, out, c.says)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%s: it left %v behind", c.args, left)
		}
	}
}

// TestStaysSmall holds what the example is for: under 120 lines on window, net/http and the standard library.
func TestStaysSmall(t *testing.T) {
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, "main.go", nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range parsed.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(path, ".") && path != "github.com/sluicegate/sluice/window" {
			t.Errorf("it imports %s", path)
		}
	}
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), "\n"); n >= 120 {
		t.Errorf("it has %d lines", n)
	}
}
