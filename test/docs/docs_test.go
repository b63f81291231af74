//go:build unix

// Package docs_test reads README.md and the other pages as a user does: it runs every block of shell commands, in order, with servers
// that really start, checks every configuration, and follows every link. Invisible comments in a page say what a block needs;
// what there is of them is the text of annotations.
package docs_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const checkout = "../.."

// pages are the names of all pages but the change log, which tells of the past.
func pages(t *testing.T) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(checkout, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != checkout && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules"):
			return fs.SkipDir
		case !d.IsDir() && filepath.Ext(file) == ".md" && d.Name() != "CHANGELOG.md":
			name, err := filepath.Rel(checkout, file)
			names = append(names, filepath.ToSlash(name))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func readPage(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(checkout, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestPages runs the pages, one after the other: they use the ports that they show.
func TestPages(t *testing.T) {
	env := environmentOf(t)
	for _, name := range pages(t) {
		p, err := parsePage(name, readPage(t, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if len(p.blocks) == 0 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			if err := (&session{page: p, dir: t.TempDir(), outs: t.TempDir(), env: env, patience: 90 * time.Second}).run(); err != nil {
				t.Error(err)
			}
			for _, b := range p.blocks {
				if b.left() {
					t.Run(fmt.Sprintf("line %d", b.line), func(t *testing.T) { t.Skipf("it needs %s", strings.Join(b.needs, " and ")) })
				}
			}
		})
	}
}

// environmentOf is what blocks run in. It skips where the pages can't be run.
func environmentOf(t *testing.T) []string {
	t.Helper()
	if raceEnabled {
		t.Skip("the program that the pages start is the same with the race detector and without it")
	}
	for _, program := range []string{"bash", "curl", "make"} {
		if _, err := exec.LookPath(program); err != nil && os.Getenv("CI") == "true" {
			t.Fatal(err)
		} else if err != nil {
			t.Skipf("the pages need %s: %v", program, err)
		}
	}
	root, err := filepath.Abs(checkout)
	if err != nil {
		t.Fatal(err)
	}
	env, err := environment(os.Getenv(binaryEnv), root, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// binaryEnv holds the path of the program that the pages are about.
const binaryEnv = "SLUICE_BIN"

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

// buildAndRun builds the program once, unless there is one, and runs the tests.
func buildAndRun(m *testing.M) int {
	if raceEnabled || os.Getenv(binaryEnv) != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "sluice-docs-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "sluice")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/sluice").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the program: %v\n%s", err, out)
		return 1
	}
	os.Setenv(binaryEnv, binary)
	return m.Run()
}
