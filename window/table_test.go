package window_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/sluicegate/sluice/window"
)

func mustTable(t testing.TB, keys int) *window.Table[string] {
	t.Helper()
	table, err := window.NewTable[string](time.Second, 100*time.Millisecond, keys)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// held returns the counts of a table by key.
func held(table *window.Table[string], now window.Instant) map[string]uint64 {
	counts := map[string]uint64{}
	for key, w := range table.All() {
		counts[key] = w.Count(now)
	}
	return counts
}

func TestTableCountsEachKey(t *testing.T) {
	table := mustTable(t, 10)
	table.Add("alice", at(0), 1)
	table.Add("bob", at(0), 2)
	if got := table.AddCount("alice", at(500), 1); got != 2 {
		t.Errorf("alice: %d, want 2", got)
	}
	for key, want := range map[string]uint64{"alice": 1, "bob": 0, "carol": 0} {
		if got := table.Count(key, at(1000)); got != want {
			t.Errorf("%s: %d, want %d", key, got, want)
		}
	}
	if got := table.Len(); got != 2 {
		t.Errorf("%d keys, want 2: asking for carol must not add her", got)
	}
	if table.Window("carol") != nil || table.Window("bob").Precision() != 100*time.Millisecond {
		t.Error("Window is wrong about who is there")
	}
}

func TestFullTableDropsIdleKeysFirst(t *testing.T) {
	table := mustTable(t, 4)
	for _, key := range []string{"early", "idle", "busy"} {
		table.Add(key, at(0), 1)
		table.Add(key, at(0), 1)
	}
	for _, key := range []string{"early", "busy", "once", "new"} {
		table.Add(key, at(1500), 1)
	}
	want := map[string]uint64{"early": 1, "busy": 1, "once": 1, "new": 1}
	if got := held(table, at(1500)); !maps.Equal(got, want) {
		t.Errorf("the table holds %v, want %v", got, want)
	}
	if got, want := table.Dropped(), (window.Dropped{Idle: 1}); got != want {
		t.Errorf("dropped %+v, want %+v", got, want)
	}
}

func TestFloodDrivesOutItself(t *testing.T) {
	const keys, clients, flood = 100, 90, 10_000
	table := mustTable(t, keys)
	for range 2 {
		for i := range clients {
			table.Add("client"+strconv.Itoa(i), at(0), 1)
		}
	}
	for i := range flood {
		table.Add("flood"+strconv.Itoa(i), at(1), 1)
		if got := table.Len(); got > keys {
			t.Fatalf("%d keys, the bound is %d", got, keys)
		}
	}
	for i := range clients {
		if got := table.Count("client"+strconv.Itoa(i), at(1)); got != 2 {
			t.Errorf("client %d counts %d, want 2", i, got)
		}
	}
	gone := uint64(flood - (keys - clients))
	if got, want := table.Dropped(), (window.Dropped{Active: gone, Count: gone}); got != want {
		t.Errorf("dropped %+v, want %+v", got, want)
	}
}

func TestTableTooSmallDropsTheLeastActive(t *testing.T) {
	table := mustTable(t, 3)
	for key, n := range map[string]uint64{"much": 100, "some": 10, "little": 2} {
		table.Add(key, at(0), n)
		table.Add(key, at(0), n)
	}
	table.Add("new", at(0), 1)
	want := map[string]uint64{"much": 200, "some": 20, "new": 1}
	if got := held(table, at(0)); !maps.Equal(got, want) {
		t.Errorf("the table holds %v, want %v", got, want)
	}
	if got, want := table.Dropped(), (window.Dropped{Active: 1, Count: 4}); got != want {
		t.Errorf("dropped %+v, want %+v", got, want)
	}
}

func TestDropIdle(t *testing.T) {
	table := mustTable(t, 1000)
	for i := range 1000 {
		key := strconv.Itoa(i)
		table.Add(key, at(0), 1)
		if i%2 == 0 {
			table.Add(key, at(0), 1)
		}
		if i%10 < 3 {
			table.Add(key, at(900), 1)
		}
	}
	if got := table.DropIdle(at(1000)); got != 700 {
		t.Errorf("dropped %d, want 700", got)
	}
	if got := table.Len(); got != 300 {
		t.Errorf("%d keys stay, want 300", got)
	}
	for i := range 1000 {
		if got, want := table.Count(strconv.Itoa(i), at(1000)), i%10 < 3; (got == 1) != want {
			t.Fatalf("key %d counts %d", i, got)
		}
	}
	if got := table.DropIdle(at(5000)); got != 300 || table.Len() != 0 {
		t.Errorf("dropped %d, %d stay, want all gone", got, table.Len())
	}
	table.Add("again", at(5000), 1)
	if got := table.Count("again", at(5000)); got != 1 {
		t.Errorf("a key after all have gone counts %d", got)
	}
}

func TestTableAllStops(t *testing.T) {
	table := mustTable(t, 10)
	table.Add("a", at(0), 1)
	table.Add("b", at(0), 1)
	seen := 0
	for range table.All() {
		seen++
		break
	}
	if seen != 1 {
		t.Errorf("saw %d keys after break", seen)
	}
}

func TestTableRefuses(t *testing.T) {
	for _, keys := range []int{0, -1, window.MaxKeys + 1} {
		if _, err := window.NewTable[string](time.Second, time.Second, keys); !errors.Is(err, window.ErrConfig) {
			t.Errorf("%d keys: error %v, want ErrConfig", keys, err)
		}
	}
}

// TestTableKeepsKeysThatCollide fills a small table again and again, so that its chains are linked in every order.
func TestTableKeepsKeysThatCollide(t *testing.T) {
	table, err := window.NewTable[int](time.Second, 100*time.Millisecond, 64)
	if err != nil {
		t.Fatal(err)
	}
	// One key after another, each idle when the next 64 have come.
	for i := range 10_000 {
		table.Add(i, at(int64(20*i)), uint64(i+1))
		for back := range min(i+1, 45) { // 45 × 20 ms are within the window, whole buckets considered
			if got := table.Count(i-back, at(int64(20*i))); got != uint64(i-back+1) {
				t.Fatalf("key %d counts %d after key %d", i-back, got, i)
			}
		}
	}
	if d := table.Dropped(); d.Active != 0 || d.Idle < 9_000 {
		t.Errorf("dropped %+v, want idle ones only", d)
	}
}

func TestTableNoAllocationForKnownKeys(t *testing.T) {
	table := mustTable(t, 10)
	table.Add("alice", 0, 1)
	table.Add("alice", 0, 1)
	name := []byte("alice")
	key := string(name)
	if got := testing.AllocsPerRun(1000, func() { table.Add(key, 0, 1); table.Count(key, 0) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func TestTableAcrossRestart(t *testing.T) {
	table := mustTable(t, 10)
	table.Add("alice", at(0), 1)
	table.Add("bob", at(230), 2)
	table.Add("alice", at(430), 4)
	s := table.Snapshot(at(450), wall, func(key string) string { return key })
	if len(s.Windows) != 2 || s.Windows[0].Name != "alice" || s.Elapsed != 50*time.Millisecond {
		t.Fatalf("snapshot %+v", s)
	}

	table, err := window.RestoreTable(time.Second, 100*time.Millisecond, 10, s, asIs, at(77), wall.Add(500*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	// The old instant 950 is instant 77 now, and buckets leave when they would have left.
	for _, c := range []struct {
		ms         int64
		alice, bob uint64
	}{{77, 5, 2}, {126, 5, 2}, {127, 4, 2}, {326, 4, 2}, {327, 4, 0}, {527, 0, 0}} {
		if alice, bob := table.Count("alice", at(c.ms)), table.Count("bob", at(c.ms)); alice != c.alice || bob != c.bob {
			t.Errorf("at %d ms: alice %d, bob %d, want %d and %d", c.ms, alice, bob, c.alice, c.bob)
		}
	}
	// A key that comes later shares the buckets of those that were restored.
	table.Add("carol", at(528), 1)
	s = table.Snapshot(at(530), wall, func(key string) string { return key })
	if want := []window.Named{{Name: "carol", Buckets: []window.Bucket{{Age: 0, Count: 1}}}}; !slices.EqualFunc(s.Windows, want,
		func(a, b window.Named) bool { return a.Name == b.Name && slices.Equal(a.Buckets, b.Buckets) }) {
		t.Errorf("snapshot %+v, want %+v", s.Windows, want)
	}
	if s.Elapsed != 3*time.Millisecond { // buckets begin at 27, 127, ..., 527
		t.Errorf("%v elapsed, want 3ms", s.Elapsed)
	}
}

func TestTableSnapshotBesideLaterAdds(t *testing.T) {
	table := mustTable(t, 10)
	table.Add("alice", at(0), 1)
	table.Add("alice", at(350), 2) // somebody's clock is ahead of the snapshot's
	s := table.Snapshot(at(250), wall, func(key string) string { return key })
	want := []window.Bucket{{Age: 0, Count: 2}, {Age: 2, Count: 1}}
	if len(s.Windows) != 1 || !slices.Equal(s.Windows[0].Buckets, want) {
		t.Errorf("snapshot %+v, want buckets %+v", s.Windows, want)
	}
	if _, err := s.MarshalBinary(); err != nil {
		t.Error(err)
	}
}

func TestRestoreIntoSmallerTable(t *testing.T) {
	table := mustTable(t, 10)
	for i := range 10 {
		table.Add(fmt.Sprint("key", i), at(0), uint64(i+1))
	}
	s := table.Snapshot(at(0), wall, func(key string) string { return key })
	table, err := window.RestoreTable(time.Second, 100*time.Millisecond, 2, s, asIs, 0, wall)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := held(table, 0), (map[string]uint64{"key9": 10, "key8": 9}); !maps.Equal(got, want) {
		t.Errorf("the table holds %v, want %v", got, want)
	}
	if got, want := table.Dropped(), (window.Dropped{Active: 8, Count: 36}); got != want {
		t.Errorf("dropped %+v, want %+v", got, want)
	}
}

func TestRestoredKeysAreKnown(t *testing.T) {
	table := mustTable(t, 10)
	table.Add("alice", at(0), 1)
	table.Add("alice", at(0), 1)
	table.Add("passer-by", at(0), 1)
	s := table.Snapshot(at(0), wall, func(key string) string { return key })
	table, err := window.RestoreTable(time.Second, 100*time.Millisecond, 3, s, asIs, 0, wall)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		table.Add(fmt.Sprint("flood", i), 0, 1)
	}
	if got := table.Count("alice", 0); got != 2 {
		t.Errorf("after a flood alice counts %d, want 2", got)
	}
	if got := table.Count("passer-by", 0); got != 0 {
		t.Errorf("after a flood the passer-by counts %d, want 0", got)
	}
}

func TestRestoreTableRefuses(t *testing.T) {
	restore := func(s window.TableSnapshot, key func(string) (int, error)) error {
		_, err := window.RestoreTable(time.Second, time.Second, 10, s, key, 0, wall)
		return err
	}
	if err := restore(someTable(), strconv.Atoi); !errors.Is(err, strconv.ErrSyntax) {
		t.Errorf("a name that is no key: error %v", err)
	}
	bad := someTable()
	bad.Windows[0].Name = "zoe"
	if err := restore(bad, strconv.Atoi); !errors.Is(err, window.ErrDamaged) {
		t.Errorf("names out of order: error %v", err)
	}
	if err := restore(window.TableSnapshot{}, strconv.Atoi); err != nil {
		t.Errorf("an empty table: error %v", err)
	}
}

func TestRestoreTableMergesNamesOfOneKey(t *testing.T) {
	s := someTable()
	s.Taken = wall
	one := func(string) (string, error) { return "one", nil }
	table, err := window.RestoreTable(time.Second, 100*time.Millisecond, 10, s, one, 0, wall)
	if err != nil {
		t.Fatal(err)
	}
	if got := table.Count("one", 0); got != 10 || table.Len() != 1 {
		t.Errorf("count %d in %d windows, want 10 in one", got, table.Len())
	}
}
