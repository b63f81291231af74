package config_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/rate"
)

// minimal is a file with nothing but what is required.
const minimal = `upstreams:
  api:
    targets: [http://127.0.0.1:9090]
routes:
  - path: /*
    upstream: api
`

func target(host string) *url.URL { return &url.URL{Scheme: "http", Host: host} }

// defaultUpstream is an upstream that names nothing but its targets.
func defaultUpstream(name string, targets ...*url.URL) *config.Upstream {
	return &config.Upstream{
		Name:    name,
		Targets: targets,
		Balance: config.LeastLoaded,
		Host:    config.HostPreserve,
		Eject:   config.Eject{Failures: 5, For: 10 * time.Second},
		Timeouts: config.UpstreamTimeouts{
			Connect: time.Second, Header: 10 * time.Second, Idle: 5 * time.Minute,
		},
		Retries:   config.Retries{Max: 1, Budget: 10},
		KeepAlive: config.KeepAlive{MaxIdle: 1024, Idle: time.Minute},
		Queue:     config.Queue{Max: 1000, Timeout: 2 * time.Second, Order: config.OrderPrice},
	}
}

// defaultConfig is the configuration of an empty file.
func defaultConfig() *config.Config {
	return &config.Config{
		Listen:         "127.0.0.1:8080",
		Admin:          config.Admin{Listen: "127.0.0.1:8081"},
		MaxConnections: 1000,
		MaxHeader:      16 * config.KiB,
		MaxURI:         8 * config.KiB,
		Timeouts: config.ClientTimeouts{
			Header: 10 * time.Second, Idle: time.Minute, Body: 30 * time.Second, Write: 30 * time.Second,
		},
		ShutdownTimeout: 30 * time.Second,
		Log:             config.Log{Level: config.LogInfo, Format: config.LogAuto},
		Identify: config.Identify{
			Sources:  []config.Source{{Address: &config.AddressSource{IPv6Prefix: 64}}},
			MaxNames: 1000,
		},
		Meter: config.Meter{
			Timeframe: time.Minute, Precision: 100 * time.Millisecond, MaxClients: 10_000, SyncInterval: time.Second,
		},
		RateLimitHeaders: []config.RateLimitHeader{config.HeaderStandard},
	}
}

// defaultLimit is a rule that names nothing but its rate.
func defaultLimit(name string, count int64, period time.Duration) *config.Limit {
	return &config.Limit{
		From: config.FromRate, RequestsPerUnit: 1,
		Name:    name,
		Rate:    rate.Rate{Count: count, Period: period},
		Per:     config.PerClient,
		Cost:    config.Cost{Fixed: 1},
		Mode:    config.ModeLocal,
		OnError: config.OnErrorLocalShare,
		MaxKeys: 1_000_000,
	}
}

func TestDefault(t *testing.T) {
	if got, want := config.Default(), defaultConfig(); !reflect.DeepEqual(got, want) {
		t.Errorf("Default() = %+v, want %+v", got, want)
	}
}

func TestMinimalIsDefault(t *testing.T) {
	want := defaultConfig()
	want.Path = "sluice.yaml"
	want.Upstreams = map[string]*config.Upstream{"api": defaultUpstream("api", target("127.0.0.1:9090"))}
	want.UpstreamNames = []string{"api"}
	want.Routes = []*config.Route{{Path: "/*", Upstream: "api"}}
	for _, form := range []struct{ name, text string }{
		{"plain", minimal},
		{"byte order mark", "\ufeff" + minimal},
		{"CRLF", strings.ReplaceAll(minimal, "\n", "\r\n")},
		{"document markers", "# first\n---\n" + minimal + "...\n"},
		{"flow", `{"upstreams": {"api": {"targets": ["http://127.0.0.1:9090"]}}, "routes": [{"path": "/*", "upstream": "api"}]}`},
		{"tab in a comment", "#\tlisten: ${NOPE}\n" + minimal},
		{"empty sections", "log: {}\nidentify: {}\n" + minimal},
	} {
		got, err := config.Parse("sluice.yaml", []byte(form.text), nil, nil)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: Parse = %+v, %v, want %+v", form.name, got, err, want)
		}
	}
}

