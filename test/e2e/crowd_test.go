package e2e_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// crowd is how many clients share how large an answer, in bytes.
type crowd struct {
	clients int
	size    int64
}

func crowdSize() crowd {
	if os.Getenv("SLUICE_E2E_FULL") == "1" {
		return crowd{100, 100 << 20}
	}
	return crowd{50, 20 << 20}
}

// One call streams a large answer to many clients, in memory that neither its size nor the clients' number counts for. One of them stops
// reading after a little: the others get everything while it pauses, and it gets everything afterwards.
func TestLargeAnswerToManyClients(t *testing.T) {
	t.Parallel()
	c := crowdSize()
	for _, known := range []bool{true, false} {
		t.Run(fmt.Sprintf("known length %v", known), func(t *testing.T) {
			var calls atomic.Int64
			origin := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/large" {
					return
				}
				calls.Add(1)
				if known {
					w.Header().Set("Content-Length", fmt.Sprint(c.size))
				}
				io.CopyBuffer(struct{ io.Writer }{w}, noise(1, c.size), make([]byte, 256<<10))
			})
			g := serve(t, "timeouts: {write: 10m}\n"+
				sharingOf(origin, fmt.Sprintf("coalesce: {policy: timer, hold: 1m, max_batch: %d}", c.clients)))
			do(t, "POST", g.url+"/warm", "")
			before := g.status("VmRSS")
			want := digest(t, noise(1, c.size))

			slow := dial(t, g.addr())
			slow.SetDeadline(time.Now().Add(10 * patience))
			slow.send("GET /large HTTP/1.1\r\nHost: e2e\r\n\r\n")
			var others sync.WaitGroup
			for i := range c.clients - 1 {
				others.Go(func() {
					if got := download(t, g.addr()); got != want {
						t.Errorf("client %d got the SHA-256 %s, expected %s", i, got, want)
					}
				})
			}
			resp, err := http.ReadResponse(slow.br, nil)
			if err != nil {
				t.Fatal(err)
			}
			h := sha256.New()
			if _, err := io.CopyN(h, resp.Body, 4<<10); err != nil {
				t.Fatal(err)
			}
			others.Wait() // the slow one reads nothing meanwhile
			if _, err := io.Copy(h, resp.Body); err != nil || hexSum(h) != want {
				t.Errorf("the slow client got the SHA-256 %s and %v, expected %s", hexSum(h), err, want)
			}
			if n := calls.Load(); n != 1 {
				t.Errorf("the origin was called %d times", n)
			}
			growth := g.status("VmHWM") - before
			t.Logf("resident memory grew by at most %d KiB from %d KiB for %d MiB to %d clients", growth, before, c.size>>20, c.clients)
			most := int64(maxGrowth)
			if raceEnabled {
				most *= 3 // the race detector keeps records of all memory in memory
			}
			if growth > most {
				t.Errorf("resident memory grew by %d KiB, expected at most %d", growth, most)
			}
			await(t, "the file of the answer to be gone", func() bool { return g.descriptors() < 40 })
		})
	}
}

// download gets the large answer on a connection of its own, and returns its SHA-256.
func download(t *testing.T, addr string) string {
	c := dial(t, addr)
	c.SetDeadline(time.Now().Add(10 * patience))
	c.send("GET /large HTTP/1.1\r\nHost: e2e\r\nConnection: close\r\n\r\n")
	resp, err := http.ReadResponse(c.br, nil)
	if err != nil {
		t.Error(err)
		return ""
	}
	h := sha256.New()
	if _, err := io.CopyBuffer(h, resp.Body, make([]byte, 64<<10)); err != nil {
		t.Error(err)
	}
	return hexSum(h)
}
