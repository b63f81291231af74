package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/internal/config"
)

const serveHelp = `Serve puts the gateway in front of HTTP services, as a configuration file says, or in front of one with --upstream.

SIGHUP and POST /api/v1/reload on the admin listener apply the file anew without dropping a connection; a file with a
mistake is refused, and the old configuration stays. SIGTERM and SIGINT stop the gateway: /readyz fails, the listener
closes, and requests in flight are finished within shutdown_timeout. A second signal ends it at once.`

func newServe() *cobra.Command {
	var file, upstream, listen, adminListen string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Long:  serveHelp,
		Example: "  sluice serve -c sluice.yaml\n" +
			"  sluice serve --upstream http://127.0.0.1:9090",
		Args: noArgs,
		RunE: fails(func(cmd *cobra.Command) error {
			flags := cmd.Flags()
			switch {
			case upstream == "" && (flags.Changed("listen") || flags.Changed("admin")):
				return usagef("--listen and --admin go with --upstream; a configuration file says where to listen itself")
			case upstream != "" && flags.Changed("config"):
				return usagef("--upstream and --config exclude each other")
			case upstream != "":
				cfg, err := config.Single(upstream, listen, adminListen)
				if err != nil {
					return usagef("%v", err)
				}
				return serve(cmd, cfg, nil)
			}
			load := func() (*config.Config, error) { return config.Load(file, os.LookupEnv) }
			if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) && !flags.Changed("config") {
				return fmt.Errorf("there is no %s: name the configuration with --config, or serve one service with --upstream URL", file)
			}
			cfg, err := load()
			if err != nil {
				return err
			}
			return serve(cmd, cfg, load)
		}),
	}
	defaults := config.Default()
	flags := cmd.Flags()
	flags.StringVarP(&file, "config", "c", "sluice.yaml", "the configuration `file`")
	flags.StringVar(&upstream, "upstream", "", "serve this `URL` alone, without a file, such as http://127.0.0.1:9090")
	flags.StringVar(&listen, "listen", defaults.Listen, "with --upstream: `address` for clients; port 0 takes a free one")
	flags.StringVar(&adminListen, "admin", defaults.Admin.Listen, "with --upstream: `address` for operators")
	return cmd
}

func serve(cmd *cobra.Command, cfg *config.Config, load func() (*config.Config, error)) error {
	n, err := newNode(cmd.Context(), cfg, load, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if err := n.run(cmd.Context()); !ended(err) {
		return err
	}
	return nil
}
