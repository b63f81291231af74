package deploy_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// defined are the metrics of the program: what its source passes to prometheus.NewDesc, and the Name of its Opts. Those of the Go
// runtime and the process come with the library. That a metric is there once there is something to count is for the end-to-end tests.
func defined(t *testing.T) map[string]bool {
	names := map[string]bool{"up": true, "go_goroutines": true, "process_resident_memory_bytes": true, "process_cpu_seconds_total": true}
	metric := regexp.MustCompile(`^sluice_[a-z0-9_]+$`)
	for _, dir := range []string{"../../internal", "../../cmd"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "internal/live") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if s, err := strconv.Unquote(lit.Value); err == nil && metric.MatchString(s) {
						names[s] = true
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return names
}

var inExpression = regexp.MustCompile(`\b(up|sluice_[a-z0-9_]+|go_[a-z0-9_]+|process_[a-z0-9_]+)\b`)

// expectDefined checks the metrics that an expression names.
func expectDefined(t *testing.T, names map[string]bool, where, expr string) {
	t.Helper()
	found := inExpression.FindAllString(expr, -1)
	if len(found) == 0 {
		t.Errorf("%s: no metric in %q", where, expr)
	}
	for _, name := range found {
		base := name
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			if trimmed := strings.TrimSuffix(name, suffix); trimmed != name && names[trimmed] {
				base = trimmed
			}
		}
		if !names[base] {
			t.Errorf("%s: there is no metric %s", where, name)
		}
	}
	if strings.Count(expr, "(") != strings.Count(expr, ")") || strings.Count(expr, "{") != strings.Count(expr, "}") {
		t.Errorf("%s: brackets do not match in %q", where, expr)
	}
}

func TestGrafana(t *testing.T) {
	names := defined(t)
	var dashboard struct {
		Panels []struct {
			ID      int
			Type    string
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(read(t, "grafana/sluice.json"), &dashboard); err != nil {
		t.Fatal(err)
	}
	ids := map[int]bool{}
	for _, p := range dashboard.Panels {
		if ids[p.ID] || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("%s: its id or its place cannot be", p.Title)
		}
		ids[p.ID] = true
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("%s shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			expectDefined(t, names, p.Title, target.Expr)
		}
	}
}

func TestAlerts(t *testing.T) {
	names := defined(t)
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Labels      map[string]string
				Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(read(t, "prometheus/alerts.yml"), &rules); err != nil {
		t.Fatal(err)
	}
	for _, r := range rules.Groups[0].Rules {
		expectDefined(t, names, r.Alert, r.Expr)
		if got := slices.Sorted(maps.Keys(r.Annotations)); !slices.Equal(got, []string{"description", "summary"}) || r.Labels["severity"] == "" {
			t.Errorf("%s: annotations %q, labels %v", r.Alert, got, r.Labels)
		}
	}
	var scrape struct {
		RuleFiles []string `yaml:"rule_files"`
	}
	if err := yaml.Unmarshal(read(t, "prometheus/prometheus.yml"), &scrape); err != nil || !slices.Equal(scrape.RuleFiles, []string{"alerts.yml"}) {
		t.Errorf("%v: rule files %q", err, scrape.RuleFiles)
	}
}
