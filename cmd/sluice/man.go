package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/sluicegate/sluice/internal/version"
)

// newMan writes manual pages from what the commands say of themselves, for whoever packages the program.
func newMan() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write manual pages into a directory",
		Long:   "Man writes a page of section 1 for each command into DIR, which is made if it is not there: sluice.1, sluice-serve.1 and so on.",
		Args:   namedArgs("DIR"),
		Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return fails(func(cmd *cobra.Command) error {
				if err := os.MkdirAll(args[0], 0o755); err != nil {
					return err
				}
				root := cmd.Root()
				root.DisableAutoGenTag = true
				header := &doc.GenManHeader{Title: "SLUICE", Section: "1", Source: "Sluice " + version.Get().Version} // of the day of SOURCE_DATE_EPOCH, or today
				if err := doc.GenManTree(root, header, args[0]); err != nil {
					return fmt.Errorf("writing manual pages: %w", err)
				}
				return nil
			})(cmd, args)
		},
	}
}
