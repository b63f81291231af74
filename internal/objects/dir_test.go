package objects_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/objects"
)

func mustOpenDir(t *testing.T, path string) *objects.Dir {
	t.Helper()
	d, err := objects.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func openDir(t *testing.T) fixture {
	path := filepath.Join(t.TempDir(), "objects")
	d := mustOpenDir(t, path)
	return fixture{d, func(t *testing.T) []string { return filesIn(t, path) }}
}

// filesIn names everything below a directory that isn't a directory itself. Files of keys, where they should be, are named by the key.
func filesIn(t *testing.T, path string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(path, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(path, file)
		if shard, key := filepath.Split(filepath.ToSlash(name)); len(key) > 2 && shard == key[:2]+"/" {
			name = key
		}
		files = append(files, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestDirIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b")
	d := mustOpenDir(t, path)
	mustPut(t, d, id, []byte("x"))
	for file, want := range map[string]fs.FileMode{path: 0o700, path + "/01": 0o700, path + "/01/" + id: 0o600} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", file, info.Mode(), err, want)
		}
	}
}

func TestDirRefusesWhatIsNone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, file + "/below"} {
		if d, err := objects.OpenDir(path); err == nil {
			d.Close()
			t.Errorf("%s was opened as a directory", path)
		}
	}
}

// Content is there after another start, and for other processes at once.
func TestDirIsShared(t *testing.T) {
	path := t.TempDir()
	first, second := mustOpenDir(t, path), mustOpenDir(t, path)
	mustPut(t, first, key(1), []byte("x"))
	mustPut(t, second, key(2), []byte("y"))
	expectContent(t, second, key(1), []byte("x"))
	if err := second.Delete(t.Context(), key(1)); err != nil {
		t.Fatal(err)
	}
	_, err := first.Stat(t.Context(), key(1))
	expectError(t, "Stat of what another one deleted", err, objects.ErrNotFound)
	first.Close()
	second.Close()
	expectContent(t, mustOpenDir(t, path), key(2), []byte("y"))
}

// Symbolic links, put there by whoever, lead nowhere outside.
func TestDirFollowsNoLinkOut(t *testing.T) {
	parent := t.TempDir()
	path, outside := filepath.Join(parent, "objects"), filepath.Join(parent, "outside")
	d := mustOpenDir(t, path)
	linked, file, other := "01"+id[2:], "02"+id[2:], "03"+id[2:]
	for _, dir := range []string{outside, path + "/02"} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	secret := filepath.Join(outside, linked)
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"01": outside, "02/" + file: secret, "03": "../outside"} {
		if err := os.Symlink(target, filepath.Join(path, link)); err != nil {
			t.Skipf("SKIPPED: this needs symbolic links: %v", err)
		}
	}
	for _, k := range []string{linked, file, other} {
		if got, err := read(t, d, k, 0, -1); err == nil {
			t.Errorf("Open of %s read %q", k, got)
		}
		if info, err := d.Stat(t.Context(), k); err == nil {
			t.Errorf("Stat of %s = %+v", k, info)
		}
		d.Delete(t.Context(), k)
	}
	for _, k := range []string{linked, other} {
		if _, err := d.Put(t.Context(), k, strings.NewReader("x"), 1, -1); err == nil {
			t.Errorf("Put of %s followed a link", k)
		}
	}
	if _, err := d.List(t.Context(), "", "", 10); err == nil {
		t.Error("List followed a link")
	}
	mustPut(t, d, file, []byte("mine")) // it takes the link's place
	if got, err := os.ReadFile(secret); string(got) != "secret" || err != nil {
		t.Errorf("outside: %q, %v, want it as it was", got, err)
	}
	if got := filesIn(t, outside); !slices.Equal(got, []string{linked}) {
		t.Errorf("outside are %q, want %q alone", got, linked)
	}
	if got := filesIn(t, path); slices.ContainsFunc(got, func(name string) bool { return strings.HasPrefix(name, ".tmp-") }) {
		t.Errorf("there remains %q", got)
	}
}

