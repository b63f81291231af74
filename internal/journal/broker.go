package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicegate/sluice/internal/datadir"
)

const (
	serverStart = 30 * time.Second       // for an embedded server to recover what it stores
	repairEvery = 500 * time.Millisecond // at least, between two starts of an embedded server
	memoryStore = 64 << 20               // what an embedded server may keep in memory: consumers, no messages
)

// A Broker is a way to JetStream: a server inside this process, or a connection to others. Journals share it. Its
// methods are safe for concurrent use.
type Broker struct {
	log  *slog.Logger
	dir  string // of the embedded server; "" if it is somewhere else
	sync bool

	health *health // of the embedded server

	mu       sync.Mutex // guards what follows, and is held while the embedded server starts anew
	server   *server.Server
	conn     *nats.Conn
	js       jetstream.JetStream
	repaired time.Time
	closed   bool
}

// EmbedConfig says where an embedded server keeps its files.
type EmbedConfig struct {
	// Dir is this node's directory. The server uses jetstream/ below it.
	Dir *datadir.Dir
	Log *slog.Logger

	// NoSync leaves syncing to the server's timer of two minutes: what was answered may be lost with the machine. It is
	// for measuring what syncing costs.
	NoSync bool
}

// Embed starts a NATS server inside this process, which listens on no port.
func Embed(cfg EmbedConfig) (*Broker, error) {
	b := &Broker{log: logger(cfg.Log), dir: cfg.Dir.Path("jetstream"), sync: !cfg.NoSync, health: &health{}}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.startLocked(); err != nil {
		return nil, fmt.Errorf("starting the embedded log: %w", err)
	}
	return b, nil
}

// DialConfig says how to reach a NATS cluster.
type DialConfig struct {
	// URL is a list of URLs, separated by commas, as nats://user:password@host:4222.
	URL string
	Log *slog.Logger

	// Options are further options of the connection: certificates, credentials.
	Options []nats.Option
}

// Dial connects to NATS servers with JetStream, and stays connected. It doesn't wait for a connection.
func Dial(cfg DialConfig) (*Broker, error) {
	b := &Broker{log: logger(cfg.Log)}
	options := append(b.options(),
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(200*time.Millisecond),
		nats.ReconnectBufSize(-1), // an append that waited for a connection would come later than its author thinks
		nats.PingInterval(2*time.Second), nats.MaxPingsOutstanding(2), nats.Timeout(2*time.Second))
	conn, err := nats.Connect(cfg.URL, append(options, cfg.Options...)...)
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	if b.js, err = jetstream.New(conn); err != nil {
		conn.Close()
		return nil, fmt.Errorf("nats: %w", err)
	}
	b.conn = conn
	return b, nil
}

func logger(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}

func (b *Broker) options() []nats.Option {
	return []nats.Option{
		nats.Name("sluice"),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				b.log.Warn("lost the connection to NATS", "error", err)
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) { b.log.Info("connected to NATS again", "server", c.ConnectedUrlRedacted()) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { b.log.Debug("nats", "error", err) }),
	}
}

// embedded reports whether nobody but this process can write to the log.
func (b *Broker) embedded() bool { return b.dir != "" }

