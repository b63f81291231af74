//go:build unix

package docs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	fence   = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	span    = regexp.MustCompile("`((?:make|go test|go run|go build|go doc|sluice) [^`]+)`")
)

// TestLinks follows the links of a page to files, and to headings in them.
func TestLinks(t *testing.T) {
	for _, name := range pages(t) {
		for _, match := range link.FindAllStringSubmatch(fence.ReplaceAllString(readPage(t, name), ""), -1) {
			if err := follow(t, name, match[1]); err != nil {
				t.Errorf("%s links to %s: %v", name, match[1], err)
			}
		}
	}
}

// TestIndex wants every page to be found from the README.
func TestIndex(t *testing.T) {
	readme := readPage(t, "README.md")
	for _, name := range pages(t) {
		if path.Dir(name) == "docs" && !strings.Contains(readme, "]("+name+")") {
			t.Errorf("README.md does not link to %s", name)
		}
	}
}

func follow(t *testing.T, from, to string) error {
	if strings.Contains(to, "://") {
		return nil
	}
	file, anchor, _ := strings.Cut(to, "#")
	target := from
	if file != "" {
		target = path.Join(path.Dir(from), file)
	}
	if _, err := os.Stat(filepath.Join(checkout, target)); err != nil {
		return err
	}
	if anchor != "" && !anchors(readPage(t, target))[anchor] {
		return fmt.Errorf("%s has no heading #%s", target, anchor)
	}
	return nil
}

// anchors are the names that GitHub gives to the headings of a page: lower case, dashes for spaces, and letters, digits, - and _ alone.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	for _, match := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		title := strings.ReplaceAll(strings.ToLower(link.ReplaceAllString(match[1], "")), " ", "-")
		found[regexp.MustCompile(`[^\p{L}\p{N}_-]`).ReplaceAllString(title, "")] = true
	}
	return found
}

// TestCommandsInText looks at commands within the text, as in "`make bench` measures it": what they name must exist.
func TestCommandsInText(t *testing.T) {
	env := append(environmentOf(t), "DRY=1")
	checked := map[string]bool{}
	for _, name := range append(pages(t), "CHANGELOG.md") {
		for _, match := range span.FindAllStringSubmatch(fence.ReplaceAllString(readPage(t, name), ""), -1) {
			command := strings.Join(strings.Fields(match[1]), " ")
			if checked[command] {
				continue
			}
			checked[command] = true
			cmd := exec.Command("bash", "-c", command)
			cmd.Dir, cmd.Env = t.TempDir(), env
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: `%s`: %v\n%s", name, command, err, out)
			}
		}
	}
	if len(checked) == 0 {
		t.Error("no page has a command in its text")
	}
}
