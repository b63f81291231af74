package config

// Route sends the requests that match it to an upstream.
type Route struct {
	// Path that it matches: "/exact", or "/prefix/*" for everything below "/prefix/" ("/prefix" itself is not), or "/*" for
	// every path. Required.
	Path string `yaml:"path,required"`
	// Methods that it matches, in upper case. Default: every method.
	Methods []string `yaml:"methods"`
	// Upstream that answers, a key of Config.Upstreams. Required.
	Upstream string `yaml:"upstream,required"`
	// MaxBody bounds a request's body; a longer one is answered with 413. Default 0: no limit.
	MaxBody Size `yaml:"max_body"`
}
