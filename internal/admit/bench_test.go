package admit_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/admit"
	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/rate"
)

func TestFreeSlotTakesNoMemory(t *testing.T) {
	g, c := admit.New(limited(2, nil)), new(client)
	if n := testing.AllocsPerRun(1000, func() {
		a, _ := g.Enter(c, 1)
		b, _ := g.Enter(c, 1)
		a.Release()
		b.Release()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkFreeSlot is a request that does not have to wait, and its release.
func BenchmarkFreeSlot(b *testing.B) {
	g, c := admit.New(limited(64, nil)), new(client)
	b.ReportAllocs()
	for b.Loop() {
		ticket, err := g.Enter(c, 1)
		if err != nil {
			b.Fatal(err)
		}
		ticket.Release()
	}
}

// BenchmarkFreeSlotParallel has all processors want the gate at once.
func BenchmarkFreeSlotParallel(b *testing.B) {
	g := admit.New(limited(64, nil))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		c := new(client)
		for pb.Next() {
			if ticket, err := g.Enter(c, 1); err == nil {
				ticket.Release()
			}
		}
	})
}

// BenchmarkHandover is one slot going from request to request while so many wait: each iteration is a release, the admission of the first in
// the queue, its waking up, and its coming back as a new one.
func BenchmarkHandover(b *testing.B) {
	for _, waiting := range []int{1, 1000} {
		b.Run(fmt.Sprint(waiting), func(b *testing.B) {
			g := admit.New(limited(1, func(q *config.Queue) {
				q.Max, q.Timeout, q.Age = waiting+1, time.Hour, config.Ageing{Rate: rate.Rate{Count: 1, Period: time.Second}}
			}))
			admitted, stop := make(chan *admit.Ticket), make(chan struct{})
			var all sync.WaitGroup
			for i := range waiting + 1 {
				all.Go(func() { queueUp(g, int64(i), admitted, stop) })
			}
			for g.Stats().Waiting < waiting {
				time.Sleep(time.Millisecond)
			}
			b.ReportAllocs()
			for b.Loop() {
				(<-admitted).Release()
			}
			close(stop)
			g.Close()
			all.Wait()
		})
	}
}

// queueUp enters again and again, and passes on its tickets.
func queueUp(g *admit.Gate, price int64, admitted chan<- *admit.Ticket, stop <-chan struct{}) {
	c := new(client)
	for {
		ticket, err := g.Enter(c, price)
		if err != nil {
			return
		}
		select {
		case admitted <- ticket:
		case <-stop:
			ticket.Release()
			return
		}
	}
}

// BenchmarkRefused is a request that meets a full queue.
func BenchmarkRefused(b *testing.B) {
	g, c := admit.New(limited(1, func(q *config.Queue) { q.Max = 0 })), new(client)
	ticket, err := g.Enter(c, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer ticket.Release()
	b.ReportAllocs()
	for b.Loop() {
		g.Enter(c, 1)
	}
}
