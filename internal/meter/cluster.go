package meter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sluicegate/sluice/window"
)

// Keys in Redis. The braces put them into one slot of a Redis Cluster.
const (
	nodesKey      = "{sluice:meters}:nodes" // sorted set of the nodes' names by the time of their last publication, in ms
	nodeKeyPrefix = "{sluice:meters}:node:" // publication of one node
)

const (
	publishEvery = time.Second     // between the end of one publication and the next
	patience     = 2 * time.Second // with Redis, for one publication or one reading
	maxNodes     = 1000            // that are read
	readAtOnce   = 4               // publications in memory at a time
)

// ErrUnreachable is wrapped by the error of List when Redis does not answer, or not as it should.
var ErrUnreachable = errors.New("redis did not answer")

// A Cluster makes many meters one. Every node publishes its counts each second, under a key of its own that expires when
// all of them have left the timeframe; whoever wants the sum reads the keys. So a node that has died, or left, is counted
// until its requests are too old, and nothing has to be cleaned up after it.
//
// Redis's clock stamps what is published and says what is too old, so the wall clocks of nodes need not agree.
//
// Make one with Join. Its methods are safe for concurrent use.
type Cluster struct {
	meter *Meter
	redis redis.UniversalClient
	id    string
	log   *slog.Logger

	published, failed atomic.Uint64

	cancel  context.CancelFunc // ends publishing
	stopped chan struct{}
}

// Join begins to publish m's counts through client as those of the node id, which no other node may have. A node that
// comes back with the counts that it had must come back with its id, or they are counted twice.
func Join(m *Meter, client redis.UniversalClient, id string, log *slog.Logger) *Cluster {
	ctx, cancel := context.WithCancel(context.Background())
	c := &Cluster{meter: m, redis: client, id: id, log: log, cancel: cancel, stopped: make(chan struct{})}
	go c.keepPublishing(ctx)
	return c
}

// Close publishes for the last time, if Redis answers, and stops. Call it after the last request, and before closing the
// client.
func (c *Cluster) Close() {
	c.cancel()
	<-c.stopped
}

// keepPublishing publishes until ctx ends, and tells the log when Redis goes and when it comes back.
func (c *Cluster) keepPublishing(ctx context.Context) {
	defer close(c.stopped)
	lost := false
	for ctx.Err() == nil {
		err := c.tryPublish(ctx)
		if failed := err != nil; failed != lost && ctx.Err() == nil {
			lost = failed
			if lost {
				c.log.Warn("redis does not answer: other nodes do not see this node's requests", "error", err)
			} else {
				c.log.Info("redis answers: other nodes see this node's requests")
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(publishEvery):
		}
	}
	if !lost {
		c.tryPublish(context.WithoutCancel(ctx)) // what came since; if it fails, a second of counts is missing elsewhere
	}
}

func (c *Cluster) tryPublish(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := c.publish(ctx)
	if err != nil {
		c.failed.Add(1)
	} else {
		c.published.Add(1)
	}
	return err
}

func (c *Cluster) publish(ctx context.Context) error {
	now, at, err := c.clock(ctx)
	if err != nil {
		return err
	}
	p := publish(c.meter.snapshot(now, at))
	data, err := p.encode()
	if err != nil {
		return err
	}
	s := p.counts[Route]
	life := s.Timeframe + s.Precision + time.Second
	_, err = c.redis.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		tx.Set(ctx, nodeKeyPrefix+c.id, data, life)
		tx.ZAdd(ctx, nodesKey, redis.Z{Score: float64(at.UnixMilli()), Member: c.id})
		tx.ZRemRangeByScore(ctx, nodesKey, "-inf", fmt.Sprint(at.Add(-maxLife).UnixMilli()))
		tx.PExpire(ctx, nodesKey, maxLife)
		return nil
	})
	return err
}

// maxLife is longer than any publication lives: the longest timeframe that a configuration allows, and more.
const maxLife = 48 * time.Hour

// clock reads this process's clock and Redis's at the same moment, give or take half the time that Redis took to answer.
func (c *Cluster) clock(ctx context.Context) (now window.Instant, at time.Time, err error) {
	before := window.Now()
	at, err = c.redis.Time(ctx).Result()
	return before.Add(window.Now().Sub(before) / 2), at, err
}

// A Node is one of those whose counts are added up.
type Node struct {
	ID      string  `json:"id"`
	Self    bool    `json:"self,omitempty"`           // the one that answers
	Age     float64 `json:"age_seconds"`              // of what is known of it
	LeftOut uint64  `json:"names_left_out,omitempty"` // those that counted least, of too many
	Error   string  `json:"error,omitempty"`          // why it could not be counted
}

// List is Meter.List for all nodes together: this one as it is, and the others as they have last published. It returns a
// *QueryError, or an error that wraps ErrUnreachable.
func (c *Cluster) List(ctx context.Context, q Query) (*Page, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	t, own := c.meter.read(window.Now())
	all := newSum(own)
	nodes, err := c.addOthers(ctx, all, t.cfg.Timeframe)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	nodes = append(nodes, Node{ID: c.id, Self: true})
	slices.SortFunc(nodes, func(a, b Node) int { return strings.Compare(a.ID, b.ID) })
	return q.page(&Page{Scope: ClusterScope, Nodes: nodes}, t, all.list)
}

// addOthers adds what the other nodes have published, a few at a time.
func (c *Cluster) addOthers(ctx context.Context, all *sum, timeframe time.Duration) ([]Node, error) {
	ids, err := c.redis.ZRevRange(ctx, nodesKey, 0, maxNodes-1).Result() // the last to publish first
	if err != nil {
		return nil, err
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { return id == c.id })
	var nodes []Node
	for some := range slices.Chunk(ids, readAtOnce) {
		keys := make([]string, len(some))
		for i, id := range some {
			keys[i] = nodeKeyPrefix + id
		}
		values, err := c.redis.MGet(ctx, keys...).Result()
		if err != nil {
			return nil, err
		}
		now, err := c.redis.Time(ctx).Result() // after the values, so that none is from the future
		if err != nil {
			return nil, err
		}
		for i, value := range values {
			if data, ok := value.(string); ok { // nil if the key has expired
				nodes = append(nodes, addNode(all, some[i], []byte(data), now, timeframe))
			}
		}
	}
	return nodes, nil
}

// addNode adds one node's publication. One that cannot be read is no reason to say nothing of the others.
func addNode(all *sum, id string, data []byte, now time.Time, timeframe time.Duration) Node {
	p, err := decodePublication(data)
	if err != nil {
		return Node{ID: id, Error: err.Error()}
	}
	all.addPublication(&p, now, timeframe)
	age := max(now.Sub(p.counts[Route].Taken), 0)
	return Node{ID: id, Age: age.Seconds(), LeftOut: p.leftOut}
}
