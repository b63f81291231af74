package gateway

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/internal/admit"
	"github.com/sluicegate/sluice/internal/upstream"
)

// A flushEvent is what the feed has of a coalesce.Flush, under the kind "flush". It is not changed once it is made.
type flushEvent struct {
	Key    keyHash `json:"key"`
	Route  string  `json:"route"`
	Reason string  `json:"reason"` // that of coalesce.Reason
	Size   int     `json:"size"`   // requests when the call began

	Age      millis `json:"age_ms"`      // of the batch when the call began
	Waiting  millis `json:"waiting_ms"`  // of all requests together when the call began; of a single one, to its answer
	Upstream millis `json:"upstream_ms"` // from the beginning of the call to its answer

	Answered  int    `json:"answered"` // requests that were given the answer, those who joined among them
	Joined    int    `json:"joined"`
	Released  int    `json:"released"` // requests that were let go because the answer was private
	Fallbacks int    `json:"fallbacks,omitempty"`
	Error     string `json:"error,omitempty"`   // that of errorKind
	Skipped   uint64 `json:"skipped,omitempty"` // events of the same reason that were not published, since the one before
}

// A keyHash tells keys apart within this process.
type keyHash uint64

// MarshalText writes the hash as 16 hexadecimal digits: a number of JSON would be rounded.
func (k keyHash) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%016x", uint64(k)), nil }

// millis is a time that is written in milliseconds, to the microsecond.
type millis time.Duration

// MarshalJSON writes it as a number.
func (m millis) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(time.Duration(m).Microseconds())/1000, 'f', -1, 64), nil
}

// errorKinds are all that errorKind returns for an error.
func errorKinds() []string {
	return []string{
		"overflow",   // too much was under way for one more to be coalesced
		"not_shared", // the answer was private, or one for this key lately was
		"closed",     // the gateway stops
		"abandoned",  // all clients had left
		"panic",      // a defect
		"queue",      // too many waited for the upstream, or this call did for too long
		"timeout",
		"canceled",
		"failed", // anything else, above all an upstream that did not answer
	}
}

// errorKind is the kind of the error of a coalesce.Flush, in one word; empty for none.
func errorKind(err error) string {
	switch err { // these the group gives as they are, and often
	case nil:
		return ""
	case coalesce.ErrOverflow:
		return "overflow"
	case coalesce.ErrNotShared:
		return "not_shared"
	case coalesce.ErrClosed:
		return "closed"
	case coalesce.ErrAbandoned:
		return "abandoned"
	}
	return failureKind(err)
}

// failureKind is the kind of an error that a call has brought.
func failureKind(err error) string {
	var panicked *coalesce.PanicError
	if errors.As(err, &panicked) { // first: what it panicked with may be any error
		return "panic"
	}
	var failure *upstream.Error
	if errors.As(err, &failure) {
		switch failure.Kind {
		case upstream.HeaderTimeout, upstream.TotalTimeout:
			return "timeout"
		case upstream.ClientGone:
			return "canceled"
		}
	}
	var refusal *admit.Refusal
	if errors.As(err, &refusal) {
		if refusal.Reason == admit.Gone {
			return "canceled"
		}
		return "queue"
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	}
	return "failed"
}
