package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds of a file, far above what a gateway needs. A file of this size with nothing but keys in one mapping would keep the
// parser busy for a minute: its time grows with the square of their number.
const (
	maxFile   = 1 * MiB
	maxTokens = 150_000
	maxKeys   = 10_000 // in one mapping
	maxDepth  = 32     // of nested lists and mappings
)

// kind is the form of a node.
type kind int

const (
	scalar   kind = iota // text
	literal              // an unquoted number, truth value or the like
	null                 // no value
	mapping              // entries
	sequence             // items
)

func (k kind) String() string {
	return [...]string{"a string", "a number or truth value", "no value", "a mapping", "a list"}[k]
}

// node is a value in a file, with its place and all variables expanded.
type node struct {
	kind      kind
	line, col int
	path      string // dotted, for messages: routes[0].path
	text      string
	quoted    bool // text stood in quotes
	expanded  bool // text holds the value of a variable
	unspaced  bool // a mapping with a colon that no space follows, which the parser takes for one in {a: [http://b]}
	broken    bool // a mistake in it was reported
	entries   []entry
	items     []*node
}

// entry is one key of a mapping. The path of the key node is that of the mapping.
type entry struct{ key, value *node }

// mappingOf returns a mapping without a place, of keys and their nodes in turn.
func mappingOf(keysAndValues ...any) *node {
	n := &node{kind: mapping}
	for i := 0; i < len(keysAndValues); i += 2 {
		n.add(keysAndValues[i].(string), keysAndValues[i+1].(*node))
	}
	return n
}

// add adds an entry without a place to a mapping.
func (n *node) add(key string, value *node) {
	n.entries = append(n.entries, entry{&node{text: key}, value})
}

// find returns the value of key, or nil.
func (n *node) find(key string) *node {
	for _, e := range n.entries {
		if e.key.text == key {
			return e.value
		}
	}
	return nil
}

// get returns the value of key; without one it returns a stand-in that has the place of n and the path of the key, so
// that a mistake about a default has a place too.
func (n *node) get(key string) *node {
	if v := n.find(key); v != nil {
		return v
	}
	return &node{kind: null, line: n.line, col: n.col, path: n.keyPath(key)}
}

// item returns item i of a list, or a stand-in as get does.
func (n *node) item(i int) *node {
	if i < len(n.items) {
		return n.items[i]
	}
	return &node{kind: null, line: n.line, col: n.col, path: n.itemPath(i)}
}

func (n *node) keyPath(key string) string {
	if n.path == "" {
		return key
	}
	return n.path + "." + key
}

func (n *node) itemPath(i int) string { return n.path + "[" + strconv.Itoa(i) + "]" }

// report collects the mistakes of one file, and what is none but may not be meant.
type report struct {
	file     string
	errs     Errors
	warnings Errors
}

// errorf adds a mistake at a node.
func (r *report) errorf(at *node, format string, args ...any) {
	r.errs = append(r.errs, r.at(at, format, args...))
}

// warnf adds a warning at a node.
func (r *report) warnf(at *node, format string, args ...any) {
	r.warnings = append(r.warnings, r.at(at, format, args...))
}

func (r *report) at(at *node, format string, args ...any) *Error {
	msg := fmt.Sprintf(format, args...)
	if at.path != "" {
		msg = at.path + ": " + msg
	}
	return &Error{File: r.file, Line: at.line, Column: at.col, Msg: msg}
}

// place adds a mistake at a line and column.
func (r *report) place(line, col int, format string, args ...any) {
	r.errorf(&node{line: line, col: col}, format, args...)
}

// readTree parses a file into a tree of nodes. It returns nil when there is none to work with, and then r says why.
func readTree(data []byte, env environment, r *report) *node {
	data = []byte(strings.TrimPrefix(string(data), "\ufeff"))
	if !checkText(data, r) {
		return nil
	}
	tokens := lexer.Tokenize(string(data))
	if !checkTabs(data, tokens, r) || !checkTokens(tokens, r) {
		return nil
	}
	file, err := parse(tokens)
	if err != nil {
		reportSyntax(err, r)
		return nil
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		r.place(1, 1, "the file is empty")
		return nil
	}
	b := builder{env: env, report: r}
	return b.build(file.Docs[0].Body, "", 0)
}

// checkText refuses what no YAML file may hold: too much, bytes that are not UTF-8, control characters.
func checkText(data []byte, r *report) bool {
	if Size(len(data)) > maxFile {
		r.place(1, 1, "the file is too large, expected at most %v", maxFile)
		return false
	}
	line, col := 1, 1
	for len(data) > 0 {
		c, size := utf8.DecodeRune(data)
		switch {
		case c == utf8.RuneError && size == 1:
			r.place(line, col, "invalid UTF-8")
			return false
		case c < ' ' && c != '\n' && c != '\r' && c != '\t' || c == 0x7f:
			r.place(line, col, "a control character (%U)", c)
			return false
		}
		col++
		if c == '\n' {
			line, col = line+1, 1
		}
		data = data[size:]
	}
	return true
}

