package journal_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"

	"github.com/sluicegate/sluice/internal/datadir"
	"github.com/sluicegate/sluice/internal/journal"
)

// envChild makes the test's program a node that is loaded until it dies: it gives the directory, and envFrom the first
// number.
const (
	envChild = "SLUICE_JOURNAL_CHILD"
	envFrom  = "SLUICE_JOURNAL_FROM"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(envChild); path != "" {
		if err := child(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child counts numbers from 16 goroutines for ever, and prints each when it was answered.
func child(path string) error {
	from, err := strconv.ParseUint(os.Getenv(envFrom), 10, 64)
	if err != nil {
		return err
	}
	dir, err := datadir.Open(path)
	if err != nil {
		return err
	}
	broker, err := journal.Embed(journal.EmbedConfig{Dir: dir})
	if err != nil {
		return err
	}
	cfg := journal.Config{Name: "test", Dir: dir, SnapshotEvery: 200}
	j, err := journal.Open(context.Background(), broker, cfg, newTally())
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	for g := range uint64(16) {
		all.Go(func() {
			for k := from + g; ; k += 16 {
				if r, err := j.Do(context.Background(), key(k)); err != nil || r.count != 1 {
					fmt.Fprintln(os.Stderr, k, r, err)
					os.Exit(1)
				}
				os.Stdout.WriteString(strconv.FormatUint(k, 10) + "\n")
			}
		})
	}
	all.Wait()
	return nil
}

// runChild lets a child answer so many commands, ends it by end, and returns what was answered, also after that.
func runChild(t *testing.T, path string, from uint64, atLeast int, end func(*os.Process)) (answered []uint64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envChild+"="+path, fmt.Sprintf("%s=%d", envFrom, from))
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if atLeast == 0 {
		end(cmd.Process)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		k, err := strconv.ParseUint(lines.Text(), 10, 64)
		if err != nil {
			break // a line that the end cut off
		}
		if answered = append(answered, k); len(answered) == atLeast {
			end(cmd.Process)
		}
	}
	cmd.Wait()
	if len(answered) < atLeast {
		t.Fatalf("the child ended after %d answers", len(answered))
	}
	return answered
}

func kill(p *os.Process) { p.Kill() }

// checkAnswered checks that all that was answered counts, and nothing counts twice.
func (n *node) checkAnswered(answered []uint64) {
	n.t.Helper()
	for _, k := range answered {
		if got := n.machine.counts[k]; got != 1 {
			n.t.Errorf("%d was answered, and counts %d times", k, got)
		}
	}
	for k, count := range n.machine.counts {
		if count != 1 {
			n.t.Errorf("%d counts %d times", k, count)
		}
	}
}

// A node is killed under load, again and again, at any moment from its start.
func TestKill(t *testing.T) {
	t.Parallel()
	rounds := 15
	if soak() {
		rounds = 1000
	}
	path := t.TempDir()
	var answered []uint64
	for round := range rounds {
		n := 0
		if round%5 > 0 {
			n = rand.IntN(2000)
		}
		answered = append(answered, runChild(t, path, uint64(round)<<32, n, kill)...)
		t.Run(strconv.Itoa(round), func(t *testing.T) {
			embedded(t, path).checkAnswered(answered)
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("%d answers over %d kills", len(answered), rounds)
}
