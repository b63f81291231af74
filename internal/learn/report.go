package learn

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// A Report is the results of an evaluation. As JSON it is {"cells":[{"policy":…},…]}.
type Report struct {
	Cells []Result `json:"cells"`
}

// A setting tells the cells of a report apart.
type setting struct {
	regime, freshness, latency string
	callCost, hold             float64
	unseen                     bool
}

func (r *Result) setting() setting {
	return setting{r.Regime, r.Freshness, r.Latency, r.CallCostMS, r.HoldMS, r.Unseen}
}

// label is "seen" or "unseen".
func label(unseen bool) string {
	if unseen {
		return "unseen"
	}
	return "seen"
}

// WriteTable writes a line for each policy in each cell.
func (r *Report) WriteTable(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for i := range r.Cells {
		c := &r.Cells[i]
		if i == 0 || c.setting() != r.Cells[i-1].setting() {
			tw.Flush()
			fmt.Fprintf(w, "\n%s, %s: %s, a call costs %gms", label(c.Unseen), c.Freshness, c.Regime, c.CallCostMS)
			if c.Freshness == "relaxed" {
				fmt.Fprintf(w, " and takes %s", c.Latency)
			}
			fmt.Fprintf(w, ", hold %gms, max batch %d\n", c.HoldMS, c.MaxBatch)
			fmt.Fprint(tw, "policy\tcost/best\t95 %\treduction\twait p50\tp99\tby policy\tby hold\tby size\t\n")
		}
		fmt.Fprintf(tw, "%s\t%.3f\t%.3f–%.3f\t%.1f %%\t%.1fms\t%.1fms\t%.1f %%\t%.1f %%\t%.1f %%\t\n", c.Policy, c.CostRatio, c.Low, c.High,
			100*c.Reduction, c.WaitP50, c.WaitP99, 100*c.ByPolicy, 100*c.ByHold, 100*c.BySize)
	}
	return tw.Flush()
}

// groups returns the groups of cells, in their order.
func (r *Report) groups() []string {
	var names []string
	for i := range r.Cells {
		if !slices.Contains(names, r.Cells[i].Group) {
			names = append(names, r.Cells[i].Group)
		}
	}
	return names
}

func inGroup(name string) func(*Result) bool {
	return func(r *Result) bool { return r.Group == name }
}

func everywhere(*Result) bool { return true }

// of returns the results of the policy in the cells of a group.
func (r *Report) of(policy string, in func(*Result) bool) []*Result {
	var found []*Result
	for i := range r.Cells {
		if c := &r.Cells[i]; c.Policy == policy && in(c) {
			found = append(found, c)
		}
	}
	return found
}

func (r *Report) geometricMean(policy string, in func(*Result) bool) float64 {
	var ratios []float64
	for _, c := range r.of(policy, in) {
		ratios = append(ratios, c.CostRatio)
	}
	return geometricMean(ratios)
}

// policies returns the names in their order.
func (r *Report) policies() []string {
	var names []string
	for i := range r.Cells {
		if !slices.Contains(names, r.Cells[i].Policy) {
			names = append(names, r.Cells[i].Policy)
		}
	}
	return names
}

// WriteSummary writes the geometric means of the cost over that of the clairvoyant, and the worst cell, of each policy in each group of cells.
func (r *Report) WriteSummary(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(tw, "geometric mean (worst)\t")
	groups := r.groups()
	for _, g := range groups {
		fmt.Fprintf(tw, "%s: %d\t", g, len(r.of(ClairvoyantName, inGroup(g))))
	}
	fmt.Fprintf(tw, "all: %d\t\n", len(r.of(ClairvoyantName, everywhere)))
	for _, policy := range r.policies() {
		fmt.Fprintf(tw, "%s\t", policy)
		for _, g := range groups {
			r.writeMean(tw, policy, inGroup(g))
		}
		r.writeMean(tw, policy, everywhere)
		fmt.Fprintln(tw)
	}
	return tw.Flush()
}

func (r *Report) writeMean(w io.Writer, policy string, in func(*Result) bool) {
	worst := 0.0
	for _, c := range r.of(policy, in) {
		worst = max(worst, c.CostRatio)
	}
	fmt.Fprintf(w, "%.3f (%.2f)\t", r.geometricMean(policy, in), worst)
}

// A Bar is something that a learned policy is to reach.
type Bar struct {
	Name  string
	Value float64
	Limit float64
	Least bool   // Value is to be Limit at least; otherwise at most
	Where string // the cell that decides, if it is one
}

// Met reports whether it is reached.
func (b Bar) Met() bool {
	if b.Least {
		return b.Value >= b.Limit
	}
	return b.Value <= b.Limit
}

// Bars returns what the policy is to reach, of which the cells are in the report.
func (r *Report) Bars(policy string) []Bar {
	var bars []Bar
	for _, g := range []string{GroupSeen, GroupRates} {
		if m := r.geometricMean(policy, inGroup(g)); m > 0 {
			bars = append(bars, Bar{Name: "geometric mean of the cost over the best: " + g, Value: m, Limit: 1.22})
		}
	}
	bars = append(bars, r.worst(policy, Bar{Name: "worst cell, over the better of balance and immediate", Limit: 1.03},
		everywhere, "balance", "immediate"))
	random := r.worst(policy, Bar{Name: "worst cell of random arrivals, over the best in hindsight", Limit: 1.05},
		func(c *Result) bool { return strings.HasPrefix(c.Regime, "poisson:") }, HindsightName)
	if random.Where != "" {
		bars = append(bars, random)
	}
	var shares []float64
	for _, c := range r.of(policy, everywhere) {
		shares = append(shares, 100*c.ByPolicy)
	}
	return append(bars, Bar{Name: "share of the flushes that the policy decides, in percent, mean of the cells", Value: mean(shares), Limit: 90, Least: true})
}

// worst completes a bar with the cell in which the policy's cost is highest in units of the least of the others'.
func (r *Report) worst(policy string, b Bar, in func(*Result) bool, others ...string) Bar {
	least := map[setting]float64{}
	for i := range r.Cells {
		if c := &r.Cells[i]; slices.Contains(others, c.Policy) {
			before, there := least[c.setting()]
			if !there || c.CostRatio < before {
				least[c.setting()] = c.CostRatio
			}
		}
	}
	for _, c := range r.of(policy, in) {
		if v := c.CostRatio / least[c.setting()]; v > b.Value {
			b.Value, b.Where = v, fmt.Sprintf("%s, %s, %gms", c.Freshness, c.Regime, c.CallCostMS)
		}
	}
	return b
}

// WriteBars writes which of the bars the policy meets.
func (r *Report) WriteBars(w io.Writer, policy string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, b := range r.Bars(policy) {
		sign, verdict := "≤", "met"
		if b.Least {
			sign = "≥"
		}
		if !b.Met() {
			verdict = "missed"
		}
		fmt.Fprintf(tw, "%s\t%s\t%.3f %s %g\t%s\n", verdict, b.Name, b.Value, sign, b.Limit, cmp.Or(b.Where, "-"))
	}
	return tw.Flush()
}
