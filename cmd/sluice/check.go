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
What is no mistake but may not be meant is printed as a warning, on standard error too, and the exit code stays 0.
Variables written ${NAME} are taken from the environment of the command.`,
		Example: "  sluice check -c sluice.yaml",
		Args:    noArgs,
		RunE:    fails(func(cmd *cobra.Command) error { return check(cmd, path) }),
	}
	cmd.Flags().StringVarP(&path, "config", "c", "sluice.yaml", "the `file` to check")
	return cmd
}

func check(cmd *cobra.Command, path string) error {
	cfg, err := config.Load(path, os.LookupEnv)
	if err != nil {
		fmt.Fprintln(cmd.ErrOrStderr(), err) // its lines start with the file, not with the name of the program
		return &failure{nil}
	}
	for _, w := range cfg.Warnings {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s:%d:%d: warning: %s\n", w.File, w.Line, w.Column, w.Msg)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: ok\n", path)
	return err
}
