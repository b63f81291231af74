package journal_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/sluicegate/sluice/internal/datadir"
	"github.com/sluicegate/sluice/internal/journal"
)

// The nodes of a new cluster start at once: one makes the log, and the others may ask a server that knows of it and doesn't have it yet.
func TestNodesStartTogether(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	for round := range 2 {
		var nodes sync.WaitGroup
		for i := range 3 {
			nodes.Go(func() {
				dir, err := datadir.Open(t.TempDir())
				if err != nil {
					t.Error(err)
					return
				}
				defer dir.Close()
				broker, err := journal.Dial(journal.DialConfig{URL: "nats://" + c.addr(i), Log: testLog(t)})
				if err != nil {
					t.Error(err)
					return
				}
				defer broker.Close()
				j, err := journal.Open(t.Context(), broker, journal.Config{Name: fmt.Sprint("together", round), Dir: dir, Log: testLog(t)}, newTally())
				if err != nil {
					t.Errorf("node %d, round %d: %v", i, round, err)
					return
				}
				defer j.Close()
				if _, err := j.Do(t.Context(), key(uint64(i))); err != nil {
					t.Errorf("node %d, round %d: %v", i, round, err)
				}
			})
		}
		nodes.Wait()
	}
}
