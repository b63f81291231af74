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

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"time"
)

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
	// MaxURI bounds the request target; a longer one is answered with 414. 64B to 1MiB, default 8KiB.
	MaxURI Size `yaml:"max_uri"`
	// Timeouts bound how long a client may take.
	Timeouts ClientTimeouts `yaml:"timeouts"`
	// ShutdownTimeout is how long requests in flight may still take after a signal to stop; 0 does not wait. Default 30s.
	ShutdownTimeout Duration `yaml:"shutdown_timeout"`
	// DataDir is the directory that keeps state across restarts, made if there is none; a relative one is relative to the
	// directory of the file. One process uses it at a time. Default "": nothing is kept.
	DataDir string `yaml:"data_dir"`
	// Redis is where nodes share soft state. Default nil: it stays on this node.
	Redis *Redis `yaml:"redis"`
	// NATS is the cluster of NATS servers with JetStream, as URLs separated by commas, that keeps what must not be lost for all nodes. Default "": an
	// embedded server keeps it in DataDir, for this node alone.
	NATS string `yaml:"nats"`
	// Market takes bids and sales. Default nil: this node takes none.
	Market *Market `yaml:"market"`
	// Log says what is logged and how.
	Log Log `yaml:"log"`
	// Identify says how a client gets its name.
	Identify Identify `yaml:"identify"`
	// Meter says how requests are counted.
	Meter Meter `yaml:"meter"`
	// Limits are the rules that routes may name, by name. Default none.
	Limits map[string]*Limit `yaml:"limits"`
	// RateLimitHeaders are the response fields that tell clients about limits. Default standard.
	RateLimitHeaders []RateLimitHeader `yaml:"rate_limit_headers"`
	// RateLimitService answers the questions of other proxies about limits. Default nil: there is none.
	RateLimitService *RateLimitService `yaml:"rate_limit_service"`
	// Access lists clients that are never or always refused.
	Access Access `yaml:"access"`
	// Upstreams are the services behind the gateway, by name. At least one.
	Upstreams map[string]*Upstream `yaml:"upstreams,required"`
	// Routes say which request goes where; the first that matches wins. At least one.
	Routes []*Route `yaml:"routes,required"`

	// UpstreamNames lists the keys of Upstreams in the order of the file.
	UpstreamNames []string `yaml:"-"`
	// LimitNames lists the keys of Limits in the order of the file.
	LimitNames []string `yaml:"-"`
	// Warnings are about what is no mistake but may not be meant, in the order of the file.
	Warnings []*Error `yaml:"-"`
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
	c.Meter.defaults()
	c.RateLimitHeaders = []RateLimitHeader{HeaderStandard}
}

// Default returns the configuration of an empty file: every default, and neither upstreams nor routes.
func Default() *Config {
	c := new(Config)
	c.defaults()
	return c
}

// Load reads the file at path and the files that it names. Variables are looked up with env, such as [os.LookupEnv]; a nil
// env has none. The error is an [Errors].
func Load(path string, env func(name string) (string, bool)) (*Config, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, Errors{{File: path, Msg: reason(err)}}
	}
	return Parse(path, data, env, readFile)
}

// Parse is Load for a file that was read already. The files that it names are read with readFile, by a path that is
// relative to the directory of name. The error is an [Errors].
func Parse(name string, data []byte, env func(string) (string, bool), readFile func(path string) ([]byte, error)) (*Config, error) {
	r := &report{file: name}
	c := new(Config)
	root := readTree(data, env, r)
	if root != nil {
		(&decoder{r}).value(root, reflect.ValueOf(c).Elem())
		c.Path = name
		if c.DataDir != "" && !filepath.IsAbs(c.DataDir) {
			c.DataDir = filepath.Join(filepath.Dir(name), c.DataDir)
		}
		keys := keyFiles{dir: filepath.Dir(name), env: env, read: readFile, report: r}
		keys.load(c.Identify.Sources, root.get("identify").get("sources"))
		policies := policyFiles{dir: filepath.Dir(name), read: readFile, report: r}
		policies.load(c.Routes, root.get("routes"))
	}
	if len(r.errs) > 0 {
		return nil, r.errs.sorted()
	}
	c.Warnings = r.warnings.sorted()
	return c, nil
}

// readFile reads a file of at most one byte more than a file may have.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, int64(maxFile)+1))
}

// reason says why a file cannot be read, without its path.
func reason(err error) string {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		err = pathError.Err
	}
	return fmt.Sprintf("cannot read the file: %v", err)
}

func (c *Config) validate(at *node, r *report) {
	r.hostPort(at.get("listen"), c.Listen)
	r.between(at.get("max_connections"), c.MaxConnections, 1, 1_000_000)
	r.sizeBetween(at.get("max_header"), c.MaxHeader, KiB, MiB)
	r.sizeBetween(at.get("max_uri"), c.MaxURI, 64, MiB)
	c.validateListeners(at, r)
	c.validateMarket(at, r)
	c.nameUpstreams(at.get("upstreams"), r)
	c.validateRoutes(at.get("routes"), r)
	c.validateLimits(at, r)
	c.validateCaches(at, r)
	c.validateAsync(at, r)
	c.warnOfUnheard(at.get("upstreams"), r)
}

// validateListeners reports listeners on one address, where the file names one of them.
func (c *Config) validateListeners(at *node, r *report) {
	if s := c.RateLimitService; s != nil {
		service := at.get("rate_limit_service").get("listen")
		switch {
		case sameAddress(c.Listen, s.Listen):
			r.errorf(service, "the same port as that of listen, %s: expected another one", c.Listen)
		case sameAddress(c.Admin.Listen, s.Listen):
			r.errorf(service, "the same port as that of admin.listen, %s: expected another one", c.Admin.Listen)
		}
	}
	if !sameAddress(c.Listen, c.Admin.Listen) {
		return
	}
	if admin := at.get("admin").find("listen"); admin != nil {
		r.errorf(admin, "the same port as that of listen, %s: expected another one", c.Listen)
	} else {
		r.errorf(at.get("listen"), "the same port as that of admin.listen, %s: expected another one", c.Admin.Listen)
	}
}

// nameUpstreams gives every upstream its name.
func (c *Config) nameUpstreams(at *node, r *report) {
	for _, e := range at.entries {
		if u := c.Upstreams[e.key.text]; u != nil {
			u.Name = e.key.text
			c.UpstreamNames = append(c.UpstreamNames, u.Name)
		}
	}
	if at.kind == mapping && len(at.entries) == 0 {
		r.errorf(at, "empty, expected at least one upstream")
	}
}
