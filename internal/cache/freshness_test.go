package cache_test

import (
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/cache"
)

const day = 24 * time.Hour

// TestFreshness is the arithmetic of RFC 9111 section 4.2, for a call that took two seconds.
func TestFreshness(t *testing.T) {
	ago := func(d time.Duration) string { return date(start.Add(-d)) }
	for name, c := range map[string]struct {
		route  cache.Route // MaxTTL is a day if it is 0
		status string
		fields []string
		fresh  time.Duration
		age    time.Duration // when it comes
	}{
		"max-age":                        {fields: []string{"Cache-Control: max-age=60"}, fresh: 58 * time.Second, age: 2 * time.Second},
		"s-maxage before max-age":        {fields: []string{"Cache-Control: max-age=60, s-maxage=10"}, fresh: 8 * time.Second, age: 2 * time.Second},
		"s-maxage first":                 {fields: []string{"Cache-Control: s-maxage=10", "Cache-Control: max-age=60"}, fresh: 8 * time.Second, age: 2 * time.Second},
		"max-age before Expires":         {fields: []string{"Cache-Control: max-age=60", "Expires: " + date(start.Add(time.Hour))}, fresh: 58 * time.Second, age: 2 * time.Second},
		"max-age, invalid Expires":       {fields: []string{"Cache-Control: max-age=60", "Expires: 0"}, fresh: 58 * time.Second, age: 2 * time.Second},
		"Expires and Date":               {fields: []string{"Date: " + date(start), "Expires: " + date(start.Add(time.Minute))}, fresh: 58 * time.Second, age: 2 * time.Second},
		"Expires, the clocks differ":     {fields: []string{"Date: " + date(start.Add(time.Hour)), "Expires: " + date(start.Add(time.Hour+time.Minute))}, fresh: 58 * time.Second, age: 2 * time.Second},
		"the smaller of two max-ages":    {fields: []string{"Cache-Control: max-age=60, max-age=30"}, fresh: 28 * time.Second, age: 2 * time.Second},
		"Age":                            {fields: []string{"Cache-Control: max-age=60", "Age: 20"}, fresh: 38 * time.Second, age: 22 * time.Second},
		"the larger of two Ages":         {fields: []string{"Cache-Control: max-age=60", "Age: 20, 30", "Age: 1"}, fresh: 28 * time.Second, age: 32 * time.Second},
		"Age below 0":                    {fields: []string{"Cache-Control: max-age=60", "Age: -5"}, fresh: 58 * time.Second, age: 2 * time.Second},
		"apparent age":                   {fields: []string{"Cache-Control: max-age=60", "Date: " + ago(30*time.Second)}, fresh: 28 * time.Second, age: 32 * time.Second},
		"a Date in the future":           {fields: []string{"Cache-Control: max-age=60", "Date: " + date(start.Add(time.Hour))}, fresh: 58 * time.Second, age: 2 * time.Second},
		"a Date that is none":            {fields: []string{"Cache-Control: max-age=60", "Date: tomorrow"}, fresh: 58 * time.Second, age: 2 * time.Second},
		"max-age of 32 bits and more":    {fields: []string{"Cache-Control: max-age=99999999999"}, fresh: day, age: 2 * time.Second},
		"max-age of 100 digits":          {fields: []string{"Cache-Control: max-age=1000000000000000000000000000000000000000"}, fresh: day, age: 2 * time.Second},
		"Age of 32 bits and more":        {fields: []string{"Cache-Control: max-age=99999999999", "Age: 99999999999"}, fresh: 0, age: 2147483649 * time.Second},
		"max_ttl":                        {route: cache.Route{MaxTTL: time.Second}, fields: []string{"Cache-Control: max-age=60"}, fresh: time.Second, age: 2 * time.Second},
		"max_ttl does not lengthen":      {route: cache.Route{MaxTTL: time.Hour}, fields: []string{"Cache-Control: max-age=5"}, fresh: 3 * time.Second, age: 2 * time.Second},
		"min_ttl":                        {route: cache.Route{MinTTL: time.Minute}, fields: []string{"Cache-Control: max-age=5"}, fresh: time.Minute, age: 2 * time.Second},
		"min_ttl over max-age=0":         {route: cache.Route{MinTTL: time.Minute}, fields: []string{"Cache-Control: max-age=0"}, fresh: time.Minute, age: 2 * time.Second},
		"min_ttl, must-revalidate":       {route: cache.Route{MinTTL: time.Minute}, fields: []string{"Cache-Control: max-age=5, must-revalidate"}, fresh: 3 * time.Second, age: 2 * time.Second},
		"min_ttl, proxy-revalidate":      {route: cache.Route{MinTTL: time.Minute}, fields: []string{"Cache-Control: max-age=5, proxy-revalidate"}, fresh: 3 * time.Second, age: 2 * time.Second},
		"min_ttl, no-cache":              {route: cache.Route{MinTTL: time.Minute}, fields: []string{"Cache-Control: max-age=5, no-cache", `ETag: "a"`}, age: 2 * time.Second},
		"default_ttl":                    {route: cache.Route{DefaultTTL: time.Minute}, fresh: 58 * time.Second, age: 2 * time.Second},
		"default_ttl up to max_ttl":      {route: cache.Route{DefaultTTL: time.Minute, MaxTTL: time.Second}, fresh: time.Second, age: 2 * time.Second},
		"default_ttl, 404":               {route: cache.Route{DefaultTTL: time.Minute}, status: "404 Not Found", fresh: 58 * time.Second, age: 2 * time.Second},
		"heuristic":                      {route: cache.Route{Heuristic: true}, fields: []string{"Date: " + date(start), "Last-Modified: " + ago(100*time.Minute)}, fresh: 598 * time.Second, age: 2 * time.Second},
		"heuristic, long ago":            {route: cache.Route{Heuristic: true, MaxTTL: 99 * day}, fields: []string{"Date: " + date(start), "Last-Modified: " + ago(1000*day)}, fresh: day - 2*time.Second, age: 2 * time.Second},
		"heuristic for public":           {route: cache.Route{Heuristic: true}, status: "302 Found", fields: []string{"Cache-Control: public", "Date: " + date(start), "Last-Modified: " + ago(100*time.Minute)}, fresh: 598 * time.Second, age: 2 * time.Second},
		"heuristic, but it says max-age": {route: cache.Route{Heuristic: true}, fields: []string{"Cache-Control: max-age=5", "Last-Modified: " + ago(100*time.Minute)}, fresh: 3 * time.Second, age: 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			if c.route.MaxTTL == 0 {
				c.route.MaxTTL = day
			}
			if c.status == "" {
				c.status = "200 OK"
			}
			kept := open(t, c.route)
			req, came := request("GET /a"), start.Add(2*time.Second)
			p := plan(kept, req, start)
			resp := response(t, c.status, c.fields...)
			v := kept.Judge(req, resp, p, cache.Times{Request: start, Response: came})
			if v.FreshFor != c.fresh {
				t.Errorf("fresh for %v, want %v", v.FreshFor, c.fresh)
			}
			e := v.Entry(nil)
			if e == nil {
				if c.fresh > 0 {
					t.Error("not stored")
				}
				return
			}
			if e.Age(came) != c.age || e.Age(came.Add(time.Minute)) != c.age+time.Minute || e.Age(came.Add(-time.Minute)) != c.age {
				t.Errorf("%v old when it came, want %v", e.Age(came), c.age)
			}
			if e.TTL(came) != c.fresh {
				t.Errorf("TTL %v when it came", e.TTL(came))
			}
		})
	}
}