// TestLoad reads what the gateway supports of the example of all of Sluice.
func TestLoad(t *testing.T) {
	path := filepath.Join("testdata", "good", "sluice.yaml")
	got, err := config.Load(path, variables)
	if err != nil {
		t.Fatal(err)
	}
	want := defaultConfig()
	want.Path = path
	want.DataDir = filepath.Join("testdata", "good", "sluice-data")
	want.Redis = &config.Redis{Address: "127.0.0.1:6379"}
	want.Identify.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	want.Identify.Sources = []config.Source{
		{APIKey: &config.APIKeySource{
			Header: "X-Api-Key",
			File:   filepath.Join("testdata", "good", "keys.yaml"),
			Keys: []config.Key{
				{Name: "alice", SHA256: sha256.Sum256([]byte("alice")), Price: 4},
				{Name: "bob", SHA256: sha256.Sum256([]byte("bob"))},
			},
		}},
		{Header: "X-User"},
		{Query: "userId"},
		{Address: &config.AddressSource{IPv6Prefix: 64}},
	}
	api := defaultUpstream("api", target("127.0.0.1:9090"), target("127.0.0.1:9091"))
	api.Health = &config.Health{Path: "/healthz", Interval: 5 * time.Second, Timeout: 2 * time.Second, UnhealthyAfter: 3, HealthyAfter: 2}
	api.Timeouts.Total = 30 * time.Second
	api.MaxInFlight, api.Queue.Age = 64, config.Ageing{Rate: rate.Rate{Count: 1, Period: time.Second}}
	inference := defaultUpstream("inference", target("127.0.0.1:9092"))
	inference.MaxInFlight = 2
	want.Upstreams = map[string]*config.Upstream{"api": api, "inference": inference}
	want.UpstreamNames = []string{"api", "inference"}
	everyone, client := defaultLimit("everyone", 10000, time.Second), defaultLimit("client", 100, time.Second)
	uploads, trial := defaultLimit("uploads", 120, time.Minute), defaultLimit("trial", 5, time.Second)
	everyone.Burst, everyone.Per = 1000, config.PerGlobal
	client.Burst, uploads.Burst, trial.Shadow = 50, 10, true
	want.Limits = map[string]*config.Limit{"everyone": everyone, "client": client, "uploads": uploads, "trial": trial}
	want.LimitNames = []string{"everyone", "client", "uploads", "trial"}
	want.Access = config.Access{
		Allow: []config.Who{{Network: netip.MustParsePrefix("10.0.0.0/8")}},
		Deny:  []config.Who{{Name: "mallory"}, {Network: netip.MustParsePrefix("203.0.113.0/24")}},
	}
	want.Routes = []*config.Route{
		{Path: "/api/*", Methods: []string{"GET", "HEAD"}, Upstream: "api", Limits: []string{"everyone", "client"}},
		{Path: "/embed", Methods: []string{"POST"}, Upstream: "inference"},
		{Path: "/uploads/*", Methods: []string{"POST"}, Upstream: "api", MaxBody: 10 * config.MiB, Limits: []string{"uploads"}, Async: &config.Async{
			MaxAttempts: 8, Timeout: 5 * time.Minute, KeepResult: 24 * time.Hour, Workers: 16, Order: config.JobOrderNone,
		}},
		{Path: "/*", Upstream: "api", Limits: []string{"everyone", "trial"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Load = %+v, want %+v", got, want)
	}
}

func TestEveryKey(t *testing.T) {
	path := filepath.Join("testdata", "good", "every.yaml")
	got, err := config.Load(path, variables)
	if err != nil {
		t.Fatal(err)
	}
	want := &config.Config{
		Listen:         ":80",
		Admin:          config.Admin{Listen: "[::1]:12", Token: "s3cret#not-a-comment$", PProf: true},
		MaxConnections: 12,
		MaxHeader:      32 * config.KiB,
		MaxURI:         512,
		Timeouts:       config.ClientTimeouts{Header: time.Second, Idle: 2 * time.Minute, Body: 90 * time.Second, Write: 500 * time.Millisecond},
		Log:            config.Log{Level: config.LogDebug, Format: config.LogJSON, Access: true},
		Identify: config.Identify{
			TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
			Sources:        []config.Source{{Address: &config.AddressSource{IPv6Prefix: 48}}},
			MaxNames:       12,
		},
		RateLimitService: &config.RateLimitService{Listen: ":8090", Token: "s3cret#not-a-comment", Domain: "edge"},

		DataDir: "/var/lib/sluice",
		Redis:   &config.Redis{Address: "[::1]:6380", User: "me", Password: "s3cret#not-a-comment@/", DB: 3, TLS: true},
		Meter:   config.Meter{Timeframe: time.Second, Precision: time.Millisecond, MaxClients: 12, SyncInterval: 10 * time.Millisecond},
		Upstreams: map[string]*config.Upstream{"1": {
			Name:      "1",
			Targets:   []*url.URL{{Scheme: "https", Host: "example.com"}},
			Balance:   config.RoundRobin,
			Host:      config.HostTarget,
			Health:    &config.Health{Path: "/up?full=1", Interval: time.Second, Timeout: time.Second, UnhealthyAfter: 1, HealthyAfter: 1},
			Eject:     config.Eject{For: time.Hour},
			Timeouts:  config.UpstreamTimeouts{Connect: 2 * time.Second, Header: 3 * time.Second, Idle: 4 * time.Second, Total: 5 * time.Second},
			Retries:   config.Retries{Budget: 0.5},
			KeepAlive: config.KeepAlive{Idle: time.Second},

			MaxInFlight: 3,
			Queue: config.Queue{
				Timeout: time.Second, Order: config.OrderPrice, Age: config.Ageing{Rate: rate.Rate{Count: 5, Period: time.Minute}}, PriceHeader: "X-Price",
			},
		}},
		UpstreamNames: []string{"1"},
		Limits: map[string]*config.Limit{
			"2": {
				Name: "2", From: config.FromRate, RequestsPerUnit: 1,
				Rate:    rate.Rate{Count: 5, Period: 250 * time.Millisecond},
				Burst:   12,
				Per:     config.PerClient,
				Cost:    config.Cost{Fixed: 1, Header: "X-Cost"},
				Match:   &config.LimitMatch{Methods: []string{"M-SEARCH"}, Path: "/a/*"},
				Mode:    config.ModeLocal,
				OnError: config.OnErrorLocalShare,
				Shadow:  true,
				MaxKeys: 10,
				Overrides: map[config.ClientName]*config.LimitOverride{
					"alice@example.com": {Rate: rate.Rate{Count: 1, Period: 24 * time.Hour}, Burst: 3},
				},
			},
			"3": {
				Name: "3", From: config.FromRate, RequestsPerUnit: 1, Rate: rate.Rate{Count: 3, Period: time.Hour}, Burst: 4, Per: config.PerIP, Cost: config.Cost{Fixed: 5},
				Mode: config.ModeLocal, OnError: config.OnErrorLocalShare, MaxKeys: 1_000_000,
			},
		},
		LimitNames:       []string{"2", "3"},
		RateLimitHeaders: []config.RateLimitHeader{config.HeaderLegacy, config.HeaderStandard},
		Access: config.Access{
			Allow: []config.Who{{Name: "alice"}, {Name: "5"}},
			Deny: []config.Who{
				{Network: netip.MustParsePrefix("203.0.113.7/32")}, {Network: netip.MustParsePrefix("2001:db8::/64")},
			},
		},
		Routes: []*config.Route{
			{Path: "/", Methods: []string{"M-SEARCH"}, Upstream: "1", MaxBody: 1e9, Limits: []string{"3", "2"}, Cache: &config.Cache{
				MaxBytes: config.MiB, MaxObject: config.KiB, MaxTTL: 2 * time.Second, MinTTL: time.Second, DefaultTTL: 500 * time.Millisecond,
				Heuristic: true, Shared: true,
			}},
			{Path: "/later", Methods: []string{"PUT"}, Upstream: "1", Async: &config.Async{
				MaxAttempts: 3, Timeout: 7 * time.Second, KeepResult: time.Hour, Workers: 2, Order: config.JobOrderTenant, Deadline: 48 * time.Hour,
			}},
		},
		Path: path,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Load = %+v, want %+v", got, want)
	}
}

func TestRoutesThatDoNotCover(t *testing.T) {
	for _, routes := range []string{
		"[{path: /a, upstream: api}, {path: /a/*, upstream: api}]",
		"[{path: /a/*, upstream: api}, {path: /a, upstream: api}]",
		"[{path: /a/*, upstream: api}, {path: /ab/*, upstream: api}]",
		"[{path: /*, methods: [GET], upstream: api}, {path: /*, upstream: api}]",
		"[{path: /*, methods: [GET], upstream: api}, {path: /*, methods: [GET, POST], upstream: api}]",
		"[{path: /a/b/*, upstream: api}, {path: /a/*, upstream: api}]",
	} {
		text := "upstreams: {api: {targets: [\"http://127.0.0.1:9090\"]}}\nroutes: " + routes
		if _, err := config.Parse("sluice.yaml", []byte(text), nil, nil); err != nil {
			t.Errorf("%s: %v", routes, err)
		}
	}
}

func TestAdminElsewhereWithToken(t *testing.T) {
	text := `admin: {listen: "0.0.0.0:8081", token: secret}` + "\n" + minimal
	if _, err := config.Parse("sluice.yaml", []byte(text), nil, nil); err != nil {
		t.Error(err)
	}
}

// TestKeysReadOnce: two sources may share a file of keys, whose mistakes are then reported once.
func TestKeysReadOnce(t *testing.T) {
	text := "identify: {sources: [{api_key: {header: X-Key, file: k}}, {api_key: {header: X-Old-Key, file: ./k}}]}\n" + minimal
	var read []string
	_, err := config.Parse("dir/sluice.yaml", []byte(text), nil, func(path string) ([]byte, error) {
		read = append(read, path)
		return []byte("keys: 5\n"), nil
	})
	if want := []string{filepath.Join("dir", "k")}; !slices.Equal(read, want) {
		t.Errorf("read %v, want %v", read, want)
	}
	if want := filepath.Join("dir", "k") + `:1:7: keys: expected a list, got "5"`; err == nil || err.Error() != want {
		t.Errorf("err = %v, want %s", err, want)
	}
}

// TestPolicyFile: a file that two routes name is read once, from beside the configuration, and by the flags of sluice proxy from where one is.
func TestPolicyFile(t *testing.T) {
	const text = "upstreams: {u: {targets: ['http://127.0.0.1:9']}}\n" +
		"routes: [{path: /a, upstream: u, coalesce: {policy_file: p.json}}, {path: /b, upstream: u, merge: {policy_file: p.json}}, {path: /*, upstream: u, coalesce: {}}]\n"
	reads := 0
	cfg, err := config.Parse("etc/sluice.yaml", []byte(text), nil, func(path string) ([]byte, error) {
		if reads++; path != filepath.Join("etc", "p.json") {
			t.Errorf("it reads %q", path)
		}
		return os.ReadFile("../../flush/policy.json")
	})
	if err != nil {
		t.Fatal(err)
	}
	a, b := cfg.Routes[0].Coalesce, cfg.Routes[1].Merge
	if reads != 1 || a.Network == nil || a.Network != b.Network || cfg.Routes[2].Coalesce.Network != nil {
		t.Errorf("%d reads, %p, %p, %p", reads, a.Network, b.Network, cfg.Routes[2].Coalesce.Network)
	}
	cfg, err = config.Proxy(&config.Preset{Upstream: "http://127.0.0.1:9", PolicyFile: "../../flush/policy.json"})
	if err != nil || cfg.Routes[0].Coalesce.Network == nil {
		t.Errorf("%v, %+v", err, cfg)
	}
	_, err = config.Proxy(&config.Preset{Upstream: "http://127.0.0.1:9", PolicyFile: "policyfile.go"})
	if err == nil || !strings.Contains(err.Error(), "--policy-file: policyfile.go: flush: unusable policy file") {
		t.Errorf("of a file that is none: %v", err)
	}
}

func TestLoadUnreadable(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(large, bytes.Repeat([]byte("# long\n"), 1<<18), 0o600); err != nil {
		t.Fatal(err)
	}
	absent := filepath.Join(dir, "absent.yaml")
	for path, want := range map[string]string{
		absent: absent + ": cannot read the file: no such file or directory",
		dir:    dir + ": cannot read the file: is a directory",
		large:  large + ":1:1: the file is too large, expected at most 1MiB",
	} {
		_, err := config.Load(path, nil)
		var list config.Errors
		if !errors.As(err, &list) || err.Error() != want {
			t.Errorf("Load(%s) = %v, want %s", path, err, want)
		}
	}
}

func TestTooLarge(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{strings.Repeat("a:\n", 20_000), "sluice.yaml:10001:1: too many keys in one mapping, expected at most 10000"},
		{"a: [" + strings.Repeat("b,", 100_000) + "]", "sluice.yaml:1:150002: the file is too large, expected at most 150000 words and signs"},
		{"- " + strings.Repeat("a: b\n  ", 9_999) + "a: b\n- a: b\n  a: b\n", `sluice.yaml:1:1: expected a mapping, got a list`},
	} {
		_, err := config.Parse("sluice.yaml", []byte(c.text), nil, nil)
		var list config.Errors
		if !errors.As(err, &list) || list[0].Error() != c.want {
			t.Errorf("%.20q...: %.200v, want %s", c.text, err, c.want)
		}
	}
}

// TestManyKeys: nine thousand owners of API keys are within the bounds.
func TestManyKeys(t *testing.T) {
	var file strings.Builder
	file.WriteString("keys:\n")
	for i := range 9_000 {
		fmt.Fprintf(&file, "  - name: n%d\n    sha256: %064x\n    price: 1\n", i, i+1)
	}
	text := "identify: {sources: [{api_key: {header: X-Key, file: k}}]}\n" + minimal
	c, err := config.Parse("sluice.yaml", []byte(text), nil, func(string) ([]byte, error) { return []byte(file.String()), nil })
	if err != nil {
		t.Fatal(err)
	}
	if got := len(c.Identify.Sources[0].APIKey.Keys); got != 9_000 {
		t.Errorf("%d keys, want 9000", got)
	}
}

// Only the rate limit service makes use of a limit that no route names.
func TestWarnings(t *testing.T) {
	limits := "limits: {a: {rate: 1/s}, b: {rate: 1/s}}\n"
	for _, c := range []struct {
		file string
		want []string // what the warnings are about
	}{
		{minimal, nil},
		{minimal + limits, []string{"limits.a", "limits.b"}},
		{minimal + "    limits: [b]\n" + limits, []string{"limits.a"}},
		{minimal + "    limits: [b, a]\n" + limits, nil},
		{minimal + limits + "rate_limit_service: {listen: 127.0.0.1:0}\n", nil},
	} {
		cfg, err := config.Parse("x.yaml", []byte(c.file), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(cfg.Warnings) != len(c.want) {
			t.Errorf("%v, expected warnings about %q in\n%s", cfg.Warnings, c.want, c.file)
			continue
		}
		for i, w := range cfg.Warnings {
			if w.Line == 0 || w.Column == 0 || !strings.HasPrefix(w.Msg, c.want[i]+": no route names") {
				t.Errorf("%v, expected one about %s", w, c.want[i])
			}
		}
	}
}

// What is below /jobs/ is the gateway's own beside a route that is async.
func TestWarningOfJobs(t *testing.T) {
	file := minimal + "  - {path: /jobs/a, upstream: api}\n  - {path: /jobs/b/*, upstream: api}\n  - {path: /jobs, upstream: api}\n"
	async := "  - {path: /later, methods: [POST], upstream: api, async: {}}\ndata_dir: d\n"
	for _, c := range []struct {
		file string
		want int
	}{{file, 0}, {minimal + async, 0}, {file + async, 2}} {
		cfg, err := config.Parse("x.yaml", []byte(strings.Replace(c.file, "/*\n", "/x\n", 1)), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(cfg.Warnings) != c.want {
			t.Errorf("warned %v, expected %d of\n%s", cfg.Warnings, c.want, c.file)
		}
		for _, w := range cfg.Warnings {
			if w.Line == 0 || !strings.HasPrefix(w.Msg, "routes[") || !strings.Contains(w.Msg, "].path: /jobs/ID") {
				t.Errorf("warned %v, expected it to be about a path", w)
			}
		}
	}
}

// A field of prices is of use only with somebody who is believed.
func TestWarningOfUnheardPrices(t *testing.T) {
	file := "upstreams: {api: {targets: [\"http://127.0.0.1:9090\"], max_in_flight: 1, queue: {price_header: X-Price}}}\n" +
		"routes: [{path: /*, upstream: api}]\n"
	for trusted, want := range map[string]string{
		"": "upstreams.api.queue.price_header: never believed", "identify: {trusted_proxies: [10.0.0.0/8]}\n": "",
	} {
		cfg, err := config.Parse("x.yaml", []byte(file+trusted), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, w := range cfg.Warnings {
			got += w.Msg
		}
		if !strings.HasPrefix(got, want) || (got == "") != (want == "") {
			t.Errorf("warned %q, expected %q", got, want)
		}
	}
}

func TestErrorsUnwrap(t *testing.T) {
	_, err := config.Parse("sluice.yaml", []byte("lisen: x\n"+minimal), nil, nil)
	var first *config.Error
	if !errors.As(err, &first) {
		t.Fatalf("%v holds no *Error", err)
	}
	want := config.Error{File: "sluice.yaml", Line: 1, Column: 1, Msg: `unknown key "lisen", did you mean "listen"?`}
	if *first != want {
		t.Errorf("first = %+v, want %+v", *first, want)
	}
}

func TestSingle(t *testing.T) {
	got, err := config.Single("http://127.0.0.1:9090/", "", "")
	if err != nil {
		t.Fatal(err)
	}
	want := defaultConfig()
	want.Upstreams = map[string]*config.Upstream{"default": defaultUpstream("default", target("127.0.0.1:9090"))}
	want.UpstreamNames = []string{"default"}
	want.Routes = []*config.Route{{Path: "/*", Upstream: "default"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Single = %+v, want %+v", got, want)
	}

	got, err = config.Single("http://a", "127.0.0.1:0", "127.0.0.1:1")
	if err != nil || got.Listen != "127.0.0.1:0" || got.Admin.Listen != "127.0.0.1:1" {
		t.Errorf("Single = %+v, %v, want the addresses given", got, err)
	}
}

func TestSingleMistakes(t *testing.T) {
	for _, c := range []struct{ upstream, listen, admin, want string }{
		{"", "", "", `--upstream: "": expected a URL http://host:port or https://host:port`},
		{"127.0.0.1:9090", "", "", `--upstream: "127.0.0.1:9090": expected a URL http://host:port or https://host:port`},
		{"http://a", "8080", "", `--listen: "8080": expected host:port with a port from 0 to 65535, as in 127.0.0.1:8080`},
		{"http://a", ":1", ":1", `--admin: :1 is not a loopback address: expected one such as 127.0.0.1:8081, or a token` + "\n" +
			`--admin: the same port as that of listen, :1: expected another one`},
		{"http://a", "127.0.0.1:8081", "", `--listen: the same port as that of admin.listen, 127.0.0.1:8081: expected another one`},
	} {
		if _, err := config.Single(c.upstream, c.listen, c.admin); err == nil || err.Error() != c.want {
			t.Errorf("Single(%q, %q, %q): %v, want %s", c.upstream, c.listen, c.admin, err, c.want)
		}
	}
}

func TestSizeString(t *testing.T) {
	for size, want := range map[config.Size]string{
		0: "0", 1: "1B", 1000: "1KB", 1024: "1KiB", 1500: "1500B", 64 * config.KiB: "64KiB", 3 * config.GiB: "3GiB", -1024: "-1KiB",
	} {
		if got := size.String(); got != want {
			t.Errorf("Size(%d).String() = %s, want %s", int64(size), got, want)
		}
	}
}

func TestPercent(t *testing.T) {
	if p := config.Percent(12.5); p.String() != "12.5%" || p.Fraction() != 0.125 {
		t.Errorf("Percent(12.5) = %v, a fraction of %v", p, p.Fraction())
	}
}
