package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
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

// fillUp writes to a file system until it is full, and returns what makes room again.
func fillUp(t *testing.T, disk string) (empty func()) {
	t.Helper()
	path := filepath.Join(disk, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 64 << 10; size > 0; size /= 2 {
		for err = error(nil); err == nil; {
			_, err = f.Write(make([]byte, size))
		}
	}
	return func() { os.Remove(path) }
}

// On a full disk orders are refused and reads are answered; there is room again, and all goes on, also after a kill.
func TestMarketDiskFull(t *testing.T) {
	t.Parallel()
	disk := mount(t, "-t", "tmpfs", "-o", "size=32m", "tmpfs")
	dir := filepath.Join(disk, "data")
	m := startMarket(t, dir)
	first := m.buy(t, "1")
	first.expect(t, 200, `"open":3`)
	empty := fillUp(t, disk)
	var refused reply
	await(t, "a refusal", func() bool { // what the log has room for already is still taken
		refused = do(t, "POST", m.url+"/buy", `{"username":"`+strings.Repeat("x", 100)+`","volume":0,"price":1}`)
		return refused.StatusCode != 200
	})
	refused.unavailable(t)
	get(t, m.url+"/allocation?username=u").expect(t, 200, "0")
	empty()
	await(t, "an order that is taken", func() bool { return m.buy(t, "2").StatusCode == 200 })
	m.signal(syscall.SIGKILL)
	m.endedBy(syscall.SIGKILL)
	m = startMarket(t, dir)
	if again := m.buy(t, "1"); again.body != first.body {
		t.Errorf("the same key was answered %s, and then %s", first.body, again.body)
	}
	get(t, m.url+"/book").expect(t, 200, `"open":6,"bids":2`)
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
		t.Skipf("SKIPPED: this needs a file system that can be shut down: %v", errno)
	}
}

// The power is cut under load: writes that were not synced are lost, and nothing that was answered is.
func TestMarketPowerCut(t *testing.T) {
	t.Parallel()
	image := filepath.Join(t.TempDir(), "disk")
	for _, cmd := range [][]string{{"truncate", "-s", "96M", image}, {"mkfs.ext4", "-q", image}} {
		if out, err := exec.Command(cmd[0], cmd[1:]...).CombinedOutput(); err != nil {
			t.Skipf("SKIPPED: %v: %v: %s", cmd, err, out)
		}
	}
	cuts := 4
	if os.Getenv("SLUICE_SOAK") == "1" {
		cuts = 100
	}
	h := newHarm(t)
	for range cuts {
		disk := mount(t, "-o", "loop", image)
		m := h.start(filepath.Join(disk, "data"))
		h.bourse.progress(300)
		cutPower(t, disk)
		h.kill(m)
		if out, err := exec.Command("umount", disk).CombinedOutput(); err != nil {
			t.Fatalf("umount: %v: %s", err, out)
		}
	}
	h.check(filepath.Join(mount(t, "-o", "loop", image), "data"))
}
