package config

import (
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// builder turns the parser's tree into nodes: it expands variables, and reports repeated keys.
type builder struct {
	env    environment
	report *report
}

func (b *builder) build(from ast.Node, path string, depth int) *node {
	n := &node{kind: null, path: path}
	n.line, n.col = start(from)
	if depth > maxDepth {
		b.report.errorf(n, "nested too deep, expected at most %d levels", maxDepth)
		n.broken = true
		return n
	}
	switch from := from.(type) {
	case *ast.MappingNode:
		b.addEntries(n, from.Values, depth)
	case *ast.MappingValueNode:
		b.addEntries(n, []*ast.MappingValueNode{from}, depth)
	case *ast.SequenceNode:
		n.kind = sequence
		for i, item := range from.Values {
			n.items = append(n.items, b.build(item, n.itemPath(i), depth+1))
		}
	default:
		b.fill(n, from)
	}
	return n
}

// addEntries makes n a mapping. Of a repeated key the first counts.
func (b *builder) addEntries(n *node, from []*ast.MappingValueNode, depth int) {
	n.kind = mapping
	lines := make(map[string]int, len(from))
	for _, v := range from {
		key, ok := b.key(v.Key, n.path)
		if !ok {
			continue
		}
		if line, seen := lines[key.text]; seen {
			b.report.errorf(key, "duplicate key %q, expected it once; it is in line %d already", key.text, line)
			continue
		}
		lines[key.text] = key.line
		n.unspaced = n.unspaced || unspaced(v)
		value := b.build(v.Value, n.keyPath(key.text), depth+1)
		if value.kind == null {
			value.line, value.col = key.line, key.col
		}
		n.entries = append(n.entries, entry{key, value})
	}
}

// unspaced reports whether a value follows the colon of its key at once.
func unspaced(v *ast.MappingValueNode) bool {
	line, col := start(v.Value)
	return v.Start != nil && v.Start.Position.Line == line && v.Start.Position.Column+1 == col && v.Value.Type() != ast.NullType
}

// key makes a node of a key, which is a plain or quoted word and is never expanded.
func (b *builder) key(from ast.MapKeyNode, path string) (*node, bool) {
	key := &node{path: path}
	key.line, key.col = start(from)
	switch k := from.(type) {
	case *ast.StringNode:
		key.text = k.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode:
		key.text = k.GetToken().Value
	default:
		b.report.errorf(key, "expected a key, a plain word")
		return nil, false
	}
	return key, true
}

// fill makes n a scalar.
func (b *builder) fill(n *node, from ast.Node) {
	tok := from.GetToken()
	switch from := from.(type) {
	case *ast.StringNode:
		n.kind, n.text = scalar, from.Value
	case *ast.LiteralNode:
		n.kind, n.text = scalar, from.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		n.kind, n.text = literal, tok.Value
	case *ast.NullNode:
	default:
		b.report.errorf(n, "not supported here, expected a value")
		n.broken = true
	}
	if n.kind == scalar {
		n.quoted = isQuote(tok)
		b.expand(n, tok)
	}
}

// expand replaces the variables in a scalar.
func (b *builder) expand(n *node, tok *token.Token) {
	text := n.text
	expanded, problems := b.env.expand(text)
	for _, p := range problems {
		at := *n
		if strings.Contains(tok.Origin, text) && !strings.Contains(text, "\n") { // as written: no escapes, no folding
			at.col += utf8.RuneCountInString(text[:p.offset])
			if n.quoted {
				at.col++
			}
		}
		b.report.errorf(&at, "%s", p.msg)
	}
	n.expanded = strings.Contains(text, "${")
	n.broken = len(problems) > 0
	n.text = expanded
}

func isQuote(tok *token.Token) bool {
	return tok.Type == token.SingleQuoteType || tok.Type == token.DoubleQuoteType
}

// start returns where a value starts. The parser calls the colon of its first entry the start of a mapping.
func start(n ast.Node) (line, col int) {
	tok := n.GetToken()
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			tok = n.Values[0].Key.GetToken()
		}
	case *ast.MappingValueNode:
		tok = n.Key.GetToken()
	}
	if tok == nil || tok.Position == nil {
		return 1, 1
	}
	return tok.Position.Line, tok.Position.Column
}