// TestNotFreshByDefault is what neither default_ttl nor a heuristic makes fresh.
func TestNotFreshByDefault(t *testing.T) {
	old := "Last-Modified: " + date(start.Add(-100*time.Hour))
	for name, c := range map[string]struct {
		route  cache.Route
		status string
		fields []string
	}{
		"nothing configured":            {route: anHour, status: "200 OK", fields: []string{old}},
		"default_ttl, 302":              {route: cache.Route{MaxTTL: day, DefaultTTL: time.Hour}, status: "302 Found"},
		"default_ttl, 500":              {route: cache.Route{MaxTTL: day, DefaultTTL: time.Hour}, status: "500 Internal Server Error"},
		"default_ttl, 201":              {route: cache.Route{MaxTTL: day, DefaultTTL: time.Hour}, status: "201 Created"},
		"default_ttl, it says public":   {route: cache.Route{MaxTTL: day, DefaultTTL: time.Hour}, status: "200 OK", fields: []string{"Cache-Control: public"}},
		"default_ttl, it says max-age=": {route: cache.Route{MaxTTL: day, DefaultTTL: time.Hour}, status: "200 OK", fields: []string{"Cache-Control: max-age="}},
		"default_ttl, Expires: 0":       {route: cache.Route{MaxTTL: day, DefaultTTL: time.Hour}, status: "200 OK", fields: []string{"Expires: 0"}},
		"default_ttl, Pragma":           {route: cache.Route{MaxTTL: day, DefaultTTL: time.Hour}, status: "200 OK", fields: []string{"Pragma: no-cache"}},
		"heuristic, 302":                {route: cache.Route{MaxTTL: day, Heuristic: true}, status: "302 Found", fields: []string{old}},
		"heuristic, no Last-Modified":   {route: cache.Route{MaxTTL: day, Heuristic: true}, status: "200 OK"},
		"heuristic, changed tomorrow":   {route: cache.Route{MaxTTL: day, Heuristic: true}, status: "200 OK", fields: []string{"Last-Modified: " + date(start.Add(day))}},
		"max_ttl 0":                     {route: cache.Route{}, status: "200 OK", fields: []string{hour}},
	} {
		t.Run(name, func(t *testing.T) {
			kept := open(t, c.route)
			req := request("GET /a")
			v := kept.Judge(req, response(t, c.status, c.fields...), plan(kept, req, start), at(start))
			if v.Store || v.FreshFor != 0 {
				t.Errorf("stored for %v", v.FreshFor)
			}
		})
	}
}

