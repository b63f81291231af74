package storage_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/internal/jobs"
	"github.com/sluicegate/sluice/internal/quota"
	"github.com/sluicegate/sluice/internal/storage"
)

// A world is a state, the store that goes with it, and the nodes that work on both, as far as they can be told apart.
type world struct {
	t       *rapid.T
	state   *storage.State
	now     time.Time
	drawn   uint64
	blobs   map[storage.BlobID]bool // that are in the store
	open    map[uint64]bool         // sessions
	beats   map[uint64]uint64
	uploads []upload
	running []jobs.Claim
	dead    []jobs.ID
	objects map[name]*storage.Entry // what was put last
	keys    int
}

type name struct{ user, bucket, object string }

type upload struct {
	blob storage.BlobID
	user string
	size uint64
}

const tenMB = 10_000_000

var start = time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)

func newWorld(t *rapid.T) *world {
	return &world{
		t: t, state: storage.NewState(nil), now: start, blobs: map[storage.BlobID]bool{}, open: map[uint64]bool{}, beats: map[uint64]uint64{},
		objects: map[name]*storage.Entry{},
	}
}

func (w *world) blob() (id storage.BlobID) {
	w.drawn++
	binary.BigEndian.PutUint64(id[8:], w.drawn)
	return id
}

func (w *world) user() string { return rapid.SampledFrom([]string{"1", "2"}).Draw(w.t, "user") }

func (w *world) object() (bucket, object string) {
	return rapid.SampledFrom([]string{"bucket-1", "bucket-2"}).Draw(w.t, "bucket"), rapid.SampledFrom([]string{"a", "b", "c/d"}).Draw(w.t, "object")
}

func (w *world) size() uint64 {
	return rapid.SampledFrom([]uint64{0, 1, 5_000_000, tenMB, 49_999_999, 50_000_001}).Draw(w.t, "size")
}

// jobs passes a command to the jobs, and notes what became of others.
func (w *world) jobs(cmd []byte) storage.Reply {
	r := w.state.Apply(storage.EncodeJobs(cmd))
	for _, id := range r.Jobs.Died {
		w.dead = append(w.dead, id)
		w.running = slices.DeleteFunc(w.running, func(c jobs.Claim) bool { return c.ID == id })
	}
	return r
}

func (w *world) session() uint64 {
	all := slices.Sorted(maps.Keys(w.open))
	if len(all) == 0 || rapid.IntRange(0, 9).Draw(w.t, "new session") == 0 {
		r := w.jobs(jobs.EncodeOpenSession([16]byte{byte(w.drawn % 3)}, w.drawn, w.now))
		w.drawn++
		w.alive()
		if r.Jobs.Outcome == jobs.OK {
			return r.Jobs.Session
		}
		return 0
	}
	return rapid.SampledFrom(all).Draw(w.t, "session")
}

// alive notes which sessions live.
func (w *world) alive() {
	clear(w.open)
	for _, v := range w.state.Jobs().Sessions() {
		w.beats[v.ID] = v.Beats
		if w.state.Jobs().Alive(v.ID) {
			w.open[v.ID] = true
		}
	}
}

// reserve begins an upload. The blob may come to be written, or not.
func (w *world) reserve() {
	u := upload{blob: w.blob(), user: w.user(), size: w.size()}
	session := w.session()
	left := w.left(u.user)
	want := storage.Done
	switch {
	case session == 0:
		want = storage.Invalid
	case !w.open[session]:
		want = storage.NoSession
	case u.size > left:
		want = storage.OverQuota
	}
	r := w.state.Apply(storage.EncodeReserve(w.now, quota.Reservation{ID: u.blob, User: u.user, Bytes: u.size, Session: session}))
	if r.Outcome != want {
		w.t.Fatalf("reserved %d of %d: %v, want %v", u.size, left, r.Outcome, want)
	}
	if r.Outcome == storage.Done {
		w.uploads = append(w.uploads, u)
		w.blobs[u.blob] = rapid.Bool().Draw(w.t, "written")
	}
}

func (w *world) left(user string) uint64 {
	w.tick()
	u := w.state.Quotas().Usage(user)
	return u.Left()
}

// tick brings the clock of the state to that of the world.
func (w *world) tick() { w.jobs(jobs.EncodeTick(w.now)) }

func (w *world) takeUpload() (upload, bool) {
	if len(w.uploads) == 0 {
		return upload{}, false
	}
	i := rapid.IntRange(0, len(w.uploads)-1).Draw(w.t, "upload")
	u := w.uploads[i]
	w.uploads = slices.Delete(w.uploads, i, i+1)
	return u, true
}

// put commits an upload, whose reservation may be gone with its session.
func (w *world) put() {
	u, ok := w.takeUpload()
	if !ok {
		return
	}
	bucket, object := w.object()
	at := name{u.user, bucket, object}
	cond := storage.Condition{Kind: storage.ConditionKind(rapid.IntRange(0, 4).Draw(w.t, "condition"))}
	sum := sha256.Sum256([]byte(object))
	if cond.Kind >= storage.OneOf {
		cond.Sums = [][32]byte{sum}
	}
	_, held := w.state.Quotas().Reservation(u.blob)
	e := &storage.Entry{Bucket: bucket, Object: object, Blob: u.blob, Size: u.size, Length: u.size, SHA256: sum, ContentType: "text/plain"}
	if held {
		w.blobs[u.blob] = true
	}
	r := w.state.Apply(storage.EncodePut(w.now, cond, e))
	old := w.objects[at]
	met := map[storage.ConditionKind]bool{storage.Always: true, storage.Absent: old == nil, storage.Exists: old != nil, storage.OneOf: old != nil,
		storage.NoneOf: old == nil}[cond.Kind] // all contents have the sum
	switch {
	case !held && r.Outcome != storage.NotFound, held && met && r.Outcome != storage.Done, held && !met && r.Outcome != storage.Unmet:
		w.t.Fatalf("put, held %v, met %v: %v", held, met, r.Outcome)
	case r.Outcome == storage.Done:
		if (r.Old == nil) != (old == nil) {
			w.t.Fatalf("put replaced %+v, want %+v", r.Old, old)
		}
		w.objects[at] = r.Entry
	}
	if !held { // the node deletes what it wrote in vain
		delete(w.blobs, u.blob)
	}
}

