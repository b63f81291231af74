package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// buy bids, with a key.
func (m *market) buy(t *testing.T, key string) reply {
	t.Helper()
	return do(t, "POST", m.url+"/buy", `{"username":"u","volume":3,"price":1}`, "Idempotency-Key", key)
}

// unavailable fails the test unless an order was refused because the log can't be written.
func (r reply) unavailable(t *testing.T) {
	t.Helper()
	name := "market-unavailable"
	if strings.Contains(r.body, "#outcome-unknown") {
		name = "outcome-unknown"
	}
	r.expectProblem(t, 503, name)
	if r.Header.Get("Retry-After") == "" {
		t.Errorf("503 without Retry-After: %s", r.body)
	}
}

// While NATS is away orders are refused and reads are answered; it comes back, and all goes on.
func TestMarketWithoutNATS(t *testing.T) {
	t.Parallel()
	c := startNATS(t, 1)
	m := startMarket(t, t.TempDir(), "--nats", c.url())
	first := m.buy(t, "1")
	first.expect(t, 200, `"open":3`)
	c.kill(0)
	m.buy(t, "2").unavailable(t)
	get(t, m.url+"/allocation?username=u").expect(t, 200, "0")
	get(t, m.url+"/book").expect(t, 200, `"open":3`)
	c.start(0)
	await(t, "an order that is taken", func() bool { return m.buy(t, "2").StatusCode == 200 })
	if again := m.buy(t, "1"); again.body != first.body {
		t.Errorf("the same key was answered %s, and then %s", first.body, again.body)
	}
	get(t, m.url+"/book").expect(t, 200, `"open":6,"bids":2`)
}

// A server that is too old for a log is named, with its version, and nothing is made on it.
func TestMarketRefusesOldNATS(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		io.WriteString(conn, `INFO {"server_id":"x","version":"2.9.25","proto":1,"headers":true,"jetstream":true,"max_payload":1048576}`+"\r\n")
		var all strings.Builder
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			if fmt.Fprintln(&all, lines.Text()); lines.Text() == "PING" {
				io.WriteString(conn, "PONG\r\n")
			}
		}
		said <- all.String()
	}()
	t.Cleanup(func() { l.Close() })
	m := launchMarket(t, t.TempDir(), "--nats", "nats://"+l.Addr().String())
	if code := m.wait(); code != 1 || !strings.Contains(m.stderr.String(), "has version 2.9.25, and the log needs 2.10 or later") {
		t.Errorf("ended with %d: %s", code, m.stderr.String())
	}
	if text := receive(t, "the end of the connection", said); strings.Contains(text, "PUB") {
		t.Errorf("the server was asked: %s", text)
	}
}

// A data directory belongs to one process.
func TestMarketInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := startMarket(t, dir)
	other := launchMarket(t, dir)
	if code := other.wait(); code != 1 || !strings.Contains(other.stderr.String(), "in use by another process") {
		t.Errorf("the second node ended with %d: %s", code, other.stderr.String())
	}
	m.buy(t, "1").expect(t, 200, `"open":3`)
	m.signal(os.Interrupt)
	if code := m.wait(); code != 0 {
		t.Errorf("the first node ended with %d", code)
	}
	startMarket(t, dir).buy(t, "1").expect(t, 200, `"open":3`)
}

// usedDir leaves a directory with a log and snapshots.
func usedDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	m := startMarket(t, dir, "--snapshot-every", "20")
	for range 55 {
		m.sell(t).expect(t, 200, "left")
	}
	m.signal(os.Interrupt)
	m.wait()
	return dir
}

func (m *market) sell(t *testing.T) reply {
	t.Helper()
	return do(t, "POST", m.url+"/sell", `{"volume":1}`)
}

// alter changes the files that match a pattern; there must be some.
func alter(t *testing.T, dir, pattern string, change func(path string, data []byte)) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if ok, err := filepath.Match(pattern, d.Name()); !ok || err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		n++
		change(path, data)
		return err
	})
	if err != nil || n == 0 {
		t.Fatalf("%d files like %s: %v", n, pattern, err)
	}
}

// A directory that isn't what a node left there is refused, each time, with the reason; the undamaged copy is taken.
func TestMarketRefusesDamage(t *testing.T) {
	t.Parallel()
	dir, foreign := usedDir(t), usedDir(t)
	flip := func(path string, data []byte) {
		data[len(data)*2/3] ^= 1
		os.WriteFile(path, data, 0o600)
	}
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, dir string)
		sound  bool
	}{
		{"none", func(*testing.T, string) {}, true},
		{"a flipped bit in the log", func(t *testing.T, dir string) { alter(t, dir, "*.blk", flip) }, false},
		{"the end of the log is gone", func(t *testing.T, dir string) {
			alter(t, dir, "*.blk", func(path string, data []byte) { os.Truncate(path, int64(len(data)-10)) })
		}, false},
		{"the log is gone", func(_ *testing.T, dir string) { os.RemoveAll(filepath.Join(dir, "jetstream")) }, false},
		{"all snapshots are damaged", func(t *testing.T, dir string) { alter(t, dir, "snapshot-*", flip) }, false},
		{"the mark is damaged", func(t *testing.T, dir string) {
			alter(t, dir, "mark", func(path string, data []byte) {
				for i := range data {
					data[i] ^= 0x55
				}
				os.WriteFile(path, data, 0o600)
			})
		}, false},
		{"the log of another market", func(t *testing.T, dir string) {
			os.RemoveAll(filepath.Join(dir, "jetstream"))
			if err := os.CopyFS(filepath.Join(dir, "jetstream"), os.DirFS(filepath.Join(foreign, "jetstream"))); err != nil {
				t.Fatal(err)
			}
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			copied := t.TempDir()
			if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			c.damage(t, copied)
			if c.sound {
				get(t, startMarket(t, copied).url+"/stats").expect(t, 200, `"sold":55,`)
				return
			}
			for range 2 {
				m := launchMarket(t, copied)
				if code := m.wait(); code != 1 || !strings.Contains(m.stderr.String(), "is damaged: ") {
					t.Errorf("ended with %d: %s", code, m.stderr.String())
				}
				if strings.Contains(m.stderr.String(), "is listening") {
					t.Error("it listened before it refused")
				}
				t.Log(lastLine(m.stderr.String()))
			}
		})
	}
}

func lastLine(text string) string {
	text = strings.TrimRight(text, "\n")
	return text[strings.LastIndexByte(text, '\n')+1:]
}
