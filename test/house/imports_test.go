// Package house holds the layout together: which package may import which.
package house_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/sluicegate/sluice/"

// allowed says which packages of the module a package may import, tests left out. Every package is listed. A stage
// never imports a stage, and a library imports the standard library alone: an arrow is added here on purpose or not at
// all, and CONTRIBUTING.md's picture changes with it.
var allowed = map[string][]string{
	// stages
	"internal/admit":    {"book", "internal/config", "internal/http1"},
	"internal/identify": {"internal/config", "internal/http1"},
	"internal/meter":    {"internal/config", "window"},
	"internal/limit":    {"gcra", "internal/config", "internal/http1", "internal/rate", "internal/redislimit"},
	"internal/upstream": {"internal/config", "internal/http1"},
	"internal/wallet":   {},
	"internal/cache":    {"internal/config", "internal/http1"},

	// what stages stand on
	"internal/arrivals":   {},
	"internal/config":     {"flush", "internal/rate", "internal/spelling"},
	"internal/datadir":    {},
	"internal/http1":      {},
	"internal/problem":    {"internal/http1"},
	"internal/spelling":   {},
	"internal/spool":      {},
	"internal/version":    {},
	"internal/feed":       {},
	"internal/live":       {},
	"internal/top":        {"internal/live"},
	"internal/journal":    {"internal/datadir"},
	"internal/grpcserver": {},
	"internal/objects":    {},
	"internal/jobs":       {"internal/journal", "work"},
	"internal/ordered":    {},

	// limits that nodes share
	"internal/lease":      {"gcra"},
	"internal/lease/sim":  {"gcra", "internal/lease"},
	"internal/rate":       {"gcra", "internal/lease"},
	"internal/redislimit": {"gcra", "internal/lease", "internal/rate"},

	// flush policies that another program decides for
	"internal/agent":    {"coalesce", "flush", "internal/agent/pb", "internal/grpcserver"},
	"internal/agent/pb": {},
	"internal/env":      {"coalesce", "internal/agent", "internal/agent/pb", "internal/grpcserver", "internal/learn"},

	// what puts them together
	"internal/gateway": {"coalesce", "flush", "gcra", "internal/admit", "internal/agent", "internal/arrivals", "internal/cache", "internal/config", "internal/feed", "internal/http1",
		"internal/identify", "internal/jobs", "internal/journal", "internal/limit", "internal/meter", "internal/problem", "internal/spool", "internal/upstream", "internal/version", "internal/wallet", "window"},
	"internal/rls":   {"internal/grpcserver", "internal/limit", "internal/rate"},
	"internal/admin": {"internal/arrivals", "internal/feed", "internal/jobs", "internal/limit", "internal/live", "internal/meter", "internal/version"},

	// to try and to measure with
	"internal/learn":     {"coalesce", "flush"},
	"internal/origin":    {},
	"internal/traffic":   {},
	"test/redistest":     {},
	"bench/harness":      {},
	"bench/limit":        {"bench/harness"},
	"bench/proxy":        {"bench/harness"},
	"bench/coalesce":     {"bench/harness"},
	"bench/counter":      {"bench/harness"},
	"bench/jobs":         {"bench/harness", "work"},
	"bench/market":       {"bench/harness", "internal/datadir", "internal/journal", "internal/market"},
	"docs/screenshot":    {},
	"bench/report":       {"bench/harness"},
	"bench/simlease":     {"gcra", "internal/lease/sim"},
	"internal/learn/ppo": {"coalesce", "flush", "internal/learn"},

	// the one library that stands on another: its policies are values of that one's interface
	"flush": {"coalesce"},

	// services of their own, on the libraries
	"internal/counter": {"internal/http1", "window"},
	"internal/quota":   {"internal/ordered"},
	"internal/storage": {"gcra", "internal/config", "internal/datadir", "internal/http1", "internal/jobs", "internal/journal", "internal/limit", "internal/objects", "internal/ordered", "internal/problem", "internal/quota", "internal/rate"},
	"internal/market":  {"book", "internal/datadir", "internal/http1", "internal/journal", "internal/problem"},

	// around a cluster
	"deploy":         {},
	"deploy/cluster": {"deploy"},
	"deploy/probe":   {},

	"cmd/sluice":       {"anything"},
	"examples/counter": {"window"},
}

// libraries may be used by anybody's program, so they import the standard library alone.
var libraries = []string{"book", "coalesce", "gcra", "window", "work"}

func TestImports(t *testing.T) {
	for pkg, imports := range packages(t) {
		may, listed := allowed[pkg]
		if slices.Contains(libraries, pkg) {
			may, listed = nil, true
		}
		if !listed {
			t.Errorf("%s is in no table of this test: say what it may import", pkg)
			continue
		}
		if slices.Equal(may, []string{"anything"}) {
			continue
		}
		for _, imported := range imports {
			inner, ours := strings.CutPrefix(imported, module)
			switch {
			case ours && !slices.Contains(may, inner):
				t.Errorf("%s imports %s, which the table does not allow", pkg, inner)
			case !ours && slices.Contains(libraries, pkg) && strings.Contains(strings.Split(imported, "/")[0], "."):
				t.Errorf("the library %s imports %s, which is not of the standard library", pkg, imported)
			}
		}
	}
}

// packages maps the module's packages to what their non-test files import.
func packages(t *testing.T) map[string][]string {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	err = filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && file != root && (strings.HasPrefix(name, ".") || name == "testdata" || ownModule(file)) {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		pkg := path.Dir(filepath.ToSlash(rel))
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		if found[pkg] == nil {
			found[pkg] = []string{}
		}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			found[pkg] = append(found[pkg], imported)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// ownModule reports whether dir is the root of another module.
func ownModule(dir string) bool {
	matches, err := filepath.Glob(filepath.Join(dir, "go.mod"))
	return err == nil && len(matches) > 0
}