func (w *world) release() {
	u, ok := w.takeUpload()
	if !ok {
		return
	}
	_, held := w.state.Quotas().Reservation(u.blob)
	if r := w.state.Apply(storage.EncodeRelease(w.now, u.blob)); (r.Outcome == storage.Done) != held {
		w.t.Fatalf("released, held %v: %v", held, r.Outcome)
	}
	if !held {
		delete(w.blobs, u.blob)
	}
}

func (w *world) remove() {
	bucket, object := w.object()
	at := name{w.user(), bucket, object}
	r := w.state.Apply(storage.EncodeRemove(w.now, storage.Condition{}, at.user, at.bucket, at.object))
	if (r.Outcome == storage.Done) != (w.objects[at] != nil) || r.Entry != nil && r.Entry != w.objects[at] {
		w.t.Fatalf("removed %v, which was %+v: %+v", at, w.objects[at], r)
	}
	delete(w.objects, at)
}

// reap takes a node for dead. What it was uploading it never ends, or in vain.
func (w *world) reap() {
	session := w.session()
	w.jobs(jobs.EncodeReap(session, w.beats[session], w.now))
	w.alive()
	for _, u := range w.uploads {
		if hold, held := w.state.Quotas().Reservation(u.blob); held && hold.Session == session {
			w.t.Fatalf("session %d has ended, and still reserves %+v", session, hold)
		}
	}
}

// collect deletes some garbage, on a node that may be slow to say so.
func (w *world) collect() {
	some := w.state.Garbage()
	some = some[:rapid.IntRange(0, len(some)).Draw(w.t, "how many")]
	for _, b := range some {
		delete(w.blobs, b)
	}
	if rapid.Bool().Draw(w.t, "says so") {
		w.state.Apply(storage.EncodeCollected(some))
	}
}

// restart goes on with what a snapshot says.
func (w *world) restart() {
	var buf bytes.Buffer
	if err := w.state.Snapshot(&buf); err != nil {
		w.t.Fatal(err)
	}
	restored := storage.NewState(nil)
	if err := restored.Restore(&buf); err != nil {
		w.t.Fatal(err)
	}
	if restored.Hash() != w.state.Hash() || restored.Stats() != w.state.Stats() {
		w.t.Fatalf("restored, the state is another one: %+v, %+v", restored.Stats(), w.state.Stats())
	}
	w.state = restored
	for _, e := range restored.Entries() { // the same, elsewhere
		w.objects[name{e.User, e.Bucket, e.Object}] = e
	}
}

// check compares sums and places.
func (w *world) check() {
	entries := w.state.Entries()
	places := map[storage.BlobID]int{}
	_, month := w.state.Quotas().Clock()
	used, reserved := map[string]uint64{}, map[string]uint64{}
	for _, e := range entries {
		places[e.Blob]++
		if w.objects[name{e.User, e.Bucket, e.Object}] != e {
			w.t.Fatalf("%+v is stored, want %+v", e, w.objects[name{e.User, e.Bucket, e.Object}])
		}
		if !w.blobs[e.Blob] {
			w.t.Fatalf("%+v has no content", e)
		}
		if e.Month == month {
			used[e.User] += e.Size
		}
	}
	for r := range w.state.Quotas().Reservations() {
		places[r.ID]++
		if r.Month == month {
			reserved[r.User] += r.Bytes
		}
	}
	for _, b := range w.state.Garbage() {
		places[b]++
	}
	for b, n := range places {
		if n != 1 {
			w.t.Fatalf("blob %x is in %d places", b, n)
		}
	}
	for b := range w.blobs {
		if w.blobs[b] && places[b] == 0 {
			w.t.Fatalf("blob %x is in the store, and nobody knows of it", b)
		}
	}
	for _, user := range []string{"1", "2"} {
		u := w.state.Quotas().Usage(user)
		if u.Used != used[user] || u.Reserved != reserved[user] || u.Used+u.Reserved > u.Bytes {
			w.t.Fatalf("%s: %+v, but stored are %d and reserved %d", user, u, used[user], reserved[user])
		}
	}
	if len(entries) != len(w.objects) {
		w.t.Fatalf("%d objects, want %d", len(entries), len(w.objects))
	}
}

// Whatever nodes do and however they die: quotas are what is stored, to the byte, and each blob has one place.
func TestWorld(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		steps := []func(){
			w.reserve, w.reserve, w.put, w.put, w.release, w.remove, w.reap, w.collect, w.restart, w.post, w.post, w.claim, w.finish, w.finish, w.fail,
			w.retry, func() { w.now = w.now.Add(time.Duration(rapid.Int64Range(-24, 48).Draw(t, "hours")) * time.Hour) },
		}
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			rapid.SampledFrom(steps).Draw(t, "step")()
			w.check()
		}
	})
}