// distrust makes the server read and check all that it stored, by removing its summaries of it. Else it believes a
// summary, and then the length and sequence fields of messages that it never checked: one flipped bit makes it ask for
// all memory there is.
func (b *Broker) distrust() error {
	summaries, err := filepath.Glob(filepath.Join(b.dir, "jetstream", "*", "streams", "*", "msgs", "index.db"))
	for _, path := range summaries {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

func (b *Broker) startLocked() error {
	if err := b.distrust(); err != nil {
		return err
	}
	opts := &server.Options{
		ServerName: "sluice", DontListen: true, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: b.dir, SyncAlways: b.sync,
		JetStreamMaxMemory: memoryStore,
		JetStreamMaxStore:  math.MaxInt64 / 4, // the disk is the limit, and snapshots bound the log
		MaxPayload:         maxPayload,
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return err
	}
	s.SetLogger(serverLog{b.log, b.health}, false, false)
	s.Start()
	if !s.ReadyForConnections(serverStart) || !s.JetStreamEnabled() {
		stop(s)
		return fmt.Errorf("the server doesn't take up its storage in %s: see the log", b.dir)
	}
	if err := b.connectLocked(s); err != nil {
		stop(s)
		return err
	}
	b.server = s
	return nil
}

func (b *Broker) connectLocked(s *server.Server) error {
	conn, err := nats.Connect("", append(b.options(), nats.InProcessServer(s), nats.NoReconnect())...)
	if err != nil {
		return err
	}
	js, err := jetstream.New(conn)
	if err != nil {
		conn.Close()
		return err
	}
	b.conn, b.js = conn, js
	return nil
}

func stop(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

// stream returns the way to JetStream at this moment.
func (b *Broker) stream() jetstream.JetStream {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.js
}

// replicas is how many servers should keep a log, if nobody says otherwise.
func (b *Broker) replicas() (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.conn.IsConnected():
		return 0, nats.ErrDisconnected
	case b.conn.ConnectedClusterName() != "":
		return 3, nil
	}
	return 1, nil
}

// errOldServer says that a server has not what a log needs.
var errOldServer = errors.New("the NATS server is too old")

// fit returns errOldServer, wrapped, for a server before 2.10. It accepts streams and forgets their metadata, so that a log there has no identity;
// nor can it sync before it answers.
func (b *Broker) fit() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	version := b.conn.ConnectedServerVersion() // "" without a connection
	var major, minor int
	if n, _ := fmt.Sscanf(version, "%d.%d", &major, &minor); n == 2 && (major < 2 || major == 2 && minor < 10) {
		return fmt.Errorf("%w: %s has version %s, and the log needs 2.10 or later", errOldServer, b.conn.ConnectedUrlRedacted(), version)
	}
	return nil
}

// repair starts an embedded server anew that reported an error, or that is silent for too long: after an error of its
// disk it never tries again by itself. What was stored is found by whoever asked for it, as after any lost reply. Other
// servers are not this process's to repair.
//
// It returns an error if the disk lost a write: the system may have dropped what was to be written, while it still shows
// it to readers, so that nothing this process reads back says what a restart will find.
func (b *Broker) repair(cause error, tooLong bool) error {
	if !b.embedded() {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if message := b.health.lostWrite.Load(); message != nil {
		return damaged("the disk doesn't keep what is written: %s; check it, and start again", *message)
	}
	if b.closed || time.Since(b.repaired) < repairEvery || !tooLong && !b.health.faulty.Load() && b.server.JetStreamEnabled() {
		return nil
	}
	b.health.faulty.Store(false)
	b.log.Error("starting the embedded log anew", "error", cause)
	b.conn.Close()
	stop(b.server)
	if err := b.startLocked(); err != nil {
		b.log.Error("starting the embedded log", "error", err)
	}
	b.repaired = time.Now()
	return nil
}

// Close ends the connection, and the embedded server in order. Close the journals first.
func (b *Broker) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.closed = true
	b.conn.Close()
	if b.server != nil {
		stop(b.server)
	}
}

// health is what an embedded server's messages say about it: it has no other way to say it.
type health struct {
	faulty    atomic.Bool            // there was an error since the server started
	lostWrite atomic.Pointer[string] // the disk failed to write or sync, other than for want of room
}

// serverLog passes on what an embedded server has to say. Its notices are about itself, so they are debug messages here.
type serverLog struct {
	log    *slog.Logger
	health *health
}

func (l serverLog) write(level slog.Level, format string, args []any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, "embedded log", "message", fmt.Sprintf(format, args...))
	}
}

func (l serverLog) Noticef(format string, args ...any) { l.write(slog.LevelDebug, format, args) }
func (l serverLog) Debugf(format string, args ...any)  { l.write(slog.LevelDebug, format, args) }
func (l serverLog) Tracef(format string, args ...any)  { l.write(slog.LevelDebug, format, args) }
func (l serverLog) Warnf(format string, args ...any)   { l.write(slog.LevelWarn, format, args) }

func (l serverLog) Errorf(format string, args ...any) {
	l.write(slog.LevelError, format, args)
	l.health.faulty.Store(true)
	if message := fmt.Sprintf(format, args...); strings.Contains(message, "input/output error") {
		l.health.lostWrite.Store(&message)
	}
}

func (l serverLog) Fatalf(format string, args ...any) { l.write(slog.LevelError, format, args) }

// noPeers is what a cluster says of three replicas while fewer servers have joined it.
const noPeers = 10005

// temporary reports whether an error of JetStream may go away by itself.
func temporary(err error) bool {
	if errors.Is(err, errOldServer) {
		return false
	}
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.Code >= 500 || api.ErrorCode == noPeers
	}
	return true // no reply, no connection
}
