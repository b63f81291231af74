package main

import (
	"fmt"
	"os"
	"time"

	"github.com/sluicegate/sluice/bench/harness"
)

// diskOf says what appending 8 KiB and syncing them costs on the disk of dir. That is about a record of the log.
func diskOf(dir string) string {
	f, err := os.CreateTemp(dir, "disk-")
	harness.Fatal(err)
	defer os.Remove(f.Name())
	defer f.Close()
	record := make([]byte, 8<<10)
	var took []float64
	for range 200 {
		began := time.Now()
		_, err := f.Write(record)
		harness.Fatal(err)
		harness.Fatal(f.Sync())
		took = append(took, time.Since(began).Seconds())
	}
	s := summarize(took)
	return fmt.Sprintf("%s: writing and syncing 8 KiB takes %v at the median, %v at most", dir, seconds(s.median), seconds(s.max))
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(time.Microsecond)
}
