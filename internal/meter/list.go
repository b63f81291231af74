package meter

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluicegate/sluice/window"
)

// spans are the times that rates are given over. A rate over more than the timeframe is not given.
var spans = [...]time.Duration{time.Second, 10 * time.Second, 60 * time.Second}

// A reading is what one meter says.
type reading struct {
	kind  Kind
	name  string
	count uint64
	rates [len(spans)]float64 // requests per second
}

// read reads every meter that counts a request in the timeframe up to now.
func (m *Meter) read(now window.Instant) (*tables, []reading) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.tables.Load()
	var list []reading
	for _, k := range kinds {
		for name, w := range t.of(k).All() {
			r := reading{kind: k, name: name, count: w.Count(now)}
			if r.count == 0 {
				continue
			}
			for i, span := range spans {
				r.rates[i] = w.Rate(now, span)
			}
			list = append(list, r)
		}
	}
	return t, list
}

// List reads the meters of this node and returns the part of them that q asks for. The error is a *QueryError.
func (m *Meter) List(q Query) (*Page, error) {
	t, list := m.read(window.Now())
	return q.page(&Page{Scope: NodeScope}, t, list)
}

// A Page is a part of the meters.
type Page struct {
	Scope     Scope   `json:"scope"`
	Timeframe float64 `json:"timeframe_seconds"`
	Precision float64 `json:"precision_seconds"`
	Nodes     []Node  `json:"nodes,omitempty"`       // whose counts are added up
	Total     int     `json:"total"`                 // meters, on all pages
	Next      int     `json:"next_offset,omitempty"` // of the next page, if there is one
	Meters    []Row   `json:"meters"`
}

// A Row is one meter. A rate over more than the timeframe is nil.
type Row struct {
	Name    string   `json:"name"`
	Kind    Kind     `json:"kind"`
	Count   uint64   `json:"count"`              // requests in the timeframe
	Rate1s  *float64 `json:"rate_1s,omitempty"`  // requests per second in the last second
	Rate10s *float64 `json:"rate_10s,omitempty"` // in the last 10 seconds
	Rate60s *float64 `json:"rate_60s,omitempty"` // in the last minute
}

// page fills in p with those of the readings that q asks for.
func (q *Query) page(p *Page, t *tables, list []reading) (*Page, error) {
	if i := slices.Index(rateSorts[:], q.Sort); i >= 0 && spans[i] > t.cfg.Timeframe {
		return nil, &QueryError{"sort", fmt.Sprintf("%q looks back further than meter.timeframe, which is %v", q.Sort, t.cfg.Timeframe)}
	}
	list = slices.DeleteFunc(list, func(r reading) bool { return q.Kind != "" && r.kind != q.Kind })
	slices.SortFunc(list, q.compare)
	p.Timeframe, p.Precision, p.Total = t.cfg.Timeframe.Seconds(), t.cfg.Precision.Seconds(), len(list)
	begin := min(q.Offset, len(list))
	end := begin + min(q.Limit, len(list)-begin)
	if end < len(list) {
		p.Next = end
	}
	p.Meters = make([]Row, 0, end-begin)
	for _, r := range list[begin:end] {
		p.Meters = append(p.Meters, r.row(t.cfg.Timeframe))
	}
	return p, nil
}

// compare orders readings as q says. Those that are equal in that are ordered by kind and name, so that the order of equal
// readings is always the same.
func (q *Query) compare(a, b reading) int {
	order := 0
	switch q.Sort {
	case SortName:
		order = strings.Compare(a.name, b.name)
	case SortCount:
		order = cmp.Compare(a.count, b.count)
	default:
		i := slices.Index(rateSorts[:], q.Sort)
		order = cmp.Compare(a.rates[i], b.rates[i])
	}
	if q.Descending {
		order = -order
	}
	return cmp.Or(order, cmp.Compare(a.kind, b.kind), strings.Compare(a.name, b.name))
}

func (r *reading) row(timeframe time.Duration) Row {
	row := Row{Name: r.name, Kind: r.kind, Count: r.count}
	for i, field := range []**float64{&row.Rate1s, &row.Rate10s, &row.Rate60s} {
		if spans[i] <= timeframe {
			*field = &r.rates[i]
		}
	}
	return row
}
