package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// limitPatience bounds how long a test of limits waits for something that must happen.
const limitPatience = 60 * time.Second

// limitBuild returns the program: the one that SLUICE_BIN names, or a new one.
func limitBuild(t *testing.T) string {
	t.Helper()
	if program := os.Getenv("SLUICE_BIN"); program != "" {
		return program
	}
	program := filepath.Join(t.TempDir(), "sluice")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/sluicegate/sluice/cmd/sluice").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// limitGate is a running gateway in front of a server that counts its requests.
type limitGate struct {
	t          *testing.T
	config     string // the file
	addresses  string // the keys that say where to listen
	url, admin string
	origin     *httptest.Server
	served     atomic.Int64
	answer     http.HandlerFunc // nil: 200 without a body
}

// limitStart runs the program with a configuration. In it, ORIGIN stands for the address of the server.
func limitStart(t *testing.T, program, config string) *limitGate {
	t.Helper()
	g := &limitGate{t: t, config: filepath.Join(t.TempDir(), "sluice.yaml")}
	g.origin = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.served.Add(1)
		if g.answer != nil {
			g.answer(w, r)
		}
	}))
	t.Cleanup(g.origin.Close)
	listen, admin := limitFreeAddr(t), limitFreeAddr(t)
	g.url, g.admin = "http://"+listen, "http://"+admin
	g.addresses = fmt.Sprintf("listen: %s\nadmin: {listen: %s}\n", listen, admin)
	g.write(config)

	var output bytes.Buffer
	cmd := exec.Command(program, "serve", "-c", g.config)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		err := cmd.Wait()
		if err != nil || t.Failed() || strings.Contains(output.String(), "DATA RACE") {
			t.Errorf("%v\n%s", err, output.String())
		}
	})
	g.awaitReady()
	return g
}

func limitFreeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// write replaces the configuration, but for its listeners.
func (g *limitGate) write(config string) {
	g.t.Helper()
	text := g.addresses + strings.ReplaceAll(config, "ORIGIN", g.origin.URL)
	if err := os.WriteFile(g.config, []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

func (g *limitGate) awaitReady() {
	g.t.Helper()
	for deadline := time.Now().Add(limitPatience); ; time.Sleep(5 * time.Millisecond) {
		resp, err := http.Get(g.admin + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == 200 {
				return
			}
		}
		if time.Now().After(deadline) {
			g.t.Fatalf("not ready: %v", err)
		}
	}
}

// limitReply is an answer, read to its end.
type limitReply struct {
	status int
	header http.Header
	body   string
}

// get asks for a path, with fields "Name: value".
func (g *limitGate) get(path string, fields ...string) limitReply {
	g.t.Helper()
	return g.do("GET", g.url+path, "", fields...)
}

// post sends JSON to the admin listener.
func (g *limitGate) post(path, body string) limitReply {
	g.t.Helper()
	return g.do("POST", g.admin+path, body, "Content-Type: application/json")
}

func (g *limitGate) do(method, url, body string, fields ...string) limitReply {
	g.t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		req.Header.Add(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return limitReply{resp.StatusCode, resp.Header, string(text)}
}

// expect asks for a path and compares the status.
func (g *limitGate) expect(status int, path string, fields ...string) limitReply {
	g.t.Helper()
	r := g.get(path, fields...)
	if r.status != status {
		g.t.Fatalf("%s %v: status %d, want %d: %s", path, fields, r.status, status, r.body)
	}
	return r
}

// problem reads the answer's problem+json.
func (g *limitGate) problem(r limitReply) map[string]any {
	g.t.Helper()
	var p map[string]any
	if err := json.Unmarshal([]byte(r.body), &p); err != nil || r.header.Get("Content-Type") != "application/problem+json" {
		g.t.Fatalf("no problem: %v, %v, %s", err, r.header, r.body)
	}
	return p
}
