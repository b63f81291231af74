package meter_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/meter"
	"github.com/sluicegate/sluice/window"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for something that must happen. It bounds a failing test, not a passing one.
const patience = 60 * time.Second

// await waits until cond holds.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// journal is a log that can be read while it is written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) count(s string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), s)
}

func (j *journal) log() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// longFrame is a configuration in which nothing leaves the window during a test.
func longFrame() config.Meter {
	return config.Meter{Timeframe: time.Hour, Precision: time.Second, MaxClients: 1000, SyncInterval: time.Minute}
}

// open opens a meter that the test's end closes, unless the test does.
func open(t testing.TB, cfg config.Meter, opts meter.Options) (m *meter.Meter, closeNow func()) {
	t.Helper()
	if opts.Log == nil {
		opts.Log = new(journal).log()
	}
	m, err := meter.Open(&cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	closeNow = sync.OnceFunc(m.Close)
	t.Cleanup(closeNow)
	return m, closeNow
}

// in keeps files in a directory.
func in(dir string) func(string) string {
	return func(name string) string { return filepath.Join(dir, name) }
}

type counter interface {
	CountClient(name []byte, now window.Instant)
	CountRoute(name string, now window.Instant)
}

// add counts n requests.
func add(m counter, client, route string, n int) {
	for range n {
		m.CountClient([]byte(client), window.Now())
		m.CountRoute(route, window.Now())
	}
}

// counts reads all meters of a list as "kind name" to count.
func counts(t testing.TB, p *meter.Page, err error) map[string]uint64 {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]uint64)
	for _, r := range p.Meters {
		got[string(r.Kind)+" "+r.Name] = r.Count
	}
	return got
}

func nodeCounts(t testing.TB, m *meter.Meter) map[string]uint64 {
	t.Helper()
	p, err := m.List(meter.Query{Scope: meter.NodeScope, Sort: meter.SortName, Limit: meter.MaxLimit})
	return counts(t, p, err)
}

func wantCounts(t testing.TB, got, want map[string]uint64) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Errorf("counts are %v, want %v", got, want)
	}
}

func TestConcurrentCountsAreExact(t *testing.T) {
	m, _ := open(t, longFrame(), meter.Options{})
	const workers, each = 8, 1000
	var all sync.WaitGroup
	for worker := range workers {
		all.Go(func() {
			name := make([]byte, 0, 16) // used again for each request, as the gateway does
			for i := range each {
				name = fmt.Append(name[:0], "client", (i+worker)%4)
				m.CountClient(name, window.Now())
				m.CountRoute("/a/*", window.Now())
			}
		})
	}
	all.Wait()
	want := map[string]uint64{"route /a/*": workers * each}
	for i := range 4 {
		want[fmt.Sprint("client client", i)] = workers * each / 4
	}
	wantCounts(t, nodeCounts(t, m), want)
}

func TestCountsLeaveTheTimeframe(t *testing.T) {
	m, _ := open(t, config.Meter{Timeframe: 100 * time.Millisecond, Precision: 10 * time.Millisecond, MaxClients: 10, SyncInterval: 10 * time.Millisecond}, meter.Options{})
	add(m, "alice", "/", 3)
	await(t, "an empty list", func() bool { return len(nodeCounts(t, m)) == 0 })
	await(t, "idle names to be dropped", func() bool { return value(t, m, "sluice_meter_keys", "client") == 0 })
}

