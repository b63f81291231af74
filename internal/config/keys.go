package config

import (
	"encoding/hex"
	"errors"
	"path/filepath"
	"reflect"
)

// Hash is a SHA-256 hash. In a file it is 64 hexadecimal digits.
type Hash [32]byte

// Key says whose an API key is. The key itself is not kept anywhere, only its hash.
type Key struct {
	// Name of the owner; one owner may have several keys. Required.
	Name string `yaml:"name,required"`
	// SHA256 of the key's bytes. Required.
	SHA256 Hash `yaml:"sha256,required"`
	// Price is the owner's place in a price-ordered queue, 0 or more; higher goes first. Default 0.
	Price int64 `yaml:"price"`
}

// keysFile is a whole file of keys.
type keysFile struct {
	Keys []Key `yaml:"keys,required"`
}

func (k *Key) validate(at *node, r *report) {
	if k.Price < 0 {
		r.errorf(at.get("price"), "%d is out of range, expected 0 or more", k.Price)
	}
}

func (f *keysFile) validate(at *node, r *report) {
	list := at.get("keys")
	lines := make(map[Hash]int, len(f.Keys))
	for i, k := range f.Keys {
		if k.SHA256 == (Hash{}) { // has no hash, or one with a mistake
			continue
		}
		hash := list.item(i).get("sha256")
		if line, seen := lines[k.SHA256]; seen {
			r.errorf(hash, "duplicate hash, expected every key once; it is in line %d already", line)
			continue
		}
		lines[k.SHA256] = hash.line
	}
}

func parseHash(text string) (Hash, error) {
	var h Hash
	if len(text) != hex.EncodedLen(len(h)) {
		return h, errors.New("expected a SHA-256 hash of 64 hexadecimal digits")
	}
	if _, err := hex.Decode(h[:], []byte(text)); err != nil {
		return Hash{}, errors.New("expected a SHA-256 hash of 64 hexadecimal digits")
	}
	return h, nil
}

// keyFiles reads the files of keys that a configuration names.
type keyFiles struct {
	dir    string // of the configuration
	env    environment
	read   func(path string) ([]byte, error)
	report *report // of the configuration
}

// load fills the sources that have a file of keys. A file that several sources name is read once.
func (k *keyFiles) load(sources []Source, at *node) {
	loaded := make(map[string][]Key)
	for i := range sources {
		s := sources[i].APIKey
		if s == nil || s.File == "" {
			continue
		}
		if !filepath.IsAbs(s.File) {
			s.File = filepath.Join(k.dir, s.File)
		}
		keys, done := loaded[s.File]
		if !done {
			keys = k.file(s.File, at.item(i).get("api_key").get("file"))
			loaded[s.File] = keys
		}
		s.Keys = keys
	}
}

// file reads one file of keys, that the configuration names at a node.
func (k *keyFiles) file(path string, at *node) []Key {
	data, err := k.read(path)
	if err != nil {
		k.report.errorf(at, "%s: %s", path, reason(err))
		return nil
	}
	r := &report{file: path}
	var f keysFile
	if root := readTree(data, k.env, r); root != nil {
		(&decoder{r}).value(root, reflect.ValueOf(&f).Elem())
	}
	k.report.errs = append(k.report.errs, r.errs...)
	return f.Keys
}
