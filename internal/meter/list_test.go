package meter

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/config"
)

// story are readings in no order, two of them equal in all but kind and name.
func story() []reading {
	return []reading{
		{Route, "/a", 5, [3]float64{0, 1, 2}},
		{Client, "eve", 5, [3]float64{3, 0, 1}},
		{Client, "bob", 9, [3]float64{1, 2, 3}},
		{Client, "ann", 5, [3]float64{3, 0, 1}},
	}
}

func minute() *tables { return &tables{cfg: config.Default().Meter} }

// names are the names on a page, in its order.
func names(p *Page) string {
	var list []string
	for _, r := range p.Meters {
		list = append(list, r.Name)
	}
	return strings.Join(list, " ")
}

func TestOrder(t *testing.T) {
	for _, c := range []struct {
		sort       Sort
		descending bool
		want       string
	}{
		{"count", true, "bob ann eve /a"},
		{"count", false, "ann eve /a bob"},
		{"rate_1s", true, "ann eve bob /a"},
		{"rate_10s", true, "bob /a ann eve"},
		{"rate_60s", false, "ann eve /a bob"},
		{"name", false, "/a ann bob eve"},
		{"name", true, "eve bob ann /a"},
	} {
		for _, reversed := range []bool{false, true} { // whatever the order they come in
			list := story()
			if reversed {
				slices.Reverse(list)
			}
			q := Query{Sort: c.sort, Descending: c.descending, Limit: 10}
			p, err := q.page(new(Page), minute(), list)
			if err != nil || names(p) != c.want {
				t.Errorf("by %s, descending %v: %s, %v, want %s", c.sort, c.descending, names(p), err, c.want)
			}
		}
	}
}

func TestPages(t *testing.T) {
	for _, c := range []struct {
		kind                       Kind
		offset, limit, total, next int
		want                       string
	}{
		{"", 0, 4, 4, 0, "/a ann bob eve"},
		{"", 0, 3, 4, 3, "/a ann bob"},
		{"", 3, 3, 4, 0, "eve"},
		{"", 4, 3, 4, 0, ""},
		{"", 1 << 30, 1000, 4, 0, ""},
		{Client, 1, 1, 3, 2, "bob"},
		{Route, 0, 10, 1, 0, "/a"},
	} {
		q := Query{Kind: c.kind, Sort: SortName, Limit: c.limit, Offset: c.offset}
		p, err := q.page(new(Page), minute(), story())
		if err != nil || names(p) != c.want || p.Total != c.total || p.Next != c.next || p.Meters == nil {
			t.Errorf("%+v: %+v, %v", c, p, err)
		}
	}
}

// TestShortTimeframe: no rate claims to know more than the timeframe.
func TestShortTimeframe(t *testing.T) {
	for _, c := range []struct {
		timeframe     time.Duration
		with, without []string
	}{
		{time.Minute, []string{"rate_1s", "rate_10s", "rate_60s"}, nil},
		{59 * time.Second, []string{"rate_1s", "rate_10s"}, []string{"rate_60s"}},
		{time.Second, []string{"rate_1s"}, []string{"rate_10s", "rate_60s"}},
		{999 * time.Millisecond, nil, []string{"rate_1s", "rate_10s", "rate_60s"}},
	} {
		short := minute()
		short.cfg.Timeframe = c.timeframe
		q := Query{Sort: SortName, Limit: 1}
		p, err := q.page(new(Page), short, story())
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(p.Meters)
		if err != nil {
			t.Fatal(err)
		}
		for _, field := range c.with {
			if !strings.Contains(string(text), field) {
				t.Errorf("%v: no %s in %s", c.timeframe, field, text)
			}
		}
		for _, field := range c.without {
			q := Query{Sort: Sort(field), Limit: 1}
			_, err := q.page(new(Page), short, story())
			var mistake *QueryError
			want := fmt.Sprintf("the parameter sort: %q looks back further than meter.timeframe, which is %v", field, c.timeframe)
			if strings.Contains(string(text), field) || !errors.As(err, &mistake) || err.Error() != want {
				t.Errorf("%v: %s: %v, in %s; want %s", c.timeframe, field, err, text, want)
			}
		}
	}
}

func TestPageAsJSON(t *testing.T) {
	q := Query{Sort: SortCount, Descending: true, Limit: 1}
	p, err := q.page(&Page{Scope: ClusterScope, Nodes: []Node{{ID: "n1", Self: true}, {ID: "n2", Age: 0.5}}}, minute(), story())
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"scope":"cluster","timeframe_seconds":60,"precision_seconds":0.1,` +
		`"nodes":[{"id":"n1","self":true,"age_seconds":0},{"id":"n2","age_seconds":0.5}],"total":4,"next_offset":1,` +
		`"meters":[{"name":"bob","kind":"client","count":9,"rate_1s":1,"rate_10s":2,"rate_60s":3}]}`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}
