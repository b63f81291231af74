package upstream

import "fmt"

// Kind is what went wrong with a call.
type Kind int

// The kinds of failures.
const (
	NoTarget      Kind = iota // no target is healthy; nothing was sent
	Connect                   // no connection to the target: nothing was sent
	Lost                      // the connection broke before the response's head was complete
	BadResponse               // the target answered something that is not HTTP
	HeaderTimeout             // the response's head did not come in time
	TotalTimeout              // the exchange as a whole took too long
	ClientBody                // the client's body could not be read: broken, too slow, or gone
	BodyTooLarge              // the client's body is longer than the route allows
	ClientGone                // the client left
)

var kindNames = [...]string{
	"no healthy target", "cannot connect", "connection lost", "malformed response", "no response in time",
	"exchange took too long", "request body failed", "request body too large", "client has gone",
}

func (k Kind) String() string { return kindNames[k] }

// Error is a call that failed before there was a response to pass on.
type Error struct {
	Kind   Kind
	Target string // host:port, "" when none was chosen
	Err    error  // the cause, nil when Kind says it all
	Sent   bool   // a target may have received something of the request
}

func (e *Error) Error() string {
	switch {
	case e.Target == "" && e.Err == nil:
		return e.Kind.String()
	case e.Err == nil:
		return fmt.Sprintf("%s: %s", e.Target, e.Kind)
	case e.Target == "":
		return fmt.Sprintf("%s: %v", e.Kind, e.Err)
	}
	return fmt.Sprintf("%s: %s: %v", e.Target, e.Kind, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// blamesTarget reports whether the failure says something about the target's health.
func (k Kind) blamesTarget() bool {
	return k == Connect || k == Lost || k == BadResponse || k == HeaderTimeout
}
