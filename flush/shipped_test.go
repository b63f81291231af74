package flush_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/flush"
)

// TestShipped: the policy in the package loads, says how it was made, and never fails.
func TestShipped(t *testing.T) {
	n := flush.Default()
	if training := n.Training(); !strings.HasPrefix(training.Command, "sluice train ") || training.Steps == 0 || len(training.Figures) == 0 {
		t.Errorf("it was made by %+v", training)
	}
	rapid.Check(t, func(t *rapid.T) {
		s := anyState(t)
		s.Hold = 50 * ms
		if d := (flush.PPO{Net: n, CallCost: 25 * ms}).Decide(s); d.Fallback {
			t.Fatalf("%+v of %+v", d, s)
		}
	})
}
