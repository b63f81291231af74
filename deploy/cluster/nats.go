//go:build unix

package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// natsCommand makes this program a NATS server. Distributions have old ones: before 2.10 a server can't sync before it answers.
const natsCommand = "nats-server"

// serveNATS is a NATS server until it is told to end.
func serveNATS(config string) error {
	opts, err := server.ProcessConfigFile(config)
	if err != nil {
		return err
	}
	opts.NoSigs = true
	s, err := server.NewServer(opts)
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	s.SetLogger(natsLog{from: time.Now().Add(meeting)}, false, false)
	s.Start()
	<-signals
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}

// meeting is for how long servers that start together miss each other.
const meeting = 3 * time.Second

// natsLog prints what is wrong and nothing else.
type natsLog struct {
	from time.Time // before this, only what is fatal
}

func (l natsLog) print(level, format string, args []any) {
	if time.Now().After(l.from) {
		fmt.Fprintf(os.Stderr, level+" "+format+"\n", args...)
	}
}

func (natsLog) Noticef(string, ...any)              {}
func (natsLog) Debugf(string, ...any)               {}
func (natsLog) Tracef(string, ...any)               {}
func (l natsLog) Warnf(format string, args ...any)  { l.print("warning:", format, args) }
func (l natsLog) Errorf(format string, args ...any) { l.print("error:", format, args) }

// Fatalf ends the process, as the server expects.
func (natsLog) Fatalf(format string, args ...any) {
	natsLog{}.print("fatal:", format, args)
	os.Exit(1)
}
