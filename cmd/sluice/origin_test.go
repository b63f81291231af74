package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// startOrigin runs `sluice origin` until it listens; the exit code comes on the channel.
func startOrigin(t *testing.T, ctx context.Context, args ...string) (url string, exit <-chan int) {
	t.Helper()
	stderr, w := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, append([]string{"origin", "--listen", "127.0.0.1:0"}, args...), io.Discard, w)
		w.Close()
	}()
	line, err := bufio.NewReader(stderr).ReadString('\n')
	go io.Copy(io.Discard, stderr)
	url = regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(line)
	if err != nil || url == "" || strings.HasSuffix(url, ":0") {
		t.Fatalf("no address in %q, %v", line, err)
	}
	return url, code
}

func TestOriginServesUntilItsContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	url, exit := startOrigin(t, ctx, "--fail", "1")
	resp, err := http.Get(url + "/any")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusInternalServerError {
		t.Errorf("status %d", resp.StatusCode)
	}
	cancel()
	if code := <-exit; code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestOriginStopsOnASignal(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		_, exit := startOrigin(t, context.Background())
		if err := syscall.Kill(syscall.Getpid(), sig); err != nil {
			t.Fatal(err)
		}
		if code := <-exit; code != exitOK {
			t.Errorf("%v: exit code %d", sig, code)
		}
	}
}
