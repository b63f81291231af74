package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// histories is how many are checked.
func histories() uint64 {
	if os.Getenv("SLUICE_SOAK") == "1" {
		return 20_000
	}
	return 500
}

// A floor lets clients work on a market at once, and keeps what they asked, what they got and when.
type floor struct {
	t      *testing.T
	bases  []string // of the market's nodes; clients are spread over them
	settle func()   // waits until every node has applied what any answered; until then only orders are sent; nil for one node
	client *http.Client
	began  time.Time
	info   porcupine.LinearizationInfo // of the latest check
}

func newFloor(t *testing.T, bases ...string) *floor {
	return &floor{t: t, bases: bases, client: newClient(t), began: time.Now()}
}

// known is the ids that clients have seen, for others to cancel.
type known struct {
	mu  sync.Mutex
	ids []uint64
}

func (k *known) add(id uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ids = append(k.ids, id)
}

// pick returns one of the ids, sometimes one that no bid has.
func (k *known) pick(r *rand.Rand) uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := r.IntN(len(k.ids) + 1); n < len(k.ids) {
		return k.ids[n]
	}
	return 1 << 60
}

// history lets 4 to 6 clients do 4 to 6 operations each, on an empty book and with users of their own, and reads all at the end.
func (f *floor) history(n uint64) []porcupine.Operation {
	r := rand.New(rand.NewPCG(n, 6))
	clients, each := 4+r.IntN(3), 4+r.IntN(3)
	parts := make([][]porcupine.Operation, clients)
	var ids known
	var all sync.WaitGroup
	gate := make(chan struct{})
	for c := range clients {
		r := rand.New(rand.NewPCG(n, uint64(100+c)))
		all.Go(func() {
			<-gate
			for range each {
				parts[c] = append(parts[c], f.operate(c, f.random(r, n, &ids), &ids))
			}
		})
	}
	close(gate)
	all.Wait()
	if f.settle != nil {
		f.settle()
	}
	history := slices.Concat(parts...)
	for _, o := range []marketOp{{kind: "book"}, {kind: "bids", user: userOf(n, 0)}, {kind: "bids", user: userOf(n, 1)},
		{kind: "allocation", user: userOf(n, 0)}, {kind: "allocation", user: userOf(n, 1)}} {
		history = append(history, f.operate(len(history), o, &ids))
	}
	return history
}

func userOf(history uint64, i int) string { return fmt.Sprintf("h%d-u%d", history, i) }

// random draws an operation. One in four orders has one of a few keys, which comes with the same order nearly always.
func (f *floor) random(r *rand.Rand, n uint64, ids *known) marketOp {
	o := marketOp{user: userOf(n, r.IntN(2)), volume: uint64(r.IntN(6)), price: uint64(r.IntN(3))}
	most := 10
	if f.settle != nil {
		most = 7
	}
	switch k := r.IntN(most); {
	case k < 3:
		o.kind = "buy"
	case k < 6:
		o = marketOp{kind: "sell", volume: o.volume * 2}
	case k < 7:
		return marketOp{kind: "cancel", id: ids.pick(r)}
	case k < 8:
		return marketOp{kind: "allocation", user: o.user}
	case k < 9:
		return marketOp{kind: "bids", user: o.user}
	default:
		return marketOp{kind: "book"}
	}
	if k := r.IntN(12); k < 3 {
		o.key = fmt.Sprintf("h%d-%s-%d", n, o.kind, k)
		if k < 2 {
			o.volume, o.price = 3, 1
			if o.kind == "sell" {
				o.price = 0
			} else {
				o.user = userOf(n, 0)
			}
		}
	}
	return o
}

func (f *floor) operate(client int, o marketOp, ids *known) porcupine.Operation {
	call := time.Since(f.began)
	a, body, err := perform(f.client, f.bases[client%len(f.bases)], o)
	end := time.Since(f.began)
	if err != nil || a.status >= 500 {
		f.t.Errorf("%v: %v %s", o, err, body)
	}
	if a.id != 0 {
		ids.add(a.id)
	}
	return porcupine.Operation{ClientId: client, Input: o, Call: int64(call), Output: a, Return: int64(end)}
}

// empty leaves neither bids nor supply in the book.
func (f *floor) empty() {
	f.t.Helper()
	if f.settle != nil {
		defer f.settle()
	}
	resp, err := f.client.Get(f.bases[0] + "/book")
	if err != nil {
		f.t.Fatal(err)
	}
	var d marketDepth
	if err := json.Unmarshal([]byte(readReply(f.t, resp).body), &d); err != nil {
		f.t.Fatal(err)
	}
	for _, o := range []marketOp{{kind: "sell", volume: d.Open}, {kind: "buy", user: "broom", volume: d.Left}} {
		if a, body, err := perform(f.client, f.bases[0], o); err != nil || a.rest != 0 {
			f.t.Fatalf("%v: %v %s", o, err, body)
		}
	}
}

// check says whether a plain book could have answered so, in an order in which what was answered came before what was asked later.
func (f *floor) check(history []porcupine.Operation) bool {
	result, info := porcupine.CheckOperationsVerbose(plainModel, history, patience)
	if result == porcupine.Unknown {
		f.t.Fatalf("no verdict on %d operations within %v", len(history), patience)
	}
	f.info = info
	return result == porcupine.Ok
}

