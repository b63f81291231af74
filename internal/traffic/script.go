package traffic

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"net/http"
	"time"
)

// Request is one request of the script.
type Request struct {
	After  time.Duration // since the request before it
	User   string        // the client, sent as X-User
	Method string
	Path   string // with its query
	Body   string // JSON; empty for none
}

// Of every 200 arrivals on average one is followed by a burst: the same client asks for the same hot path burstLength
// times, burstSpeedup times as fast as the average.
const (
	burstEvery   = 200
	burstLength  = 20
	burstSpeedup = 20
)

// users are the clients and their shares of the traffic, out of the sum of the shares.
var users = []struct {
	name  string
	share float64
}{{"alice", 40}, {"bob", 25}, {"carol", 15}, {"dave", 10}, {"erin", 7}, {"frank", 3}}

// hotPaths are what a burst asks for, and half of all.
var hotPaths = []string{
	"/api/products?cache=max-age=2",
	"/api/prices?cache=max-age=1&sleep=20ms",
	"/api/news?cache=max-age=5",
}

// kinds are the requests that are made and their shares, out of the sum of the shares.
var kinds = []struct {
	share float64
	make  func(*rand.Rand) Request
}{
	{50, func(r *rand.Rand) Request { return get("%s", hotPaths[r.IntN(len(hotPaths))]) }},
	{20, func(r *rand.Rand) Request { return get("/api/products/%d?cache=max-age=10", r.IntN(50)) }},
	{8, func(r *rand.Rand) Request { return get("/api/search?q=%s", words[r.IntN(len(words))]) }},
	{5, func(r *rand.Rand) Request { return get("/static/%d.bin?bytes=16KiB&cache=max-age=60", r.IntN(5)) }},
	{10, func(r *rand.Rand) Request {
		return Request{Method: http.MethodPost, Path: "/api/orders", Body: fmt.Sprintf(`{"product":%d,"quantity":%d}`, r.IntN(50), 1+r.IntN(5))}
	}},
	{0.3, func(*rand.Rand) Request {
		return Request{Method: http.MethodPost, Path: "/api/orders?status=422", Body: `{"quantity":-1}`}
	}},
	{3, func(r *rand.Rand) Request {
		return Request{Method: http.MethodPut, Path: fmt.Sprintf("/api/cart/%d", r.IntN(20)), Body: `{"gift":true}`}
	}},
	{2, func(r *rand.Rand) Request { return get("/api/report?sleep=%dms", 300+r.IntN(700)) }},
	{1, func(r *rand.Rand) Request { return get("/api/legacy?status=%d", []int{404, 500, 503}[r.IntN(3)]) }},
}

var words = []string{"lock", "gate", "weir", "canal", "mill", "barge"}

func get(format string, args ...any) Request {
	return Request{Method: http.MethodGet, Path: fmt.Sprintf(format, args...)}
}

// Script yields the requests that a generator sends, without end. It is the same for the same seed and rate, which is
// in requests per second, bursts included, and greater than zero. Single requests arrive as a Poisson process.
func Script(seed uint64, rate float64) iter.Seq[Request] {
	return func(yield func(Request) bool) {
		r := rand.New(rand.NewPCG(seed, 0))
		// burstEvery single gaps and one burst together have to take the time of all their requests at rate.
		quick := 1 / (rate * burstSpeedup)
		gap := ((burstEvery+burstLength)/rate - burstLength*quick) / burstEvery
		for {
			next := single(r)
			next.After = seconds(r.ExpFloat64() * gap)
			if !yield(next) {
				return
			}
			if r.IntN(burstEvery) == 0 && !burst(r, next.User, seconds(quick), yield) {
				return
			}
		}
	}
}

// single draws one request and who makes it.
func single(r *rand.Rand) Request {
	next := kinds[pick(r, len(kinds), func(i int) float64 { return kinds[i].share })].make(r)
	next.User = users[pick(r, len(users), func(i int) float64 { return users[i].share })].name
	return next
}

// burst yields a burst of user, and reports whether to go on.
func burst(r *rand.Rand, user string, after time.Duration, yield func(Request) bool) bool {
	next := get("%s", hotPaths[r.IntN(len(hotPaths))])
	next.User, next.After = user, after
	for range burstLength {
		if !yield(next) {
			return false
		}
	}
	return true
}

// pick draws one of n by their shares.
func pick(r *rand.Rand, n int, share func(int) float64) int {
	total := 0.0
	for i := range n {
		total += share(i)
	}
	at := r.Float64() * total
	for i := range n - 1 {
		if at -= share(i); at < 0 {
			return i
		}
	}
	return n - 1
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
