package work_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/work"
)

// fail ends a task as told.
func fail(how ending, task int) {
	switch how {
	case panics:
		panic(task)
	case exits:
		runtime.Goexit()
	}
}

// A refLine is the line of a tenant, as plainly as can be.
type refLine struct {
	tenant       string
	weight, left int
	tasks        []int
}

// A refQueue has the line whose turn it is first.
type refQueue []*refLine

func (q *refQueue) push(tenant string, weight, task int) {
	for _, l := range *q {
		if l.tenant == tenant {
			l.weight, l.tasks = weight, append(l.tasks, task)
			return
		}
	}
	*q = append(*q, &refLine{tenant: tenant, weight: weight, tasks: []int{task}})
}

func (q *refQueue) pop() (tenant string, weight, task int) {
	l := (*q)[0]
	if l.left == 0 {
		l.left = l.weight
	}
	l.left--
	task = l.tasks[0]
	q.remove(task)
	if len(l.tasks) > 0 && l.left == 0 {
		*q = append((*q)[1:], l)
	}
	return l.tenant, l.weight, task
}

func (q *refQueue) remove(task int) {
	for i, l := range *q {
		if at := slices.Index(l.tasks, task); at >= 0 {
			l.tasks = slices.Delete(l.tasks, at, at+1)
			if len(l.tasks) == 0 {
				*q = slices.Delete(*q, i, i+1)
			}
			return
		}
	}
}

func (q refQueue) size() (n int) {
	for _, l := range q {
		n += len(l.tasks)
	}
	return n
}

// longest returns how many tasks a line has at most, and length how many that of the tenant has.
func (q refQueue) longest() (n int) {
	for _, l := range q {
		n = max(n, len(l.tasks))
	}
	return n
}

func (q refQueue) length(tenant string) int {
	for _, l := range q {
		if l.tenant == tenant {
			return len(l.tasks)
		}
	}
	return 0
}

// A reference does what a pool should do, step by step, in one goroutine.
type reference struct {
	opt            options
	queue, blocked refQueue
	running        []int
	accepted       map[int]time.Time
	owner          map[int]string
	stats          work.Stats
}

func (r *reference) accept(tenant string, weight, task int) {
	r.queue.push(tenant, weight, task)
	r.accepted[task] = time.Now()
	r.stats.Accepted++
}

// settle starts what can be started, and lets blocked ones in.
func (r *reference) settle() {
	for len(r.running) < r.stats.Workers && r.queue.size() > 0 {
		_, _, task := r.queue.pop()
		r.running = append(r.running, task)
		for r.queue.size() < r.opt.Queue && r.blocked.size() > 0 {
			r.accept(r.blocked.pop())
		}
	}
	slices.Sort(r.running)
}

func (r *reference) end(task int, how ending) {
	r.running = slices.DeleteFunc(r.running, func(t int) bool { return t == task })
	r.stats.Done++
	if how != returns {
		r.stats.Panics++
	}
	r.settle()
}

func (r *reference) figures() work.Stats {
	s := r.stats
	s.Depth, s.Tenants, s.Blocked, s.Busy = r.queue.size(), len(r.queue), r.blocked.size(), len(r.running)
	for _, l := range r.queue {
		for _, task := range l.tasks {
			s.Oldest = max(s.Oldest, time.Since(r.accepted[task]))
		}
	}
	return s
}

// A drop is what OnDrop is told.
type drop struct {
	tenant string
	task   int
	why    error
}

// A step of a script: what is done, and two numbers that say with what.
type step struct{ what, a, b byte }

const kinds = 10

func (s step) String() string {
	names := [kinds]string{"submit", "submit", "submit", "submit", "end", "end", "cancel", "weight", "resize", "sleep"}
	return fmt.Sprintf("%s %d %d", names[s.what%kinds], s.a, s.b)
}

// A game plays a script on a pool and on the reference.
type game struct {
	t       *testing.T
	pool    *pool
	floor   *floor
	ref     *reference
	weights map[string]int
	callers map[int]*caller
	drops   []drop
	panics  []any
	next    int
}

func newGame(t *testing.T, opt options) *game {
	g := &game{t: t, floor: newFloor(), weights: map[string]int{}, callers: map[int]*caller{}}
	opt.Run = g.floor.run
	opt.Weight = func(tenant string) int { return g.weights[tenant] }
	opt.OnDrop = func(tenant string, task int, why error) { g.drops = append(g.drops, drop{tenant, task, why}) }
	opt.OnPanic = func(tenant string, task int, value any, _ []byte) {
		if value != any(task) && value != any(work.ErrGoexit) || tenant != g.ref.owner[task] {
			t.Errorf("task %d of %s panicked with %v", task, tenant, value)
		}
		g.panics = append(g.panics, value)
	}
	g.pool = work.New(opt)
	g.ref = &reference{opt: opt, accepted: map[int]time.Time{}, owner: map[int]string{}, stats: work.Stats{Workers: opt.Workers}}
	return g
}

