package config_test

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/sluicegate/sluice/internal/config"
)

var update = flag.Bool("update", false, "write the errors that come into testdata/bad")

// variables is the environment of the tests.
func variables(name string) (string, bool) {
	value, set := map[string]string{
		"EMPTY":  "",
		"INJECT": "127.0.0.1:8080\nadmin: {pprof: true}",
		"NESTED": "127.0.0.1:${PORT:-80}",
		"COUNT":  "12",
		"SECRET": "s3cret#not-a-comment",
	}[name]
	return value, set
}

// TestBad reads every file of testdata/bad: a configuration with one mistake (or a few), and the errors that it must give.
func TestBad(t *testing.T) {
	paths, err := filepath.Glob("testdata/bad/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files in testdata/bad: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) { testBad(t, path) })
	}
}

func testBad(t *testing.T, path string) {
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string][]byte)
	for _, f := range archive.Files {
		files[f.Name] = f.Data
	}
	c, err := config.Parse("sluice.yaml", files["sluice.yaml"], variables, readFrom(files))
	var list config.Errors
	if !errors.As(err, &list) || c != nil {
		t.Fatalf("Parse = %v, %v, want nil and Errors", c, err)
	}
	got := list.Error() + "\n"
	if *update {
		updateWant(t, path, archive, got)
		return
	}
	if want := string(files["want"]); got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
	for _, e := range list {
		if e.Line < 1 || e.Column < 1 {
			t.Errorf("%v has no place", e)
		}
	}
}

func updateWant(t *testing.T, path string, archive *txtar.Archive, got string) {
	for i := range archive.Files {
		if archive.Files[i].Name == "want" {
			archive.Files[i].Data = []byte(got)
		}
	}
	if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
		t.Fatal(err)
	}
}

// readFrom reads files that are in memory.
func readFrom(files map[string][]byte) func(string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		data, ok := files[path]
		if !ok {
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		}
		return data, nil
	}
}
