// Package meter is the stage that counts requests: per client as soon as the client has a name, whatever becomes of the
// request, and per route once that is known. The counts look back over one moving timeframe ([window.Table]), so they are
// always those of the last minute, say, and not of an hour that ended.
//
// A [Meter] counts. It survives restarts through files, if it is given a directory, and a [Cluster] adds up the meters of
// many nodes through Redis. Neither is ever on the path of a request: counting is two additions in memory.
package meter

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/window"
)

// A Kind says what a meter's name names.
type Kind string

// The kinds of meters.
const (
	Client  Kind = "client"
	Refused Kind = "refused" // a client, by those of its requests that were limited
	Route   Kind = "route"
)

// kinds lists them in the order of their names.
var kinds = [...]Kind{Client, Refused, Route}

// maxRoutes bounds the routes that are counted. Routes of earlier configurations are among them until they are idle.
const maxRoutes = 10_000

// Options say where a meter keeps its counts.
type Options struct {
	// Path returns the path of a file that outlasts the process. Nil keeps nothing. Two meters must not share files.
	Path func(name string) string
	Log  *slog.Logger
	// Wall is the wall clock that says how long the process was down. Nil is time.Now.
	Wall func() time.Time
}

// Meter counts requests per client and per route. Make one with Open. Its methods are safe for concurrent use.
type Meter struct {
	opts   Options
	tables atomic.Pointer[tables]

	mu      sync.Mutex              // held while the tables are replaced, and by those who need them whole
	dropped map[Kind]window.Dropped // what tables that were replaced had dropped; guarded by mu

	stop, stopped chan struct{} // of housekeeping
}

// tables are the windows of one configuration. They are never changed, only replaced as a whole.
type tables struct {
	cfg     config.Meter
	clients *window.Table[string]
	refused *window.Table[string]
	routes  *window.Table[string]
}

func (t *tables) of(k Kind) *window.Table[string] {
	switch k {
	case Client:
		return t.clients
	case Refused:
		return t.refused
	default:
		return t.routes
	}
}

// Open makes a meter that goes on where the files leave off; time that has passed since counts as time. A file that
// cannot be trusted is set aside and reported to the log, and counting starts from nothing. The error is that a file cannot
// be read.
func Open(cfg *config.Meter, opts Options) (*Meter, error) {
	if opts.Wall == nil {
		opts.Wall = time.Now
	}
	m := &Meter{
		opts:    opts,
		dropped: make(map[Kind]window.Dropped),
		stop:    make(chan struct{}),
		stopped: make(chan struct{}),
	}
	kept, err := m.load()
	if err != nil {
		return nil, err
	}
	m.tables.Store(restore(cfg, kept, window.Now(), opts.Wall()))
	go m.housekeep()
	return m, nil
}

// CountClient counts a request of the client at the instant now. It allocates only for a name that is new, and does not
// keep the slice.
func (m *Meter) CountClient(name []byte, now window.Instant) {
	window.AddBytes(m.tables.Load().clients, name, now, 1)
}

// CountRefused counts a request of the client that was limited, at the instant now: beside the one that CountClient has counted. It
// allocates only for a name that is new, and does not keep the slice.
func (m *Meter) CountRefused(name []byte, now window.Instant) {
	window.AddBytes(m.tables.Load().refused, name, now, 1)
}

// CountRoute counts a request for the route at the instant now. It allocates only for a name that is new.
func (m *Meter) CountRoute(name string, now window.Instant) {
	m.tables.Load().routes.Add(name, now, 1)
}

// Apply replaces the configuration. The counts stay; a new timeframe or precision folds them over. Requests that are being
// counted at this very moment, which takes nanoseconds, may be missed when it does.
func (m *Meter) Apply(cfg *config.Meter) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.tables.Load()
	next := *cfg
	next.SyncInterval = old.cfg.SyncInterval
	if next == old.cfg { // the windows are the same
		m.tables.Store(&tables{cfg: *cfg, clients: old.clients, refused: old.refused, routes: old.routes})
		return
	}
	m.refoldLocked(cfg, old)
}

// refoldLocked replaces tables by others that hold the same counts. Copying takes milliseconds, in which requests come: a
// detour counts them, so that they are neither part of the copy nor lost.
func (m *Meter) refoldLocked(cfg *config.Meter, old *tables) {
	detour := restore(cfg, nil, 0, time.Time{})
	m.tables.Store(detour)
	now, wall := window.Now(), m.opts.Wall()
	next := restore(cfg, old.snapshot(now, wall), now, wall)
	m.tables.Store(next)
	for _, k := range kinds {
		addAll(next.of(k), detour.of(k), window.Now())
		m.dropped[k] = sumDropped(m.dropped[k], sumDropped(old.of(k).Dropped(), detour.of(k).Dropped()))
	}
}

// addAll adds what from counts to to. As when a table is restored, requests are taken to have come at the end of their
// bucket. Nothing in from may be from before this process.
func addAll(to, from *window.Table[string], now window.Instant) {
	var counts []uint64
	for name, w := range from.All() {
		counts = w.AppendBuckets(counts[:0], now)
		start := w.BucketStart(now)
		for i := len(counts) - 1; i >= 0; i-- {
			if counts[i] > 0 {
				to.Add(name, min(start.Add(w.Precision()-1), now), counts[i])
			}
			start = start.Add(-w.Precision())
		}
	}
}

func sumDropped(a, b window.Dropped) window.Dropped {
	return window.Dropped{Idle: a.Idle + b.Idle, Active: a.Active + b.Active, Count: a.Count + b.Count}
}

// snapshots are what tables hold, by kind. The nil map is that of empty tables.
type snapshots map[Kind]window.TableSnapshot

func (t *tables) snapshot(now window.Instant, wall time.Time) snapshots {
	s := make(snapshots, len(kinds))
	for _, k := range kinds {
		s[k] = t.of(k).Snapshot(now, wall, func(name string) string { return name })
	}
	return s
}

// snapshot copies the counts as they are at the instant now, which is wall on the clock that they will be read by.
func (m *Meter) snapshot(now window.Instant, wall time.Time) snapshots {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tables.Load().snapshot(now, wall)
}

// restore makes tables that hold what s held.
func restore(cfg *config.Meter, s snapshots, now window.Instant, wall time.Time) *tables {
	table := func(k Kind, maxKeys int) *window.Table[string] {
		t, err := window.RestoreTable(cfg.Timeframe, cfg.Precision, maxKeys, s[k], func(name string) (string, error) { return name, nil }, now, wall)
		if err != nil {
			panic(err) // the configuration allows no more than a table takes, and s was checked when it was made
		}
		return t
	}
	return &tables{
		cfg:     *cfg,
		clients: table(Client, cfg.MaxClients),
		refused: table(Refused, cfg.MaxClients),
		routes:  table(Route, maxRoutes),
	}
}