func (g *game) play(script []step) {
	for i, s := range script {
		switch s.what % kinds {
		case 0, 1, 2, 3:
			g.submit(string('a' + rune(s.a%5)))
		case 4, 5:
			if n := len(g.ref.running); n > 0 {
				task, how := g.ref.running[int(s.a)%n], []ending{returns, returns, panics, exits}[s.b%4]
				g.floor.end(task, how)
				g.ref.end(task, how)
			}
		case 6:
			g.cancel(int(s.a))
		case 7:
			g.weights[string('a'+rune(s.a%5))] = int(s.b%6) - 1
		case 8:
			n := int(s.a%6) - 1
			g.pool.Resize(n)
			g.ref.stats.Workers = max(0, n)
			g.ref.settle()
		case 9:
			time.Sleep(time.Duration(s.a) * ms)
		}
		g.compare(fmt.Sprintf("step %d, %v", i, s))
	}
	g.close()
}

func (g *game) submit(tenant string) {
	task := g.next
	g.next++
	g.ref.owner[task] = tenant
	weight := max(1, g.weights[tenant])
	before := len(g.drops)
	c := call(g.t, g.pool, tenant, task)
	r := g.ref
	full := r.queue.size() >= r.opt.Queue
	switch {
	case full && r.opt.Full == work.Block:
		if c.done {
			g.t.Fatalf("Submit of task %d should wait, and returned %v", task, c.err)
		}
		g.callers[task] = c
		r.blocked.push(tenant, weight, task)
		return
	case full && (r.opt.Full == work.Fail || r.queue.length(tenant)+1 >= r.queue.longest()):
		if !c.done || !errors.Is(c.err, work.ErrFull) || len(g.drops) != before {
			g.t.Fatalf("Submit of task %d should be refused: done %v, error %v, dropped %v", task, c.done, c.err, g.drops[before:])
		}
		r.stats.Refused++
		return
	case full:
		g.shed(before)
	}
	if !c.done || c.err != nil {
		g.t.Fatalf("Submit of task %d should succeed: done %v, error %v", task, c.done, c.err)
	}
	r.accept(tenant, weight, task)
	r.settle()
}

// shed checks what was dropped: the newest of a line that is the longest.
func (g *game) shed(before int) {
	if len(g.drops) != before+1 {
		g.t.Fatalf("dropped %v, want one task", g.drops[before:])
	}
	d := g.drops[before]
	for _, l := range g.ref.queue {
		if l.tenant != d.tenant {
			continue
		}
		if len(l.tasks) != g.ref.queue.longest() || l.tasks[len(l.tasks)-1] != d.task || !errors.Is(d.why, work.ErrFull) {
			g.t.Fatalf("dropped %+v of the line %v, the longest has %d", d, l.tasks, g.ref.queue.longest())
		}
	}
	g.ref.queue.remove(d.task)
	g.ref.stats.Shed++
}

// cancel lets one who waits in Submit give up.
func (g *game) cancel(which int) {
	var waiting []int
	for _, l := range g.ref.blocked {
		waiting = append(waiting, l.tasks...)
	}
	if len(waiting) == 0 {
		return
	}
	task := waiting[which%len(waiting)]
	g.callers[task].cancel()
	synctest.Wait()
	if c := g.callers[task]; !c.done || !errors.Is(c.err, context.Canceled) {
		g.t.Fatalf("the cancelled Submit of task %d: done %v, error %v", task, c.done, c.err)
	}
	g.ref.blocked.remove(task)
	delete(g.callers, task)
}

// compare compares the pool with the reference.
func (g *game) compare(where string) {
	g.t.Helper()
	if got, want := g.floor.now(), g.ref.running; !slices.Equal(got, want) {
		g.t.Fatalf("%s: %v are running, want %v", where, got, want)
	}
	if got, want := g.pool.Stats(), g.ref.figures(); got != want {
		g.t.Fatalf("%s: figures\n%+v, want\n%+v", where, got, want)
	}
	if len(g.panics) != int(g.ref.stats.Panics) {
		g.t.Fatalf("%s: told of %d panics, want %d", where, len(g.panics), g.ref.stats.Panics)
	}
	for task, c := range g.callers {
		_, accepted := g.ref.accepted[task]
		if c.done != accepted || c.err != nil {
			g.t.Fatalf("%s: the Submit of task %d: done %v, error %v, want done %v", where, task, c.done, c.err, accepted)
		}
	}
}

