package objects_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/sluicegate/sluice/internal/objects"
)

// openS3 serves handler and opens a store there. What comes after the bucket in its URL is given.
func openS3(t *testing.T, handler http.Handler, options string, secure bool) fixture {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it has its say on every upload that breaks off
	if secure {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	s := dialS3(t, withKey(server.URL)+"/"+bucket+options, server.Client().Transport)
	return fixture{s, func(t *testing.T) []string { return inBucket(t, server) }}
}

func withKey(serverURL string) string { return strings.Replace(serverURL, "://", "://key:secret@", 1) }

func dialS3(t *testing.T, raw string, transport http.RoundTripper) *objects.S3 {
	t.Helper()
	c, err := objects.ParseS3(raw, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	c.Transport = transport
	s, err := objects.DialS3(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// inBucket names what is in a bucket: objects, without the tests' prefix, and uploads that are neither complete nor aborted.
func inBucket(t *testing.T, server *httptest.Server) (names []string) {
	t.Helper()
	c := plainClient(t, server)
	var err error
	for o := range c.ListObjectsIter(t.Context(), bucket, minio.ListObjectsOptions{Recursive: true}) {
		names = append(names, strings.TrimPrefix(o.Key, "a/b/"))
		err = cmp.Or(err, o.Err)
	}
	for o := range c.ListIncompleteUploads(t.Context(), bucket, "", true) {
		if minio.ToErrorResponse(o.Err).Code == minio.NoSuchUpload { // what this service says of a bucket that never had any
			break
		}
		names = append(names, "upload of "+o.Key)
		err = cmp.Or(err, o.Err)
	}
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// With TLS requests are signed in another way, and without a prefix and a region something else is asked for.
func TestS3OverTLS(t *testing.T) {
	t.Parallel()
	testPutOpen(t, openS3(t, newS3Server(), "", true))
	testFaultyNew(t, openS3(t, newS3Server(), "", true))
}

// plainClient talks to a server past the store.
func plainClient(t *testing.T, server *httptest.Server) *minio.Core {
	t.Helper()
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	c, err := minio.NewCore(u.Host, &minio.Options{
		Creds: credentials.NewStaticV4("key", "secret", ""), Secure: u.Scheme == "https", Transport: server.Client().Transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// faulty lets a service fail: what mangle says to the request and the answer that it would be given.
type faulty struct {
	http.Handler
	fail atomic.Pointer[func(r *http.Request, answer func() *httptest.ResponseRecorder, w http.ResponseWriter) bool]
}

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fail := f.fail.Load()
	answer := func() *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		f.Handler.ServeHTTP(rec, r)
		return rec
	}
	if fail == nil || !(*fail)(r, answer, w) {
		f.Handler.ServeHTTP(w, r)
	}
}

// on lets requests that match fail from now on.
func (f *faulty) on(match func(*http.Request) bool, fail func(answer func() *httptest.ResponseRecorder, w http.ResponseWriter)) {
	all := func(r *http.Request, answer func() *httptest.ResponseRecorder, w http.ResponseWriter) bool {
		if !match(r) {
			return false
		}
		fail(answer, w)
		return true
	}
	f.fail.Store(&all)
}

func isPut(r *http.Request) bool {
	return r.Method == http.MethodPut && r.URL.Query().Get("uploadId") == ""
}
func isPart(r *http.Request) bool { return r.URL.Query().Get("partNumber") == "2" }
func isComplete(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Query().Has("uploadId")
}
func isGet(r *http.Request) bool {
	return r.Method == http.MethodGet && !r.URL.Query().Has("list-type")
}

// Ways to fail. Where the answer is lost, the request has had its effect.
func lost(answer func() *httptest.ResponseRecorder, _ http.ResponseWriter) {
	answer()
	panic(http.ErrAbortHandler)
}

func refused(status int, code string) func(func() *httptest.ResponseRecorder, http.ResponseWriter) {
	return func(_ func() *httptest.ResponseRecorder, w http.ResponseWriter) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(status)
		io.WriteString(w, "<Error><Code>"+code+"</Code><Message>because</Message></Error>")
	}
}

// Whatever a service fails at, an upload that failed leaves nothing, or all of it if it was stored and not answered.
func TestS3FailsToStore(t *testing.T) {
	t.Parallel()
	small, large := noise(1, 1000), noise(2, 2*partSize+1)
	for _, tc := range []struct {
		name  string
		match func(*http.Request) bool
		fail  func(func() *httptest.ResponseRecorder, http.ResponseWriter)
		data  []byte
		size  int64
		want  error
	}{
		{"the answer is lost", isPut, lost, small, 1000, errStored},
		{"the answer is lost, of what has no size", isPut, lost, small, -1, errStored},
		{"the answer to a part is lost", isPart, lost, large, -1, nil},
		{"the answer to the end is lost", isComplete, lost, large, -1, errStored},
		{"refused", isPut, refused(403, "AccessDenied"), small, 1000, nil},
		{"refused before it was read", isPut, refused(403, "AccessDenied"), large, int64(len(large)), nil},
		{"a part is refused", isPart, refused(403, "AccessDenied"), large, -1, nil},
		{"the end is refused", isComplete, refused(400, "InvalidPart"), large, -1, nil},
		{"broken", isPut, refused(500, "InternalError"), small, 1000, nil},
		{"full", isPut, refused(507, "XMinioStorageFull"), small, 1000, objects.ErrFull},
		{"full in the second part", isPart, refused(507, "XMinioStorageFull"), large, -1, objects.ErrFull},
		{"too large for it", isPut, refused(400, "EntityTooLarge"), small, 1000, objects.ErrTooLarge},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			service := &faulty{Handler: newS3Server()}
			f := openS3(t, service, "/?prefix=a/b", false)
			service.on(tc.match, tc.fail)
			info, err := f.Put(t.Context(), key(1), bytes.NewReader(tc.data), tc.size, -1)
			stored := tc.want == errStored
			if err == nil || !errors.Is(err, tc.want) && tc.want != nil && !stored {
				t.Errorf("Put = %+v, %v, want %v", info, err, tc.want)
			}
			service.fail.Store(nil)
			if stored {
				expectContent(t, f, key(1), tc.data)
			} else {
				expectRemains(t, f)
			}
			mustPut(t, f, key(1), tc.data)
			expectRemains(t, f, key(1))
		})
	}
}

// errStored stands for any error of what was stored all the same.
var errStored = errors.New("stored")

// An upload that fails takes nothing away: another node may have stored the same, and said so.
func TestS3FailureTakesNothingAway(t *testing.T) {
	t.Parallel()
	data := noise(1, 1000)
	for name, fail := range map[string]func(func() *httptest.ResponseRecorder, http.ResponseWriter){
		"the answer is lost": lost, "refused": refused(403, "AccessDenied"), "broken": refused(500, "InternalError"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service := &faulty{Handler: newS3Server()}
			f := openS3(t, service, "", false)
			mustPut(t, f, key(1), data)
			service.on(isPut, fail)
			if info, err := f.Put(t.Context(), key(1), bytes.NewReader(data), 1000, -1); err == nil {
				t.Errorf("Put = %+v, want an error", info)
			}
			expectContent(t, f, key(1), data)
		})
	}
}

// A service that says that all is well before it has read all is not believed.
func TestS3AnswersTooEarly(t *testing.T) {
	t.Parallel()
	service := &faulty{Handler: newS3Server()}
	f := openS3(t, service, "", false)
	service.on(isPut, func(_ func() *httptest.ResponseRecorder, w http.ResponseWriter) { w.WriteHeader(200) })
	if info, err := f.Put(t.Context(), key(1), bytes.NewReader(noise(1, 50<<20)), 50<<20, -1); err == nil {
		t.Errorf("Put = %+v, want an error: the service took a part of it", info)
	}
}

// What can be sent again is: a failure that passes isn't seen.
func TestS3TriesAgain(t *testing.T) {
	t.Parallel()
	service := &faulty{Handler: newS3Server()}
	f := openS3(t, service, "", false)
	data := noise(1, 1000)
	mustPut(t, f, key(1), data)
	var first atomic.Bool
	service.on(func(r *http.Request) bool { return isGet(r) && first.CompareAndSwap(false, true) }, refused(503, "SlowDown"))
	expectContent(t, f, key(1), data)
	if !first.Load() {
		t.Error("nothing failed")
	}
}

// An answer that breaks off doesn't end as if that were all.
func TestS3ContentBreaksOff(t *testing.T) {
	t.Parallel()
	service := &faulty{Handler: newS3Server()}
	f := openS3(t, service, "", false)
	mustPut(t, f, key(1), noise(1, 1000))
	service.on(isGet, func(answer func() *httptest.ResponseRecorder, w http.ResponseWriter) {
		whole := answer()
		for name, values := range whole.Header() {
			w.Header()[name] = values
		}
		w.Write(whole.Body.Bytes()[:500])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	got, err := read(t, f, key(1), 0, -1)
	expectError(t, "ReadAll", err, io.ErrUnexpectedEOF)
	if len(got) != 500 {
		t.Errorf("read %d bytes, want 500", len(got))
	}
}

// Uploads that a crash has cut off are aborted when they are old, and only those of keys under the prefix.
func TestS3Sweep(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(newS3Server())
	defer server.Close()
	s := dialS3(t, withKey(server.URL)+"/"+bucket+"?prefix=p", server.Client().Transport)
	c := plainClient(t, server)
	for _, name := range []string{"p/" + key(1), "p/" + key(2), "p/other", key(3), "q/" + key(4)} {
		if _, err := c.NewMultipartUpload(t.Context(), bucket, name, minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.Sweep(t.Context(), time.Hour); n != 0 || err != nil {
		t.Errorf("Sweep of what is an hour old = %d, %v, want 0", n, err)
	}
	if n, err := s.Sweep(t.Context(), -time.Hour); n != 2 || err != nil {
		t.Errorf("Sweep = %d, %v, want 2", n, err)
	}
	want := []string{"upload of " + key(3), "upload of p/other", "upload of q/" + key(4)}
	if got := inBucket(t, server); !slices.Equal(got, want) {
		t.Errorf("there remains %q, want %q", got, want)
	}
}

// Other objects in the bucket, also under the prefix, are not ours.
func TestS3ListsItsOwn(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(newS3Server())
	defer server.Close()
	s := dialS3(t, withKey(server.URL)+"/"+bucket+"?prefix=p", server.Client().Transport)
	c := plainClient(t, server)
	for _, name := range []string{key(1), "p/" + key(2), "p/.check-x", "p/a/" + key(3), "p/" + key(4), "pp/" + key(5), "p/README"} {
		if _, err := c.Client.PutObject(t.Context(), bucket, name, strings.NewReader("x"), 1, minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	page, err := s.List(t.Context(), "", "", 2)
	if err != nil || len(page) != 2 || page[0].Key != key(2) || page[1].Key != key(4) {
		t.Errorf("List = %v, %v, want %s and %s", page, err, key(2), key(4))
	}
}

// A service that isn't there, or has no such bucket, is told apart from an object that isn't there.
func TestS3Unreachable(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(newS3Server())
	none := dialS3(t, withKey(server.URL)+"/none", server.Client().Transport)
	_, err := none.Open(t.Context(), key(1), 0, -1)
	if err == nil || errors.Is(err, objects.ErrNotFound) || !strings.Contains(err.Error(), "bucket does not exist") {
		t.Errorf("Open in a bucket that isn't there: %v", err)
	}
	if err := none.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "the S3 service can't be written to") {
		t.Errorf("Check of a bucket that isn't there: %v", err)
	}
	s := dialS3(t, withKey(server.URL)+"/"+bucket, server.Client().Transport)
	server.Close()
	_, err = s.Stat(t.Context(), key(1))
	if err == nil || errors.Is(err, objects.ErrNotFound) {
		t.Errorf("Stat without a service: %v", err)
	}
	if err := s.Check(t.Context()); err == nil {
		t.Error("Check without a service finds nothing")
	}
}

// Uploads that need a buffer wait for one, and leave when their context ends.
func TestS3BoundsBuffers(t *testing.T) {
	t.Parallel()
	f := openS3(t, newS3Server(), "", false)
	const buffers = 16
	release := make(chan struct{})
	var started atomic.Int32
	waits := func() io.Reader {
		return readerFunc(func([]byte) (int, error) {
			started.Add(1)
			<-release
			return 0, io.EOF
		})
	}
	ended := make(chan error, buffers+1)
	for i := range buffers {
		go func() {
			_, err := f.Put(t.Context(), key(i), waits(), -1, -1)
			ended <- err
		}()
	}
	await(t, func() bool { return started.Load() == buffers })
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, err := f.Put(ctx, key(buffers), waits(), -1, -1)
		ended <- err
	}()
	mustPut(t, f, key(100), noise(1, 100_000)) // needs none
	cancel()
	expectError(t, "Put of one too many", <-ended, context.Canceled)
	if n := started.Load(); n != buffers {
		t.Errorf("%d were read at once, want %d", n, buffers)
	}
	close(release)
	for range buffers {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// await waits until something is so; it bounds a failing test, not a passing one.
func await(t *testing.T, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never came")
		}
	}
}
