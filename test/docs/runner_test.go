//go:build unix

package docs_test

import (
	"net"
	"strings"
	"testing"
	"time"
)

// TestRunner runs small pages: what is wrong with one is found, and said with its line.
func TestRunner(t *testing.T) {
	env := environmentOf(t)
	for name, test := range map[string]struct {
		text string
		want string // in the error; "" for none
	}{
		"in order":              {"```sh\na=1\n```\n```sh\n[ $a = 1 ]\n```\n", ""},
		"a failure":             {"text\n\n```sh\necho before\nfalse\necho after\n```\n", "page.md:3: exit status 1"},
		"a failure's output":    {"```sh\necho what; false\n```\n", "It wrote:\nwhat"},
		"fails":                 {"<!-- run: fails -->\n```sh\nfalse\ntrue\n```\n", ""},
		"does not fail":         {"<!-- run: fails -->\n```sh\ntrue\n```\n", "did not fail"},
		"prints":                {"<!-- run: prints -->\n```sh\necho '{\"a\":1}'  # {\"a\":…}\n```\n", ""},
		"prints something else": {"<!-- run: prints -->\n```sh\necho 1  # 2\n```\n", "it should write\n2"},
		"output":                {"```sh\necho '{\"a\":1,\"b\":[{}]}'\n```\n\n<!-- run: output -->\n```json\n{\"a\": 2, \"b\": []}\n```\n", ""},
		"output without a name": {"```sh\necho '{\"a\":1}'\n```\n<!-- run: output -->\n```json\n{\"b\": 2}\n```\n", "page.md:5: there is no .b"},
		"output of a type":      {"```sh\necho '{\"a\":1}'\n```\n<!-- run: output -->\n```json\n{\"a\": \"x\"}\n```\n", "of another type"},
		"output of text":        {"```sh\necho a b\n```\n<!-- run: output -->\n```text\na c\n```\n", "it should write\na c"},
		"setup":                 {"<!-- run: setup\necho 1 >file\n-->\n```sh\ncat file\n```\n", ""},
		"a server":              {"<!-- run: background until ready -->\n```sh\necho ready; sleep 1000\n```\n```sh\nwait\n```\n", ""},
		"a server, ended":       {"<!-- run: background until ready -->\n```sh\necho $BASHPID >pid; echo ready; sleep 1000\n```\n<!-- run: stop -->\n```sh\n! kill -0 $(cat pid)\n```\n", ""},
		"a server unannounced":  {"<!-- run: background until ready -->\n```sh\necho ready; sleep 1000\n```\n```sh\nsleep 1000\n```\n", "has not ended"},
		"left running":          {"```sh\nsleep 1000 &\n```\n", ""},
		"a server that ends":    {"<!-- run: background until ready -->\n```sh\necho sorry\n```\n", "(ended without having written: ready)"},
		"not":                   {"<!-- run: not: minutes -->\n```sh\nsluice serve -c none.yaml\ngo run ./bench/proxy -rounds 9\nmake soak\n```\n", ""},
		"not, what is not ours": {"<!-- run: not: it installs -->\n```sh\ncd nowhere\nbin/nonsense\nuntil [ -e /nonsense ]; do sleep 1; done\nrm -r /nonsense && nonsense $(nonsense)\n```\n", ""},
		"not, no such file":     {"<!-- run: not: it installs -->\n```sh\ninstall deploy/nonsense /nonsense\n```\n", "there is no deploy/nonsense"},
		"not, a wrong flag":     {"<!-- run: not: minutes -->\n```sh\nsluice serve --nonsense\n```\n", "nonsense"},
		"not, no such flag":     {"<!-- run: not: minutes -->\n```sh\ngo run ./bench/proxy -nonsense\n```\n", "there is no flag -nonsense"},
		"no such target":        {"```sh\nmake nonsense\n```\n", "nonsense"},
		"no such test":          {"```sh\ngo test ./test/docs -run TestNonsense\n```\n", "there is no TestNonsense"},
		"no such program":       {"```sh\ngo install github.com/sluicegate/sluice/cmd/nonsense@latest\n```\n", "nonsense"},
		"without a program":     {"<!-- run: only with nonsense -->\n```sh\nnonsense\n```\n", ""},
		"a configuration":       {"```yaml\nupstreams: {a: {targets: [\"http://127.0.0.1:1\"]}}\nroutes: [{path: /*, upstream: a}]\n```\n", ""},
		"a wrong one":           {"```yaml\nupstreams: {a: {targets: [\"http://127.0.0.1:1\"]}}\n```\n", "routes"},
		"a part of one":         {"<!-- run: part of a file -->\n```yaml\nroutes: [{path: /*, upstream: api}]\n```\n", ""},
		"a wrong part":          {"<!-- run: part of a file -->\n```yaml\nlimit: {}\n```\n", "limit"},
		"saved":                 {"<!-- run: save as a/b -->\n```yaml\n'1': 2\n```\n```sh\n[ \"$(cat a/b)\" = \"'1': 2\" ]\n```\n", ""},
		"an example":            {"<!-- run: save as examples/slow.yaml -->\n```yaml\nupstreams: {}\n```\n", "page.md:2: the repository has another examples/slow.yaml"},
		"no JSON":               {"```json\n{a: 1}\n```\n", "page.md:1: the block is no JSON"},
		"console":               {"```console\n$ ls\n```\n", "page.md:1: ```console"},
		"an unknown comment":    {"<!-- run: quickly -->\n```sh\nls\n```\n", "unknown: run: quickly"},
		"a comment too many":    {"<!-- run: fails -->\n\ntext\n", "belongs to no block"},
		"a server that fails":   {"<!-- run: fails -->\n<!-- run: background until 1 -->\n```sh\nls\n```\n", "can't be one that fails"},
	} {
		t.Run(name, func(t *testing.T) {
			patience := time.Minute
			if test.want == "has not ended" {
				patience = time.Second
			}
			p, err := parsePage("page.md", test.text)
			if err == nil {
				err = (&session{page: p, dir: t.TempDir(), outs: t.TempDir(), env: env, patience: patience, anyPort: true}).run()
			}
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got the error %v, want one with %q", err, test.want)
			}
		})
	}
}

// TestTakenPort runs a page where somebody else listens on its port: none of its blocks is run.
func TestTakenPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	address := l.Addr().String()
	p, err := parsePage("page.md", "```sh\ncurl -s http://"+address+"\n```\n")
	if err != nil {
		t.Fatal(err)
	}
	err = (&session{page: p, dir: t.TempDir(), outs: t.TempDir(), env: environmentOf(t), patience: time.Millisecond}).portsFree()
	if _, port, _ := net.SplitHostPort(address); err == nil || !strings.Contains(err.Error(), "page.md uses port "+port) {
		t.Errorf("got the error %v, want one that names the port %s", err, port)
	}
}
