package main

import (
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/counter"
	"github.com/sluicegate/sluice/window"
)

const counterHelp = `Counter is an HTTP server that answers how many requests it got in the last timeframe, this one included:

  $ curl -s http://localhost:5000/
  {"requestCount":4}

Every method counts on the path /; other paths are answered with 404 and do not count. A count differs from an exact
log by at most the requests of one bucket of --precision.

The count survives a restart, and time that passed meanwhile counts as time. It is saved to the file at the latest
--sync-interval after it changed, and when SIGINT or SIGTERM stops the server, after the last answer; a second signal ends
it at once. A file that cannot be used is renamed to FILE.damaged-TIME, and the count starts at zero.`

func newCounter() *cobra.Command {
	var listen string
	var opts counter.Options
	cmd := &cobra.Command{
		Use:     "counter",
		Short:   "Run an HTTP server that counts its requests in a moving window",
		Long:    counterHelp,
		Example: "  sluice counter --persistence-timeframe 10m --precision 1s --persistence-file /var/lib/sluice/counter.bin",
		Args:    noArgs,
		RunE: fails(func(cmd *cobra.Command) error {
			if err := checkCounter(listen, opts); err != nil {
				return err
			}
			return runCounter(cmd, listen, opts)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&listen, "listen-address", ":5000", "`address` to listen on; port 0 takes a free one")
	flags.DurationVar(&opts.Timeframe, "persistence-timeframe", time.Minute, "count the requests of the last `duration`")
	flags.DurationVar(&opts.Precision, "precision", 100*time.Millisecond, "forget requests in steps of this `duration`")
	flags.StringVar(&opts.File, "persistence-file", "persistence.bin", "the `file` that keeps the count")
	flags.DurationVar(&opts.SyncInterval, "sync-interval", 100*time.Millisecond, "a killed server loses at most what it counted in the last `duration`")
	return cmd
}

// checkCounter finds mistakes in the flags.
func checkCounter(listen string, opts counter.Options) error {
	if _, _, err := net.SplitHostPort(listen); err != nil {
		return usagef("--listen-address: expected HOST:PORT, got %q", listen)
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{
		{"--persistence-timeframe", opts.Timeframe}, {"--precision", opts.Precision}, {"--sync-interval", opts.SyncInterval},
	} {
		if d.value <= 0 {
			return usagef("%s must be positive, got %v", d.flag, d.value)
		}
	}
	switch n := (opts.Timeframe-1)/opts.Precision + 1; {
	case opts.Precision > opts.Timeframe:
		return usagef("--precision must not exceed --persistence-timeframe, got %v and %v", opts.Precision, opts.Timeframe)
	case opts.Timeframe > window.MaxTimeframe:
		return usagef("--persistence-timeframe must not exceed %v, got %v", window.MaxTimeframe, opts.Timeframe)
	case n > window.MaxBuckets:
		return usagef("--persistence-timeframe must not exceed %d times --precision, got %v and %v", window.MaxBuckets, opts.Timeframe, opts.Precision)
	case opts.File == "":
		return usagef("--persistence-file must not be empty")
	}
	return nil
}

// runCounter serves on listen until the context of cmd ends or a signal arrives.
func runCounter(cmd *cobra.Command, listen string, opts counter.Options) error {
	moreProcs()
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if path, err := filepath.Abs(opts.File); err == nil {
		opts.File = path // as the log shall say it
	}
	opts.Logger = newLogger(cmd.ErrOrStderr(), &config.Default().Log, new(slog.LevelVar))
	c, restored, err := counter.Open(opts)
	if err != nil {
		return err
	}
	defer c.Close()
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	logRestored(opts.Logger, opts.File, restored)
	opts.Logger.Info("counter is listening", "url", urlOf(ln.Addr()), "listen", ln.Addr().String(),
		"timeframe", opts.Timeframe.String(), "precision", opts.Precision.String(),
		"file", opts.File, "sync_interval", opts.SyncInterval.String())
	served := make(chan error, 1)
	go func() { served <- c.Serve(ctx, ln) }()
	select {
	case err := <-served: // the listener failed
		return err
	case <-ctx.Done():
	}
	stop() // from here on a signal ends the process at once
	opts.Logger.Info("stopping")
	if err := <-served; err != nil {
		return err
	}
	opts.Logger.Info("stopped", "file", opts.File)
	return nil
}

// logRestored says what the counter begins with.
func logRestored(log *slog.Logger, file string, r counter.Restored) {
	switch {
	case r.SetAside != nil:
		log.Warn("the saved count cannot be used, starting at zero", "error", r.SetAside)
	case !r.Found:
		log.Info("no saved count, starting at zero", "file", file)
	default:
		log.Info("count restored", "file", file, "count", r.Count, "expired", r.Expired, "saved_ago", r.Age.Round(time.Millisecond).String())
	}
	if r.Age < 0 {
		log.Warn("the wall clock was stepped back since the count was saved: taking it that no time has passed")
	}
}

// urlOf is where a client on this machine reaches the listener.
func urlOf(addr net.Addr) string {
	tcp := addr.(*net.TCPAddr)
	if tcp.IP.IsUnspecified() {
		return "http://" + net.JoinHostPort("localhost", strconv.Itoa(tcp.Port)) + "/"
	}
	return "http://" + tcp.String() + "/"
}
