package config_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/sluicegate/sluice/internal/config"
)

// FuzzLoad feeds a configuration and a file of keys with anything. Nothing may panic; what is refused is refused with a
// place; what is accepted keeps the promises that the gateway relies on.
func FuzzLoad(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, file, keys []byte) {
		c, err := config.Parse("sluice.yaml", file, variables, func(string) ([]byte, error) { return keys, nil })
		if err == nil {
			checkPromises(t, c)
			return
		}
		var list config.Errors
		if !errors.As(err, &list) || len(list) == 0 || c != nil {
			t.Fatalf("Parse = %v, %v, want nil and Errors", c, err)
		}
		for _, e := range list {
			if e.File == "" || e.Line < 1 || e.Column < 1 || e.Msg == "" {
				t.Errorf("%+v has no place or no message", e)
			}
		}
	})
}

func addSeeds(f *testing.F) {
	keys, err := os.ReadFile("testdata/good/keys.yaml")
	if err != nil {
		f.Fatal(err)
	}
	good, _ := filepath.Glob("testdata/good/*.yaml")
	for _, path := range good {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, keys)
	}
	bad, _ := filepath.Glob("testdata/bad/*.txtar")
	for _, path := range bad {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(archive.Files[0].Data, keys)
	}
}

// checkPromises checks what a configuration without mistakes says about itself.
func checkPromises(t *testing.T, c *config.Config) {
	t.Helper()
	addresses := []string{c.Listen, c.Admin.Listen}
	if c.RateLimitService != nil {
		addresses = append(addresses, c.RateLimitService.Listen)
	}
	for _, address := range addresses {
		if _, _, err := net.SplitHostPort(address); err != nil {
			t.Errorf("address %q: %v", address, err)
		}
	}
	if len(c.Upstreams) == 0 || len(c.Routes) == 0 || len(c.Identify.Sources) == 0 || len(c.UpstreamNames) != len(c.Upstreams) {
		t.Errorf("no upstreams, routes or sources, or upstreams without a name: %+v", c)
	}
	for name, u := range c.Upstreams {
		if u.Name != name || len(u.Targets) == 0 {
			t.Errorf("upstream %q: %+v", name, u)
		}
		for _, target := range u.Targets {
			if target.Host == "" || target.Path != "" || target.User != nil {
				t.Errorf("target %v", target)
			}
		}
	}
	for _, r := range c.Routes {
		if c.Upstreams[r.Upstream] == nil || r.Path == "" || r.Path[0] != '/' || r.MaxBody < 0 {
			t.Errorf("route %+v", r)
		}
	}
	checkLimits(t, c)
	for _, s := range c.Identify.Sources {
		if set := countSet(s); set != 1 {
			t.Errorf("source %+v has %d kinds", s, set)
		}
	}
}

// checkLimits: every rule is one that can be built, and every name that a route uses is that of a rule.
func checkLimits(t *testing.T, c *config.Config) {
	t.Helper()
	if len(c.LimitNames) != len(c.Limits) {
		t.Errorf("%d names of %d limits", len(c.LimitNames), len(c.Limits))
	}
	for name, l := range c.Limits {
		limit, err := l.Rate.Limit(l.Burst)
		if err != nil || l.Name != name || l.MaxKeys < 1 || l.Cost.Header == "" && (l.Cost.Fixed < 1 || l.Cost.Fixed > limit.Burst()+1) {
			t.Errorf("limit %q: %+v, %v", name, l, err)
		}
		for client, o := range l.Overrides {
			if _, err := o.Rate.Limit(o.Burst); err != nil || client == "" {
				t.Errorf("limit %q of %q: %v", name, client, err)
			}
		}
	}
	for _, r := range c.Routes {
		for _, name := range r.Limits {
			if c.Limits[name] == nil {
				t.Errorf("route %s names %q", r.Path, name)
			}
		}
	}
	for _, w := range slices.Concat(c.Access.Allow, c.Access.Deny) {
		if (w.Name == "") != w.Network.IsValid() {
			t.Errorf("who: %+v", w)
		}
	}
}

func countSet(s config.Source) int {
	n := 0
	for _, set := range []bool{s.APIKey != nil, s.Header != "", s.Query != "", s.Address != nil} {
		if set {
			n++
		}
	}
	return n
}
