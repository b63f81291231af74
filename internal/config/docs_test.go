package config_test

import (
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/rate"
)

// documented is a row of a table in docs/config.md: the type and the default of a key.
type documented struct{ kind, value string }

// TestDocs compares the tables of docs/config.md with the types: every key, its type and its default, and nothing else.
func TestDocs(t *testing.T) {
	page := readDocs(t)
	got := tableRows(page)
	want := documentedKeys(t)
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if row, exists := got[key]; !exists {
			t.Errorf("docs/config.md has no row for `%s`, want %+v", key, want[key])
		} else if row != want[key] {
			t.Errorf("docs/config.md says of `%s` %+v, want %+v", key, row, want[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if _, exists := want[key]; !exists {
			t.Errorf("docs/config.md has a row for `%s`, which is no key", key)
		}
	}
}

// TestDocsExample reads the example of docs/config.md, and looks for every key in it.
func TestDocsExample(t *testing.T) {
	blocks := codeBlocks(readDocs(t))
	if len(blocks) != 2 {
		t.Fatalf("docs/config.md has %d blocks of YAML, want sluice.yaml and keys.yaml", len(blocks))
	}
	_, err := config.Parse("sluice.yaml", []byte(blocks[0]), nil, func(path string) ([]byte, error) {
		switch path {
		case "keys.yaml":
			return []byte(blocks[1]), nil
		case "policy.json":
			return os.ReadFile("../../flush/policy.json")
		}
		return nil, fs.ErrNotExist
	})
	if err != nil {
		t.Error(err)
	}
	for key := range documentedKeys(t) {
		last := key[strings.LastIndexByte(key, '.')+1:]
		if !strings.Contains(blocks[0]+blocks[1], last+":") {
			t.Errorf("the example does not show `%s`", key)
		}
	}
}

func readDocs(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/config.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// tableRows reads the rows of all tables.
func tableRows(page string) map[string]documented {
	rows := make(map[string]documented)
	for line := range strings.Lines(page) {
		cells := strings.Split(line, "|")
		if len(cells) < 5 || !strings.HasPrefix(cells[1], " `") {
			continue
		}
		cell := func(i int) string { return strings.Trim(cells[i], " `") }
		rows[cell(1)] = documented{cell(2), cell(3)}
	}
	return rows
}

func codeBlocks(page string) []string {
	var blocks []string
	for _, part := range strings.Split(page, "```yaml\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		blocks = append(blocks, block)
	}
	return blocks
}

// TestDocsByHand holds the defaults that documentedKeys writes down against those of a file that says nothing.
func TestDocsByHand(t *testing.T) {
	const rest = "upstreams: {api: {targets: [\"http://a\"]}}\nroutes: [{path: /*, upstream: api}]\n"
	silent, err := config.Parse("sluice.yaml", []byte(rest), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys := documentedKeys(t)
	said, err := config.Parse("sluice.yaml", []byte("identify: {sources: "+keys["identify.sources"].value+"}\n"+rest), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(silent.Identify, said.Identify) {
		t.Errorf("the default of identify.sources is not %s", keys["identify.sources"].value)
	}
	if silent.DataDir != "" {
		t.Errorf("the default of data_dir is %q, not none", silent.DataDir)
	}
}

// documentedKeys walks a configuration in which every section is there and says nothing but what it must.
func documentedKeys(t *testing.T) map[string]documented {
	t.Helper()
	file := `rate_limit_service: {listen: 127.0.0.1:1}
data_dir: d
market: {listen: 127.0.0.1:2}
limits: {NAME: {rate: 1/s, match: {}, overrides: {NAME: {rate: 1/s}}}}
identify: {sources: [{api_key: {header: H, file: F}}, {address: {}}]}
upstreams: {NAME: {targets: ["http://a"], health: {path: /}}}
routes: [{path: /, upstream: NAME, cache: {}, coalesce: {}, merge: {}}, {path: /later, methods: [POST], upstream: NAME, async: {}}]
`
	keys := "keys: [{name: a, sha256: " + strings.Repeat("0", 64) + "}]"
	c, err := config.Parse("sluice.yaml", []byte(file), nil, func(string) ([]byte, error) { return []byte(keys), nil })
	if err != nil {
		t.Fatal(err)
	}
	found := walker{}
	found.section("", reflect.ValueOf(*c))
	found["data_dir"] = documented{"string", "none"}
	found["keys"] = documented{"list of keys", "required"}
	found.section("keys[].", reflect.ValueOf(c.Identify.Sources[0].APIKey.Keys[0]))
	found["identify.sources"] = documented{"list of sources", "[{address: {ipv6_prefix: 64}}]"}
	return found
}

type walker map[string]documented

// section adds the keys of a struct.
func (w walker) section(prefix string, v reflect.Value) {
	for i := range v.NumField() {
		tag := strings.Split(v.Type().Field(i).Tag.Get("yaml"), ",")
		if tag[0] == "" {
			panic("no yaml tag: " + v.Type().String() + "." + v.Type().Field(i).Name)
		}
		if tag[0] != "-" {
			w.key(prefix+tag[0], tag[1:], v.Field(i))
		}
	}
}

// key adds a key, and the keys below it.
func (w walker) key(key string, options []string, v reflect.Value) {
	if v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	name := kindName(v.Type())
	if name != "" {
		w[key] = documented{name, defaultOf(options, v)}
	}
	switch {
	case v.Kind() == reflect.Struct && (name == "" || v.Type() == reflect.TypeFor[config.Cost]()):
		w.section(key+".", v)
	case v.Kind() == reflect.Map:
		if !slices.Contains(options, "required") {
			w[key] = documented{name, "none"}
		}
		w.section(key+".NAME.", v.MapIndex(reflect.ValueOf("NAME").Convert(v.Type().Key())).Elem())
	case v.Kind() == reflect.Slice && strings.HasPrefix(v.Type().Elem().String(), "*config."):
		for i := range v.Len() { // the first last: its rows are those of an item that says nothing
			w.section(key+"[].", v.Index(v.Len()-1-i).Elem())
		}
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct && v.Type().Elem() != reflect.TypeFor[netip.Prefix]() && name != "list of names and networks":
		for i := range v.Len() {
			w.section(key+"[].", v.Index(i))
		}
	}
}

// kindName is what the page calls a type, "" for a section, which has no row of its own.
func kindName(t reflect.Type) string {
	special := map[reflect.Type]string{
		reflect.TypeFor[*config.Redis]():                               "URL",
		reflect.TypeFor[config.Duration]():                             "duration",
		reflect.TypeFor[config.Size]():                                 "size",
		reflect.TypeFor[config.Percent]():                              "percentage",
		reflect.TypeFor[config.Hash]():                                 "hash",
		reflect.TypeFor[[]netip.Prefix]():                              "list of networks",
		reflect.TypeFor[[]*url.URL]():                                  "list of URLs",
		reflect.TypeFor[[]string]():                                    "list of strings",
		reflect.TypeFor[[]config.Source]():                             "list of sources",
		reflect.TypeFor[[]*config.Route]():                             "list of routes",
		reflect.TypeFor[map[string]*config.Upstream]():                 "mapping of upstreams",
		reflect.TypeFor[rate.Rate]():                                   "rate",
		reflect.TypeFor[config.Ageing]():                               "rate",
		reflect.TypeFor[config.Cost]():                                 "number",
		reflect.TypeFor[[]config.Who]():                                "list of names and networks",
		reflect.TypeFor[[]config.RateLimitHeader]():                    "list of strings",
		reflect.TypeFor[map[string]*config.Limit]():                    "mapping of limits",
		reflect.TypeFor[map[config.ClientName]*config.LimitOverride](): "mapping of limits",
	}
	if name, ok := special[t]; ok {
		return name
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "number"
	case reflect.String:
		return "string"
	case reflect.Struct, reflect.Pointer:
		return ""
	}
	panic("no name for " + t.String())
}

// defaultOf is what the page says of a default.
func defaultOf(options []string, v reflect.Value) string {
	switch {
	case slices.Contains(options, "required"):
		return "required"
	case slices.Contains(options, "empty") && v.Len() == 0:
		return `""`
	case v.Kind() == reflect.Pointer && v.IsNil():
		return "none"
	case (v.Kind() == reflect.String || v.Kind() == reflect.Slice) && v.Len() == 0:
		return "none"
	}
	if d, ok := v.Interface().(time.Duration); ok {
		return shortDuration(d)
	}
	return fmt.Sprint(v.Interface())
}

// shortDuration writes a duration as people do: 1m, not 1m0s.
func shortDuration(d time.Duration) string {
	switch {
	case d == 0:
		return "0"
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", int(d.Hours()))
	case d%time.Minute == 0:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	}
	return d.String()
}
