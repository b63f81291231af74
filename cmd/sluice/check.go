package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/internal/config"
)

func newCheck() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check a configuration file",
		Long: `Check reads a configuration file, and the files that it names, just as serve does, and starts nothing.
It prints every mistake as FILE:LINE:COLUMN: what is wrong and what was expected, and then exits with 1.
Variables written ${NAME} are taken from the environment of the command.`,
		Example: "  sluice check -c sluice.yaml",
		Args:    noArgs,
		RunE:    fails(func(cmd *cobra.Command) error { return check(cmd, path) }),
	}
	cmd.Flags().StringVarP(&path, "config", "c", "sluice.yaml", "the `file` to check")
	return cmd
}

func check(cmd *cobra.Command, path string) error {
	if _, err := config.Load(path, os.LookupEnv); err != nil {
		fmt.Fprintln(cmd.ErrOrStderr(), err) // its lines start with the file, not with the name of the program
		return &failure{nil}
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: ok\n", path)
	return err
}
