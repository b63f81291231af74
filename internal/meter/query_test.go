package meter_test

import (
	"errors"
	"net/url"
	"testing"

	"github.com/sluicegate/sluice/internal/meter"
)

func TestParseQuery(t *testing.T) {
	for text, want := range map[string]meter.Query{
		"":                          {Scope: "node", Sort: "count", Descending: true, Limit: 100},
		"sort=name":                 {Scope: "node", Sort: "name", Limit: 100},
		"sort=name&order=desc":      {Scope: "node", Sort: "name", Descending: true, Limit: 100},
		"sort=rate_1s":              {Scope: "node", Sort: "rate_1s", Descending: true, Limit: 100},
		"sort=rate_60s&order=asc":   {Scope: "node", Sort: "rate_60s", Limit: 100},
		"kind=route&scope=cluster":  {Scope: "cluster", Kind: "route", Sort: "count", Descending: true, Limit: 100},
		"limit=1&offset=2147483647": {Scope: "node", Sort: "count", Descending: true, Limit: 1, Offset: 2147483647},
		"limit=1000&kind=client":    {Scope: "node", Kind: "client", Sort: "count", Descending: true, Limit: 1000},
	} {
		values, err := url.ParseQuery(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := meter.ParseQuery(values); err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", text, got, err, want)
		}
	}
}

func TestParseQueryMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"sort=size":       `the parameter sort: "size", expected one of count, rate_1s, rate_10s, rate_60s, name`,
		"sort=":           `the parameter sort: "", expected one of count, rate_1s, rate_10s, rate_60s, name`,
		"order=up":        `the parameter order: "up", expected one of asc, desc`,
		"kind=upstream":   `the parameter kind: "upstream", expected one of client, refused, route`,
		"kind=":           `the parameter kind: "", expected one of client, refused, route`,
		"scope=all":       `the parameter scope: "all", expected one of node, cluster`,
		"limit=0":         `the parameter limit: "0", expected a number from 1 to 1000`,
		"limit=1001":      `the parameter limit: "1001", expected a number from 1 to 1000`,
		"limit=ten":       `the parameter limit: "ten", expected a number from 1 to 1000`,
		"offset=-1":       `the parameter offset: "-1", expected a number from 0 to 2147483647`,
		"limit=1&limit=2": `the parameter limit: given more than once`,
		"page=2":          `the parameter "page": unknown, expected scope, kind, sort, order, limit, offset`,
	} {
		values, err := url.ParseQuery(text)
		if err != nil {
			t.Fatal(err)
		}
		_, err = meter.ParseQuery(values)
		var mistake *meter.QueryError
		if !errors.As(err, &mistake) || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
