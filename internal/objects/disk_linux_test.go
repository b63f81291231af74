package objects_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/internal/objects"
)

// mount mounts a file system for the test, or skips it where that isn't allowed.
func mount(t *testing.T, args ...string) (path string) {
	t.Helper()
	path = t.TempDir()
	if out, err := exec.Command("mount", append(args, path)...).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: this needs the right to mount: %v: %s", err, out)
	}
	t.Cleanup(func() { exec.Command("umount", "-l", path).Run() })
	return path
}

// On a full disk an upload fails and takes up no room; what was stored can be read, and what fits can be stored.
func TestDirDiskFull(t *testing.T) {
	t.Parallel()
	path := filepath.Join(mount(t, "-t", "tmpfs", "-o", "size=2m", "tmpfs"), "objects")
	d := mustOpenDir(t, path)
	first := noise(1, 1<<20)
	mustPut(t, d, key(1), first)
	for _, size := range []int64{2 << 20, -1} {
		_, err := d.Put(t.Context(), key(2), bytes.NewReader(noise(2, 2<<20)), size, -1)
		expectError(t, "Put of more than there is room for", err, objects.ErrFull)
		if got := filesIn(t, path); !slices.Equal(got, []string{key(1)}) {
			t.Errorf("there remains %q", got)
		}
	}
	mustPut(t, d, key(3), noise(3, 900<<10))
	ballast := filepath.Join(filepath.Dir(path), "ballast")
	if err := os.WriteFile(ballast, make([]byte, 2<<20), 0o600); err == nil {
		t.Fatal("the disk isn't full")
	}
	expectError(t, "Check on a full disk", d.Check(t.Context()), objects.ErrFull)
	expectContent(t, d, key(1), first)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := d.Check(t.Context()); err != nil {
		t.Errorf("Check with room again: %v", err)
	}
}

// There may be room for bytes and none for another file.
func TestDirNoMoreFiles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(mount(t, "-t", "tmpfs", "-o", "size=2m,nr_inodes=5", "tmpfs"), "objects")
	d := mustOpenDir(t, path)
	mustPut(t, d, key(1), []byte("x")) // after the root, the directory and its shard
	mustPut(t, d, key(2), nil)
	_, err := d.Put(t.Context(), key(3), strings.NewReader("x"), 1, -1)
	expectError(t, "Put of one file too many", err, objects.ErrFull)
	if got := filesIn(t, path); !slices.Equal(got, []string{key(1), key(2)}) {
		t.Errorf("there remains %q", got)
	}
}

// A process may not write files as long as it likes. The limit is for the process, so another one takes the test.
func TestDirFileLimit(t *testing.T) {
	if os.Getenv(childEnv) != "fsize" {
		t.Parallel()
		out, err := child("fsize", "-test.run=^TestDirFileLimit$", "-test.v").CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("--- PASS")) {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	path := t.TempDir()
	d := mustOpenDir(t, path)
	signal.Ignore(unix.SIGXFSZ) // which ends the process, instead of the write
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 200_000, Max: 200_000}); err != nil {
		t.Skipf("SKIPPED: this needs a limit: %v", err)
	}
	_, err := d.Put(t.Context(), key(1), bytes.NewReader(noise(1, 200_001)), -1, -1)
	expectError(t, "Put of a byte too many", err, objects.ErrFull)
	if got := filesIn(t, path); got != nil {
		t.Errorf("there remains %q", got)
	}
	mustPut(t, d, key(1), noise(1, 200_000))
}

// cutPower makes a file system forget all that was not synced: FS_IOC_SHUTDOWN without flushing its log.
func cutPower(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	flags := uint32(2)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), 0x8004587d, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		t.Skipf("SKIPPED: this needs a file system that can be shut down: %v", errno)
	}
}

