package storage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/problem"
	"github.com/sluicegate/sluice/internal/quota"
)

// Bounds of an order.
const (
	maxBody = 16 << 10
	maxKey  = 255 // bytes of an idempotency key
)

// order accepts a job that stores an object's record.
func (r *request) order() {
	if !r.jsonBody() {
		r.refuse(problem.Problem{Type: problem.UnsupportedMediaType, Detail: "the body must be JSON: send Content-Type: application/json",
			Fields: field{"Accept", jsonType}})
		return
	}
	body, err := r.readBody()
	if err != nil {
		r.refuseBody(err)
		return
	}
	o := Order{User: r.user}
	var wrong *fieldError
	if o.Key, wrong = r.idempotencyKey(); wrong == nil {
		wrong = o.decode(body)
	}
	if wrong != nil {
		r.refuseField(problem.InvalidObject, wrong)
		return
	}
	v, _, err := r.server.storage.Accept(context.Background(), &o)
	if err != nil {
		r.refuseError(err, "repeat it with the same Idempotency-Key: the answer tells what became of it, and nothing is done twice")
		return
	}
	r.answerJSON(202, v, field{"Location", "/jobs/" + v.ID.String() + "?userId=" + url.QueryEscape(r.user)})
}

// jsonBody reports whether the Content-Type is JSON, or isn't there, or is what curl says of -d. Browsers tell where a form comes from, and
// theirs are refused, as plain text is: they are what a page of any site can make a browser send.
func (r *request) jsonBody() bool {
	value, ok := r.Get("content-type")
	if !ok {
		return true
	}
	name, _, _ := bytes.Cut(value, []byte(";"))
	name = bytes.TrimRight(name, " \t")
	if _, fromPage := r.Get("origin"); !fromPage && http1.EqualFold(name, "application/x-www-form-urlencoded") {
		return true
	}
	return http1.EqualFold(name, jsonType)
}

// errTooLong is what readBody returns for a body above maxBody.
var errTooLong = errors.New("too long")

// readBody returns the request's body.
func (r *request) readBody() ([]byte, error) {
	if r.Body.Length() > maxBody {
		return nil, errTooLong
	}
	if body, whole := r.Body.Whole(); whole {
		return body, nil
	}
	var body []byte
	for {
		p, err := r.Body.Next()
		if err == io.EOF {
			return body, nil
		}
		if err != nil {
			return nil, err
		}
		if len(body)+len(p) > maxBody {
			return nil, errTooLong
		}
		body = append(body, p...)
	}
}

// refuseBody says why a body was not read to its end.
func (r *request) refuseBody(err error) {
	if errors.Is(err, errTooLong) {
		r.refuse(problem.Problem{Type: problem.BodyTooLarge, Detail: "the body must not have more than " + strconv.Itoa(maxBody) + " bytes",
			Members: []problem.Member{{Name: "field", Value: "body"}}})
		return
	}
	r.CloseAfter() // where the next request begins is unknown
	t := problem.BadRequest
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t = problem.RequestTimeout
	}
	r.refuse(problem.Problem{Type: t, Detail: "the body of the request broke off; nothing was stored"})
}

// idempotencyKey returns the Idempotency-Key, "" without one.
func (r *request) idempotencyKey() (string, *fieldError) {
	const name = "Idempotency-Key"
	value, found, wrong := r.single(name)
	switch {
	case wrong != nil || !found:
		return "", wrong
	case len(value) == 0 || len(value) > maxKey || !http1.IsVisible([]byte(value)):
		return "", bad(name, "must have 1 to %d visible ASCII characters", maxKey)
	}
	return value, nil
}

// single returns a field that may be there once.
func (r *request) single(name string) (value string, found bool, wrong *fieldError) {
	lower := strings.ToLower(name)
	for i := range r.Fields {
		if f := &r.Fields[i]; http1.EqualFold(f.Name, lower) {
			if found {
				return "", true, bad(name, "is there twice")
			}
			value, found = string(f.Value), true
		}
	}
	return value, found, nil
}

// orderFields are the fields of an order, all of which must be there.
var orderFields = []string{"objectId", "sizeInByte", "bucketName", "fileName"}

// decode reads an order: a JSON object with these fields and no others, each once. It is stricter than json.Unmarshal, which lets names
// differ in case, takes the last of two values, and replaces what is not UTF-8.
func (o *Order) decode(body []byte) *fieldError {
	if !utf8.Valid(body) {
		return bad("body", "is not valid UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return bad("body", "must be a JSON object")
	}
	seen := map[string]bool{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return bad("body", "is not valid JSON: %v", err)
		}
		if wrong := o.field(d, name.(string), seen); wrong != nil {
			return wrong
		}
	}
	if _, err := d.Token(); err != nil {
		return bad("body", "is not valid JSON: %v", reasonOf(err))
	}
	if _, err := d.Token(); err != io.EOF {
		return bad("body", "has something after the JSON object")
	}
	for _, name := range orderFields {
		if !seen[name] {
			return bad(name, "is missing")
		}
	}
	return nil
}

func reasonOf(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// field reads the value of a field.
func (o *Order) field(d *json.Decoder, name string, seen map[string]bool) *fieldError {
	if seen[name] {
		return bad(clip(name), "is there twice")
	}
	seen[name] = true
	value, err := d.Token()
	if err != nil {
		return bad("body", "is not valid JSON at the field %q: %v", clip(name), reasonOf(err))
	}
	switch name {
	case "objectId":
		return text(&o.Object, value, name, CheckObject)
	case "bucketName":
		return text(&o.Bucket, value, name, CheckBucket)
	case "fileName":
		return text(&o.FileName, value, name, CheckFileName)
	case "sizeInByte":
		return size(&o.Size, value, name)
	}
	return bad(clip(name), "is not a field of this request, which has %s", strings.Join(orderFields, ", "))
}

// text takes a value that must be a string. A half of a surrogate pair is no character, and json replaces it without a word.
func text(into *string, value json.Token, name string, check func(string) error) *fieldError {
	s, ok := value.(string)
	switch {
	case !ok:
		return bad(name, "must be a string")
	case strings.ContainsRune(s, utf8.RuneError):
		return bad(name, "has a character that means none: U+FFFD, or half of a surrogate pair")
	}
	if err := check(s); err != nil {
		return bad(name, "%v", err)
	}
	*into = s
	return nil
}

// size takes a value that must be a number of bytes, in digits.
func size(into *uint64, value json.Token, name string) *fieldError {
	number, ok := value.(json.Number)
	digits := string(number)
	switch {
	case !ok:
		return bad(name, "must be a number")
	case digits[0] == '-':
		return bad(name, "must not be negative")
	case strings.Trim(digits, "0123456789") != "":
		return bad(name, "must be a whole number, in digits")
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || n > quota.MaxBytes {
		return bad(name, "must be at most %d", uint64(quota.MaxBytes))
	}
	*into = n
	return nil
}

// clip makes a client's own word fit for an answer.
func clip(name string) string {
	const most = 64
	if name == "" {
		return `""`
	}
	if len(name) > most {
		name = name[:most] + "…"
	}
	return strings.ToValidUTF8(name, "\uFFFD")
}
