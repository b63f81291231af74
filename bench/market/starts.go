package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/sluicegate/sluice/bench/harness"
)

const never = 1 << 60 // commands or bytes between snapshots

// starts measures how long `sluice market` takes from its start to the first order that it can take.
func starts(b *harness.Bench, sluice string, o options) []harness.Verdict {
	whole, recent := filepath.Join(b.Dir, "whole"), filepath.Join(b.Dir, "recent")
	f := filling{commands: o.commands, users: 100_000, sales: true, keys: true, snapshotEvery: never, snapshotBytes: never}
	began := time.Now()
	fill(whole, f)
	fmt.Printf("\na log of %d commands of 100,000 users, a tenth with an Idempotency-Key, filled in %v: %d MB\n",
		o.commands, time.Since(began).Round(time.Second), sizeOf(whole)>>20)
	interval := o.commands / 10
	f.commands, f.snapshotEvery, f.snapshotBytes = o.commands+interval/10, uint64(interval), 0
	fill(recent, f)
	fmt.Printf("the same with a snapshot every %d commands: %d MB\n", interval, sizeOf(recent)>>20)
	var replays, restores []float64
	for range o.starts {
		forgetSnapshots(whole)
		replays = append(replays, start(sluice, whole))
		restores = append(restores, start(sluice, recent))
	}
	f.after, f.commands = f.commands, o.commands+interval/2
	fill(recent, f)
	fmt.Printf("with %d commands after the snapshot:\n", interval/2)
	for range o.starts {
		start(sluice, recent)
	}
	replay, restore := harness.Summarize(replays), harness.Summarize(restores)
	return []harness.Verdict{
		harness.Below(fmt.Sprintf("seconds to start with %d commands to replay", o.commands), replay, 30),
		harness.Below(fmt.Sprintf("seconds to start from a snapshot, with %d more to replay", interval/10), restore, 1),
	}
}

// forgetSnapshots removes the one that a start has taken after its replay. The log is not cut before there are two.
func forgetSnapshots(dir string) {
	all, err := filepath.Glob(filepath.Join(dir, "journal-market", "snapshot-*"))
	harness.Fatal(err)
	for _, path := range all {
		harness.Fatal(os.Remove(path))
	}
}

// start returns how many seconds a market takes to be ready, and stops it.
func start(sluice, dir string) float64 {
	admin := harness.FreeAddr()
	cmd := exec.Command(sluice, "market", "--listen", "127.0.0.1:0", "--admin", admin, "--data-dir", dir, "--snapshot-every", fmt.Sprint(never))
	began := time.Now()
	harness.Fatal(cmd.Start())
	for !ready("http://" + admin + "/readyz") {
		if time.Since(began) > 10*time.Minute {
			cmd.Process.Kill()
			harness.Fatal(fmt.Errorf("no market is ready in %s", dir))
		}
		time.Sleep(2 * time.Millisecond)
	}
	took := time.Since(began).Seconds()
	busy := harness.CPU(cmd)
	harness.Fatal(cmd.Process.Signal(syscall.SIGTERM))
	harness.Fatal(cmd.Wait())
	fmt.Printf("  start in %-9s %6.2f s, %v of processor time\n", filepath.Base(dir)+":", took, busy)
	return took
}

func ready(url string) bool {
	resp, err := http.Get(url)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func sizeOf(dir string) (size int64) {
	harness.Fatal(filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	}))
	return size
}