// The power is cut under load: what was put is there, what was deleted isn't, and of what was under way there is all or nothing.
func TestDirPowerCut(t *testing.T) {
	t.Parallel()
	image := filepath.Join(t.TempDir(), "disk")
	for _, cmd := range [][]string{{"truncate", "-s", "64M", image}, {"mkfs.ext4", "-q", image}} {
		if out, err := exec.Command(cmd[0], cmd[1:]...).CombinedOutput(); err != nil {
			t.Skipf("SKIPPED: %v: %v: %s", cmd, err, out)
		}
	}
	cuts := 2
	if os.Getenv("SLUICE_SOAK") == "1" {
		cuts = 50
	}
	p := &powerTest{stored: map[string]int{}}
	for round := range cuts {
		t.Run(fmt.Sprint(round), func(t *testing.T) { p.round(t, image, round) })
		if t.Skipped() {
			return
		}
	}
}

// powerTest knows what a directory must hold.
type powerTest struct {
	mu      sync.Mutex
	stored  map[string]int // by key, the seed of the content
	unknown map[string]int // the same, of this round's calls that failed
	deleted map[string]bool
}

func (p *powerTest) round(t *testing.T, image string, round int) {
	disk := mount(t, "-o", "loop", image)
	d := mustOpenDir(t, filepath.Join(disk, "objects"))
	p.check(t, d)
	p.unknown, p.deleted = map[string]int{}, map[string]bool{}
	ctx, stop := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	progress := make(chan struct{}, 1000)
	for w := range 4 {
		workers.Go(func() { p.work(ctx, d, round*4+w, progress) })
	}
	for range 60 {
		<-progress
	}
	cutPower(t, disk)
	stop()
	workers.Wait()
	d.Close()
	if out, err := exec.Command("umount", disk).CombinedOutput(); err != nil {
		t.Fatalf("umount: %v: %s", err, out)
	}
	d = mustOpenDir(t, filepath.Join(mount(t, "-o", "loop", image), "objects"))
	p.check(t, d)
	if _, err := d.Sweep(t.Context(), -1); err != nil {
		t.Error(err)
	}
	d.Close()
}

// work stores objects, and deletes every third, until something fails.
func (p *powerTest) work(ctx context.Context, d *objects.Dir, worker int, progress chan<- struct{}) {
	for i := 0; ctx.Err() == nil; i++ {
		seed := worker*10_000 + i
		k := fmt.Sprintf("%02dk%023d", i%50, seed) // in many directories, most of them new
		_, err := d.Put(ctx, k, bytes.NewReader(contentOf(seed)), -1, -1)
		p.note(k, seed, err)
		if err == nil && i%3 == 0 {
			p.mu.Lock()
			delete(p.stored, k)
			p.mu.Unlock()
			if err := d.Delete(ctx, k); err == nil {
				p.mu.Lock()
				p.deleted[k] = true
				p.mu.Unlock()
			} else {
				p.note(k, seed, err)
			}
		}
		select {
		case progress <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

func contentOf(seed int) []byte { return noise(uint64(seed), 1000+seed%5000) }

func (p *powerTest) note(k string, seed int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.stored[k] = seed
	} else {
		p.unknown[k] = seed
	}
}

// check compares a directory with what it must hold, and notes what it has of what it may.
func (p *powerTest) check(t *testing.T, d *objects.Dir) {
	t.Helper()
	for k := range p.deleted {
		_, err := d.Stat(t.Context(), k)
		expectError(t, k+", which was deleted", err, objects.ErrNotFound)
	}
	for k, seed := range p.unknown {
		if _, err := d.Stat(t.Context(), k); err == nil {
			p.stored[k] = seed
		}
	}
	for k, seed := range p.stored {
		got, err := read(t, d, k, 0, -1)
		if err != nil || sha256.Sum256(got) != sha256.Sum256(contentOf(seed)) {
			t.Errorf("%s holds %d bytes, %v, want the %d that were put", k, len(got), err, len(contentOf(seed)))
		}
	}
	page, err := d.List(t.Context(), "", "", 0)
	if err != nil || len(page) != min(len(p.stored), objects.MaxList) {
		t.Errorf("%d objects are listed, %v, want %d", len(page), err, len(p.stored))
	}
}
