package jobs

import (
	"fmt"
	"time"
)

// A Phase is where a job is in its life. As text it is its name in lower case.
type Phase uint8

// Phases of a job.
const (
	Queued    Phase = 1 + iota // waiting for a worker, or to be tried again
	Running                    // on a worker
	Done                       // its result is kept for a while
	Failed                     // a dead letter: until it is retried, purged, or KeepDead has passed
	Forgotten                  // only an idempotency key remembers it
)

var phaseNames = [...]string{Queued: "queued", Running: "running", Done: "done", Failed: "failed", Forgotten: "forgotten"}

// String returns the phase's name.
func (p Phase) String() string {
	if int(p) < len(phaseNames) && p != 0 {
		return phaseNames[p]
	}
	return fmt.Sprintf("phase %d", p)
}

// ParsePhase reads the name of a phase.
func ParsePhase(name string) (Phase, error) {
	for p, n := range phaseNames {
		if n == name && p != 0 {
			return Phase(p), nil
		}
	}
	return 0, fmt.Errorf("%.40q is no state of a job: want queued, running, done or failed", name)
}

// MarshalText implements encoding.TextMarshaler.
func (p Phase) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Phase) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePhase(string(text))
	return err
}

// A Time is in milliseconds since 1970; 0 is none. As text it is as RFC 3339 has it, in UTC and with milliseconds.
type Time uint64

const timeFormat = "2006-01-02T15:04:05.000Z"

// maxTime bounds what is believed to be a time: a little over 8000 years. Sums with the durations here do not wrap.
const maxTime = 1 << 48

// TimeOf is t, within what a command can say.
func TimeOf(t time.Time) Time { return Time(max(0, min(t.UnixMilli(), maxTime))) }

// Time converts.
func (t Time) Time() time.Time { return time.UnixMilli(int64(t)).UTC() }

// String returns t as text.
func (t Time) String() string { return t.Time().Format(timeFormat) }

// MarshalText implements encoding.TextMarshaler.
func (t Time) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *Time) UnmarshalText(text []byte) error {
	at, err := time.Parse(time.RFC3339, string(text))
	*t = TimeOf(at)
	return err
}

// A View is what is told about a job.
type View struct {
	ID          ID     `json:"id"`
	Queue       string `json:"queue"`
	Tenant      string `json:"tenant"`
	Owner       string `json:"-"`
	State       Phase  `json:"state"`
	Attempts    int    `json:"attempts"` // that were begun
	MaxAttempts int    `json:"max_attempts"`
	Accepted    Time   `json:"accepted"`
	Started     Time   `json:"started,omitzero"`      // the last attempt
	Finished    Time   `json:"finished,omitzero"`     // done or failed
	NextAttempt Time   `json:"next_attempt,omitzero"` // of a queued job that is to be tried again
	Deadline    Time   `json:"deadline,omitzero"`     // no attempt starts later
	Expires     Time   `json:"expires,omitzero"`      // of a job that is done or failed: it is forgotten then
	Status      int    `json:"status,omitzero"`       // the upstream's, of the last attempt that had one
	Error       string `json:"error,omitempty"`       // of the last attempt
	ResultBytes int64  `json:"result_bytes,omitzero"` // of the result's body
}

// A Stored is the result of a job's last attempt as it was kept.
type Stored struct {
	Status   int
	Error    string
	Head     []byte
	Body     []byte
	Blob     string // where the body is if it isn't in Body
	BlobSize int64
}
