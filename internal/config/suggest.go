package config

import (
	"fmt"
	"strings"

	"github.com/sluicegate/sluice/internal/spelling"
)

// suggest ends a message about an unknown word: the known word that was probably meant, or all of them.
func suggest(word string, known []string) string {
	if meant := spelling.Closest(word, known); meant != "" {
		return fmt.Sprintf("did you mean %q?", meant)
	}
	return "expected one of " + strings.Join(known, ", ")
}
