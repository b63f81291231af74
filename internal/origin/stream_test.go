package origin_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/internal/origin"
)

const line = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+\n"

func TestBytes(t *testing.T) {
	w := start(t, origin.Options{})
	for _, c := range []struct {
		size string
		want int
	}{
		{"0", 0}, {"1", 1}, {"63", 63}, {"64B", 64}, {"65", 65}, {"4096", 4096}, {"64KiB", 64 << 10}, {"65537", 65537},
		{"100kB", 100_000}, {"1mb", 1_000_000}, {"1MiB", 1 << 20},
	} {
		want := strings.Repeat(line, c.want/len(line)+1)[:c.want]
		for _, mode := range []string{"", "&chunked=1", "&chunked=0"} {
			resp, text := w.do("GET", "/?bytes="+c.size+mode, nil)
			if text != want || resp.Header.Get("Content-Type") != "application/octet-stream" {
				t.Errorf("bytes=%s%s: %d bytes, %v", c.size, mode, len(text), resp.Header)
			}
			length := int64(c.want)
			if mode == "&chunked=1" {
				length = -1
			}
			if resp.ContentLength != length {
				t.Errorf("bytes=%s%s: content length %d", c.size, mode, resp.ContentLength)
			}
		}
	}
	if resp, _ := w.do("HEAD", "/?bytes=1TiB", nil); resp.ContentLength != 1<<40 {
		t.Errorf("HEAD: content length %d", resp.ContentLength)
	}
	if resp, text := w.do("GET", "/x?chunked=1", nil); resp.ContentLength != -1 || decode(t, text).Path != "/x" {
		t.Errorf("JSON in chunks: length %d, %s", resp.ContentLength, text)
	}
}

func TestAbandonedDownloadIsNotInFlightForEver(t *testing.T) {
	w := start(t, origin.Options{})
	for _, query := range []string{"bytes=1TiB", "bytes=1TiB&chunked=1", "sse=1000000&interval=0s"} {
		conn := w.dial()
		fmt.Fprintf(conn, "GET /d?%s HTTP/1.1\r\nHost: o\r\n\r\n", query)
		if _, err := io.ReadFull(conn, make([]byte, 10_000)); err != nil {
			t.Fatal(err)
		}
		conn.Close()
		w.until("the download given up", func(st origin.Stats) bool { return st.InFlight == 0 })
	}
}

// zeros is n bytes of nothing, and samples the live heap as it is read.
type zeros struct {
	left int64
	peak *uint64
}

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), z.left))
	clear(p[:n])
	before := z.left >> 25
	if z.left -= int64(n); z.left>>25 != before {
		*z.peak = max(*z.peak, liveHeap()) // every 32 MiB
	}
	return n, nil
}

func liveHeap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

const (
	bigBody   = 256 << 20
	heapBound = 16 << 20
)

func TestUploadIsNotHeld(t *testing.T) {
	w := start(t, origin.Options{})
	hash := sha256.New()
	io.Copy(hash, &zeros{bigBody, new(uint64)})
	want := hex.EncodeToString(hash.Sum(nil))
	for _, length := range []int64{bigBody, -1} {
		peak, base := uint64(0), liveHeap()
		req, _ := http.NewRequest("POST", "http://"+w.addr+"/up", io.NopCloser(&zeros{bigBody, &peak}))
		req.ContentLength = length
		resp, err := w.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if got := decode(t, string(text)).Received; got == nil || got.Bytes != bigBody || got.SHA256 != want {
			t.Errorf("length %d: %s", length, text)
		}
		if peak > base+heapBound {
			t.Errorf("length %d: the heap grew from %d to %d bytes", length, base, peak)
		}
	}
}

func TestDownloadIsNotHeld(t *testing.T) {
	w := start(t, origin.Options{})
	for _, mode := range []string{"", "&chunked=1"} {
		base := liveHeap()
		resp, err := w.client.Get("http://" + w.addr + "/?bytes=256MiB" + mode)
		if err != nil {
			t.Fatal(err)
		}
		var peak uint64
		for n := int64(0); n < bigBody; n += 32 << 20 {
			if _, err := io.CopyN(io.Discard, resp.Body, 32<<20); err != nil {
				t.Fatal(err)
			}
			peak = max(peak, liveHeap())
		}
		if n, err := io.Copy(io.Discard, resp.Body); n != 0 || err != nil {
			t.Errorf("after the body: %d bytes, %v", n, err)
		}
		resp.Body.Close()
		if peak > base+heapBound {
			t.Errorf("%s: the heap grew from %d to %d bytes", mode, base, peak)
		}
	}
}
