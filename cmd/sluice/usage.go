package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sluicegate/sluice/internal/spelling"
)

// usageError is a mistake in the command line that only the command itself can see, such as a bad combination of flags.
type usageError struct{ msg string }

func (u *usageError) Error() string { return u.msg }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// noArgs refuses positional arguments, naming the first.
func noArgs(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case cmd.HasAvailableSubCommands():
		return unknownCommand(cmd, args[0])
	}
	return usagef("%s takes no arguments, got %q", cmd.CommandPath(), args[0])
}

// unknownCommand is the mistake of a name that is no command below parent.
func unknownCommand(parent *cobra.Command, name string) error {
	var known []string
	for _, c := range parent.Commands() {
		if c.IsAvailableCommand() || c.Name() == "help" { // cobra does not count its own
			known = append(known, c.Name())
		}
	}
	of := ""
	if parent.HasParent() {
		of = " of " + parent.CommandPath()
	}
	if meant := spelling.Closest(name, known); meant != "" {
		return usagef("unknown command %q%s, did you mean %q?", name, of, meant)
	}
	return usagef("unknown command %q%s, expected one of %s", name, of, strings.Join(known, ", "))
}

// suggestFlag adds to a mistake of flags the one that was probably meant.
func suggestFlag(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return err
	}
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	name := unknown.GetSpecifiedName()
	if group := unknown.GetSpecifiedShortnames(); group != "" {
		name = group // a long flag with one dash?
	}
	if meant := spelling.Closest(name, known); meant != "" {
		return usagef("%v, did you mean --%s?", err, meant)
	}
	return err
}

// newHelp is cobra's help command, but for knowing a name that is no command.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: "Explain a command",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				return noArgs(about, rest)
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}