// overlaps reports whether some operations went on at once: a history without says nothing.
func overlaps(history []porcupine.Operation) bool {
	sorted := slices.SortedFunc(slices.Values(history), func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	for i := 1; i < len(sorted); i++ {
		if sorted[i].Call < sorted[i-1].Return {
			return true
		}
	}
	return false
}

// Whatever clients do at once, the market answers as a plain book that does one thing after the other.
func TestMarketLinearizable(t *testing.T) {
	t.Parallel()
	m := startMarket(t, t.TempDir(), "--snapshot-every", "500")
	newFloor(t, m.url).checkAll(histories())
}

// checkAll records and checks so many histories.
func (f *floor) checkAll(all uint64) {
	f.t.Helper()
	concurrent, operations := uint64(0), 0
	for n := range all {
		f.empty()
		history := f.history(n)
		if operations += len(history); overlaps(history) {
			concurrent++
		}
		if !f.check(history) {
			path := filepath.Join(os.TempDir(), "sluice-market-history.html")
			f.t.Errorf("history %d: a plain book does not answer so; drawn in %s: %v", n, path, porcupine.VisualizePath(plainModel, f.info, path))
		}
		if f.t.Failed() {
			return
		}
	}
	f.t.Logf("%d histories, %d with operations at once, %d operations", all, concurrent, operations)
	if concurrent < all*9/10 {
		f.t.Errorf("only %d of %d histories have operations at once", concurrent, all)
	}
}

// A serving is a plain book as a server. How it lets operations get in each other's way is what replace does.
type serving struct {
	state   atomic.Pointer[plainBook]
	stale   atomic.Pointer[plainBook] // as it was before the last change
	replace func(s *serving, change func(plainBook) plainBook)
	behind  bool // reads are of the stale one
}

// gap is long enough for another request to come in between.
const gap = 200 * time.Microsecond

// careful changes the book under a lock.
func careful() func(*serving, func(plainBook) plainBook) {
	var mu sync.Mutex
	return func(s *serving, change func(plainBook) plainBook) {
		mu.Lock()
		defer mu.Unlock()
		old := s.state.Load()
		next := change(*old)
		s.state.Store(&next)
		s.stale.Store(old)
	}
}

// racy reads the book, works, and writes it, whatever another has written meanwhile.
func racy(s *serving, change func(plainBook) plainBook) {
	old := *s.state.Load()
	time.Sleep(gap)
	next := change(old)
	s.state.Store(&next)
}

// ServeHTTP implements http.Handler.
func (s *serving) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o := parseRequest(r)
	var a marketAnswer
	switch o.kind {
	case "allocation", "bids", "book":
		b := s.state.Load()
		if s.behind {
			b = s.stale.Load()
		}
		a = b.read(o)
		writeRead(w, *b, o, a)
		return
	}
	s.replace(s, func(b plainBook) (next plainBook) {
		next, a = b.apply(o, b.last+1)
		return next
	})
	w.WriteHeader(a.status)
	if a.status == http.StatusOK {
		name := map[string]string{"buy": "open", "sell": "left", "cancel": "cancelled"}[o.kind]
		fmt.Fprintf(w, `{"id":%d,"allocated":%d,%q:%d}`, a.id, a.allocated, name, a.rest)
	}
}

func parseRequest(r *http.Request) marketOp {
	kind, id, _ := strings.Cut(r.URL.Path[1:], "/")
	o := marketOp{kind: kind, user: r.URL.Query().Get("username"), key: r.Header.Get("Idempotency-Key")}
	if r.Method == http.MethodDelete {
		o.kind = "cancel"
		o.id, _ = strconv.ParseUint(id, 10, 64)
	}
	if r.Method == http.MethodPost {
		body, _ := io.ReadAll(r.Body)
		var order struct {
			Username      string
			Volume, Price uint64
		}
		json.NewDecoder(bytes.NewReader(body)).Decode(&order)
		o.user, o.volume, o.price = order.Username, order.Volume, order.Price
	}
	return o
}

func writeRead(w http.ResponseWriter, b plainBook, o marketOp, a marketAnswer) {
	w.WriteHeader(a.status)
	switch {
	case a.status != http.StatusOK:
	case o.kind == "allocation":
		io.WriteString(w, a.text)
	case o.kind == "bids":
		json.NewEncoder(w).Encode(map[string]any{"Bids": b.of(o.user)})
	default:
		json.NewEncoder(w).Encode(b.depth())
	}
}

// The check above passes a plain book behind a lock, and fails one that loses updates and one whose reads are late.
func TestMarketCheckFindsRaces(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		serving *serving
		legal   bool
	}{
		{"careful", &serving{replace: careful()}, true},
		{"lost updates", &serving{replace: racy}, false},
		{"late reads", &serving{replace: careful(), behind: true}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.serving
			found := 0
			for n := range uint64(50) {
				s.state.Store(&plainBook{})
				s.stale.Store(&plainBook{})
				server := httptest.NewServer(s)
				f := newFloor(t, server.URL)
				if !f.check(f.history(n)) {
					found++
				}
				server.Close()
			}
			t.Logf("%d of 50 histories are not those of a book", found)
			if c.legal != (found == 0) {
				t.Errorf("legal: %v, want %v", found == 0, c.legal)
			}
		})
	}
}
