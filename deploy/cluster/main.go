//go:build unix

// Command cluster runs what deploy/compose.yaml does from programs of this machine, without containers: nginx, redis-server, three NATS servers and
// three nodes of `sluice store`. It ends them when it is interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	port, base, nodes int
	dir, sluice       string
	restart           time.Duration
	storeArgs         []string
}

const usage = `Usage: cluster [flags] [-- flags of sluice store]

Runs nginx, Redis, three NATS servers and nodes of sluice store on this machine, and stops them on ctrl-C.

With -base 5000 the nodes listen on 5001, 5002, …, their admin listeners on 5101, …, the NATS servers on 5201, 5202 and 5203, and among themselves
on 5301, 5302 and 5303, Redis on 5401. All is bound to 127.0.0.1.

`

func main() {
	if len(os.Args) == 3 && os.Args[1] == natsCommand {
		os.Exit(code(os.Stderr, serveNATS(os.Args[2])))
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// code prints an error and returns the exit code for it.
func code(stderr io.Writer, err error) int {
	if err != nil {
		fmt.Fprintln(stderr, "cluster:", err)
		return 1
	}
	return 0
}

// run returns the exit code: 0 when it was interrupted, 1 for a failure, 2 for a mistake in the flags.
func run(args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return 2
	}
	moreFiles()
	// Whoever reads the output may go, as head does. That must not end this program before what it has started. To ignore the signal would be
	// inherited.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, stop := interrupted()
	defer stop()
	return code(stderr, runCluster(ctx, o, stdout, stderr))
}

// moreFiles lets all that is started open as many files as the system allows.
func moreFiles() {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) == nil {
		l.Cur = l.Max
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l) // if not, fewer clients can be served at once
	}
}

// interrupted returns a context that ends with the next signal to stop.
func interrupted() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
}

func parse(args []string, stderr io.Writer) (*options, error) {
	var o options
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	flags.IntVar(&o.port, "port", 4000, "`port` of nginx; 0 takes a free one")
	flags.IntVar(&o.base, "base", 5000, "`port` below those of all others; 0 looks for free ones")
	flags.IntVar(&o.nodes, "nodes", 3, "how many `nodes`, 1 to 9")
	flags.StringVar(&o.dir, "dir", "", "`directory` that keeps all data; a temporary one if it is empty")
	flags.StringVar(&o.sluice, "sluice", "", "`program` of the nodes; built from this tree if it is empty")
	flags.DurationVar(&o.restart, "restart", 0, "start what has ended again, so `long` afterwards; 0 leaves it")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	o.storeArgs = flags.Args()
	for _, mistake := range []struct {
		made bool
		text string
	}{
		{o.port < 0 || o.port > 65535, "-port: expected 0 to 65535"},
		{o.base < 0 || o.base > 65000, "-base: expected 0 to 65000"},
		{o.nodes < 1 || o.nodes > maxNodes, "-nodes: expected 1 to 9"},
		{o.restart < 0, "-restart: expected a duration of 0 or more"},
	} {
		if mistake.made {
			fmt.Fprintf(stderr, "cluster: %s\n", mistake.text)
			return nil, errors.New(mistake.text)
		}
	}
	return &o, nil
}

// runCluster runs until ctx ends.
func runCluster(ctx context.Context, o *options, stdout, stderr io.Writer) error {
	p, err := newPlan(ctx, o, stderr)
	if err != nil {
		return err
	}
	defer p.close()
	c := newCluster(p, o.restart, stderr)
	defer c.stop()
	if err := c.start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	p.announce(stdout, c.pids())
	c.watch(ctx)
	return nil
}
