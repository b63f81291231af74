package storage

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strconv"

	"github.com/sluicegate/sluice/internal/jobs"
	"github.com/sluicegate/sluice/internal/problem"
	"github.com/sluicegate/sluice/internal/quota"
)

// Bounds of a page.
const (
	defaultPage = 100
	maxPage     = 1000
)

// An objectView is what a list says of an object.
type objectView struct {
	BucketName  string    `json:"bucketName"`
	ObjectID    string    `json:"objectId"`
	Size        uint64    `json:"sizeInByte"`
	Content     uint64    `json:"contentBytes"`
	ContentType string    `json:"contentType"`
	FileName    string    `json:"fileName,omitempty"`
	ETag        string    `json:"etag"`
	Created     jobs.Time `json:"created"`
}

func viewOf(e *Entry) objectView {
	return objectView{e.Bucket, e.Object, e.Size, e.Length, e.ContentType, e.FileName, e.ETag(), jobs.Time(e.Created)}
}

// list answers with a page of a bucket. A bucket that has no objects is empty: there is nothing else that would make it one.
func (r *request) list() {
	prefix, wrong := r.query.one("prefix")
	after, limit, wrongPage := r.query.page()
	if wrong == nil {
		wrong = wrongPage
	}
	if wrong == nil && len(prefix) > MaxObject {
		wrong = bad("prefix", "has %d bytes, at most %d", len(prefix), MaxObject)
	}
	if wrong != nil {
		r.refuseField(problem.InvalidParameter, wrong)
		return
	}
	var entries []*Entry
	look := func(st *State) { entries = st.List(entries, r.user, r.bucket, prefix, after, limit+1) }
	if err := r.server.storage.Read(look); err != nil {
		r.refuseError(err, "")
		return
	}
	page := struct {
		BucketName string       `json:"bucketName"`
		Objects    []objectView `json:"objects"`
		Next       string       `json:"next,omitempty"`
	}{BucketName: r.bucket, Objects: []objectView{}}
	if len(entries) > limit {
		entries = entries[:limit]
		page.Next = cursorOf(entries[limit-1].Object)
	}
	for _, e := range entries {
		page.Objects = append(page.Objects, viewOf(e))
	}
	r.answerJSON(200, page)
}

// buckets answers with a page of the buckets that have objects.
func (r *request) buckets() {
	after, limit, wrong := r.query.page()
	if wrong != nil {
		r.refuseField(problem.InvalidParameter, wrong)
		return
	}
	page := struct {
		Buckets []string `json:"buckets"`
		Next    string   `json:"next,omitempty"`
	}{Buckets: []string{}}
	if err := r.server.storage.Read(func(st *State) { page.Buckets = st.Buckets(page.Buckets, r.user, after, limit+1) }); err != nil {
		r.refuseError(err, "")
		return
	}
	if len(page.Buckets) > limit {
		page.Buckets = page.Buckets[:limit]
		page.Next = cursorOf(page.Buckets[limit-1])
	}
	r.answerJSON(200, page)
}

// cursorOf is where the next page begins: behind a name.
func cursorOf(name string) string { return base64.RawURLEncoding.EncodeToString([]byte(name)) }

// page is the cursor and the limit of a page.
func (q query) page() (after string, limit int, wrong *fieldError) {
	cursor, wrong := q.one("cursor")
	if wrong != nil {
		return "", 0, wrong
	}
	name, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(name) > MaxObject {
		return "", 0, bad("cursor", "must be what next was in the page before")
	}
	text, wrong := q.one("limit")
	if wrong != nil || !q.Has("limit") {
		return string(name), defaultPage, wrong
	}
	limit, err = strconv.Atoi(text)
	if err != nil || limit < 1 || limit > maxPage {
		return "", 0, bad("limit", "must be a number, 1 to %d", maxPage)
	}
	return string(name), limit, nil
}

// A QuotaView is what is told about a user's quota.
type QuotaView struct {
	UserID    string `json:"userId"`
	Quota     uint64 `json:"quota"`
	Used      uint64 `json:"used"`
	Reserved  uint64 `json:"reserved"`
	Available uint64 `json:"available"`
	Month     string `json:"month"`
	ResetsAt  string `json:"resets_at"`
	Rate      uint32 `json:"requests_per_minute"`
	OwnQuota  bool   `json:"own_quota"` // set for this user
	OwnRate   bool   `json:"own_rate"`
}

func quotaView(user string, u *quota.Usage) QuotaView {
	return QuotaView{user, u.Bytes, u.Used, u.Reserved, u.Left(), u.Month.String(), resetOf(u), u.Rate, u.OwnBytes, u.OwnRate}
}

// quota answers with what the user may and used.
func (r *request) quota() {
	u, err := r.server.storage.Usage(r.user)
	if err != nil {
		r.refuseError(err, "")
		return
	}
	r.answerJSON(200, quotaView(r.user, &u))
}

// jobView answers with a job of the user, and what it stored when it is done.
func (r *request) jobView() {
	id, err := jobs.ParseID(r.job)
	if err != nil {
		r.refuseField(problem.InvalidParameter, bad("id", "must be the id of a job, as the answer to POST says it"))
		return
	}
	v, stored, err := r.server.storage.Job(context.Background(), r.user, id)
	if err != nil {
		r.refuseError(err, "repeat it")
		return
	}
	answer := struct {
		jobs.View
		Object json.RawMessage `json:"object,omitempty"`
	}{View: v}
	if v.State == jobs.Done && json.Valid(stored.Body) {
		answer.Object = stored.Body
	}
	r.answerJSON(200, answer)
}
