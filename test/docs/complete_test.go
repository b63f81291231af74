//go:build unix

package docs_test

import (
	"encoding/json"
	"path"
	"strings"
	"testing"
	"time"
)

// TestComplete asks the demo, in which all parts of the gateway are at work, for its metrics and for the paths of its admin listener. The
// pages must tell of each.
func TestComplete(t *testing.T) {
	const page = "<!-- run: background until ctrl-C stops it -->\n```sh\nsluice demo --listen 127.0.0.1:8080 --admin 127.0.0.1:8081\n```\n" +
		"```sh\ncurl -s http://127.0.0.1:8081/metrics\n```\n```sh\ncurl -s http://127.0.0.1:8081/nothing\n```\n"
	p, err := parsePage("demo.md", page)
	if err != nil {
		t.Fatal(err)
	}
	s := &session{page: p, dir: t.TempDir(), outs: t.TempDir(), env: environmentOf(t), patience: time.Minute}
	if err := s.run(); err != nil {
		t.Fatal(err)
	}
	var docs strings.Builder
	for _, name := range pages(t) {
		docs.WriteString(readPage(t, name))
	}
	metrics := 0
	for line := range strings.Lines(s.wrote(p.blocks[1].line)) {
		name, isMetric := strings.CutPrefix(line, "# TYPE sluice_")
		if name, _, _ = strings.Cut(name, " "); isMetric {
			metrics++
			if !documented(docs.String(), "sluice_"+name) {
				t.Errorf("no page tells of the metric sluice_%s", name)
			}
		}
	}
	if metrics == 0 {
		t.Error("there are no metrics")
	}
	var nothing struct{ Endpoints []string }
	if err := json.Unmarshal([]byte(s.wrote(p.blocks[2].line)), &nothing); err != nil || len(nothing.Endpoints) == 0 {
		t.Errorf("the endpoints: %v, error %v", nothing.Endpoints, err)
	}
	for _, endpoint := range nothing.Endpoints {
		if _, of, _ := strings.Cut(endpoint, " "); !tells(docs.String(), strings.ReplaceAll(of, "{id}", "ID")) {
			t.Errorf("no page tells of %s", endpoint)
		}
	}
}

// tells reports whether a page has a path, or its end behind a shorter one, as in `/jobs/ID`, `/body`.
func tells(docs, of string) bool {
	dir, base := path.Split(of)
	return strings.Contains(docs, of) || strings.Contains(docs, strings.TrimSuffix(dir, "/")+"`") && strings.Contains(docs, "`/"+base+"`")
}

// documented reports whether a page has the name of a metric, or the end of it, as in `sluice_market_up`, `…_ready`.
func documented(docs, name string) bool {
	for i := range name {
		if name[i] == '_' && strings.Contains(docs, "`…"+name[i:]) {
			return true
		}
	}
	return strings.Contains(docs, name)
}
