package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/grpcserver"
)

// runGRPC serves on listen until the context of cmd ends or a signal arrives. what says what is served, and about its attributes for the log.
func runGRPC(cmd *cobra.Command, listen string, server *grpcserver.Server, what string, about ...any) error {
	moreProcs()
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := newLogger(cmd.ErrOrStderr(), &config.Default().Log, new(slog.LevelVar))
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	log.Info("the "+what+" is serving", append([]any{"listen", ln.Addr().String()}, about...)...)
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	select {
	case err := <-served: // the listener failed
		return err
	case <-ctx.Done():
	}
	stop() // from here on a signal ends the process at once
	log.Info("stopping")
	server.Shutdown(context.WithoutCancel(ctx))
	if err := <-served; err != nil {
		return err
	}
	log.Info("stopped")
	return nil
}

// checkListen finds a mistake in --listen.
func checkListen(listen string) error {
	if _, _, err := net.SplitHostPort(listen); err != nil {
		return usagef("--listen: expected HOST:PORT, got %q", listen)
	}
	return nil
}