// checkTokens refuses what this reader does not support before the parser spends time or stack on it.
func checkTokens(tokens token.Tokens, r *report) bool {
	if len(tokens) > maxTokens {
		at := tokens[maxTokens].Position
		r.place(at.Line, at.Column, "the file is too large, expected at most %d words and signs", maxTokens)
		return false
	}
	var n nesting
	var w width
	for i, t := range tokens {
		if msg := refusal(tokens, i); msg != "" {
			r.place(t.Position.Line, t.Position.Column, "%s", msg)
			return false
		}
		if n.add(t) > maxDepth {
			r.place(t.Position.Line, t.Position.Column, "nested too deep, expected at most %d levels", maxDepth)
			return false
		}
		if w.add(t) > maxKeys {
			r.place(t.Position.Line, t.Position.Column, "too many keys in one mapping, expected at most %d", maxKeys)
			return false
		}
	}
	return true
}

// refusal says why token i is refused, "" if it is not.
func refusal(tokens token.Tokens, i int) string {
	t := tokens[i]
	switch t.Type {
	case token.InvalidType:
		return "not valid YAML: " + t.Error
	case token.AnchorType, token.AliasType, token.MergeKeyType:
		return "anchors, aliases and merge keys are not supported: write the value out"
	case token.TagType:
		return "tags are not supported: remove it"
	case token.DirectiveType:
		return "directives are not supported: remove it"
	case token.MappingKeyType:
		return `complex keys are not supported: write "key: value"`
	case token.DocumentHeaderType:
		if i > 0 && slices.ContainsFunc(tokens[:i], func(t *token.Token) bool { return t.Type != token.CommentType }) {
			return "a second document: expected one"
		}
	case token.MappingStartType:
		if i > 0 && tokens[i-1].Type == token.StringType && strings.HasSuffix(tokens[i-1].Value, "$") {
			return `a variable within { } or [ ] has to be quoted: "${NAME}"`
		}
	}
	return ""
}

// nesting counts how deep a token stands in flow collections, and in block lists that open on one line. (Deep block
// collections need ever longer lines, so the size of the file bounds them for the parser, and the builder for the rest.)
type nesting struct{ flow, entries, line int }

func (n *nesting) add(t *token.Token) int {
	if t.Position.Line != n.line {
		n.entries, n.line = 0, t.Position.Line
	}
	switch t.Type {
	case token.MappingStartType, token.SequenceStartType:
		n.flow++
	case token.MappingEndType, token.SequenceEndType:
		n.flow--
	case token.SequenceEntryType:
		n.entries++
	}
	return max(n.flow, n.entries)
}

// width counts the keys of the block mappings that a token stands in, by the columns where they start.
type width struct {
	line int
	open []struct{ col, keys int } // columns ascend
}

// add returns how many keys the mapping of t has so far, if t is the first token in its line.
func (w *width) add(t *token.Token) int {
	at := t.Position
	if at.Line == w.line || t.Type == token.CommentType {
		return 0
	}
	w.line = at.Line
	for len(w.open) > 0 && w.open[len(w.open)-1].col > at.Column {
		w.open = w.open[:len(w.open)-1]
	}
	if t.Type == token.SequenceEntryType {
		return 0
	}
	if len(w.open) == 0 || w.open[len(w.open)-1].col < at.Column {
		w.open = append(w.open, struct{ col, keys int }{col: at.Column})
	}
	top := &w.open[len(w.open)-1]
	top.keys++
	return top.keys
}

// checkTabs refuses tabs outside comments: the parser takes some for spaces and then miscounts columns.
func checkTabs(data []byte, tokens token.Tokens, r *report) bool {
	comments := make(map[int]int)
	for _, t := range tokens {
		if t.Type == token.CommentType {
			comments[t.Position.Line] = t.Position.Column
		}
	}
	line := 0
	for text := range strings.Lines(string(data)) {
		line++
		before, _, found := strings.Cut(text, "\t")
		col := utf8.RuneCountInString(before) + 1
		if comment, ok := comments[line]; found && (!ok || col < comment) {
			r.place(line, col, `a tab: use spaces, or "\t" within a quoted string`)
			return false
		}
	}
	return true
}

// parse runs the parser. It is fed with anything, so a panic of it is one more way to refuse a file.
func parse(tokens token.Tokens) (file *ast.File, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

// reportSyntax reports an error of the parser, whose own text has several lines.
func reportSyntax(err error, r *report) {
	var syntax interface {
		GetToken() *token.Token
		GetMessage() string
	}
	if errors.As(err, &syntax) && syntax.GetToken() != nil {
		at := syntax.GetToken().Position
		r.place(at.Line, at.Column, "not valid YAML: %s", syntax.GetMessage())
		return
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	r.place(1, 1, "not valid YAML: %s", first)
}
