package flush

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sluicegate/sluice/coalesce"
)

// Params are what the rules take. Each takes its own and leaves the others alone.
type Params struct {
	After    time.Duration // timer: must be above 0
	Size     int           // size: must be above 0
	CallCost time.Duration // balance, threshold, ppo: what one upstream call is worth, in waiting of one request; must be above 0
	Net      *Network      // ppo; nil means Default
}

// ErrUnknown is returned by [Parse] for a name that is none of [Names].
var ErrUnknown = errors.New("flush: unknown policy")

// ErrParam is returned by [Parse] for a parameter that is out of range.
var ErrParam = errors.New("flush: parameter out of range")

// Names returns the names that [Parse] knows.
func Names() []string { return []string{"immediate", "timer", "size", "balance", "threshold", "ppo"} }

// Parse returns the rule of that name.
func Parse(name string, p Params) (coalesce.Policy, error) {
	var policy coalesce.Policy
	var err error
	switch name {
	case "immediate":
		policy = Immediate{}
	case "timer":
		policy, err = Timer{After: p.After}, positive(p.After > 0, name, "after", p.After)
	case "size":
		policy, err = Size{N: p.Size}, positive(p.Size > 0, name, "size", p.Size)
	case "balance":
		policy, err = Balance{CallCost: p.CallCost}, positive(p.CallCost > 0, name, "call cost", p.CallCost)
	case "threshold":
		policy, err = Threshold{CallCost: p.CallCost}, positive(p.CallCost > 0, name, "call cost", p.CallCost)
	case "ppo":
		policy, err = PPO{Net: p.network(), CallCost: p.CallCost}, positive(p.CallCost > 0, name, "call cost", p.CallCost)
	default:
		err = fmt.Errorf("%w %q: it is one of %s", ErrUnknown, name, strings.Join(Names(), ", "))
	}
	if err != nil {
		return nil, err
	}
	return policy, nil
}

func (p *Params) network() *Network {
	if p.Net == nil {
		return Default()
	}
	return p.Net
}

func positive(is bool, name, what string, value any) error {
	if is {
		return nil
	}
	return fmt.Errorf("%w: %s: %s must be above 0, not %v", ErrParam, name, what, value)
}
