package jobs

import "fmt"

// Outcome is what became of a command.
type Outcome uint8

// Outcomes of a command.
const (
	OK       Outcome = iota
	Invalid          // not a command; nothing changed, not even the clock
	Existed          // the job is there already, under its ID or its key; Reply.Job says which
	Conflict         // the key was used for something else; Reply.Job says for which job
	Full             // a bound of the state is reached
	NotFound         // no such job or session
	Stale            // the claim isn't the job's last any more, or the session has beaten since
	Gone             // the session has ended
	Refused          // the job isn't in a phase in which this can be done
)

var outcomeNames = [...]string{"ok", "invalid", "existed", "conflict", "full", "not found", "stale", "gone", "refused"}

// String returns the outcome's name.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return fmt.Sprintf("outcome %d", o)
}

// A Reply says what became of a command. Only OK changes anything but the clock, and Gone and Stale never do.
type Reply struct {
	Outcome Outcome

	// Job is the job that a command is about, after it: of enqueue, finish, fail, retry later, release and retry. Its Error is left out.
	Job View

	Session uint64  // of an opened session
	Claimed []Claim // by a claim
	Died    []ID    // became failed by this command, whatever it was
	Ended   []Ended // blobs that no job refers to any more, and that whoever sent the command deletes
	Count   int     // of purged jobs
	More    bool    // there is more of this to do than one command does: send another
}

// Ended is a blob that nobody needs any more.
type Ended struct {
	ID   ID // of the job
	Blob string
}

// A Claim is a job that a session runs: an attempt. Its Spec has no Key, Fingerprint and Payload.
type Claim struct {
	Spec
	Attempt  int    // 1 is the first
	Fence    uint32 // names this claim among those of the job
	Accepted Time
	Expires  Time // the deadline, 0 none

	service *Service
}
