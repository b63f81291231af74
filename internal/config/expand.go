package config

import (
	"fmt"
	"strings"
)

// environment looks a variable up; it may be nil, which has none.
type environment func(name string) (value string, set bool)

// problem is a mistake in a scalar, at an offset in bytes.
type problem struct {
	offset int
	msg    string
}

// expand replaces ${NAME} by the value of a variable, ${NAME:-default} by the default if the variable is unset or empty,
// and $$ by a dollar sign. What a variable holds is not expanded again.
func (env environment) expand(text string) (string, []problem) {
	var out strings.Builder
	var problems []problem
	for offset := 0; ; {
		i := strings.IndexByte(text[offset:], '$')
		if i < 0 {
			out.WriteString(text[offset:])
			return out.String(), problems
		}
		out.WriteString(text[offset : offset+i])
		offset += i
		value, length, msg := env.reference(text[offset:])
		if msg != "" {
			problems = append(problems, problem{offset, msg})
		}
		out.WriteString(value)
		offset += length
	}
}

// reference reads one reference at the start of text. It returns its value and its length in text, and what is wrong.
func (env environment) reference(text string) (value string, length int, msg string) {
	if strings.HasPrefix(text, "$$") {
		return "$", 2, ""
	}
	if !strings.HasPrefix(text, "${") {
		return "", 1, "a $ on its own, expected ${NAME}, or $$ for the sign itself"
	}
	inner, _, closed := strings.Cut(text[2:], "}")
	if !closed {
		return "", len(text), "${ without its }"
	}
	length = len("${") + len(inner) + len("}")
	name, fallback, hasDefault := strings.Cut(inner, ":-")
	if !isVariable(name) {
		return "", length, fmt.Sprintf("%q is not the name of a variable, expected ${NAME} or ${NAME:-default}", name)
	}
	set := false
	if env != nil {
		value, set = env(name)
	}
	switch {
	case hasDefault && value == "":
		return fallback, length, ""
	case !set:
		return "", length, fmt.Sprintf("the variable %s is not set: set it, or give a default as in ${%s:-default}", name, name)
	}
	return value, length, ""
}

// isVariable reports whether name is one that a shell would accept.
func isVariable(name string) bool {
	for i, c := range []byte(name) {
		letter := c == '_' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}
