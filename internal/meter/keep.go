package meter

import (
	"errors"
	"time"

	"github.com/sluicegate/sluice/window"
)

// fileName is the file that keeps the counts of a kind.
func fileName(k Kind) string {
	if k == Refused {
		return "meter-refused.bin"
	}
	return "meter-" + string(k) + "s.bin"
}

// load reads the files.
func (m *Meter) load() (snapshots, error) {
	if m.opts.Path == nil {
		return nil, nil
	}
	kept := make(snapshots, len(kinds))
	for _, k := range kinds {
		var s window.TableSnapshot
		err := window.Load(m.opts.Path(fileName(k)), &s)
		var aside *window.SetAsideError
		if errors.As(err, &aside) {
			m.opts.Log.Error("the counts of requests could not be read, counting starts from nothing",
				"kind", string(k), "file", aside.Path, "reason", aside.Err.Error(), "set_aside_as", aside.To)
		} else if err != nil {
			return nil, err
		}
		kept[k] = s
	}
	return kept, nil
}

// housekeep writes the files every sync interval, and once per timeframe gives back the memory of names that are idle. It
// owns the files until it has stopped.
func (m *Meter) housekeep() {
	defer close(m.stopped)
	k := keeper{meter: m}
	swept := window.Now()
	for {
		cfg := &m.tables.Load().cfg
		select {
		case <-m.stop:
			k.save()
			return
		case <-time.After(cfg.SyncInterval):
		}
		k.save()
		if now := window.Now(); now.Sub(swept) >= cfg.Timeframe {
			m.dropIdle(now)
			swept = now
		}
	}
}

func (m *Meter) dropIdle(now window.Instant) {
	t := m.tables.Load()
	for _, k := range kinds {
		t.of(k).DropIdle(now)
	}
}

// Close stops the meter and writes the counts as they are, if it keeps them. Call it after the last request.
func (m *Meter) Close() {
	close(m.stop)
	<-m.stopped
}

// keeper writes the files. Not safe for concurrent use.
type keeper struct {
	meter  *Meter
	empty  bool // the files hold nothing that is counted
	failed bool // the last attempt; the log hears of changes alone
}

// save writes the counts, unless there are none and the files say so already.
func (k *keeper) save() {
	m := k.meter
	if m.opts.Path == nil {
		return
	}
	s := m.snapshot(window.Now(), m.opts.Wall())
	empty := len(s[Client].Windows)+len(s[Route].Windows) == 0 // nothing is refused that is not counted for its client
	if empty && k.empty {
		return
	}
	var errs []error
	for _, kind := range kinds {
		errs = append(errs, window.Save(m.opts.Path(fileName(kind)), s[kind]))
	}
	err := errors.Join(errs...)
	k.empty = empty && err == nil
	if failed := err != nil; failed != k.failed {
		k.failed = failed
		if failed {
			m.opts.Log.Error("the counts of requests cannot be written, a crash would lose them", "error", err)
		} else {
			m.opts.Log.Info("the counts of requests are written again")
		}
	}
}
