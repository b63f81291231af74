package docs_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// compare holds what the page says of what its blocks write against what they wrote.
func (s *session) compare() error {
	wrote := ""
	for _, b := range s.page.blocks {
		var err error
		switch {
		case b.lang == "sh" && b.left():
			wrote = ""
		case b.lang == "sh":
			wrote = s.wrote(b.line)
			if b.prints {
				err = inOrder(b.comments(), wrote)
			}
		case b.output && wrote != "" && b.lang == "json":
			err = sameShape(b.text, wrote)
		case b.output && wrote != "":
			err = inOrder(strings.Split(strings.TrimSpace(b.text), "\n"), wrote)
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %w", s.page.name, b.line, err)
		}
	}
	return nil
}

// inOrder reports what of the lines is not in the text behind the lines before it. … stands for anything.
func inOrder(lines []string, text string) error {
	if len(lines) == 0 {
		return fmt.Errorf("the block has no comments that say what it writes")
	}
	rest := text
	for _, line := range lines {
		parts := strings.Split(strings.TrimSpace(line), "…")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		at := regexp.MustCompile(strings.Join(parts, ".*")).FindStringIndex(rest)
		if at == nil {
			return fmt.Errorf("it should write\n%s\nand wrote\n%s", strings.Join(lines, "\n"), text)
		}
		rest = rest[at[1]:]
	}
	return nil
}

// sameShape reports what of a text of JSON is not in another: names, and the types of their values. Of arrays the first item counts.
func sameShape(want, got string) error {
	var a, b any
	if err := json.Unmarshal([]byte(want), &a); err != nil {
		return fmt.Errorf("the block is no JSON: %w", err)
	}
	if err := json.Unmarshal([]byte(got), &b); err != nil {
		return fmt.Errorf("what was written is no JSON: %w\n%s", err, got)
	}
	if err := shape("", a, b); err != nil {
		return fmt.Errorf("%w. It wrote\n%s", err, got)
	}
	return nil
}

func shape(at string, want, got any) error {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return fmt.Errorf("%s is no object", at)
		}
		for name := range w {
			if _, has := g[name]; !has {
				return fmt.Errorf("there is no %s.%s", at, name)
			}
			if err := shape(at+"."+name, w[name], g[name]); err != nil {
				return err
			}
		}
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) == 0 && len(w) > 0 {
			return fmt.Errorf("%s is no array, or empty", at)
		}
		if len(w) > 0 {
			return shape(at+"[0]", w[0], g[0])
		}
	default:
		if fmt.Sprintf("%T", want) != fmt.Sprintf("%T", got) && want != nil && got != nil {
			return fmt.Errorf("%s is %v, of another type than %v", at, got, want)
		}
	}
	return nil
}
