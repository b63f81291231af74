// Package config turns a YAML file into the typed configuration of a gateway. It is the only reader of files and of the
// environment: everything else is handed values.
//
// [Load] reads sluice.yaml and the files that it names. Reading is strict: an unknown or repeated key, a number without
// its unit, a name that nothing defines are mistakes, and all of them are reported at once, each with its line and column
// ([Errors]). ${NAME} and ${NAME:-default} in a value stand for an environment variable, $$ for a dollar sign.
//
// Every section is a struct in a file of its own with two methods: defaults, which runs before the keys of the file are
// applied, and validate, which runs after. To add a section, write such a struct and give it a field in its parent.
// docs/config.md describes every key; a test keeps it complete.
package config

import "time"

// Duration is a length of time. In a file it is a Go duration with its unit: 500ms, 30s, 1m30s, 1h.
type Duration = time.Duration

// Config is the whole configuration of one gateway. It is made by [Load], [Parse], [Default] or [Single] and not changed
// afterwards, so it may be read by any number of goroutines.
type Config struct {
	// Listen is the host:port that clients connect to; port 0 picks a free one. Default 127.0.0.1:8080.
	Listen string `yaml:"listen"`
	// Admin is the listener for operators.
	Admin Admin `yaml:"admin"`
	// MaxConnections is how many client connections are served at once; more wait. 1 to 1000000, default 1000.
	MaxConnections int `yaml:"max_connections"`
	// MaxHeader bounds the head of a request, its request line and all its fields; a longer one is answered with 431.
	// 1KiB to 1MiB, default 16KiB.
	MaxHeader Size `yaml:"max_header"`
	// MaxURI bounds the request target; a longer one is answered with 414. 64B to MaxHeader, default 8KiB.
	MaxURI Size `yaml:"max_uri"`
	// Timeouts bound how long a client may take.
	Timeouts ClientTimeouts `yaml:"timeouts"`
	// ShutdownTimeout is how long requests in flight may still take after a signal to stop; 0 does not wait. Default 30s.
	ShutdownTimeout Duration `yaml:"shutdown_timeout"`
	// Log says what is logged and how.
	Log Log `yaml:"log"`
	// Identify says how a client gets its name.
	Identify Identify `yaml:"identify"`
	// Upstreams are the services behind the gateway, by name. At least one.
	Upstreams map[string]*Upstream `yaml:"upstreams,required"`
	// Routes say which request goes where; the first that matches wins. At least one.
	Routes []*Route `yaml:"routes,required"`

	// UpstreamNames lists the keys of Upstreams in the order of the file.
	UpstreamNames []string `yaml:"-"`
	// Path is the file this was read from, "" without one.
	Path string `yaml:"-"`
}

func (c *Config) defaults() {
	c.Listen = "127.0.0.1:8080"
	c.Admin.defaults()
	c.MaxConnections = 1000
	c.MaxHeader = 16 * KiB
	c.MaxURI = 8 * KiB
	c.Timeouts.defaults()
	c.ShutdownTimeout = 30 * time.Second
	c.Log.defaults()
	c.Identify.defaults()
}

// Default returns the configuration of an empty file: every default, and neither upstreams nor routes.
func Default() *Config {
	c := new(Config)
	c.defaults()
	return c
}
