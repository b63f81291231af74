package window_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/sluicegate/sluice/window"
)

// A key is one key, whether it comes as a string or as bytes, and what happens to the bytes later does not matter.
func TestAddBytes(t *testing.T) {
	table := mustTable(t, 10)
	for _, name := range []string{"", "alice", "\xff\x00", strings.Repeat("long", 64)} {
		key := []byte(name)
		window.AddBytes(table, key, at(0), 1)
		if len(key) > 0 {
			key[0]++
		}
		table.Add(name, at(0), 2)
		window.AddBytes(table, []byte(name), at(0), 4)
		if got := table.Count(name, at(0)); got != 7 {
			t.Errorf("%.10q counts %d, want 7", name, got)
		}
	}
	if table.Len() != 4 {
		t.Errorf("%d keys, want 4", table.Len())
	}
}

func TestAddBytesDoesNotAllocate(t *testing.T) {
	table := mustTable(t, 10)
	key := []byte("a name that is longer than the 32 bytes that a conversion may keep on the stack")
	window.AddBytes(table, key, at(0), 1)
	if n := testing.AllocsPerRun(1000, func() { window.AddBytes(table, key, at(0), 1) }); n != 0 {
		t.Errorf("%v allocations for a known key, want none", n)
	}
	name := string(key)
	if n := testing.AllocsPerRun(1000, func() { table.Add(name, at(0), 1) }); n != 0 {
		t.Errorf("%v allocations for a known string, want none", n)
	}
}

// In a table that is too small for its keys every add is either counted or reported as dropped.
func TestAddBytesConcurrentDrops(t *testing.T) {
	table := mustTable(t, 8)
	const workers, adds = 4, 2000
	var all sync.WaitGroup
	for worker := range workers {
		all.Go(func() {
			for i := range adds {
				window.AddBytes(table, fmt.Append(nil, (i*7+worker)%24), at(0), 1)
			}
		})
	}
	all.Wait()
	held := uint64(0)
	for _, w := range table.All() {
		held += w.Count(at(0))
	}
	// An add that meets a drop may be both counted as dropped and done again, so the sum can exceed what was added.
	if sum := held + table.Dropped().Count; sum < workers*adds {
		t.Errorf("%d held and dropped, want at least %d", sum, workers*adds)
	}
}

// BenchmarkAddBytes adds to keys that the table knows, as a gateway does for each request.
func BenchmarkAddBytes(b *testing.B) {
	for _, keys := range []int{1, 10_000} {
		b.Run(fmt.Sprint(keys, "keys"), func(b *testing.B) {
			table := mustTable(b, 10_000)
			names := make([][]byte, keys)
			for i := range names {
				names[i] = fmt.Append(nil, "client-", i)
				window.AddBytes(table, names[i], 0, 2)
				window.AddBytes(table, names[i], 0, 2)
			}
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				var clock coarseClock
				for i := 0; pb.Next(); i++ {
					window.AddBytes(table, names[i*7919%keys], clock.read(), 1)
				}
			})
		})
	}
}
