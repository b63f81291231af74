package top

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/rivo/uniseg"

	"github.com/sluicegate/sluice/internal/live"
)

// A line is text in pieces, each of a kind.
type (
	line  []piece
	piece struct {
		kind kind
		text string
	}
	kind int
)

const (
	plain kind = iota
	strong
	faint
	good
	bad
)

func (l line) String() string {
	var text strings.Builder
	for _, p := range l {
		text.WriteString(p.text)
	}
	return text.String()
}

func (l line) width() int { return uniseg.StringWidth(l.String()) }

func text(format string, args ...any) line { return line{{plain, fmt.Sprintf(format, args...)}} }

func as(k kind, format string, args ...any) line { return line{{k, fmt.Sprintf(format, args...)}} }

// join puts lines behind each other.
func join(parts ...line) line {
	var all line
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// order is that of the outcomes on the screen.
var order = []string{"passed", "coalesced", "cached", "queued", "limited", "failed"}

// page is what there is to show. A head stays, a body may be cut.
func (m *model) page(width int) (head, body []line, foot line) {
	title := as(good, "● live")
	switch {
	case m.lost != nil:
		title = as(bad, "▲ no answer, trying again: %s", Clean(m.lost.Error()))
	case m.paused:
		title = as(faint, "paused")
	case m.snapshot == nil:
		title = as(faint, "connecting…")
	}
	title = join(as(strong, "Sluice  "), title)
	foot = as(faint, "q quits, p pauses")
	if m.snapshot == nil {
		return []line{title}, nil, foot
	}
	head = []line{join(title, as(faint, "  %s", nodeLine(&m.snapshot.Node)))}
	head = append(head, summary(m.snapshot)...)
	head = append(head, sparkline(m.history, width), nil)
	return head, tables(m.snapshot), foot
}

// Print writes a snapshot as plain text, all of it.
func Print(w io.Writer, s *live.Snapshot) error {
	lines := append([]line{text("Sluice  %s", nodeLine(&s.Node))}, summary(s)...)
	lines = append(append(lines, nil), tables(s)...)
	var all strings.Builder
	for _, l := range lines {
		all.WriteString(strings.TrimRight(l.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, all.String())
	return err
}

func nodeLine(n *live.Node) string {
	return fmt.Sprintf("%s  %s  up %s", n.Listen, n.Version, time.Duration(n.Uptime*float64(time.Second)).Round(time.Second))
}

func summary(s *live.Snapshot) []line {
	inFlight, waiting := int64(0), 0
	for _, u := range s.Upstreams {
		inFlight, waiting = inFlight+u.InFlight, waiting+u.Waiting
	}
	p := &s.Point
	figure := func(name string, n float64, unit string) line {
		return join(text("%s ", name), as(strong, "%s", short(n)), text("%s   ", unit))
	}
	first := join(figure("requests", p.Requests, "/s"), figure("p50", p.P50, " ms"), figure("p99", p.P99, " ms"), figure("upstream calls", p.Calls, "/s"),
		text("saved %.0f %%   in flight %d, %d waiting", 100*s.Saved.ShareLately, inFlight, waiting))
	var second line
	for _, name := range order {
		k := plain
		if p.Rates[name] > 0 && (name == "limited" || name == "failed") {
			k = bad
		}
		second = join(second, as(k, "%s %s", name, short(p.Rates[name])), text("   "))
	}
	return []line{first, join(second, as(faint, "per second"))}
}

// sparkline is the requests per second of the last minutes, newest at the right.
func sparkline(points []live.Point, width int) line {
	const levels = "▁▂▃▄▅▆▇█"
	points = points[max(0, len(points)-width):]
	highest := 0.0
	for i := range points {
		highest = max(highest, points[i].Requests)
	}
	var bars strings.Builder
	for i := range points {
		level := 0
		if highest > 0 {
			level = int(points[i].Requests / highest * 7)
		}
		bars.WriteRune([]rune(levels)[level])
	}
	return as(good, "%s", bars.String())
}

func tables(s *live.Snapshot) []line {
	var lines []line
	add := func(t *table) {
		if len(t.rows) > 1 {
			lines = append(append(lines, t.lines()...), nil)
		}
	}
	add(upstreams(s.Upstreams))
	add(clients(s.Clients))
	add(shared(&s.Flushes))
	if s.Jobs != nil {
		j := s.Jobs
		lines = append(lines, join(as(faint, "JOBS  "), text("queued %d, oldest %.0f s   running %d   done %d   failed %d", j.Queued, j.OldestAge, j.Running, j.Done, j.Failed)))
		add(dead(j.Dead))
	}
	if m := s.Market; m != nil {
		lines = append(lines, join(as(faint, "MARKET  "), text("bids %d for %d units   left over %d", m.Bids, m.Volume, m.Leftover)))
		add(fills(m.Fills))
	}
	add(quotas(s.Quotas))
	return lines
}

func upstreams(list []live.Upstream) *table {
	t := newTable("UPSTREAM", ">IN FLIGHT", ">WAITING", "TARGETS")
	for _, u := range list {
		flight, waiting := fmt.Sprint(u.InFlight), "-"
		if u.MaxInFlight > 0 {
			flight, waiting = fmt.Sprintf("%d of %d", u.InFlight, u.MaxInFlight), fmt.Sprintf("%d of %d", u.Waiting, u.MaxWaiting)
		}
		var targets line
		for _, target := range u.Targets {
			switch {
			case target.Healthy:
				targets = join(targets, as(good, "● "), text("%s  ", target.Address))
			case target.Ejected:
				targets = join(targets, as(bad, "▲ %s ejected  ", target.Address))
			default:
				targets = join(targets, as(bad, "▲ %s unhealthy  ", target.Address))
			}
		}
		t.row(text("%s", u.Name), text("%s", flight), text("%s", waiting), targets)
	}
	return t
}

func clients(list []live.Client) *table {
	t := newTable("CLIENT", ">PER S", ">LATELY", ">REFUSED", "LIMITS")
	for _, c := range list {
		var limits []string
		for _, l := range c.Limits {
			limits = append(limits, fmt.Sprintf("%s %s: %d of %d left", l.Rule, l.Rate, l.Remaining, l.Limit))
		}
		k := plain
		if c.Refused > 0 {
			k = bad
		}
		t.row(text("%s", cut(Clean(c.Name), 40)), text("%s", short(c.Rate)), text("%d", c.Count), as(k, "%d", c.Refused), text("%s", strings.Join(limits, ", ")))
	}
	return t
}

func shared(f *live.Flushes) *table {
	t := newTable("SHARED CALLS", ">LAST MINUTE", ">SINCE START")
	for _, name := range []string{"policy", "timer", "size", "close", "joined", "cached", "passthrough"} {
		if f.Reasons[name] > 0 {
			t.add(name, short(f.Lately[name]), short(f.Reasons[name]))
		}
	}
	return t
}

func dead(list []live.DeadJob) *table {
	t := newTable("DEAD LETTER", "QUEUE", ">ATTEMPTS", "WHY")
	for _, j := range list {
		t.add(j.ID, Clean(j.Queue), fmt.Sprint(j.Attempts), Clean(j.Error))
	}
	return t
}

func fills(list []live.MarketFill) *table {
	t := newTable("FILLED AT", "WHO", ">PRICE", ">VOLUME")
	for _, f := range list {
		t.add(f.Time.Local().Format(time.TimeOnly), Clean(f.Username), fmt.Sprint(f.Price), fmt.Sprint(f.Volume))
	}
	return t
}

func quotas(list []live.Quota) *table {
	t := newTable("QUOTA OF", ">USED MB", ">RESERVED MB", ">OF MB", "RESETS")
	mb := func(n uint64) string { return strconv.FormatFloat(float64(n)/1e6, 'f', 2, 64) }
	for _, q := range list {
		t.add(Clean(q.User), mb(q.Used), mb(q.Reserved), mb(q.Limit), q.Resets.UTC().Format(time.DateOnly))
	}
	return t
}

// table aligns cells. A column whose title begins with ">" has numbers.
type table struct {
	right []bool
	rows  [][]line
}

func newTable(titles ...string) *table {
	t := new(table)
	var head []line
	for _, title := range titles {
		name, right := strings.CutPrefix(title, ">")
		head, t.right = append(head, as(faint, "%s", name)), append(t.right, right)
	}
	t.row(head...)
	return t
}

func (t *table) row(cells ...line) { t.rows = append(t.rows, cells) }

func (t *table) add(cells ...string) {
	row := make([]line, len(cells))
	for i, cell := range cells {
		row[i] = text("%s", cell)
	}
	t.row(row...)
}

func (t *table) lines() []line {
	widths := make([]int, len(t.right))
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], cell.width())
		}
	}
	var lines []line
	for _, row := range t.rows {
		var l line
		for i, cell := range row {
			pad := text("%s", strings.Repeat(" ", widths[i]-cell.width()))
			if t.right[i] {
				l = join(l, pad, cell, text("  "))
			} else {
				l = join(l, cell, pad, text("  "))
			}
		}
		lines = append(lines, l)
	}
	return lines
}

// cut shortens s to n letters.
func cut(s string, n int) string {
	if letters := []rune(s); len(letters) > n {
		return string(letters[:n-1]) + "…"
	}
	return s
}

// short writes a number in few letters, three digits at most before a unit.
func short(n float64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if n >= u.size {
			return digits(n/u.size) + u.name
		}
	}
	return digits(n)
}

func digits(n float64) string {
	switch {
	case n == 0 || n >= 100:
		return strconv.FormatFloat(n, 'f', 0, 64)
	case n >= 10:
		return strconv.FormatFloat(n, 'f', 1, 64)
	}
	return strconv.FormatFloat(n, 'f', 2, 64)
}

// Clean is what others have chosen, such as a client's name, without anything that a terminal would take for more than text.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}
