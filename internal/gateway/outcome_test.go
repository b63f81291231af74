package gateway

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/sluicegate/sluice/internal/meter"
)

func TestOutcomes(t *testing.T) {
	url := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/broken" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprint(w, "fine")
	})
	g := start(t, parse(t, `
access: {deny: [mallory]}
identify: {sources: [{header: X-User}]}
limits: {once: {rate: 1/day, burst: 0, per: client}}
upstreams: {u: {targets: [%q]}}
routes:
	- {path: /kept, upstream: u, cache: {}}
	- {path: /once, upstream: u, limits: [once]}
	- {path: /broken, upstream: u}
`, url))
	for _, path := range []string{"/kept", "/kept", "/kept", "/once", "/once", "/broken", "/nowhere"} {
		g.ask(t, get(path))
	}
	g.ask(t, "GET /kept HTTP/1.1\r\nHost: h\r\nX-User: mallory\r\n\r\n")
	g.expect(t, map[string]float64{
		"sluice_outcomes_total passed":    2, // the first of /kept and of /once
		"sluice_outcomes_total cached":    2,
		"sluice_outcomes_total limited":   2, // the second of /once, and mallory
		"sluice_outcomes_total failed":    2, // /broken and /nowhere
		"sluice_outcomes_total coalesced": 0,
		"sluice_outcomes_total queued":    0,
	})
	page, err := g.meter.List(meter.Query{Kind: meter.Refused, Sort: meter.SortName, Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"127.0.0.1", "mallory"} {
		if row := page.Meters[i]; row.Name != name || row.Count != 1 {
			t.Errorf("refused %+v, expected 1 of %s", row, name)
		}
	}
}

// Of two requests with one call the first has it, the second shares it; and who had to wait for a slot was queued.
func TestOutcomesOfWaiting(t *testing.T) {
	s := newStalling(t)
	g := s.gateOf(t, "max_in_flight: 1", "{path: /shared, upstream: u, coalesce: {policy: timer, hold: 1m, max_batch: 2}}, {path: /*, upstream: u}")
	answers := []<-chan string{g.send(t, "GET", "/shared", "", ""), g.send(t, "GET", "/shared", "", "")}
	s.next(t)
	answers = append(answers, g.send(t, "GET", "/own", "", ""))
	g.until(t, 1)
	s.leave <- ""
	s.next(t)
	s.leave <- ""
	for _, answer := range answers {
		<-answer
	}
	g.expect(t, map[string]float64{"sluice_outcomes_total passed": 1, "sluice_outcomes_total coalesced": 1, "sluice_outcomes_total queued": 1})
}
