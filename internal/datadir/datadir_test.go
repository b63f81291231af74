package datadir_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/internal/datadir"
)

func mustOpen(t *testing.T, path string) *datadir.Dir {
	t.Helper()
	d, err := datadir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestOpenMakesAPrivateDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b")
	d := mustOpen(t, path)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("Stat = %v, %v, want a directory for its owner alone", info, err)
	}
	if got, want := d.Path("x"), filepath.Join(path, "x"); got != want {
		t.Errorf("Path = %s, want %s", got, want)
	}
}

func TestSecondIsRefused(t *testing.T) {
	path := t.TempDir()
	first := mustOpen(t, path)
	_, err := datadir.Open(path)
	want := fmt.Sprintf("data_dir: %s is in use by another process (process %d)", path, os.Getpid())
	if !errors.Is(err, datadir.ErrInUse) || err.Error() != want {
		t.Errorf("second Open: %v, want %s", err, want)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, path)
}

func TestIDStays(t *testing.T) {
	path := t.TempDir()
	first := mustOpen(t, path)
	id := first.ID()
	if len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" {
		t.Errorf("ID = %q, want 32 hexadecimal digits", id)
	}
	first.Close()
	if again := mustOpen(t, path).ID(); again != id {
		t.Errorf("ID = %s after a restart, want %s", again, id)
	}
	if other := mustOpen(t, t.TempDir()).ID(); other == id {
		t.Error("two directories have one ID")
	}
}

func TestDamagedID(t *testing.T) {
	path := t.TempDir()
	if err := os.WriteFile(filepath.Join(path, "node-id"), []byte("me\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := datadir.Open(path); err == nil || !strings.Contains(err.Error(), "does not hold 32 hexadecimal digits") {
		t.Errorf("Open: %v, want a complaint about node-id", err)
	}
	os.Remove(filepath.Join(path, "node-id"))
	mustOpen(t, path) // the failure has left no lock behind
}

func TestNoDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := datadir.Open(path); err == nil {
		t.Error("a file was opened as a directory")
	}
}
