package flush

import (
	"bytes"
	_ "embed"
	"math"
	"time"

	"github.com/sluicegate/sluice/coalesce"
)

// PPO is a learned policy: a network that has seen much traffic, in a simulator, and how well the schedule did there that knew all arrivals in
// advance (docs/flush-policy.md). The name is that of the method, proximal policy optimization. It serves as soon as the network says so, and
// asks again at arrivals and in between, the more often the more requests wait.
//
// If the network's answer is no number, [Balance] decides in its place, and the decision says that it is a fallback.
type PPO struct {
	Net *Network // as of [Load] or [Default]; nil has Balance decide always
	// CallCost is what one upstream call is worth, in waiting of one request. 0 or less means at once.
	CallCost time.Duration
}

//go:embed policy.json
var shipped []byte

// Default returns the policy that is shipped with this package. It is read anew each time, which takes less than a millisecond.
func Default() *Network {
	n, err := Load(bytes.NewReader(shipped))
	if err != nil {
		panic(err) // the package was built from a broken file
	}
	return n
}

// Decide implements [coalesce.Policy].
func (p PPO) Decide(s coalesce.State) (d coalesce.Decision) {
	if p.CallCost <= 0 {
		return coalesce.Decision{Serve: true}
	}
	logit := p.logit(&s)
	switch {
	case math.IsNaN(float64(logit)):
		d = Balance{CallCost: p.CallCost}.Decide(s)
		d.Fallback = true
		return d
	case logit > 0:
		return coalesce.Decision{Serve: true}
	}
	return coalesce.Decision{After: Recheck(&s, p.CallCost)}
}

// logit returns the network's answer, NaN if it has none.
func (p PPO) logit(s *coalesce.State) (logit float32) {
	defer func() {
		if recover() != nil {
			logit = float32(math.NaN())
		}
	}()
	var x [NumFeatures]float32
	Features(s, p.CallCost, &x)
	return p.Net.Logit(&x)
}
