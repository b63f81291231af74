package harness

import (
	"encoding/json"
	"os"
)

// RecordEnv names the file that reports are added to, for programs that make pages of them. Without it nothing is recorded.
const RecordEnv = "SLUICE_BENCH_RECORD"

// A Record is one report: what was measured of each subject, run by run.
type Record struct {
	Subjects []Recorded `json:"subjects"`
}

// Recorded is one subject's part of it.
type Recorded struct {
	Name string    `json:"name"`
	Rate []float64 `json:"requests_per_s"`
	P99  []float64 `json:"p99_ms"`
	CPU  []float64 `json:"cpu_us_per_request"`
}

// record adds a report to the file, as one line of JSON.
func record(subjects []*Subject) {
	path := os.Getenv(RecordEnv)
	if path == "" {
		return
	}
	var r Record
	for _, s := range subjects {
		rec := Recorded{Name: s.Name}
		for _, run := range s.Runs {
			rec.Rate = append(rec.Rate, run.PerSecond)
			rec.P99 = append(rec.P99, float64(run.P99.Microseconds())/1000)
			rec.CPU = append(rec.CPU, micros(run.CPU))
		}
		r.Subjects = append(r.Subjects, rec)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	Fatal(err)
	defer f.Close()
	Fatal(json.NewEncoder(f).Encode(r))
}
