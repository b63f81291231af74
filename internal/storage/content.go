package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/url"

	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/objects"
	"github.com/sluicegate/sluice/internal/problem"
)

// content answers with what is stored, or a part of it.
func (r *request) content() {
	e, err := r.find()
	if e == nil {
		r.refuseMissing(err)
		return
	}
	switch r.selected(e) {
	case 304:
		r.begin(304)
		r.describe(e)
		r.EndHead(-1)
		r.Finish(nil)
		return
	case 412:
		r.refuse((&RefusedError{Outcome: Unmet}).problem())
		return
	}
	part, ok := r.span(e)
	if !ok {
		r.refuse(problem.Problem{Type: problem.RangeNotSatisfiable, Detail: fmt.Sprintf("the content has %d bytes", e.Length),
			Fields: field{"Content-Range", fmt.Sprintf("bytes */%d", e.Length)}})
		return
	}
	if r.IsMethod("HEAD") {
		r.beginContent(e, span{0, int64(e.Length), false}) // RFC 9110 section 14.2: a range is of GET
		r.Finish(nil)
		return
	}
	r.send(e, part)
}

func (r *request) find() (*Entry, error) {
	return r.server.storage.Find(context.Background(), r.user, r.bucket, r.object)
}

func (r *request) refuseMissing(err error) {
	if err == nil {
		err = &RefusedError{Outcome: NotFound}
	}
	r.refuseError(err, "repeat it")
}

// send sends a part of a content. What was replaced between the look and the opening is looked for once more.
func (r *request) send(e *Entry, part span) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r.WhenGone(aborter(cancel))
	defer r.WhenGone(nil)
	body, err := r.server.storage.Content(ctx, e, part.from, part.length)
	if errors.Is(err, objects.ErrNotFound) {
		if now, _ := r.find(); now == nil || now.Blob != e.Blob {
			r.WhenGone(nil)
			r.content()
			return
		}
	}
	if err != nil {
		r.refuseError(err, "")
		return
	}
	defer body.Close()
	r.beginContent(e, part)
	if err := r.copy(body, part.length); err != nil {
		r.server.log.Warn("content broke off", "bucket", e.Bucket, "object", e.Object, "error", err)
		r.Abort()
	}
	r.Finish(nil)
}

// aborter stops reading when the client has gone.
type aborter context.CancelFunc

// Abort implements http1.Aborter.
func (a aborter) Abort() { a() }

// copy sends n bytes. A client that has gone is no error.
func (r *request) copy(body io.Reader, n int64) error {
	buf := r.server.buffers.Get().(*[copySize]byte)
	defer r.server.buffers.Put(buf)
	for n > 0 {
		k, err := body.Read(buf[:min(int64(len(buf)), n)])
		if k > 0 {
			n -= int64(k)
			r.server.storage.metrics.sent.Add(float64(k))
			if _, gone := r.Write(buf[:k]); gone != nil {
				return nil
			}
		}
		if err != nil && n > 0 {
			return err
		}
	}
	return nil
}

// beginContent writes the head of an answer with content.
func (r *request) beginContent(e *Entry, part span) {
	if part.part {
		r.begin(206)
		r.AddString("Content-Range", fmt.Sprintf("bytes %d-%d/%d", part.from, part.from+part.length-1, e.Length))
	} else {
		r.begin(200)
	}
	r.describe(e)
	r.AddString("Content-Type", e.ContentType)
	r.AddString("Accept-Ranges", "bytes")
	if e.FileName != "" {
		r.AddString("Content-Disposition", disposition(e.FileName))
	}
	r.EndHead(part.length)
}

// describe writes what a 304 has as well. Content is a user's, who says its type: no page is to run it.
func (r *request) describe(e *Entry) {
	r.AddString("ETag", e.ETag())
	r.AddString("Last-Modified", modifiedOf(e).Format(http1.TimeFormat))
	r.AddString("Cache-Control", "private, no-cache")
	r.AddString("X-Content-Type-Options", "nosniff")
	r.AddString("Content-Security-Policy", "sandbox; default-src 'none'")
}

// disposition says what a file is to be called, RFC 6266.
func disposition(file string) string {
	if v := mime.FormatMediaType("attachment", map[string]string{"filename": file}); v != "" {
		return v
	}
	return "attachment; filename*=UTF-8''" + url.PathEscape(file)
}
