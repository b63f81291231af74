package journal_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/journal"
)

// soak reports whether there is time for the long tests, which make soak runs.
func soak() bool { return os.Getenv("SLUICE_SOAK") != "" }

// smallLog leaves a directory with a log, two snapshots and a tail, and returns what it held.
func smallLog(t *testing.T) (path string, want journal.Status, counts map[uint64]uint64) {
	path = t.TempDir()
	n := embedded(t, path, snapshotEvery(4))
	for i := range uint64(11) {
		n.must(i % 5)
		if i%4 == 3 {
			n.awaitSnapshot(i + 1)
		}
	}
	eventually(t, func() bool { // of the snapshots at 4 and 8, the older makes what is before it unnecessary
		first, err := n.FirstSequence(t.Context())
		return err == nil && first == 5
	})
	n.close()
	return path, n.Status(), n.machine.counts
}

// awaitSnapshot waits until there is a snapshot of a sequence, and none is being taken.
func (n *node) awaitSnapshot(seq uint64) {
	n.t.Helper()
	path := n.dir.Path("journal-test/" + snapshotFile(seq))
	eventually(n.t, func() bool {
		_, err := os.Stat(path)
		return err == nil
	})
}

// eventually waits for what is certain to come.
func eventually(t testing.TB, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("what was to come doesn't")
		}
	}
}

func snapshotEvery(commands uint64) func(*journal.Config) {
	return func(c *journal.Config) { c.SnapshotEvery = commands }
}

// stateFiles lists what a journal and its log keep.
func stateFiles(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			rel, _ := filepath.Rel(dir, path)
			if rel != "lock" && rel != "node-id" {
				files = append(files, rel)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// check opens a directory that something happened to: the state is what it was and the node works on, or it refuses.
func check(t *testing.T, path string, want journal.Status, counts map[uint64]uint64) (refused bool) {
	t.Helper()
	n, err := tryEmbedded(t, path)
	if err != nil {
		if !errors.Is(err, journal.ErrDamaged) {
			t.Errorf("refused with %v, which isn't ErrDamaged", err)
		}
		t.Logf("refused: %v", err)
		return true
	}
	defer n.close()
	if got := n.Status(); got != want || !maps.Equal(n.machine.counts, counts) {
		t.Errorf("a wrong state: %+v %v, want %+v %v", got, n.machine.counts, want, counts)
	}
	if got := n.must(100).place; got != want.Commands+1 {
		t.Errorf("the next command has place %d, want %d", got, want.Commands+1)
	}
	return false
}

// copyDir copies a directory to a new one.
func copyDir(t *testing.T, path string) string {
	t.Helper()
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(path)); err != nil {
		t.Fatal(err)
	}
	return copied
}

// Every byte of every file is flipped in turn; without time for that, every nineteenth.
func TestFlippedBytes(t *testing.T) {
	t.Parallel()
	path, want, counts := smallLog(t)
	step := 19
	if soak() {
		step = 1
	}
	refusals, flips := 0, 0
	for _, file := range stateFiles(t, path) {
		data, err := os.ReadFile(filepath.Join(path, file))
		if err != nil {
			t.Fatal(err)
		}
		for at := flips % step; at < len(data); at += step {
			flips++
			t.Run(fmt.Sprintf("%s/%d", filepath.Base(file), at), func(t *testing.T) {
				copied := copyDir(t, path)
				damaged := slices.Clone(data)
				damaged[at] ^= 1 << (at % 8)
				if err := os.WriteFile(filepath.Join(copied, file), damaged, 0o600); err != nil {
					t.Fatal(err)
				}
				if check(t, copied, want, counts) {
					refusals++
					if !check(t, copied, want, counts) {
						t.Error("the first start refused, and the second didn't")
					}
				}
			})
		}
	}
	t.Logf("%d flips, %d refusals", flips, refusals)
	if refusals == 0 {
		t.Error("no flip was noticed")
	}
}

// A log whose end is missing has lost what was answered.
func TestTruncatedLog(t *testing.T) {
	path, want, counts := smallLog(t)
	for _, file := range stateFiles(t, path) {
		if !strings.HasSuffix(file, ".blk") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(path, file))
		if err != nil {
			t.Fatal(err)
		}
		for size := 0; size < len(data); size += 97 {
			t.Run(fmt.Sprintf("%s/%d", filepath.Base(file), size), func(t *testing.T) {
				copied := copyDir(t, path)
				if err := os.Truncate(filepath.Join(copied, file), int64(size)); err != nil {
					t.Fatal(err)
				}
				if refused := check(t, copied, want, counts); !refused && size < len(data)/2 {
					t.Error("not noticed")
				}
			})
		}
	}
}

// A file that is gone isn't taken for a new beginning.
func TestMissingFiles(t *testing.T) {
	path, want, counts := smallLog(t)
	for _, gone := range []string{"jetstream", "journal-test/" + snapshotFile(8), "journal-test"} {
		t.Run(gone, func(t *testing.T) {
			copied := copyDir(t, path)
			if err := os.RemoveAll(filepath.Join(copied, gone)); err != nil {
				t.Fatal(err)
			}
			if refused := check(t, copied, want, counts); refused != (gone == "jetstream" || gone == "journal-test") {
				t.Errorf("refused: %v", refused)
			}
		})
	}
}

func snapshotFile(seq uint64) string { return fmt.Sprintf("snapshot-%020d", seq) }
