package redislimit

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/sluicegate/sluice/gcra"
	"github.com/sluicegate/sluice/internal/rate"
)

// ErrOverride is wrapped by errors about what an override says.
var ErrOverride = errors.New("bad override")

// An Override is the limit of one client under one rule, in place of the rule's own.
type Override struct {
	Client string
	Rule   string
	Rate   string // such as "120/min", as package rate reads it
	Burst  int64  // -1: that of the rule

	rate rate.Rate // what Rate says
	last atomic.Pointer[applied]
}

type applied struct{ base, limit gcra.Limit }

// Limit returns the limit that the override makes of the rule's. It is cheap: the last answer is remembered. If the two don't go together, as a slow
// rate and a burst that takes centuries, it is the rule's own.
func (o *Override) Limit(base gcra.Limit) gcra.Limit {
	if last := o.last.Load(); last != nil && last.base == base {
		return last.limit
	}
	burst := o.Burst
	if burst < 0 {
		burst = base.Burst()
	}
	limit, err := o.rate.Limit(burst)
	if err != nil {
		limit = base
	}
	o.last.Store(&applied{base, limit})
	return limit
}

// NewOverride checks what it is given and returns the override.
func NewOverride(client, rule, per string, burst int64) (*Override, error) {
	if client == "" || rule == "" {
		return nil, fmt.Errorf("%w: client and rule must not be empty", ErrOverride)
	}
	parsed, err := rate.Parse(per)
	if err != nil {
		return nil, fmt.Errorf("%w: rate %q: %w", ErrOverride, per, err)
	}
	if _, err := parsed.Limit(max(0, burst)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOverride, err)
	}
	return &Override{Client: client, Rule: rule, Rate: per, Burst: max(-1, burst), rate: parsed}, nil
}

// Overrides are the overrides that Redis holds. Every node has a copy, which a change reaches at once by a message, or within half a second by the
// heartbeat if that was lost. While Redis is away the copy stays as it was. It is safe for concurrent use; Lookup takes no lock.
type Overrides struct {
	link  *Link
	now   atomic.Pointer[map[name]*Override]
	reads atomic.Uint64
	stop  context.CancelFunc
	owned sync.WaitGroup
}

// NewOverrides returns the overrides, none until they have been read for the first time, and starts to follow them. A link can be followed by one.
func NewOverrides(link *Link) *Overrides {
	ctx, stop := context.WithCancel(link.ctx)
	o := &Overrides{link: link, stop: stop}
	o.now.Store(&map[name]*Override{})
	o.owned.Go(func() { o.follow(ctx) })
	o.owned.Go(func() { o.listen(ctx) })
	return o
}

// Close stops following; what is known stays.
func (o *Overrides) Close() {
	o.stop()
	o.owned.Wait()
}

// Lookup returns a client's override of a rule, or nil.
func (o *Overrides) Lookup(client, rule string) *Override {
	all := *o.now.Load()
	if len(all) == 0 {
		return nil
	}
	return all[name{rule, client}]
}

// Len returns how many there are.
func (o *Overrides) Len() int { return len(*o.now.Load()) }

func (l *Link) overridesKey() string { return l.prefix + "overrides" }

// A field of the hash is "rule client", each escaped as in a URL's query, and its value "rate burst".
func field(client, rule string) string { return url.QueryEscape(rule) + " " + url.QueryEscape(client) }

// SetOverride stores an override and tells all nodes.
func (l *Link) SetOverride(ctx context.Context, o *Override) error {
	return l.change(ctx, func(p redis.Pipeliner) {
		p.HSet(ctx, l.overridesKey(), field(o.Client, o.Rule), o.Rate+" "+strconv.FormatInt(o.Burst, 10))
	})
}

// UnsetOverride removes an override and tells all nodes. It reports whether there was one.
func (l *Link) UnsetOverride(ctx context.Context, client, rule string) (was bool, err error) {
	var removed *redis.IntCmd
	err = l.change(ctx, func(p redis.Pipeliner) { removed = p.HDel(ctx, l.overridesKey(), field(client, rule)) })
	return err == nil && removed.Val() > 0, err
}

// change makes a change, counts the version up and publishes it, all in one transaction.
func (l *Link) change(ctx context.Context, change func(redis.Pipeliner)) error {
	_, err := l.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		change(p)
		p.Incr(ctx, l.overridesKey()+":version")
		p.Publish(ctx, l.overridesKey(), l.node)
		return nil
	})
	return wrap("change overrides", err)
}

func wrap(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case unavailable(err):
		return fmt.Errorf("%s: %w: %w", doing, ErrUnavailable, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// GetOverride reads one override from Redis; nil if there is none.
func (l *Link) GetOverride(ctx context.Context, client, rule string) (*Override, error) {
	value, err := l.client.HGet(ctx, l.overridesKey(), field(client, rule)).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, wrap("read override", err)
	}
	return parse(field(client, rule), value)
}

// ListOverrides reads all overrides from Redis, by rule and client. Those that can't be understood are left out, and are the error.
func (l *Link) ListOverrides(ctx context.Context) (all []*Override, err error) {
	values, err := l.client.HGetAll(ctx, l.overridesKey()).Result()
	if err != nil {
		return nil, wrap("read overrides", err)
	}
	var bad []error
	for f, value := range values {
		o, err := parse(f, value)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b *Override) int {
		return strings.Compare(field(a.Client, a.Rule), field(b.Client, b.Rule))
	})
	return all, errors.Join(bad...)
}

func parse(f, value string) (*Override, error) {
	rule, client, ok := strings.Cut(f, " ")
	rule, err1 := url.QueryUnescape(rule)
	client, err2 := url.QueryUnescape(client)
	per, digits, ok2 := strings.Cut(value, " ")
	burst, err3 := strconv.ParseInt(digits, 10, 64)
	if !ok || !ok2 || err1 != nil || err2 != nil || err3 != nil {
		return nil, fmt.Errorf("%w: %q: %q in Redis", ErrOverride, f, value)
	}
	return NewOverride(client, rule, per, burst)
}

// follow reads the overrides whenever they may have changed.
func (o *Overrides) follow(ctx context.Context) {
	for {
		if err := o.read(ctx); err != nil && ctx.Err() == nil {
			wait(ctx, beatEvery)
			o.link.wake()
		}
		select {
		case <-ctx.Done():
			return
		case <-o.link.members.changed:
		}
	}
}

func (o *Overrides) read(ctx context.Context) error {
	all, err := o.link.ListOverrides(ctx)
	if err != nil && !errors.Is(err, ErrOverride) {
		return err
	}
	next := make(map[name]*Override, len(all))
	for _, v := range all {
		next[name{v.Rule, v.Client}] = v
	}
	o.now.Store(&next)
	o.reads.Add(1)
	return nil
}

// listen waits for messages about changes. The client connects again by itself.
func (o *Overrides) listen(ctx context.Context) {
	messages := o.link.client.Subscribe(ctx, o.link.overridesKey())
	defer messages.Close()
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-messages.Channel():
			if !ok {
				return
			}
			o.link.wake()
		}
	}
}
