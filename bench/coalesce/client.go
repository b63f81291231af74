package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/sluicegate/sluice/bench/harness"
)

// client is one connection. It knows as much HTTP as the servers here speak, so that the load costs little beside what it measures.
type client struct {
	conn net.Conn
	r    *bufio.Reader
	out  []byte
}

func dial(addr string) *client {
	conn, err := net.Dial("tcp", addr)
	harness.Fatal(err)
	return &client{conn: conn, r: bufio.NewReader(conn)}
}

func dialAll(addr string, n int) []*client {
	all := make([]*client, n)
	for i := range all {
		all[i] = dial(addr)
	}
	return all
}

func closeAll(all []*client) {
	for _, c := range all {
		c.conn.Close()
	}
}

// get asks for a path and reads the answer to its end. Any answer but 200 ends the benchmark.
func (c *client) get(path string) {
	c.out = append(append(append(c.out[:0], "GET "...), path...), " HTTP/1.1\r\nHost: bench\r\n\r\n"...)
	_, err := c.conn.Write(c.out)
	harness.Fatal(err)
	line, err := c.r.ReadSlice('\n')
	harness.Fatal(err)
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
		harness.Fatal(fmt.Errorf("%s was answered with %q", path, line))
	}
	length := -1
	for len(line) > len("\r\n") {
		line, err = c.r.ReadSlice('\n')
		harness.Fatal(err)
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			length, err = strconv.Atoi(string(bytes.TrimSpace(value)))
			harness.Fatal(err)
		}
	}
	if length < 0 {
		harness.Fatal(fmt.Errorf("%s was answered without a Content-Length", path))
	}
	_, err = c.r.Discard(length)
	harness.Fatal(err)
}

// together has all clients ask for the path at once, and returns how long each waited for its answer.
func together(clients []*client, path string) []time.Duration {
	took := make([]time.Duration, len(clients))
	begin := make(chan struct{})
	var run sync.WaitGroup
	for i, c := range clients {
		run.Go(func() {
			<-begin
			sent := time.Now()
			c.get(path)
			took[i] = time.Since(sent)
		})
	}
	close(begin)
	run.Wait()
	return took
}

// paced has the clients ask at the given times after now, each when its turn comes, whether or not others are answered. It returns how
// long each request waited. One whose client was still busy when it was due waited from then on, so that a slow answer is not
// hidden by the requests that it held up; one that was sent late because the generator's timer was late did not.
func paced(clients []*client, due []time.Duration, path func(i int) string) []time.Duration {
	took := make([]time.Duration, len(due))
	start := time.Now()
	var run sync.WaitGroup
	for first, c := range clients {
		run.Go(func() {
			for i := first; i < len(due); i += len(clients) {
				from := start.Add(due[i])
				if wait := time.Until(from); wait > 0 {
					time.Sleep(wait)
					from = time.Now()
				}
				c.get(path(i))
				took[i] = time.Since(from)
			}
		})
	}
	run.Wait()
	return took
}
