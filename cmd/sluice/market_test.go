package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// A marketProcess is a `sluice market`: the test binary, run as that program.
type marketProcess struct {
	*counterProcess
	admin  string
	client *http.Client
}

// startMarket starts one on free ports and waits until it listens.
func startMarket(t *testing.T, dir string, args ...string) *marketProcess {
	t.Helper()
	args = append([]string{"sluice", "market", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data-dir", dir}, args...)
	p := &marketProcess{counterProcess: startProcess(t, "", "market is listening", args...), client: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(p.client.CloseIdleConnections)
	var line struct{ Admin string }
	if err := json.Unmarshal([]byte(p.waitLog("market is listening", 1)), &line); err != nil {
		t.Fatal(err)
	}
	p.admin = line.Admin
	return p
}

// try sends a request, as JSON and under a key if there is a body.
func (p *marketProcess) try(method, url, body, key string) (int, string, error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, strings.TrimSpace(string(text)), err
}

func (p *marketProcess) get(path string) string {
	p.t.Helper()
	return p.ask("GET", path, "", "")
}

// ask is try for requests that must be answered with 200.
func (p *marketProcess) ask(method, path, body, key string) string {
	p.t.Helper()
	status, text, err := p.try(method, strings.TrimSuffix(p.url, "/")+path, body, key)
	if status != 200 || err != nil {
		p.t.Fatalf("%s %s: %d %s, %v", method, path, status, text, err)
	}
	return text
}

// The example of the rules, and the same allocations after every way to end.
func TestMarketSurvives(t *testing.T) {
	dir := t.TempDir()
	p := startMarket(t, dir)
	for i, bid := range []string{`"u1","volume":100,"price":3`, `"u2","volume":150,"price":2`, `"u3","volume":50,"price":4`} {
		p.ask("POST", "/buy", `{"username":`+bid+`}`, fmt.Sprint("bid-", i))
	}
	if got := p.ask("POST", "/sell", `{"volume":250}`, "sale"); got != `{"allocated":250,"left":0}` {
		t.Errorf("the sale answered %s", got)
	}
	for _, sig := range []os.Signal{os.Kill, syscall.SIGTERM, os.Kill, syscall.SIGINT} {
		if code := p.stop(sig); sig != os.Kill && code != exitOK {
			t.Fatalf("%v: exit code %d\n%s", sig, code, strings.Join(p.log(), "\n"))
		}
		p = startMarket(t, dir)
		if got := p.get("/allocation?username=u1") + p.get("/allocation?username=u2") + p.get("/allocation?username=u3"); got != "10010050" {
			t.Errorf("after %v the allocations are %s", sig, got)
		}
		if got := p.ask("POST", "/sell", `{"volume":250}`, "sale"); got != `{"allocated":250,"left":0}` {
			t.Errorf("after %v the sale is answered with %s", sig, got)
		}
		if got := p.get("/book"); !strings.Contains(got, `"open":50,`) {
			t.Errorf("after %v the book is %s", sig, got)
		}
	}
}

// Killed under load, nothing that was answered is lost, and what is repeated is not doubled.
func TestMarketSurvivesKillsUnderLoad(t *testing.T) {
	const clients, kills = 8, 5
	dir := t.TempDir()
	placed := make([]int, clients) // how many bids of each client were answered; their number is part of their keys
	for range kills {
		p := startMarket(t, dir, "--snapshot-every", "500")
		var all sync.WaitGroup
		begun := make(chan bool, clients)
		for c := range clients {
			all.Go(func() {
				url := strings.TrimSuffix(p.url, "/") + "/buy"
				for n := 0; ; n++ {
					body := fmt.Sprintf(`{"username":"client-%d","volume":1,"price":%d}`, c, placed[c]%5)
					status, text, err := p.try("POST", url, body, fmt.Sprintf("%d-%d", c, placed[c]))
					if err != nil {
						return
					}
					if status != 200 {
						t.Errorf("%d %s", status, text)
						return
					}
					placed[c]++
					if n == 20 {
						begun <- true
					}
				}
			})
		}
		for range clients {
			<-begun
		}
		p.stop(os.Kill)
		all.Wait()
	}
	p := startMarket(t, dir)
	for c, n := range placed {
		body := fmt.Sprintf(`{"username":"client-%d","volume":1,"price":%d}`, c, n%5)
		p.ask("POST", "/buy", body, fmt.Sprintf("%d-%d", c, n)) // the one that was under way
		var page struct{ All int }
		if err := json.Unmarshal([]byte(p.get(fmt.Sprintf("/bids?username=client-%d&limit=1", c))), &page); err != nil {
			t.Fatal(err)
		}
		if page.All != n+1 {
			t.Errorf("client %d has %d bids, want %d", c, page.All, n+1)
		}
	}
}

// SIGTERM ends streams and idle connections, and is no failure.
func TestMarketDrains(t *testing.T) {
	p := startMarket(t, t.TempDir())
	resp, err := http.Get(p.url + "events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	p.ask("POST", "/sell", `{"volume":1}`, "a")
	p.ask("POST", "/buy", `{"username":"u","volume":1,"price":0}`, "b")
	if code := p.stop(syscall.SIGTERM); code != exitOK {
		t.Errorf("exit code %d\n%s", code, strings.Join(p.log(), "\n"))
	}
	if text, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(text), "event: fill\n") {
		t.Errorf("the stream ended with %q, %v", text, err)
	}
}

func TestMarketAdmin(t *testing.T) {
	p := startMarket(t, t.TempDir())
	p.ask("POST", "/buy", `{"username":"u","volume":3,"price":0}`, "b")
	for path, want := range map[string]string{"healthz": "ok", "readyz": "ready"} {
		if status, text, err := p.try("GET", p.admin+path, "", ""); status != 200 || text != want {
			t.Errorf("%s: %d %s, %v", path, status, text, err)
		}
	}
	_, text, err := p.try("GET", p.admin+"metrics", "", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`sluice_market_commands_total{command="buy",result="done"} 1`, "sluice_market_commit_seconds_count 1", "sluice_market_open_volume 3",
		"sluice_market_log_records_total 1", "sluice_market_log_commands_total 1", "sluice_market_up 1", "sluice_market_ready 1",
		"sluice_market_data_bytes ", "go_goroutines ",
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

// A directory that another market has, or a log that isn't as it was, is refused in one line.
func TestMarketRefusesADirectory(t *testing.T) {
	dir := t.TempDir()
	p := startMarket(t, dir)
	for i := range 3 {
		p.ask("POST", "/buy", `{"username":"u","volume":3,"price":0}`, fmt.Sprint(i))
	}
	refused := func(says string) {
		t.Helper()
		cmd := exec.Command("sluice", "market", "--listen", "127.0.0.1:0", "--admin", "", "--data-dir", dir)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Run(); cmd.ProcessState.ExitCode() != exitFailure || !strings.Contains(stderr.String(), says) {
			t.Errorf("%v, %s, want a failure that says %q", err, &stderr, says)
		}
	}
	refused("in use by another process")
	p.stop(syscall.SIGTERM)

	blocks, err := filepath.Glob(filepath.Join(dir, "jetstream", "jetstream", "*", "streams", "*", "msgs", "*.blk"))
	if err != nil || len(blocks) != 1 {
		t.Fatalf("the log is in %q, %v", blocks, err)
	}
	data, err := os.ReadFile(blocks[0])
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(blocks[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	refused("the journal is damaged")
}
