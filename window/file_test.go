package window_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/window"
)

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// names returns what is in dir.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestSaveAndLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.bin")
	write(t, path+".tmp", bytes.Repeat([]byte("left behind by a crash"), 1000))
	for range 2 { // the second time there is a file to replace
		if err := window.Save(path, someSnapshot()); err != nil {
			t.Fatal(err)
		}
		var got window.Snapshot
		if err := window.Load(path, &got); err != nil || !reflect.DeepEqual(got, someSnapshot()) {
			t.Errorf("loaded %+v, error %v", got, err)
		}
		if got := names(t, dir); !reflect.DeepEqual(got, []string{"state.bin"}) {
			t.Errorf("the directory holds %v", got)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, error %v, want the owner's alone", info.Mode(), err)
	}
}

func TestSaveAndLoadTable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table.bin")
	if err := window.Save(path, someTable()); err != nil {
		t.Fatal(err)
	}
	var got window.TableSnapshot
	if err := window.Load(path, &got); err != nil || !reflect.DeepEqual(got, someTable()) {
		t.Errorf("loaded %+v, error %v", got, err)
	}
}

func TestLoadWithoutFile(t *testing.T) {
	var s window.Snapshot
	if err := window.Load(filepath.Join(t.TempDir(), "no such file"), &s); err != nil {
		t.Errorf("error %v", err)
	}
	if !reflect.DeepEqual(s, window.Snapshot{}) {
		t.Errorf("the snapshot became %+v", s)
	}
}

func TestUnusableFileIsSetAside(t *testing.T) {
	good := encoded(t, someSnapshot())
	torn := bytes.Clone(good)
	clear(torn[len(torn)/2:])
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"torn", torn, window.ErrDamaged},
		{"truncated", good[:20], window.ErrTruncated},
		{"empty", nil, window.ErrTruncated},
		{"foreign", []byte("#!/bin/sh\n"), window.ErrForeign},
		{"newer", []byte("SLUICEWN\x02..."), window.ErrNewer},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "state.bin")
			const times = 3 // in one second: names must not clash
			for i := range times {
				data := bytes.Clone(c.data)
				write(t, path, data)
				var s window.Snapshot
				err := window.Load(path, &s)
				aside, ok := errors.AsType[*window.SetAsideError](err)
				if !ok || !errors.Is(err, c.want) {
					t.Fatalf("error %v, want to hear that it was set aside because of %v", err, c.want)
				}
				if !strings.HasPrefix(aside.To, path+".damaged-") || aside.Path != path {
					t.Errorf("set aside from %s as %s", aside.Path, aside.To)
				}
				if kept, err := os.ReadFile(aside.To); err != nil || !bytes.Equal(kept, data) {
					t.Errorf("%s holds %q, error %v, want %q", aside.To, kept, err, data)
				}
				if got := names(t, dir); len(got) != i+1 {
					t.Errorf("after %d files the directory holds %v", i+1, got)
				}
			}
		})
	}
}

func TestLoadLeavesWhatItCannotRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a directory")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	var s window.Snapshot
	err := window.Load(path, &s)
	if _, aside := errors.AsType[*window.SetAsideError](err); err == nil || aside {
		t.Errorf("error %v, want one that sets nothing aside", err)
	}
	if got := names(t, dir); len(got) != 1 || got[0] != "a directory" {
		t.Errorf("the directory holds %v", got)
	}
}

func TestSaveReportsAndKeeps(t *testing.T) {
	dir := t.TempDir()
	if err := window.Save(filepath.Join(dir, "missing", "state.bin"), someSnapshot()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: error %v", err)
	}
	path := filepath.Join(dir, "state.bin")
	if err := window.Save(path, someSnapshot()); err != nil {
		t.Fatal(err)
	}
	bad := someSnapshot()
	bad.Elapsed = -1
	if err := window.Save(path, bad); !errors.Is(err, window.ErrDamaged) {
		t.Errorf("a bad snapshot: error %v", err)
	}
	var got window.Snapshot
	if err := window.Load(path, &got); err != nil || !reflect.DeepEqual(got, someSnapshot()) {
		t.Errorf("the file became %+v, error %v", got, err)
	}
}
