package storage

import (
	"context"
	"errors"
	"io"
	"net/url"

	"github.com/dunglas/httpsfv"

	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/problem"
	"github.com/sluicegate/sluice/internal/quota"
)

// put stores the body as an object.
func (r *request) put() {
	if r.Declared < 0 {
		r.refuse(problem.Problem{Type: problem.LengthRequired, Detail: "send Content-Length: the bytes are reserved before they are sent"})
		return
	}
	u, wrong := r.upload()
	if wrong != nil {
		r.refuseField(problem.InvalidObject, wrong)
		return
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	body := &bodyReader{body: &r.Body}
	done, err := r.server.storage.Put(ctx, u, body)
	switch {
	case body.err != nil:
		r.refuseBody(body.err)
	case err != nil:
		r.refuseError(err, "repeat it: what is stored twice counts once")
	default:
		status := 200
		if done.Old == nil {
			status = 201
		}
		location := rootPath + "/" + r.bucket + "/" + escapePath(r.object) + "?userId=" + url.QueryEscape(r.user)
		r.answerJSON(status, viewOf(done.Entry), field{"ETag", done.Entry.ETag()}, field{"Location", location})
	}
}

// escapePath writes the id of an object as it stands in a path.
func escapePath(object string) string { return (&url.URL{Path: object}).EscapedPath() }

// upload reads what the head says of the content.
func (r *request) upload() (*Upload, *fieldError) {
	u := &Upload{User: r.user, Bucket: r.bucket, Object: r.object, Length: uint64(r.Declared), ContentType: "application/octet-stream"}
	if value, found, wrong := r.single("Content-Type"); wrong != nil {
		return nil, wrong
	} else if found {
		if err := checkContentType(value); err != nil {
			return nil, bad("Content-Type", "%v", err)
		}
		u.ContentType = value
	}
	for _, name := range []string{"Content-Range", "Content-Encoding"} {
		if _, found, _ := r.single(name); found {
			return nil, bad(name, "is not for what is stored here: send the whole content as it is to be given out")
		}
	}
	var wrong *fieldError
	if u.FileName, wrong = r.query.one("fileName"); wrong != nil {
		return nil, wrong
	}
	if r.query.Has("fileName") {
		if err := CheckFileName(u.FileName); err != nil {
			return nil, bad("fileName", "%v", err)
		}
	}
	if u.Length > quota.MaxBytes {
		return nil, bad("Content-Length", "must be at most %d", uint64(quota.MaxBytes))
	}
	if u.SHA256, wrong = r.digest(); wrong != nil {
		return nil, wrong
	}
	u.Condition, wrong = r.condition()
	return u, wrong
}

// digest reads Content-Digest, RFC 9530: the member sha-256. Others are not checked.
func (r *request) digest() (*[32]byte, *fieldError) {
	const name = "Content-Digest"
	value, found, wrong := r.single(name)
	if wrong != nil || !found {
		return nil, wrong
	}
	dict, err := httpsfv.UnmarshalDictionary([]string{value})
	if err != nil {
		return nil, bad(name, "can't be read: expected sha-256=:BASE64:")
	}
	member, found := dict.Get("sha-256")
	if !found {
		return nil, nil
	}
	item, _ := member.(httpsfv.Item)
	sum, ok := item.Value.([]byte)
	if !ok || len(sum) != 32 {
		return nil, bad(name, "has a sha-256 that is not 32 bytes in base64, between colons")
	}
	return (*[32]byte)(sum), nil
}

// remove deletes an object.
func (r *request) remove() {
	cond, wrong := r.condition()
	if wrong != nil {
		r.refuseField(problem.InvalidParameter, wrong)
		return
	}
	if err := r.server.storage.Remove(context.Background(), cond, r.user, r.bucket, r.object); err != nil {
		r.refuseError(err, "repeat it: what is gone is not found")
		return
	}
	r.begin(204)
	r.Respond(nil)
}

// A bodyReader reads a request's body. It remembers why it couldn't.
type bodyReader struct {
	body *http1.Body
	rest []byte
	err  error
}

// Read implements io.Reader.
func (b *bodyReader) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		next, err := b.body.Next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				b.err = err
			}
			return 0, err
		}
		b.rest = next
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

var _ io.Reader = (*bodyReader)(nil)
