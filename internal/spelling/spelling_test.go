package spelling_test

import (
	"testing"

	"github.com/sluicegate/sluice/internal/spelling"
)

func TestClosest(t *testing.T) {
	known := []string{"serve", "server", "set", "a", "get"}
	for word, want := range map[string]string{
		"serve":    "serve",
		"Serve":    "serve",
		"sreve":    "serve",
		"serv":     "serve",
		"srver":    "server",
		"sevrer":   "server",
		"servings": "",
		"sett":     "set",
		"et":       "set", // the first of two that are as near
		"b":        "",    // a word of one letter is never nearly another
		"":         "",
		"xyzzy":    "",
	} {
		if got := spelling.Closest(word, known); got != want {
			t.Errorf("Closest(%q) = %q, expected %q", word, got, want)
		}
	}
	if got := spelling.Closest("serve", nil); got != "" {
		t.Errorf("Closest of nothing = %q", got)
	}
}