// TestClientsAreBounded floods a meter with names. Those in use stay, and what had to go is reported.
func TestClientsAreBounded(t *testing.T) {
	cfg := longFrame()
	cfg.MaxClients = 10
	m, _ := open(t, cfg, meter.Options{})
	add(m, "alice", "/", 5)
	for i := range 100 {
		add(m, fmt.Sprint("flood", i), "/", 1)
	}
	if got := nodeCounts(t, m); len(got) != 11 || got["client alice"] != 5 || got["route /"] != 105 {
		t.Errorf("counts are %v, want 10 clients, alice among them, and a route", got)
	}
	for name, want := range map[string]float64{
		"sluice_meter_keys": 10, "sluice_meter_requests": 14, "sluice_meter_dropped_keys_total": 91, "sluice_meter_dropped_requests_total": 91,
	} {
		if got := value(t, m, name, "client"); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	m.Apply(new(longFrame())) // the tables are new ones, the totals go on
	if got := value(t, m, "sluice_meter_dropped_keys_total", "client"); got != 91 {
		t.Errorf("%v keys were dropped, says the metric after a change of the configuration, want 91", got)
	}
}

// value reads one metric.
func value(t *testing.T, c prometheus.Collector, name, label string) float64 {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, metric := range f.GetMetric() {
			if f.GetName() == name && metric.GetLabel()[0].GetValue() == label {
				return metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s of %s", name, label)
	return 0
}

func TestApplyKeepsTheCounts(t *testing.T) {
	m, _ := open(t, longFrame(), meter.Options{})
	add(m, "alice", "/", 3)
	want := map[string]uint64{"client alice": 3, "route /": 3}
	for _, change := range []func(*config.Meter){
		func(c *config.Meter) { c.SyncInterval = time.Second },
		func(c *config.Meter) { c.Precision = 100 * time.Millisecond },
		func(c *config.Meter) { c.Timeframe = 30 * time.Minute },
		func(c *config.Meter) { c.MaxClients = 1 },
	} {
		cfg := longFrame()
		change(&cfg)
		m.Apply(&cfg)
		wantCounts(t, nodeCounts(t, m), want)
		p, err := m.List(meter.Query{Sort: meter.SortName, Limit: 1})
		if err != nil || p.Timeframe != cfg.Timeframe.Seconds() || p.Precision != cfg.Precision.Seconds() {
			t.Errorf("page %+v, %v, want the timeframe and precision of %+v", p, err, cfg)
		}
	}
}

// TestApplyWhileCounting changes the timeframe again and again under traffic. A change can miss a request that is being
// counted at that moment, one for each goroutine, and must not lose more or count twice.
func TestApplyWhileCounting(t *testing.T) {
	m, _ := open(t, longFrame(), meter.Options{})
	const workers, each, applies = 4, 20_000, 20
	var all sync.WaitGroup
	for range workers {
		all.Go(func() { add(m, "alice", "/", each) })
	}
	for i := range applies {
		cfg := longFrame()
		cfg.Timeframe += time.Duration(i%2) * time.Minute
		m.Apply(&cfg)
	}
	all.Wait()
	for name, n := range nodeCounts(t, m) {
		if sent := uint64(workers * each); n > sent || n+workers*applies*2 < sent {
			t.Errorf("%s counts %d of %d", name, n, sent)
		}
	}
}

func TestCountingDoesNotAllocate(t *testing.T) {
	m, _ := open(t, longFrame(), meter.Options{})
	client := []byte("a client with a name of more than 32 bytes, such as a UUID")
	now := window.Now()
	count := func() {
		m.CountClient(client, now)
		m.CountRoute("/a/*", now)
	}
	count()
	if n := testing.AllocsPerRun(1000, count); n != 0 {
		t.Errorf("%v allocations for a request, want none", n)
	}
}

func TestRestart(t *testing.T) {
	dir := t.TempDir()
	began := time.Now()
	clock := func(after time.Duration) func() time.Time { return func() time.Time { return began.Add(after) } }
	first, closeFirst := open(t, longFrame(), meter.Options{Path: in(dir), Wall: clock(0)})
	add(first, "alice", "/a/*", 3)
	add(first, "\xffnot UTF-8", "none", 2)
	want := nodeCounts(t, first)
	closeFirst()

	second, closeSecond := open(t, longFrame(), meter.Options{Path: in(dir), Wall: clock(30 * time.Minute)})
	wantCounts(t, nodeCounts(t, second), want)
	add(second, "alice", "/a/*", 1)
	want["client alice"]++
	want["route /a/*"]++
	wantCounts(t, nodeCounts(t, second), want)
	closeSecond()

	third, _ := open(t, longFrame(), meter.Options{Path: in(dir), Wall: clock(61 * time.Minute)}) // the first ones are too old
	wantCounts(t, nodeCounts(t, third), map[string]uint64{"client alice": 1, "route /a/*": 1})
}

// TestCrash reads the files while the meter that writes them lives on: what a process finds after a crash.
func TestCrash(t *testing.T) {
	dir := t.TempDir()
	cfg := longFrame()
	cfg.SyncInterval = 10 * time.Millisecond
	m, _ := open(t, cfg, meter.Options{Path: in(dir)})
	for n := 1; n <= 3; n++ {
		add(m, "alice", "/", 1)
		await(t, "the files to hold the counts", func() bool {
			copied := t.TempDir()
			if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
				return false // a file was renamed meanwhile
			}
			heir, closeHeir := open(t, longFrame(), meter.Options{Path: in(copied)})
			defer closeHeir()
			got := nodeCounts(t, heir)
			if got["client alice"] > uint64(n) {
				t.Fatalf("restored %v, want at most %d", got, n)
			}
			return maps.Equal(got, map[string]uint64{"client alice": uint64(n), "route /": uint64(n)})
		})
	}
}

func TestDamagedFilesAreSetAside(t *testing.T) {
	dir := t.TempDir()
	first, closeFirst := open(t, longFrame(), meter.Options{Path: in(dir)})
	add(first, "alice", "/", 3)
	closeFirst()
	path := filepath.Join(dir, "meter-clients.bin")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}

	var log journal
	second, closeSecond := open(t, longFrame(), meter.Options{Path: in(dir), Log: log.log()})
	wantCounts(t, nodeCounts(t, second), map[string]uint64{"route /": 3})
	if log.count("counting starts from nothing") != 1 || log.count("set_aside_as="+path+".damaged-") != 1 {
		t.Errorf("the log says %s, want that the file was set aside", log.text.String())
	}
	closeSecond()
	aside, err := filepath.Glob(path + ".damaged-*")
	if err != nil || len(aside) != 1 {
		t.Fatalf("files set aside: %v, %v, want one", aside, err)
	}
	if kept, err := os.ReadFile(aside[0]); err != nil || !slices.Equal(kept, data) {
		t.Errorf("the file that was set aside has changed: %v", err)
	}
}

func TestUnreadableFileIsAnError(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "meter-routes.bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	cfg := longFrame()
	if m, err := meter.Open(&cfg, meter.Options{Path: in(dir), Log: new(journal).log()}); err == nil {
		m.Close()
		t.Error("a directory was read as a file")
	}
}

// TestWriteFailures takes the directory away and brings it back: the log hears of each once.
func TestWriteFailures(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var log journal
	cfg := longFrame()
	cfg.SyncInterval = 10 * time.Millisecond
	m, closeNow := open(t, cfg, meter.Options{Path: in(dir), Log: log.log()})
	add(m, "alice", "/", 1)
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	await(t, "a complaint", func() bool { return log.count("cannot be written") == 1 })
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	await(t, "relief", func() bool { return log.count("written again") == 1 })
	closeNow()
	if n := log.count("level="); n != 2 {
		t.Errorf("%d lines in the log, want 2:\n%s", n, log.text.String())
	}
}
