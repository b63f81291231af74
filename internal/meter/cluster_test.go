package meter_test

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/meter"
	"github.com/sluicegate/sluice/test/redistest"
)

// node is a meter that is part of a cluster.
type node struct {
	*meter.Meter
	cluster *meter.Cluster
	log     *journal
	redis   *redis.Client
	leave   func() // as a process does that is told to stop
	die     func() // as a process does that is killed, as far as others can tell
}

func join(t *testing.T, server *redistest.Server, id string, cfg config.Meter, opts meter.Options) *node {
	t.Helper()
	n := &node{log: new(journal)}
	opts.Log = n.log.log()
	var closeMeter func()
	n.Meter, closeMeter = open(t, cfg, opts)
	n.redis = redis.NewClient(&redis.Options{
		Addr: server.Addr, DialTimeout: time.Second, DialerRetries: 1, ReadTimeout: time.Second, ContextTimeoutEnabled: true, MaxRetries: 1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	n.cluster = meter.Join(n.Meter, n.redis, id, n.log.log())
	closeClient := sync.OnceFunc(func() { n.redis.Close() })
	closeCluster := sync.OnceFunc(n.cluster.Close)
	n.leave = func() { closeCluster(); closeMeter(); closeClient() }
	n.die = func() { closeClient(); n.leave() }
	t.Cleanup(n.leave)
	return n
}

// list is the sum over the cluster as this node sees it.
func (n *node) list() (*meter.Page, error) {
	return n.cluster.List(context.Background(), meter.Query{Scope: meter.ClusterScope, Sort: meter.SortName, Limit: meter.MaxLimit})
}

// awaitCounts waits until the node sees these counts for the cluster.
func (n *node) awaitCounts(t *testing.T, want map[string]uint64) {
	t.Helper()
	var got map[string]uint64
	defer func() {
		if t.Failed() {
			t.Logf("counts are %v, want %v", got, want)
		}
	}()
	await(t, "the cluster's counts", func() bool {
		p, err := n.list()
		if err != nil {
			t.Fatal(err)
		}
		got = counts(t, p, nil)
		return maps.Equal(got, want)
	})
}

// shortFrame is a timeframe that a test can wait for.
func shortFrame() config.Meter {
	return config.Meter{Timeframe: 3 * time.Second, Precision: 100 * time.Millisecond, MaxClients: 100, SyncInterval: time.Second}
}

func TestThreeNodes(t *testing.T) {
	server := redistest.Start(t)
	var nodes []*node
	for i, id := range []string{"n1", "n2", "n3"} {
		nodes = append(nodes, join(t, server, id, longFrame(), meter.Options{}))
		add(nodes[i], "alice", "/a/*", i+1)
		add(nodes[i], id, "/b", 1)
	}
	want := map[string]uint64{"client alice": 6, "client n1": 1, "client n2": 1, "client n3": 1, "route /a/*": 6, "route /b": 3}
	for _, n := range nodes {
		n.awaitCounts(t, want)
	}
	wantCounts(t, nodeCounts(t, nodes[1].Meter), map[string]uint64{"client alice": 2, "client n2": 1, "route /a/*": 2, "route /b": 1})

	p, err := nodes[1].list()
	if err != nil || len(p.Nodes) != 3 {
		t.Fatalf("%+v, %v, want three nodes", p, err)
	}
	for i, n := range p.Nodes {
		if n.ID != []string{"n1", "n2", "n3"}[i] || n.Self != (i == 1) || n.Error != "" || n.Age < 0 || n.Self && n.Age != 0 {
			t.Errorf("node %d is %+v", i, n)
		}
	}
	add(nodes[1], "alice", "/a/*", 1) // one's own requests are there at once
	p, err = nodes[1].list()
	if got := counts(t, p, err); got["client alice"] != 7 {
		t.Errorf("counts are %v, want 7 of alice", got)
	}
	nodes[0].leave() // and what it has counted since it last published is there
	add(nodes[1], "bob", "/b", 1)
	want["client alice"], want["route /a/*"], want["client bob"], want["route /b"] = 7, 7, 1, 4
	nodes[2].awaitCounts(t, want)
}

func TestLeavingPublishes(t *testing.T) {
	server := redistest.Start(t)
	first := join(t, server, "n1", longFrame(), meter.Options{})
	second := join(t, server, "n2", longFrame(), meter.Options{})
	await(t, "the first publication", func() bool { return value(t, second.cluster, "sluice_meter_publications_total", "success") > 0 })
	add(second, "alice", "/", 1)
	second.leave()
	p, err := first.list() // no waiting: it was published before leave returned
	wantCounts(t, counts(t, p, err), map[string]uint64{"client alice": 1, "route /": 1})
}

// TestDeadNodeAgesOut: nobody removes what a dead node has counted, and it goes.
func TestDeadNodeAgesOut(t *testing.T) {
	server := redistest.Start(t)
	first := join(t, server, "n1", shortFrame(), meter.Options{})
	second := join(t, server, "n2", shortFrame(), meter.Options{})
	keep := map[string]uint64{"client alice": 1, "client bob": 1, "route /": 2}
	await(t, "the sum of both", func() bool {
		add(first, "alice", "/", 1)
		add(second, "bob", "/", 1)
		p, err := first.list()
		got := counts(t, p, err)
		return got["client bob"] >= keep["client bob"]
	})
	second.die()
	await(t, "the requests of the dead node to leave", func() bool {
		add(first, "alice", "/", 1)
		p, err := first.list()
		got := counts(t, p, err)
		if got["client alice"] == 0 {
			t.Fatalf("counts are %v: those of the living have gone", got)
		}
		return got["client bob"] == 0 && got["route /"] == got["client alice"]
	})
	await(t, "the dead node to be forgotten", func() bool {
		p, err := first.list()
		return err == nil && len(p.Nodes) == 1 && p.Nodes[0].ID == "n1"
	})
}

// TestClocksAnHourApart: what nodes think the time is does not matter.
func TestClocksAnHourApart(t *testing.T) {
	server := redistest.Start(t)
	var nodes []*node
	for i, off := range []time.Duration{0, -time.Hour, time.Hour} {
		wall := func() time.Time { return time.Now().Add(off) }
		dir := t.TempDir()
		before, closeBefore := open(t, longFrame(), meter.Options{Path: in(dir), Wall: wall})
		add(before, "alice", "/", 1)
		closeBefore() // so that the clock has a part in what the node counts
		nodes = append(nodes, join(t, server, string(rune('a'+i)), longFrame(), meter.Options{Path: in(dir), Wall: wall}))
		add(nodes[i], "alice", "/", 1)
	}
	for _, n := range nodes {
		n.awaitCounts(t, map[string]uint64{"client alice": 6, "route /": 6})
	}
}

// TestReturningNodeIsCountedOnce: a node that comes back with its counts takes its own place.
func TestReturningNodeIsCountedOnce(t *testing.T) {
	server, dir := redistest.Start(t), t.TempDir()
	first := join(t, server, "n1", longFrame(), meter.Options{})
	second := join(t, server, "n2", longFrame(), meter.Options{Path: in(dir)})
	add(second, "alice", "/", 3)
	first.awaitCounts(t, map[string]uint64{"client alice": 3, "route /": 3})
	second.leave()
	again := join(t, server, "n2", longFrame(), meter.Options{Path: in(dir)})
	add(again, "alice", "/", 1)
	for _, n := range []*node{first, again} {
		n.awaitCounts(t, map[string]uint64{"client alice": 4, "route /": 4})
	}
}

// TestRedisDies kills the server and starts another, which is empty. The log hears of each once.
func TestRedisDies(t *testing.T) {
	server := redistest.Start(t)
	first := join(t, server, "n1", longFrame(), meter.Options{})
	second := join(t, server, "n2", longFrame(), meter.Options{})
	add(first, "alice", "/", 1)
	add(second, "alice", "/", 2)
	first.awaitCounts(t, map[string]uint64{"client alice": 3, "route /": 3})

	server.Kill()
	add(first, "alice", "/", 4)
	if p, err := first.list(); !errors.Is(err, meter.ErrUnreachable) {
		t.Errorf("%+v, %v, want ErrUnreachable", p, err)
	}
	wantCounts(t, nodeCounts(t, first.Meter), map[string]uint64{"client alice": 5, "route /": 5})
	await(t, "several failures", func() bool { return value(t, first.cluster, "sluice_meter_publications_total", "failure") >= 2 })
	if n := first.log.count("redis does not answer"); n != 1 {
		t.Errorf("the log says %d times that redis does not answer, want once", n)
	}

	server.Restart()
	await(t, "the log to say that redis is back", func() bool { return first.log.count("redis answers") == 1 })
	first.awaitCounts(t, map[string]uint64{"client alice": 7, "route /": 7})
	second.awaitCounts(t, map[string]uint64{"client alice": 7, "route /": 7})
	if n := first.log.count("level="); n != 2 {
		t.Errorf("%d lines in the log, want 2:\n%s", n, first.log.text.String())
	}
}

// TestRedisHangs stops the server, which then takes connections and says nothing. Counting goes on all the while, and so
// does stopping.
func TestRedisHangs(t *testing.T) {
	server := redistest.Start(t)
	first := join(t, server, "n1", longFrame(), meter.Options{})
	second := join(t, server, "n2", longFrame(), meter.Options{})
	add(second, "alice", "/", 2)
	first.awaitCounts(t, map[string]uint64{"client alice": 2, "route /": 2})

	server.Pause()
	if p, err := first.list(); !errors.Is(err, meter.ErrUnreachable) {
		t.Errorf("%+v, %v, want ErrUnreachable", p, err)
	}
	await(t, "the log to say so", func() bool { return first.log.count("redis does not answer") == 1 })
	add(first, "alice", "/", 1000)
	wantCounts(t, nodeCounts(t, first.Meter), map[string]uint64{"client alice": 1000, "route /": 1000})
	second.leave()
	server.Resume()
	await(t, "the log to say that redis is back", func() bool { return first.log.count("redis answers") == 1 })
	first.awaitCounts(t, map[string]uint64{"client alice": 1002, "route /": 1002})
}

// TestGarbageInRedis: a value that is no publication is reported with its node, and the others are counted.
func TestGarbageInRedis(t *testing.T) {
	server := redistest.Start(t)
	first := join(t, server, "n1", longFrame(), meter.Options{})
	second := join(t, server, "n2", longFrame(), meter.Options{})
	add(second, "alice", "/", 2)
	first.awaitCounts(t, map[string]uint64{"client alice": 2, "route /": 2})
	ctx := context.Background()
	if err := first.redis.ZAdd(ctx, "{sluice:meters}:nodes", redis.Z{Score: 1e15, Member: "n0"}, redis.Z{Score: 1e15, Member: "gone"}).Err(); err != nil {
		t.Fatal(err)
	}
	if err := first.redis.Set(ctx, "{sluice:meters}:node:n0", "hello", time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	p, err := first.list()
	wantCounts(t, counts(t, p, err), map[string]uint64{"client alice": 2, "route /": 2})
	if len(p.Nodes) != 3 || p.Nodes[0].ID != "n0" || p.Nodes[0].Error != "not readable by this version" {
		t.Errorf("nodes are %+v, want three of them, and a complaint about n0", p.Nodes)
	}
}
