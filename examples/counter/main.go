// Command counter answers every request for / with the number of requests in the last minute, its own included. It
// remembers them across restarts. It shows package window at its simplest; sluice counter is the same service, faster.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sluicegate/sluice/window"
)

// options are the command line.
type options struct {
	address              string
	timeframe, precision time.Duration
	file                 string
	sync                 time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.address, "listen-address", ":5000", "`address` to listen on")
	flag.DurationVar(&o.timeframe, "persistence-timeframe", 60*time.Second, "count requests this far back")
	flag.DurationVar(&o.precision, "precision", 100*time.Millisecond, "count them this exactly")
	flag.StringVar(&o.file, "persistence-file", "persistence.bin", "`file` that keeps the count across restarts")
	flag.DurationVar(&o.sync, "sync-interval", 100*time.Millisecond, "write the file this often")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); errors.Is(err, errUsage) || errors.Is(err, window.ErrConfig) {
		fmt.Fprintln(os.Stderr, "counter:", err)
		os.Exit(2)
	} else if err != nil {
		log.Fatal(err)
	}
}

var errUsage = errors.New("bad command line")

// run serves until ctx ends.
func run(ctx context.Context, o options) error {
	if o.sync <= 0 {
		return fmt.Errorf("%w: sync interval %v must be positive", errUsage, o.sync)
	} else if flag.NArg() > 0 {
		return fmt.Errorf("%w: unexpected argument %q", errUsage, flag.Arg(0))
	}
	requests, err := restore(o)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", o.address)
	if err != nil {
		return err
	}
	fmt.Println("listening on", listener.Addr())
	return serve(ctx, listener, requests, o)
}

// restore returns the window as the file left it, or an empty one if the file cannot be used.
func restore(o options) (*window.Window, error) {
	if _, err := window.New(o.timeframe, o.precision); err != nil { // before the file is touched
		return nil, err
	}
	var snapshot window.Snapshot
	err := window.Load(o.file, &snapshot)
	if aside, ok := errors.AsType[*window.SetAsideError](err); ok {
		log.Print(aside)
	} else if err != nil {
		return nil, err
	}
	return window.Restore(o.timeframe, o.precision, snapshot, window.Now(), time.Now())
}

// serve answers requests, and saves the window every sync interval and after the last answer.
func serve(ctx context.Context, listener net.Listener, requests *window.Window, o options) error {
	handler := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		fmt.Fprintf(w, `{"requestCount":%d}`, requests.AddCount(window.Now(), 1))
	}
	server := &http.Server{Handler: http.HandlerFunc(handler), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	save := func() error { return window.Save(o.file, requests.Snapshot(window.Now(), time.Now())) }
	tick := time.NewTicker(o.sync)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := save(); err != nil {
				log.Print(err)
			}
		case err := <-served:
			return errors.Join(err, save())
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			return errors.Join(server.Shutdown(last), save())
		}
	}
}
