package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/gdamore/tcell/v2"
	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/live"
	"github.com/sluicegate/sluice/internal/top"
)

const topHelp = `Top shows a node live in the terminal: requests by what became of them, latency, upstreams, clients and their limits, jobs, the
market and quotas. It asks the node's admin listener, once a second; q quits.

With --once it prints what it knows and ends; --once --json is for scripts, and prints what GET /api/v1/live answers.`

func newTop() *cobra.Command {
	api := new(adminAPI)
	var once, asJSON bool
	cmd := &cobra.Command{
		Use:     "top",
		Short:   "Show a node live in the terminal",
		Long:    topHelp,
		Example: "  sluice top\n  sluice top --once --json | jq .upstream.saved_share",
		Args:    noArgs,
		RunE: fails(func(cmd *cobra.Command) error {
			if err := api.check(); err != nil {
				return err
			}
			switch {
			case asJSON && !once:
				return usagef("--json goes with --once")
			case once:
				return topOnce(cmd, api, asJSON)
			case !isTerminal(cmd.OutOrStdout()):
				return errors.New("the output is not a terminal: print the figures once with --once, or --once --json")
			}
			return topScreen(cmd, api)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&api.base, "admin", "http://"+config.Default().Admin.Listen, "`URL` of a node's admin listener")
	flags.StringVar(&api.token, "token", "", "the admin `token`; without it, that of "+adminTokenEnv)
	flags.BoolVar(&once, "once", false, "print the figures once, and end")
	flags.BoolVar(&asJSON, "json", false, "with --once: print JSON")
	return cmd
}

// topScreen shows the node until the user quits.
func topScreen(cmd *cobra.Command, api *adminAPI) error {
	screen, err := tcell.NewScreen()
	if err != nil {
		return fmt.Errorf("this terminal cannot be drawn on: %w (print the figures once with --once)", err)
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	return top.Run(ctx, screen, &liveStream{api}, top.Options{Colorless: os.Getenv("NO_COLOR") != "", Lasting: isRefusal})
}

// topOnce prints one snapshot.
func topOnce(cmd *cobra.Command, api *adminAPI, asJSON bool) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), adminTimeout)
	defer cancel()
	resp, err := api.open(ctx, "/api/v1/live")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	s := new(live.Snapshot)
	if err := json.NewDecoder(resp.Body).Decode(s); err != nil {
		return fmt.Errorf("%s/api/v1/live: %w", api.base, err)
	}
	if !asJSON {
		return top.Print(cmd.OutOrStdout(), s)
	}
	enc := json.NewEncoder(cmd.OutOrStdout())
	enc.SetIndent("", "  ")
	return enc.Encode(s)
}

// open asks for a path that is answered with 200.
func (a *adminAPI) open(ctx context.Context, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(a.base, "/")+path, nil)
	if err != nil {
		return nil, err
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking the admin listener: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, &refusedError{resp.StatusCode, refusal(resp)}
	}
	return resp, nil
}

// refusedError is the answer of a node that does not do what it is asked.
type refusedError struct {
	status int
	error
}

func (e *refusedError) Unwrap() error { return e.error }

// isRefusal reports errors that asking again does not mend: the token is wrong, or there is nothing to see.
func isRefusal(err error) bool {
	var refused *refusedError
	return errors.As(err, &refused) && refused.status < 500
}

// liveStream follows /api/v1/live/stream.
type liveStream struct{ api *adminAPI }

// silence ends a stream that has told nothing for so long: it should, once a second.
const silence = 10 * time.Second

// maxEvent bounds one event of the stream, in bytes: five minutes of points take a fifth of it.
const maxEvent = 1 << 20

// Follow implements top.Source.
func (l *liveStream) Follow(ctx context.Context, history func([]live.Point), snapshot func(*live.Snapshot)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watchdog := time.AfterFunc(silence, cancel)
	defer watchdog.Stop()
	resp, err := l.api.open(ctx, "/api/v1/live/stream")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxEvent)
	kind := ""
	for lines.Scan() {
		watchdog.Reset(silence)
		if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			kind = name
			continue
		}
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if err := deliver(kind, data, history, snapshot); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return errors.New("the node has ended the stream")
}

func deliver(kind, data string, history func([]live.Point), snapshot func(*live.Snapshot)) error {
	switch kind {
	case "history":
		var points []live.Point
		if err := json.Unmarshal([]byte(data), &points); err != nil {
			return err
		}
		history(points)
	case "snapshot":
		s := new(live.Snapshot)
		if err := json.Unmarshal([]byte(data), s); err != nil {
			return err
		}
		snapshot(s)
	}
	return nil
}
