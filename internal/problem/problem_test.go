package problem_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/internal/problem"
)

// Every type's URI leads to a heading of docs/problems.md that states its status and title.
func TestEveryTypeIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/problems.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range problem.All {
		want := fmt.Sprintf("### %s\n\n%d: %s.", typ.Name, typ.Status, typ.Title)
		if !strings.Contains(string(page), want) {
			t.Errorf("docs/problems.md lacks:\n%s", want)
		}
		if !strings.HasSuffix(typ.URI(), "docs/problems.md#"+typ.Name) {
			t.Errorf("URI %s does not lead to the page", typ.URI())
		}
	}
	if n := strings.Count(string(page), "\n### "); n != len(problem.All) {
		t.Errorf("docs/problems.md describes %d types, there are %d", n, len(problem.All))
	}
}
