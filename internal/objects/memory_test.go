package objects_test

import (
	"bufio"
	"crypto/sha256"
	"hash"
	"io"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/internal/objects"
)

// large is content that is never in memory as a whole.
type large struct {
	block   []byte // repeats itself
	left, n int64
	sum     hash.Hash
}

func newLarge(size int64) *large {
	return &large{block: noise(1, 65_537), left: size, sum: sha256.New()}
}

func (l *large) Read(p []byte) (int, error) {
	if l.left == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(int64(len(p)), l.left)], l.block[l.n%int64(len(l.block)):])
	l.n += int64(n)
	l.left -= int64(n)
	l.sum.Write(p[:n])
	return n, nil
}

// A file of 20 MiB is stored and read with a buffer: what is allocated on the way is a small part of it.
func TestMemory(t *testing.T) {
	service := serviceOfItsOwn(t)
	for _, tc := range []struct {
		name  string
		store objects.Store
		known bool
		may   uint64 // be allocated by an upload, in bytes
	}{
		{"directory", mustOpenDir(t, filepath.Join(t.TempDir(), "objects")), true, 1 << 20},
		{"directory, size unknown", mustOpenDir(t, filepath.Join(t.TempDir(), "objects")), false, 1 << 20},
		{"S3", dialS3(t, service, http.DefaultTransport), true, 3 << 20},
		{"S3, size unknown", dialS3(t, service, http.DefaultTransport), false, partSize + 3<<20},
	} {
		t.Run(tc.name, func(t *testing.T) {
			const size = 20 << 20
			content, announced := newLarge(size), int64(-1)
			if tc.known {
				announced = size
			}
			var info objects.Info
			var err error
			if n := allocated(func() { info, err = tc.store.Put(t.Context(), key(1), content, announced, size) }); n > tc.may {
				t.Errorf("Put allocated %d bytes, want at most %d", n, tc.may)
			}
			if err != nil || info.Size != size || string(info.SHA256[:]) != string(content.sum.Sum(nil)) {
				t.Fatalf("Put = %+v, %v, want SHA-256 %x", info, err, content.sum.Sum(nil))
			}
			sum := sha256.New()
			n := allocated(func() {
				r, err := tc.store.Open(t.Context(), key(1), 0, -1)
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				if _, err := io.Copy(sum, r); err != nil {
					t.Error(err)
				}
			})
			if n > 1<<20 {
				t.Errorf("reading allocated %d bytes", n)
			}
			if string(sum.Sum(nil)) != string(info.SHA256[:]) {
				t.Error("what was read is not what was put")
			}
		})
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

// allocated is how much memory was taken while f ran, given back or not.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// serviceOfItsOwn runs an S3 service in a process of its own, which may take what memory it likes, and returns the URL of its bucket.
func serviceOfItsOwn(t *testing.T) string {
	t.Helper()
	cmd := child("s3")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); cmd.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return withKey(strings.TrimSpace(line)) + "/" + bucket
}
