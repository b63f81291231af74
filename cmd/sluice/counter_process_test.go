package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"

	"testing"
	"time"
)

// patience is how long a test waits for what must come.
const patience = 60 * time.Second

// A counterProcess is a `sluice counter`: the test binary, run as that program.
type counterProcess struct {
	t    *testing.T
	cmd  *exec.Cmd
	url  string
	addr string

	mu    sync.Mutex
	lines []string // of its log
	more  *sync.Cond
	ended bool
}

// startCounter starts one on a free port and waits until it listens. The shell runs before first, with `exec "$@"` last.
func startCounter(t *testing.T, file, before string, args ...string) *counterProcess {
	t.Helper()
	args = append([]string{"sluice", "counter", "--listen-address", "127.0.0.1:0", "--persistence-file", file}, args...)
	return startProcess(t, before, "counter is listening", args...)
}

// startProcess starts a program and waits for the line of its log that says where it listens.
func startProcess(t *testing.T, before, listening string, args ...string) *counterProcess {
	t.Helper()
	p := &counterProcess{t: t, cmd: exec.Command("sh", append([]string{"-c", before + ` exec "$@"`, "sh"}, args...)...)}
	p.more = sync.NewCond(&p.mu)
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill() })
	go p.collect(stderr)
	var line struct{ URL, Listen string }
	if err := json.Unmarshal([]byte(p.waitLog(listening, 1)), &line); err != nil {
		t.Fatal(err)
	}
	p.url, p.addr = line.URL, line.Listen
	return p
}

func (p *counterProcess) collect(stderr io.Reader) {
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		p.mu.Lock()
		p.lines = append(p.lines, lines.Text())
		p.more.Broadcast()
		p.mu.Unlock()
	}
	p.mu.Lock()
	p.ended = true
	p.more.Broadcast()
	p.mu.Unlock()
}

// waitLog waits for the nth line that contains text.
func (p *counterProcess) waitLog(text string, nth int) string {
	p.t.Helper()
	late := time.AfterFunc(patience, func() { p.cmd.Process.Kill() })
	defer late.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if found := grep(p.lines, text); len(found) >= nth {
			return found[nth-1]
		}
		if p.ended {
			p.t.Fatalf("the program ended without logging %q:\n%s", text, strings.Join(p.lines, "\n"))
		}
		p.more.Wait()
	}
}

func (p *counterProcess) log() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.lines...)
}

func grep(lines []string, text string) (found []string) {
	for _, line := range lines {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// stop sends a signal and returns the exit code, -1 if the signal ended the program.
func (p *counterProcess) stop(sig os.Signal) int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
	return p.wait()
}

func (p *counterProcess) wait() int {
	p.t.Helper()
	late := time.AfterFunc(patience, func() { p.cmd.Process.Kill() })
	p.mu.Lock()
	for !p.ended { // Wait closes the pipe that collect reads
		p.more.Wait()
	}
	p.mu.Unlock()
	err := p.cmd.Wait()
	if !late.Stop() {
		p.t.Fatalf("the program does not end:\n%s", strings.Join(p.log(), "\n"))
	}
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		p.t.Fatal(err)
	}
	return p.cmd.ProcessState.ExitCode()
}

// count sends one request and returns the answer's count.
func (p *counterProcess) count() uint64 {
	p.t.Helper()
	resp, err := http.Get(p.url)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	n, err := parseCount(body)
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

func parseCount(body []byte) (n uint64, err error) {
	if _, err := fmt.Sscanf(string(body), `{"requestCount":%d}`, &n); err != nil {
		return 0, fmt.Errorf("unexpected answer %q", body)
	}
	return n, nil
}

// A load is clients that send one request after another until their connection ends.
type load struct {
	clients sync.WaitGroup
	sent    atomic.Uint64
	first   chan struct{} // closed after the first answer
	once    sync.Once

	mu   sync.Mutex
	acks []time.Time // when answers were received, by the wall clock; complete when the clients have ended
}

func startLoad(p *counterProcess, clients int) *load {
	l := &load{first: make(chan struct{})}
	for range clients {
		l.clients.Go(func() { l.run(p.t, p.addr) })
	}
	return l
}

func (l *load) run(t *testing.T, addr string) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return // ended before we came
	}
	defer conn.Close()
	var acks []time.Time
	r := bufio.NewReader(conn)
	for {
		l.sent.Add(1)
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: counter\r\n\r\n"); err != nil {
			break
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			break
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			break
		}
		if _, err := parseCount(body); err != nil {
			t.Error(err)
			break
		}
		acks = append(acks, time.Now().Round(0))
		l.once.Do(func() { close(l.first) })
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acks = append(l.acks, acks...)
}

// waitFirst waits for the first answer.
func (l *load) waitFirst(t *testing.T) {
	t.Helper()
	select {
	case <-l.first:
	case <-time.After(patience):
		t.Fatal("no answer")
	}
}

// acked returns how many answers were received until a time. The clients must have ended.
func (l *load) acked(until time.Time) (n uint64) {
	l.clients.Wait()
	for _, at := range l.acks {
		if !at.After(until) {
			n++
		}
	}
	return n
}

// flood fills a connection with requests whose answers nobody reads, until the program can write no more.
func flood(t *testing.T, p *counterProcess) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	requests := bytes.Repeat([]byte("GET / HTTP/1.1\r\nHost: counter\r\n\r\n"), 1000)
	for {
		// Nothing is asserted of how long it takes: a pause that is mistaken for the end leaves less to write.
		conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
		if _, err := conn.Write(requests); errors.Is(err, os.ErrDeadlineExceeded) {
			return conn
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
