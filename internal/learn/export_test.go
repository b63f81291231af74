package learn

// HindsightCost is what the search takes for the cost of the rule, in units of the call cost.
func HindsightCost(h Hindsight, cfg *Config, t *Traffic) float64 {
	cost, _ := h.cost(cfg, t, never)
	return float64(cost) / float64(cfg.CallCost)
}

// MeanRatio is the geometric mean of the policy's costs over those of the best schedules.
func MeanRatio(r *Report, policy string) float64 {
	return r.geometricMean(policy, everywhere)
}
