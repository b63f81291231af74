package traffic_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/traffic"
)

func script(seed uint64, rate float64, n int) []traffic.Request {
	var list []traffic.Request
	for r := range traffic.Script(seed, rate) {
		if list = append(list, r); len(list) == n {
			break
		}
	}
	return list
}

func TestScriptFollowsFromItsSeed(t *testing.T) {
	a, b := script(1, 30, 5000), script(1, 30, 5000)
	if !slices.Equal(a, b) {
		t.Error("two scripts of one seed differ")
	}
	if slices.Equal(a, script(2, 30, 5000)) {
		t.Error("the scripts of two seeds are equal")
	}
}

// The script of one seed is always the same, so these shares are not left to chance.
func TestScriptIsTheMixItSaysItIs(t *testing.T) {
	const n = 100_000
	for _, rate := range []float64{0.5, 30, 5000} {
		var total time.Duration
		share := map[string]float64{}
		for _, r := range script(3, rate, n) {
			total += r.After
			share[r.User] += 1.0 / n
			share[r.Method] += 1.0 / n
			if strings.Contains(r.Path, "status=") {
				share["error"] += 1.0 / n
			}
			if strings.Contains(r.Path, "/report") {
				share["slow"] += 1.0 / n
			}
			if (r.Body != "") != (r.Method != "GET") {
				t.Fatalf("%+v", r)
			}
		}
		if got := n / total.Seconds(); math.Abs(got/rate-1) > 0.03 {
			t.Errorf("rate %v: %v requests per second", rate, got)
		}
		for what, want := range map[string]float64{
			"alice": 0.40, "bob": 0.25, "carol": 0.15, "dave": 0.10, "erin": 0.07, "frank": 0.03,
			"GET": 0.882, "POST": 0.091, "PUT": 0.027, "slow": 0.018, "error": 0.009, // of singles, which are 10 in 11
		} {
			if math.Abs(share[what]-want) > 0.02 || share[what] == 0 {
				t.Errorf("rate %v: share of %s is %.3f, expected about %.3f", rate, what, share[what], want)
			}
		}
	}
}

func TestScriptHasBursts(t *testing.T) {
	list := script(3, 30, 10_000)
	longest, run := 0, 0
	for i := 1; i < len(list); i++ {
		same := list[i].Path == list[i-1].Path && list[i].User == list[i-1].User && list[i].After <= time.Second/(30*20)
		if run++; !same {
			run = 0
		}
		longest = max(longest, run)
	}
	if longest < 19 {
		t.Errorf("the longest burst has %d requests", longest+1)
	}
}
