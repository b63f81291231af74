package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Where the disk of the content is full, uploads are refused, nothing of them is there, and nothing is counted; where there is room again, all goes on.
func TestStoreDiskFull(t *testing.T) {
	t.Parallel()
	content := mount(t, "-t", "tmpfs", "-o", "size=4m", "tmpfs")
	d := startDepot(t, t.TempDir(), "--objects", filepath.Join(content, "objects"))
	half := strings.Repeat("x", 1_500_000)
	stored := 0
	var refused reply
	for refused.Response == nil {
		r := do(t, "PUT", fmt.Sprintf("%s/object-storage/bucket-1/o%d?userId=1", d.url, stored), half)
		if r.StatusCode != 201 {
			refused = r
			break
		}
		stored++
	}
	refused.expect(t, 507, "storage-full")
	if u := d.usage("1"); u.Used != uint64(stored)*uint64(len(half)) {
		t.Errorf("%d are stored, but %+v", stored, u)
	}
	d.audit("bucket-1", "1")
	empty := fillUp(t, content)
	order := do(t, "POST", d.url+"/object-storage?userId=1", orderOf("bucket-1", "later", 5)) // the log has room for it
	order.expect(t, 202, "")
	get(t, d.url+"/object-storage/bucket-1/o0?userId=1", "Range", "bytes=0-9").expect(t, 206, "xxxxxxxxxx")
	empty()
	d.finished(order.Header.Get("Location"))
	do(t, "DELETE", d.url+"/object-storage/bucket-1/o0?userId=1", "").expect(t, 204, "")
	await(t, "room", func() bool {
		return do(t, "PUT", d.url+"/object-storage/bucket-1/again?userId=1", half).StatusCode == 201
	})
	d.audit("bucket-1", "1")
}

// Where the disk of the log is full, what changes something is refused and reads are answered; there is room again, and all goes on, also after a
// kill.
func TestStoreLogFull(t *testing.T) {
	t.Parallel()
	disk := mount(t, "-t", "tmpfs", "-o", "size=32m", "tmpfs")
	dir := filepath.Join(disk, "data")
	content := t.TempDir()
	d := startDepot(t, dir, "--objects", content)
	put := func(object string) reply {
		return do(t, "PUT", d.url+"/object-storage/bucket-1/"+object+"?userId=1", "content")
	}
	put("first").expect(t, 201, "")
	d.set("", 1_000_000)
	empty := fillUp(t, disk)
	var refused reply
	n := 0
	await(t, "a refusal", func() bool { // what the log has room for already is still taken
		n++
		refused = put(fmt.Sprint("o", n))
		return refused.StatusCode != 201
	})
	if refused.StatusCode != 503 || refused.Header.Get("Retry-After") == "" {
		t.Errorf("refused with %d %s", refused.StatusCode, refused.body)
	}
	get(t, d.url+"/object-storage/bucket-1/first?userId=1").expect(t, 200, "content")
	empty()
	await(t, "an upload that is taken", func() bool { return put("last").StatusCode/100 == 2 })
	d.signal(syscall.SIGKILL)
	d.endedBy(syscall.SIGKILL)
	d = startDepot(t, dir, "--objects", content)
	get(t, d.url+"/object-storage/bucket-1/last?userId=1").expect(t, 200, "content")
	await(t, "nothing is reserved", func() bool { return d.usage("1").Reserved == 0 })
	d.audit("bucket-1", "1")
	if _, err := os.Stat(filepath.Join(dir, "objects")); !os.IsNotExist(err) {
		t.Errorf("content is where it should not be: %v", err)
	}
}
