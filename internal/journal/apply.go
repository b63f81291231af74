package journal

import "fmt"

// recentPoints is how many sequences back an author may have been when it wrote a record for its hash to be checked.
const recentPoints = 4096

// recent remembers the hashes of the last points.
type recent [recentPoints]point

func (r *recent) add(p point) { r[p.seq%recentPoints] = p }

func (r *recent) at(seq uint64) (point, bool) {
	p := r[seq%recentPoints]
	return p, p.seq == seq && seq != 0
}

// applyNext applies the record if it is the next one, and reports whether it was applied, now or before. An error has
// stopped the journal.
func (j *Journal[R]) applyNext(seq uint64, data []byte) (applied bool, err error) {
	j.applying.Lock()
	defer j.applying.Unlock()
	if err := j.Err(); err != nil {
		return false, err
	}
	if seq <= j.state.seq {
		return true, nil
	}
	if seq != j.state.seq+1 {
		return false, nil
	}
	if err := j.applyLocked(seq, data); err != nil {
		err = fmt.Errorf("sequence %d of the log: %w", seq, err)
		j.fail(err)
		return false, err
	}
	return true, nil
}

func (j *Journal[R]) applyLocked(seq uint64, data []byte) error {
	r, err := parseRecord(data)
	if err != nil {
		return fmt.Errorf("%w; %s", err, adviceDamage)
	}
	if err := j.checkBaseLocked(seq, r); err != nil {
		return err
	}
	var answered *batch[R]
	before := j.state
	if j.state.fresh(r.identity) {
		if answered = j.pending; answered != nil && answered.identity != r.identity {
			answered = nil
		}
		j.runLocked(r, answered)
		j.state.seen(r.identity, seq)
		j.state.commands += uint64(r.count)
	}
	j.advanceLocked(seq, r, len(data))
	if err := j.checkMarkLocked(); err != nil {
		return err
	}
	if err := j.writeMark(); err != nil {
		return fmt.Errorf("writing the mark: %w", err)
	}
	if answered != nil {
		j.answerLocked()
	}
	j.snapshotIfDueLocked(before, r.node == j.node)
	return nil
}

// runLocked applies the commands of a record, and leaves the replies for those who wait.
func (j *Journal[R]) runLocked(r record, waiting *batch[R]) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var command []byte
	rest := r.commands
	for i := range r.count {
		command, rest = nextCommand(rest)
		reply := j.machine.Apply(command)
		if waiting != nil {
			waiting.calls[i].reply = reply
		}
	}
}

func (j *Journal[R]) advanceLocked(seq uint64, r record, size int) {
	s := &j.state
	s.chain = mix(s.chain, uint64(r.sum)<<32|uint64(uint32(size)))
	s.point = point{seq: seq, hash: mix(s.chain, j.machine.Hash())}
	s.bytes += uint64(size)
	j.recent.add(s.point)
}

// answerLocked wakes those whose commands were applied. None of these sends waits.
func (j *Journal[R]) answerLocked() {
	b := j.pending
	j.pending = nil
	for _, c := range b.calls {
		c.done <- struct{}{}
	}
	b.done <- struct{}{}
}

const (
	adviceDamage = "restore this node's data_dir from a copy, or, in a cluster, remove its journal directory to start from " +
		"the others' snapshot"
	adviceFork = "nodes with the same log have different states: check that all run the same version, and remove the journal " +
		"directory of the one that is wrong"
)

// checkBaseLocked compares what the author of a record had made of the log with what this node made of it.
func (j *Journal[R]) checkBaseLocked(seq uint64, r record) error {
	if r.base.seq >= seq {
		return damaged("its author claims to have applied sequence %d before", r.base.seq)
	}
	own, ok := j.recent.at(r.base.seq)
	if !ok || own.hash == r.base.hash {
		return nil
	}
	return damaged("node %x had state %016x at sequence %d, and this node %016x; %s", r.node, r.base.hash, own.seq, own.hash, adviceFork)
}

// checkMarkLocked compares the state with what it was when this node answered from it, in an earlier run.
func (j *Journal[R]) checkMarkLocked() error {
	if j.expect.seq == 0 || j.state.seq < j.expect.seq {
		return nil
	}
	want := j.expect
	j.expect = point{}
	if j.state.seq == want.seq && j.state.hash != want.hash {
		return damaged("the state is %016x, and was %016x when this node was here before; %s", j.state.hash, want.hash, adviceFork)
	}
	return nil
}

// writeMark notes how far the machine is. While an earlier mark is ahead, that one stays.
func (j *Journal[R]) writeMark() error {
	if j.expect.seq > j.state.seq {
		return nil
	}
	return j.mark.write(mark{stream: j.stream, epoch: j.epoch, point: j.state.point})
}

// snapshotIfDueLocked asks for a snapshot when a record has passed a multiple of the interval, which is at the same
// record on every node.
func (j *Journal[R]) snapshotIfDueLocked(before state, own bool) {
	if before.commands/j.cfg.SnapshotEvery == j.state.commands/j.cfg.SnapshotEvery &&
		before.bytes/j.cfg.SnapshotBytes == j.state.bytes/j.cfg.SnapshotBytes {
		return
	}
	j.share = j.share || own
	j.askForSnapshot()
}

func (j *Journal[R]) askForSnapshot() {
	select {
	case j.due <- struct{}{}:
	default: // one is due already
	}
}
