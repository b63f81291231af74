// Command sluice is a traffic gate for scarce HTTP backends.
//
// This file turns arguments into a command and an error into an exit code; every
// subcommand lives in the file that bears its name.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/internal/version"
)

// Exit codes of every command.
const (
	exitOK      = 0
	exitFailure = 1 // the command was understood and failed
	exitUsage   = 2 // the command line was not understood
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// run executes one command line and returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	var failed *failure
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &failed):
		if failed.err != nil {
			fmt.Fprintf(stderr, "sluice: %v\n", failed.err)
		}
		return exitFailure
	default: // cobra's own: an unknown flag, a missing argument
		fmt.Fprintf(stderr, "sluice: %v\nRun '%s --help' for usage.\n", err, cmd.CommandPath())
		return exitUsage
	}
}

// newRoot assembles the command line.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "sluice",
		Short:         "A traffic gate for scarce HTTP backends",
		Long:          "Sluice stands in front of a service that is slow, costly or small, and decides for every\nrequest who is asking and whether it may pass.",
		Version:       version.Get().String(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(suggestFlag)
	root.SetHelpCommand(newHelp())
	root.AddCommand(newServe(), newProxy(), newCounter(), newMarket(), newDemo(), newCheck(), newLimits(), newJobs(), newTop(), newOrigin(), newEval(), newAgent(), newEnv(), newStore(), newQuota(), newTrain(), newVersion(), newMan())
	return root
}

// failure marks an error of a command that was understood: exit 1, where any other error is a usage error.
// A nil err means that everything worth saying has been printed.
type failure struct{ err error }

func (f *failure) Error() string { return fmt.Sprint(f.err) }
func (f *failure) Unwrap() error { return f.err }

// fails makes a RunE of run, whose errors are failures and not mistakes of usage.
func fails(run func(cmd *cobra.Command) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		if err := run(cmd); err != nil {
			var already *failure
			var usage *usageError
			if errors.As(err, &already) || errors.As(err, &usage) {
				return err
			}
			return &failure{err}
		}
		return nil
	}
}
