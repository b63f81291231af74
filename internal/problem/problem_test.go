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
		if typ != problem.QuotaExceeded && !strings.HasSuffix(typ.URI(), "docs/problems.md#"+typ.Name) {
			t.Errorf("URI %s does not lead to the page", typ.URI())
		}
	}
	if n := strings.Count(string(page), "\n### "); n != len(problem.All) {
		t.Errorf("docs/problems.md describes %d types, there are %d", n, len(problem.All))
	}
}

// The type of an exceeded quota is the one that IANA lists, and its members follow those of every problem.
func TestMembers(t *testing.T) {
	p := problem.Problem{
		Type:      problem.QuotaExceeded,
		Detail:    "slow down",
		RequestID: "1",
		Members:   []problem.Member{{"violated-policies", []string{"a", `b"`}}, {"n", 5}},
	}
	want := `{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded",` +
		`"title":"Request cannot be satisfied as assigned quota has been exceeded","status":429,"detail":"slow down","request_id":"1",` +
		`"violated-policies":["a","b\""],"n":5}` + "\n"
	if got := string(p.Body()); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	p.Members = nil
	if got := string(p.Body()); !strings.HasSuffix(got, `"request_id":"1"}`+"\n") {
		t.Errorf("got %s", got)
	}
}
