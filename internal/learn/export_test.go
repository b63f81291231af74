package learn

// HindsightCost is what the search takes for the cost of the rule, in units of the call cost.
func HindsightCost(h Hindsight, cfg *Config, t *Traffic) float64 {
	return float64(h.cost(cfg, t)) / float64(cfg.CallCost)
}
