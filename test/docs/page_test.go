package docs_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// page is a Markdown file, as far as it can be run.
type page struct {
	name   string // its path in the repository
	blocks []*block
}

// block is a fenced block and what the invisible comments before it say of it, or one of those comments by itself.
type block struct {
	line int    // of the page, on which it begins
	lang string // "setup" for hidden commands
	text string

	background bool   // a program that goes on while the page does
	until      string // what it has written when it is ready
	fails      bool
	prints     bool     // its comments are what it writes
	needs      []string // programs without which it is left out
	not        string   // why it is not run
	file       string   // where it is saved
	part       bool     // of a configuration
	output     bool     // of the block before it
}

// annotation is an invisible comment that says how to run what follows it.
var annotation = regexp.MustCompile(`(?s)^<!--\s*run:\s*(.*?)\s*-->$`)

const annotations = `before a block of sh:
  <!-- run: background until TEXT -->  a server: it goes on, and is ready when it has written TEXT
  <!-- run: fails -->                  it ends with another code than 0
  <!-- run: prints -->                 its comments are what it writes, in this order; … stands for anything
  <!-- run: only with PROGRAM -->      it is left out where there is no PROGRAM
  <!-- run: not: REASON -->            it takes too long, say: only whether its commands exist is checked
before a block of yaml, which is otherwise a whole configuration:
  <!-- run: save as FILE -->           the blocks that follow find it
  <!-- run: part of a file -->         upstreams, routes and data_dir are added where it has none
before a block of json or text:
  <!-- run: output -->                 what the block before it writes; … stands for anything; of json only names and types count
anywhere:
  <!-- run: setup COMMANDS -->         commands that a reader does not see; "server TEXT COMMAND" starts a server, $CHECKOUT is the repository
  <!-- run: stop -->                   the servers are ended`

// parsePage finds the blocks of a page.
func parsePage(name, text string) (*page, error) {
	p := &page{name: name}
	lines := strings.Split(text, "\n")
	next := &block{} // what comments have said of the block to come
	said := 0
	for i := 0; i < len(lines); i++ {
		first := i
		fail := func(format string, args ...any) (*page, error) {
			return nil, fmt.Errorf("%s:%d: %s", name, first+1, fmt.Sprintf(format, args...))
		}
		switch line := strings.TrimSpace(lines[i]); {
		case strings.HasPrefix(line, "<!-- run"):
			for !strings.HasSuffix(lines[i], "-->") {
				if i++; i == len(lines) {
					return fail("a comment without an end")
				}
			}
			match := annotation.FindStringSubmatch(strings.Join(lines[first:i+1], "\n"))
			if match == nil {
				return fail("want <!-- run: … -->")
			}
			if commands, ok := strings.CutPrefix(match[1], "setup"); ok {
				p.blocks = append(p.blocks, &block{line: first + 1, lang: "setup", text: commands})
				continue
			}
			if match[1] == "stop" {
				p.blocks = append(p.blocks, &block{line: first + 1, lang: "setup", text: "stop"})
				continue
			}
			if !next.annotate(match[1]) {
				return fail("unknown: run: %s. There is\n%s", match[1], annotations)
			}
			said = first + 1
		case strings.HasPrefix(line, "```"):
			indent := strings.Index(lines[i], "`")
			next.line, next.lang = i+1, strings.TrimPrefix(line, "```")
			var inside []string
			for i++; i < len(lines) && strings.TrimSpace(lines[i]) != "```"; i++ {
				inside = append(inside, lines[i][min(indent, len(lines[i])):])
			}
			if i == len(lines) {
				return fail("a block without an end")
			}
			next.text = strings.Join(inside, "\n") + "\n"
			if err := next.check(); err != nil {
				return fail("%v", err)
			}
			p.blocks = append(p.blocks, next)
			next, said = &block{}, 0
		case line != "" && said != 0:
			return nil, fmt.Errorf("%s:%d: the comment belongs to no block", name, said)
		}
	}
	if said != 0 {
		return nil, fmt.Errorf("%s:%d: the comment belongs to no block", name, said)
	}
	return p, nil
}

// annotate takes over what a comment says, and reports whether it says something.
func (b *block) annotate(says string) bool {
	what, rest, _ := strings.Cut(says, " ")
	switch {
	case strings.HasPrefix(says, "background until "):
		b.background, b.until = true, strings.TrimPrefix(says, "background until ")
	case says == "fails":
		b.fails = true
	case says == "prints":
		b.prints = true
	case strings.HasPrefix(says, "only with "):
		b.needs = append(b.needs, strings.TrimPrefix(says, "only with "))
	case what == "not:" && rest != "":
		b.not = rest
	case strings.HasPrefix(says, "save as "):
		b.file = strings.TrimPrefix(says, "save as ")
	case says == "part of a file":
		b.part = true
	case says == "output":
		b.output = true
	default:
		return false
	}
	return true
}

// check reports what makes no sense on a block like this.
func (b *block) check() error {
	sh := b.background || b.fails || b.prints || len(b.needs) > 0 || b.not != ""
	switch {
	case b.lang == "bash" || b.lang == "shell" || b.lang == "console":
		return fmt.Errorf("```%s: write ```sh, and only what is typed; what is written back goes into comments or a block of its own", b.lang)
	case sh && b.lang != "sh":
		return fmt.Errorf("only a block of sh is run, this is one of %q", b.lang)
	case b.part && b.lang != "yaml":
		return fmt.Errorf("only a block of yaml can be a part of a file, this is one of %q", b.lang)
	case b.output && b.lang == "sh":
		return fmt.Errorf("a block of sh is not output")
	case b.lang == "json" && !json.Valid([]byte(b.text)):
		return fmt.Errorf("the block is no JSON")
	case b.background && b.fails:
		return fmt.Errorf("a program in the background can't be one that fails")
	}
	return nil
}

// comments are the lines that a block of sh with prints says it writes.
func (b *block) comments() []string {
	var found []string
	for line := range strings.Lines(b.text) {
		if match := comment.FindStringSubmatch(line); match != nil {
			found = append(found, match[1])
		}
	}
	return found
}

var comment = regexp.MustCompile(`(?:^|\s)# ?(.*\S)`)