// What has the name of a key and is no file isn't listed, and makes no page short.
func TestDirListsFilesOnly(t *testing.T) {
	path := t.TempDir()
	d := mustOpenDir(t, path)
	for i := range 30 {
		if i%3 == 2 {
			mustPut(t, d, key(i), nil)
		} else if err := os.MkdirAll(filepath.Join(path, "k0", key(i)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, alien := range []string{"k0/" + id, "k0/x", "README", "k0/.tmp-x"} {
		if err := os.WriteFile(filepath.Join(path, alien), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	page, err := d.List(t.Context(), "", "", 9)
	if err != nil || len(page) != 9 || page[8].Key != key(26) {
		t.Errorf("List = %v, %v, want the first 9 of 10 files", page, err)
	}
	_, err = d.Open(t.Context(), key(0), 0, -1)
	expectError(t, "Open of a directory", err, objects.ErrNotFound)
}

// A crash leaves temporary files behind. Sweep removes those that are old, and nothing else.
func TestDirSweep(t *testing.T) {
	path := t.TempDir()
	d := mustOpenDir(t, path)
	mustPut(t, d, key(1), []byte("x"))
	for name, age := range map[string]time.Duration{".tmp-old": 2 * time.Hour, ".tmp-new": 0, ".other": 2 * time.Hour} {
		file := filepath.Join(path, name)
		if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := d.Sweep(t.Context(), time.Hour); n != 1 || err != nil {
		t.Errorf("Sweep = %d, %v, want 1", n, err)
	}
	if got, want := filesIn(t, path), []string{".other", ".tmp-new", key(1)}; !slices.Equal(got, want) {
		t.Errorf("there remains %q, want %q", got, want)
	}
}

// An upload that stood still so long that it was swept fails, and there is nothing under its key.
func TestDirSweptUpload(t *testing.T) {
	path := t.TempDir()
	d := mustOpenDir(t, path)
	swept := false
	_, err := d.Put(t.Context(), key(1), readerFunc(func(p []byte) (int, error) {
		if swept {
			return 0, io.EOF
		}
		swept = true
		if n, err := d.Sweep(t.Context(), -time.Hour); n != 1 || err != nil {
			t.Errorf("Sweep = %d, %v, want 1", n, err)
		}
		return len(p), nil
	}), -1, -1)
	expectError(t, "Put", err, fs.ErrNotExist)
	if got := filesIn(t, path); got != nil {
		t.Errorf("there remains %q", got)
	}
	mustPut(t, d, key(1), []byte("x")) // as ever
}

// Somebody removed the directories below: they are made again.
func TestDirWithoutShards(t *testing.T) {
	path := t.TempDir()
	d := mustOpenDir(t, path)
	mustPut(t, d, key(1), []byte("x"))
	if err := os.RemoveAll(filepath.Join(path, "k0")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Put(t.Context(), key(1), strings.NewReader("x"), 1, -1); err == nil {
		t.Log("the directory was made by the first attempt already")
	}
	mustPut(t, d, key(1), []byte("y"))
	expectContent(t, d, key(1), []byte("y"))
}

// A file that somebody has cut doesn't end as if that were all.
func TestDirCutFile(t *testing.T) {
	path := t.TempDir()
	d := mustOpenDir(t, path)
	mustPut(t, d, key(1), noise(1, 1000))
	r, err := d.Open(t.Context(), key(1), 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := os.Truncate(filepath.Join(path, "k0", key(1)), 10); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	expectError(t, "ReadAll", err, io.ErrUnexpectedEOF)
	if len(got) != 10 {
		t.Errorf("read %d bytes, want 10", len(got))
	}
}

// A panic of the reader is its owner's to deal with, and leaves nothing.
func TestDirPanickingReader(t *testing.T) {
	path := t.TempDir()
	d := mustOpenDir(t, path)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was lost")
			}
		}()
		d.Put(t.Context(), key(1), io.MultiReader(bytes.NewReader(noise(1, 1000)), readerFunc(func([]byte) (int, error) { panic("reader") })), -1, -1)
	}()
	if got := filesIn(t, path); got != nil {
		t.Errorf("there remains %q", got)
	}
}

// The directory can't be written to any more.
func TestDirCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "objects")
	d := mustOpenDir(t, path)
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	if err := d.Check(t.Context()); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "the directory of objects can't be written to") {
		t.Errorf("Check: %v, want a complaint about the directory", err)
	}
}