// TestEvaluate is what a stored response is worth, by what it says, what the request says, and how old it is.
func TestEvaluate(t *testing.T) {
	const etag = `ETag: "a"`
	for name, c := range map[string]struct {
		stored  string // Cache-Control
		request []string
		after   time.Duration
		want    cache.State
		onError bool // may answer in place of an error
	}{
		"fresh":                      {stored: "max-age=10", after: 9 * time.Second, want: cache.Fresh},
		"stale":                      {stored: "max-age=10", after: 10 * time.Second, want: cache.Revalidate},
		"immutable and stale":        {stored: "max-age=10, immutable", after: 10 * time.Second, want: cache.Revalidate},
		"no-cache":                   {stored: "no-cache, max-age=10", want: cache.Revalidate},
		"request no-cache":           {stored: "max-age=10, stale-if-error=60", request: []string{"Cache-Control: no-cache"}, want: cache.Revalidate},
		"request Pragma":             {stored: "max-age=10", request: []string{"Pragma: no-cache"}, want: cache.Revalidate},
		"request Pragma, other":      {stored: "max-age=10", request: []string{"Pragma: foo"}, want: cache.Fresh},
		"request max-age=0":          {stored: "max-age=10", request: []string{"Cache-Control: max-age=0"}, want: cache.Revalidate},
		"request max-age=x":          {stored: "max-age=10", request: []string{"Cache-Control: max-age=x"}, want: cache.Revalidate},
		"request max-age, young":     {stored: "max-age=10", request: []string{"Cache-Control: max-age=5"}, after: 5 * time.Second, want: cache.Fresh},
		"request max-age, old":       {stored: "max-age=10", request: []string{"Cache-Control: max-age=5"}, after: 6 * time.Second, want: cache.Revalidate},
		"min-fresh, enough":          {stored: "max-age=10", request: []string{"Cache-Control: min-fresh=5"}, after: 5 * time.Second, want: cache.Fresh},
		"min-fresh, not enough":      {stored: "max-age=10", request: []string{"Cache-Control: min-fresh=5"}, after: 6 * time.Second, want: cache.Revalidate},
		"min-fresh=x":                {stored: "max-age=10", request: []string{"Cache-Control: min-fresh=x"}, want: cache.Revalidate},
		"max-stale":                  {stored: "max-age=10", request: []string{"Cache-Control: max-stale"}, after: time.Minute, want: cache.Stale},
		"max-stale=5":                {stored: "max-age=10", request: []string{"Cache-Control: max-stale=5"}, after: 15 * time.Second, want: cache.Stale},
		"max-stale=5, older":         {stored: "max-age=10", request: []string{"Cache-Control: max-stale=5"}, after: 16 * time.Second, want: cache.Revalidate},
		"max-stale=x":                {stored: "max-age=10", request: []string{"Cache-Control: max-stale=x"}, after: 11 * time.Second, want: cache.Revalidate},
		"max-stale, must-revalidate": {stored: "max-age=10, must-revalidate", request: []string{"Cache-Control: max-stale"}, after: 11 * time.Second, want: cache.Revalidate},
		"max-stale, proxy-revalid.":  {stored: "max-age=10, proxy-revalidate", request: []string{"Cache-Control: max-stale"}, after: 11 * time.Second, want: cache.Revalidate},
		"max-stale, s-maxage":        {stored: "s-maxage=10", request: []string{"Cache-Control: max-stale"}, after: 11 * time.Second, want: cache.Revalidate},
		"swr":                        {stored: "max-age=10, stale-while-revalidate=5", after: 14 * time.Second, want: cache.StaleWhileRevalidate},
		"swr, over":                  {stored: "max-age=10, stale-while-revalidate=5", after: 15 * time.Second, want: cache.Revalidate},
		"swr, s-maxage":              {stored: "s-maxage=10, stale-while-revalidate=5", after: 14 * time.Second, want: cache.StaleWhileRevalidate},
		"swr, must-revalidate":       {stored: "max-age=10, stale-while-revalidate=5, must-revalidate", after: 14 * time.Second, want: cache.Revalidate},
		"swr=x":                      {stored: "max-age=10, stale-while-revalidate=x", after: 11 * time.Second, want: cache.Revalidate},
		"swr, request no-cache":      {stored: "max-age=10, stale-while-revalidate=5", request: []string{"Cache-Control: no-cache"}, after: 14 * time.Second, want: cache.Revalidate},
		"sie":                        {stored: "max-age=10, stale-if-error=5", after: 14 * time.Second, want: cache.Revalidate, onError: true},
		"sie, over":                  {stored: "max-age=10, stale-if-error=5", after: 15 * time.Second, want: cache.Revalidate},
		"sie, must-revalidate":       {stored: "max-age=10, stale-if-error=5, must-revalidate", after: 14 * time.Second, want: cache.Revalidate},
		"sie, no-cache":              {stored: "max-age=10, stale-if-error=5, no-cache", after: 14 * time.Second, want: cache.Revalidate},
		"sie of the request":         {stored: "max-age=10", request: []string{"Cache-Control: stale-if-error=5"}, after: 14 * time.Second, want: cache.Revalidate, onError: true},
		"sie of the request, shared": {stored: "s-maxage=10", request: []string{"Cache-Control: stale-if-error=5"}, after: 14 * time.Second, want: cache.Revalidate},
		"Cookie":                     {stored: "max-age=10", request: []string{"Cookie: a"}, want: cache.Miss},
		"Cookie, public":             {stored: "max-age=10, public", request: []string{"Cookie: a"}, want: cache.Fresh},
		"Cookie, s-maxage":           {stored: "s-maxage=10", request: []string{"Cookie: a"}, want: cache.Fresh},
		"Cookie, must-revalidate":    {stored: "max-age=10, must-revalidate", request: []string{"Cookie: a"}, want: cache.Miss},
		"Authorization":              {stored: "max-age=10", request: []string{"Authorization: a"}, want: cache.Miss},
		"Authorization, must-reval.": {stored: "max-age=10, must-revalidate", request: []string{"Authorization: a"}, want: cache.Fresh},
		"Authorization, quoted m-r":  {stored: `max-age=10, x="must-revalidate"`, request: []string{"Authorization: a"}, want: cache.Miss},
	} {
		t.Run(name, func(t *testing.T) {
			kept := open(t, anHour)
			if !keep(t, kept, request("GET /a"), response(t, "200 OK", "Cache-Control: "+c.stored, etag), "", start) {
				t.Fatal("not stored")
			}
			now := start.Add(c.after)
			p := plan(kept, request("GET /a", c.request...), now)
			e, got := kept.Lookup(p, now)
			if got != c.want || (e == nil) != (c.want == cache.Miss) {
				t.Fatalf("%v, want %v", got, c.want)
			}
			if onError := e != nil && c.want == cache.Revalidate && e.UsableOnError(p, now); onError != c.onError {
				t.Errorf("on an error: %v", onError)
			}
		})
	}
}
