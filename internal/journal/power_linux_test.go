package journal_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mount mounts a file system for the test, or skips it where that isn't allowed.
func mount(t *testing.T, args ...string) (path string) {
	t.Helper()
	path = t.TempDir()
	if out, err := exec.Command("mount", append(args, path)...).CombinedOutput(); err != nil {
		t.Skipf("this needs the right to mount: %v: %s", err, out)
	}
	t.Cleanup(func() { exec.Command("umount", "-l", path).Run() })
	return path
}

// cutPower makes a file system forget all that was not synced: FS_IOC_SHUTDOWN without flushing its log.
func cutPower(t *testing.T, path string) {
	t.Helper()
	d, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	flags := uint32(2)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, d.Fd(), 0x8004587d, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		t.Skipf("this needs a file system that can be shut down: %v", errno)
	}
}

// The power is cut under load: writes that were not synced are lost.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	rounds := 4
	if soak() {
		rounds = 200
	}
	image := filepath.Join(t.TempDir(), "disk")
	if out, err := exec.Command("truncate", "-s", "96M", image).CombinedOutput(); err != nil {
		t.Skipf("truncate: %v: %s", err, out)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", image).CombinedOutput(); err != nil {
		t.Skipf("this needs mkfs.ext4: %v: %s", err, out)
	}
	var answered []uint64
	for round := range rounds {
		t.Run(strconv.Itoa(round), func(t *testing.T) {
			disk := mount(t, "-o", "loop", image)
			path := filepath.Join(disk, "data")
			if round > 0 {
				n := embedded(t, path)
				n.checkAnswered(answered)
				n.close()
			}
			answered = append(answered, runChild(t, path, uint64(round)<<32, 1000+round, func(p *os.Process) {
				cutPower(t, disk)
				p.Kill()
			})...)
			if out, err := exec.Command("umount", disk).CombinedOutput(); err != nil {
				t.Fatalf("umount: %v: %s", err, out)
			}
		})
		if t.Failed() {
			return
		}
	}
	disk := mount(t, "-o", "loop", image)
	n := embedded(t, filepath.Join(disk, "data"))
	n.checkAnswered(answered)
	n.close()
	t.Logf("%d answers over %d cuts", len(answered), rounds)
}

// fill fills a file system, and returns what makes room again.
func fill(t *testing.T, disk string) (empty func()) {
	t.Helper()
	path := filepath.Join(disk, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 64 << 10; size > 0; size /= 2 {
		for block := make([]byte, size); err == nil; {
			_, err = f.Write(block)
		}
		err = nil
	}
	return func() { os.Remove(path) }
}
