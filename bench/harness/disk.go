package harness

import (
	"fmt"
	"os"
	"time"
)

// DiskOf says what appending 8 KiB and syncing them costs on the disk of dir. That is about a record of the log.
func DiskOf(dir string) string {
	f, err := os.CreateTemp(dir, "disk-")
	Fatal(err)
	defer os.Remove(f.Name())
	defer f.Close()
	record := make([]byte, 8<<10)
	var took []float64
	for range 200 {
		began := time.Now()
		_, err := f.Write(record)
		Fatal(err)
		Fatal(f.Sync())
		took = append(took, time.Since(began).Seconds())
	}
	s := Summarize(took)
	return fmt.Sprintf("%s: writing and syncing 8 KiB takes %v at the median, %v at most", dir, seconds(s.Median), seconds(s.Max))
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(time.Microsecond)
}
