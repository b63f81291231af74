package live

import "time"

// A Snapshot is the node as it was at a moment. Rates are per second, times in the unit that their name says.
type Snapshot struct {
	Node      Node               `json:"node"`
	Point     Point              `json:"now"`
	Totals    map[string]float64 `json:"totals"` // requests since the start by outcome: passed, limited, coalesced, cached, queued, failed
	Saved     Saved              `json:"upstream"`
	Flushes   Flushes            `json:"flushes"`
	Upstreams []Upstream         `json:"upstreams"`
	Clients   []Client           `json:"clients"`
	Market    *Market            `json:"market"` // null where there is none
	Jobs      *Jobs              `json:"jobs"`   // likewise
	Quotas    []Quota            `json:"quotas"`
	Parts     []Part             `json:"parts"`
}

// Node says which process this is.
type Node struct {
	ID      string    `json:"id"`
	Version string    `json:"version"`
	Listen  string    `json:"listen"` // the URL for clients
	Config  string    `json:"config"` // the file, "" without
	Started time.Time `json:"started"`
	Uptime  float64   `json:"uptime_s"`
}

// A Point is one second of the chart.
type Point struct {
	Time     time.Time          `json:"time"`
	Rates    map[string]float64 `json:"rates"`          // requests per second by outcome
	Requests float64            `json:"requests_per_s"` // all of them
	Calls    float64            `json:"calls_per_s"`    // of upstreams
	P50      float64            `json:"p50_ms"`         // of the last 10 s, 0 without requests
	P99      float64            `json:"p99_ms"`
}

// Saved sets calls of upstreams against requests.
type Saved struct {
	Calls       float64 `json:"calls"`        // since the start
	Saved       float64 `json:"saved"`        // requests that were answered without a call of their own
	Share       float64 `json:"saved_share"`  // of both together, 0 to 1
	ShareLately float64 `json:"saved_lately"` // in the last minute
}

// Flushes tell who decided that a shared call is made.
type Flushes struct {
	Reasons  map[string]float64 `json:"total"`  // since the start, by reason: policy, timer, size, close, joined, cached, passthrough
	Lately   map[string]float64 `json:"lately"` // in the last minute
	Sizes    []Bucket           `json:"sizes"`  // of batches, in the last minute
	MeanSize float64            `json:"mean_size"`
}

// A Bucket counts what is at most UpTo and above the bound of the one before. The last has none: 0.
type Bucket struct {
	UpTo  float64 `json:"up_to"`
	Count float64 `json:"count"`
}

// An Upstream is one upstream with its gate and its targets.
type Upstream struct {
	Name        string   `json:"name"`
	InFlight    int64    `json:"in_flight"`
	MaxInFlight int      `json:"max_in_flight"` // 0: not bounded
	Waiting     int      `json:"waiting"`
	MaxWaiting  int      `json:"max_waiting"`
	Targets     []Target `json:"targets"`
}

// A Target is one server of an upstream.
type Target struct {
	Address  string `json:"address"`
	Healthy  bool   `json:"healthy"`
	Ejected  bool   `json:"ejected"`
	InFlight int64  `json:"in_flight"`
	Calls    int64  `json:"calls"` // since the start
}

// A Client is one of those with the most requests lately.
type Client struct {
	Name    string  `json:"name"`
	Rate    float64 `json:"rate_per_s"` // in the last 10 s, or the timeframe if that is shorter
	Count   uint64  `json:"count"`      // in the meters' timeframe
	Refused uint64  `json:"refused"`    // of those
	Limits  []Limit `json:"limits"`     // of rules per client, but those that nodes share: to ask them would cost Redis
}

// A Limit is what a rule allows a client.
type Limit struct {
	Rule      string `json:"rule"`
	Limit     int64  `json:"limit"` // at once
	Remaining int64  `json:"remaining"`
	Rate      string `json:"rate"`
}

// Market is the auction.
type Market struct {
	Bids     int           `json:"bids"`     // open
	Volume   uint64        `json:"volume"`   // that they ask for
	Leftover uint64        `json:"leftover"` // offered and not sold
	Levels   []MarketLevel `json:"levels"`   // the best prices
	Fills    []MarketFill  `json:"fills"`    // the last, newest first
}

// A MarketLevel is one price.
type MarketLevel struct {
	Price  uint64 `json:"price"`
	Volume uint64 `json:"volume"`
	Bids   int    `json:"bids"`
}

// A MarketFill is one bid that was served.
type MarketFill struct {
	Time     time.Time `json:"time"`
	Username string    `json:"username"`
	Price    uint64    `json:"price"`
	Volume   uint64    `json:"volume"`
}

// Jobs are the queues of what was accepted to be done later.
type Jobs struct {
	Queued    int       `json:"queued"`
	Running   int       `json:"running"`
	Done      int       `json:"done"`
	Failed    int       `json:"failed"`
	OldestAge float64   `json:"oldest_age_s"` // of those that wait, 0 without
	Dead      []DeadJob `json:"dead"`         // the latest that failed
}

// A DeadJob is one that is not tried again unless somebody says so.
type DeadJob struct {
	ID       string    `json:"id"`
	Queue    string    `json:"queue"`
	Owner    string    `json:"owner"`
	Attempts int       `json:"attempts"`
	Finished time.Time `json:"finished"`
	Error    string    `json:"error"`
}

// A Quota is what a user may store in the month, and has.
type Quota struct {
	User     string    `json:"user"`
	Limit    uint64    `json:"limit_bytes"`
	Used     uint64    `json:"used_bytes"`
	Reserved uint64    `json:"reserved_bytes"`
	Resets   time.Time `json:"resets"`
}

// A Part is something that can be switched off, and how to switch it on.
type Part struct {
	Name string `json:"name"`
	On   bool   `json:"on"`
	How  string `json:"how"` // lines of configuration, or a command
}
