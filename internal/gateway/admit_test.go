package gateway

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/identify"
)

// stalling is an upstream whose requests wait until a test lets them go, and that remembers their order.
type stalling struct {
	*httptest.Server
	came, leave chan string // the paths of requests
}

func newStalling(t *testing.T) *stalling {
	s := &stalling{came: make(chan string, 100), leave: make(chan string, 100)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		s.came <- r.URL.Path
		select {
		case <-s.leave:
		case <-r.Context().Done():
		}
		w.Header().Set("Cache-Control", "public")
		io.WriteString(w, r.URL.Path)
	}))
	t.Cleanup(s.Close)
	return s
}

// next is the request that the upstream gets next.
func (s *stalling) next(t *testing.T) string {
	t.Helper()
	select {
	case path := <-s.came:
		return path
	case <-time.After(patience):
		t.Fatal("no request reaches the upstream")
		return ""
	}
}

// gateOf makes a gateway in front of one upstream with the rest of its section, and routes.
func (s *stalling) gateOf(t *testing.T, section, routes string) *gate {
	return start(t, parse(t, "identify: {trusted_proxies: [127.0.0.0/8]}\nupstreams: {u: {targets: [%q], %s}}\nroutes: [%s]\n", s.URL, section, routes))
}

// until waits until so many requests wait for a slot.
func (g *gate) until(t *testing.T, waiting int) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		st := g.Status().Upstreams[0].Admission
		if st.Waiting == waiting {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%+v, expected %d that wait", *st, waiting)
		}
	}
}

// send sends a request in a goroutine, and answers with "status body" when it has an answer.
func (g *gate) send(t *testing.T, method, path, body, price string) <-chan string {
	got := make(chan string, 1)
	req, err := http.NewRequest(method, "http://"+g.addr+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	req.Header.Set("X-Price", price)
	req.Header.Set("Content-Type", "application/json")
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Error(err)
			got <- "failed"
			return
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		got <- fmt.Sprint(resp.StatusCode, " ", string(text))
	}()
	return got
}

const oneSlot = "max_in_flight: 1, queue: {price_header: X-Price, timeout: 1m}"

// A call that several wait for takes one slot, and bids the highest of their prices.
func TestSharedCallBidsTheHighestPrice(t *testing.T) {
	for name, shared := range map[string]struct{ method, routes, body string }{
		"coalesced": {"GET", "{path: /s, upstream: u, coalesce: {policy: timer, hold: 1m, max_batch: 2}}, {path: /*, upstream: u}", ""},
		"merged":    {"POST", "{path: /s, upstream: u, merge: {policy: timer, hold: 1m, max_batch: 2}}, {path: /*, upstream: u}", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStalling(t)
			g := s.gateOf(t, oneSlot, shared.routes)
			answers := []<-chan string{g.send(t, "GET", "/first", "", "0")}
			if got := s.next(t); got != "/first" {
				t.Fatal(got)
			}
			answers = append(answers, g.send(t, "GET", "/three", "", "3"))
			g.until(t, 1)
			answers = append(answers, g.send(t, shared.method, "/s", shared.body, "1"), g.send(t, shared.method, "/s", shared.body, "5"))
			g.until(t, 2)
			var order []string
			for range 2 {
				s.leave <- ""
				order = append(order, s.next(t))
			}
			s.leave <- ""
			if want := []string{"/s", "/three"}; !slices.Equal(order, want) {
				t.Errorf("the upstream got %q, expected %q", order, want)
			}
			for _, a := range answers {
				<-a
			}
			if len(s.came) > 0 {
				t.Errorf("one more call: %s", <-s.came)
			}
		})
	}
}

// What is merged is not sent one by one when there is no room for it as a whole.
func TestRefusedMergedCallIsNotSplit(t *testing.T) {
	s := newStalling(t)
	g := s.gateOf(t, "max_in_flight: 1, queue: {max: 0}", "{path: /s, upstream: u, merge: {policy: timer, hold: 1m, max_batch: 2}}, {path: /*, upstream: u}")
	first := g.send(t, "GET", "/first", "", "0")
	s.next(t)
	for _, a := range []<-chan string{g.send(t, "POST", "/s", "1", "0"), g.send(t, "POST", "/s", "2", "0")} {
		if got := <-a; got[:3] != "503" {
			t.Error(got)
		}
	}
	s.leave <- ""
	<-first
	if n := gather(t, g.reg)["sluice_admit_refused_total full u"]; n != 1 {
		t.Errorf("refused %v times, expected once", n)
	}
}