// close closes the pool, with no time to lose.
func (g *game) close() {
	queued, running := g.ref.queue, len(g.ref.running)
	ctx, cancel := context.WithCancel(g.t.Context())
	cancel()
	before := len(g.drops)
	var want []drop
	for queued.size() > 0 {
		tenant, _, task := queued.pop()
		want = append(want, drop{tenant, task, work.ErrClosed})
	}
	g.checkReport(g.pool.Close(ctx), len(want), running)
	if got := slices.Clone(g.drops[before:]); !reflect.DeepEqual(got, want) && len(got)+len(want) > 0 {
		g.t.Fatalf("dropped %v, want %v", got, want)
	}
	g.checkReport(g.pool.Close(g.t.Context()), len(want), running)
	synctest.Wait()
	for task, c := range g.callers {
		if _, accepted := g.ref.accepted[task]; !c.done || accepted != (c.err == nil) || !accepted && !errors.Is(c.err, work.ErrClosed) {
			g.t.Fatalf("the Submit of task %d, accepted: %v, at the end: done %v, error %v", task, accepted, c.done, c.err)
		}
	}
	if s := g.pool.Stats(); s.Accepted != s.Done+s.Shed+s.Dropped || s.Depth+s.Busy+s.Blocked+s.Tenants != 0 {
		g.t.Fatalf("figures at the end: %+v", s)
	}
}

// checkReport checks what Close returned.
func (g *game) checkReport(err error, notRun, cancelled int) {
	g.t.Helper()
	if notRun+cancelled == 0 {
		if err != nil {
			g.t.Fatal(err)
		}
		return
	}
	var u *work.UnfinishedError
	if !errors.As(err, &u) || u.NotRun != notRun || u.Cancelled != cancelled || !errors.Is(err, context.Canceled) {
		g.t.Fatalf("%v, want %d not run, %d cancelled", err, notRun, cancelled)
	}
}

func anyStep(rt *rapid.T) step {
	return step{byte(rapid.IntRange(0, kinds-1).Draw(rt, "what")), rapid.Byte().Draw(rt, "a"), rapid.Byte().Draw(rt, "b")}
}

var modes = map[string]work.WhenFull{"block": work.Block, "fail": work.Fail, "shed": work.Shed}

// TestAgainstReference plays random scripts.
func TestAgainstReference(t *testing.T) {
	for name, full := range modes {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				opt := options{Full: full, Workers: rapid.IntRange(1, 4).Draw(rt, "workers"), Queue: rapid.IntRange(1, 12).Draw(rt, "queue")}
				script := rapid.SliceOfN(rapid.Custom(anyStep), 1, 200).Draw(rt, "script")
				synctest.Test(t, func(t *testing.T) { newGame(t, opt).play(script) })
			})
		})
	}
}

// TestLongScripts plays scripts that rapid, which likes short ones, seldom comes to.
func TestLongScripts(t *testing.T) {
	for seed := range uint64(600) {
		rng := rand.New(rand.NewPCG(seed, 7))
		opt := options{Full: work.WhenFull(seed % 3), Workers: 1 + rng.IntN(4), Queue: 1 + rng.IntN(12)}
		script := make([]step, 150)
		for i := range script {
			script[i] = step{byte(rng.IntN(kinds)), byte(rng.IntN(256)), byte(rng.IntN(256))}
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newGame(t, opt).play(script) })
		})
	}
}

// FuzzAgainstReference takes the options and the script from bytes.
func FuzzAgainstReference(f *testing.F) {
	f.Add([]byte{0, 1, 2, 0, 0, 0, 0, 1, 0, 0, 2, 0, 0, 0, 0, 6, 0, 0, 4, 0, 0})
	f.Add([]byte{2, 0, 3, 7, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 8, 5, 0, 4, 0, 2, 4, 0, 3})
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) < 3 || len(in) > 600 {
			return
		}
		opt := options{Full: work.WhenFull(in[0] % 3), Workers: 1 + int(in[1]%4), Queue: 1 + int(in[2]%12)}
		var script []step
		for in = in[3:]; len(in) >= 3; in = in[3:] {
			script = append(script, step{in[0], in[1], in[2]})
		}
		synctest.Test(t, func(t *testing.T) { newGame(t, opt).play(script) })
	})
}
