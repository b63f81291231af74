package config

import (
	"bytes"
	"path/filepath"

	"github.com/sluicegate/sluice/flush"
)

// policyFiles reads the flush policies that a configuration names, each once.
type policyFiles struct {
	dir    string // of the configuration
	read   func(path string) ([]byte, error)
	report *report
	loaded map[string]*flush.Network
}

// load fills the routes that name one.
func (f *policyFiles) load(routes []*Route, at *node) {
	f.loaded = make(map[string]*flush.Network)
	for i, r := range routes {
		if r == nil { // which has been reported
			continue
		}
		if c := r.Coalesce; c != nil && c.PolicyFile != "" {
			c.Network = f.file(&c.PolicyFile, at.item(i).get("coalesce").get("policy_file"))
		}
		if m := r.Merge; m != nil && m.PolicyFile != "" {
			m.Network = f.file(&m.PolicyFile, at.item(i).get("merge").get("policy_file"))
		}
	}
}

// file reads the file that the configuration names at a node, and completes its path.
func (f *policyFiles) file(path *string, at *node) *flush.Network {
	if !filepath.IsAbs(*path) {
		*path = filepath.Join(f.dir, *path)
	}
	if n := f.loaded[*path]; n != nil {
		return n
	}
	data, err := f.read(*path)
	if err != nil {
		f.report.errorf(at, "%s: %s", *path, reason(err))
		return nil
	}
	n, err := flush.Load(bytes.NewReader(data))
	if err != nil {
		f.report.errorf(at, "%s: %v", *path, err)
		return nil
	}
	f.loaded[*path] = n
	return n
}