// A stale answer is better than none, also where the upstream is not asked because it has too much to do.
func TestStaleAnswerInsteadOfRefusal(t *testing.T) {
	var mu sync.Mutex
	stall := false
	release := make(chan struct{})
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		wait := stall
		mu.Unlock()
		if wait {
			<-release
		}
		w.Header().Set("Cache-Control", "max-age=0, stale-if-error=600")
		w.Header().Set("ETag", `"1"`)
		io.WriteString(w, "kept")
	}))
	defer origin.Close()
	g := start(t, parse(t, "upstreams: {u: {targets: [%q], max_in_flight: 1, queue: {max: 0}}}\n"+
		"routes: [{path: /s, upstream: u, cache: {}}, {path: /*, upstream: u}]\n", origin.URL))
	if _, body := g.ask(t, get("/s")); body != "kept" {
		t.Fatal(body)
	}
	mu.Lock()
	stall = true
	mu.Unlock()
	first := g.send(t, "GET", "/first", "", "")
	for end := time.Now().Add(patience); g.Status().Upstreams[0].Admission.InFlight == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing is in flight")
		}
	}
	if resp, body := g.ask(t, get("/s")); resp.StatusCode != 200 || body != "kept" {
		t.Errorf("%s %q", resp.Status, body)
	}
	if resp, _ := g.ask(t, get("/other")); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%s with Retry-After %q", resp.Status, resp.Header.Get("Retry-After"))
	}
	close(release)
	<-first
}

// Calls that began before a reload count after it, and those who wait go on waiting, under the new rules.
func TestReloadKeepsSlots(t *testing.T) {
	s := newStalling(t)
	const routes = "{path: /*, upstream: u}"
	g := s.gateOf(t, oneSlot, routes)
	apply := func(section string) {
		g.Apply(parse(t, "identify: {trusted_proxies: [127.0.0.0/8]}\nupstreams: {u: {targets: [%q], %s}}\nroutes: [%s]\n", s.URL, section, routes))
	}
	answers := []<-chan string{g.send(t, "GET", "/1", "", "0")}
	s.next(t)
	answers = append(answers, g.send(t, "GET", "/2", "", "0"))
	g.until(t, 1)
	apply(oneSlot + ", retries: {max: 0}")
	answers = append(answers, g.send(t, "GET", "/3", "", "1"))
	g.until(t, 2)
	apply("max_in_flight: 2, queue: {order: fifo, timeout: 1m}")
	if got := s.next(t); got != "/2" {
		t.Errorf("%s goes next", got)
	}
	if st := g.Status().Upstreams[0].Admission; *st != (AdmissionStatus{MaxInFlight: 2, InFlight: 2, MaxWaiting: 1000, Waiting: 1}) {
		t.Errorf("%+v", *st)
	}
	apply("retries: {max: 0}") // no bound: who comes now does not wait
	if st := g.Status().Upstreams[0].Admission; st != nil {
		t.Errorf("%+v", *st)
	}
	answers = append(answers, g.send(t, "GET", "/4", "", "0"))
	if got := s.next(t); got != "/4" {
		t.Errorf("%s goes next", got)
	}
	for range answers {
		s.leave <- ""
	}
	for _, a := range answers {
		if got := <-a; got[:3] != "200" {
			t.Error(got)
		}
	}
}

func TestPrice(t *testing.T) {
	const asked = "X-Price"
	for _, tt := range []struct {
		header  string
		trusted bool
		fields  []string
		want    int64
	}{
		{asked, true, []string{"7"}, 7},
		{asked, true, []string{"0"}, 0},
		{asked, true, []string{"9223372036854775807"}, 1<<63 - 1},
		{asked, true, []string{"9223372036854775808"}, 4},
		{asked, true, []string{"-1"}, 4},
		{asked, true, []string{"+1"}, 4},
		{asked, true, []string{" 1"}, 4},
		{asked, true, []string{"1.5"}, 4},
		{asked, true, []string{""}, 4},
		{asked, true, nil, 4},
		{asked, true, []string{"7", "9"}, 4},
		{asked, true, []string{"7", "x"}, 4},
		{asked, false, []string{"7"}, 4},
		{"", true, []string{"7"}, 4},
	} {
		u := &config.Upstream{Queue: config.Queue{PriceHeader: tt.header}}
		r := &request{
			Exchange: new(http1.Exchange), client: identify.Client{Price: 4, Trusted: tt.trusted, Addr: netip.IPv4Unspecified()},
			route: &route{pool: newBackend(u, nil, slog.New(slog.DiscardHandler))},
		}
		for _, v := range tt.fields {
			r.Fields = append(r.Fields, http1.Field{Name: []byte("x-PRICE"), Value: []byte(v)})
		}
		if got := r.price(); got != tt.want {
			t.Errorf("%+v: %d", tt, got)
		}
		r.route.pool.Close()
	}
}
