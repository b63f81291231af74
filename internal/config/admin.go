package config

import "strings"

// Admin is the listener for operators: health, metrics and the JSON API.
type Admin struct {
	// Listen is its host:port; port 0 picks a free one. Anything but a loopback address needs a Token.
	// Default 127.0.0.1:8081.
	Listen string `yaml:"listen"`
	// Token, when it is not empty, must come with every request as "Authorization: Bearer TOKEN". Default "".
	Token string `yaml:"token,empty"`
	// PProf serves Go's profiles below /debug/pprof/. Default false.
	PProf bool `yaml:"pprof"`
}

func (a *Admin) defaults() { *a = Admin{Listen: "127.0.0.1:8081"} }

func (a *Admin) validate(at *node, r *report) {
	r.hostPort(at.get("listen"), a.Listen)
	r.bearer(at, a.Listen, a.Token, "127.0.0.1:8081")
}

// bearer reports a listener that others can reach without a token, and what cannot be a token. example is an address that only this
// machine can reach.
func (r *report) bearer(at *node, listen, token, example string) {
	if strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
		r.errorf(at.get("token"), "expected printable ASCII characters without spaces")
	}
	if token == "" && checkHostPort(listen) == nil && !isLoopback(listen) {
		r.errorf(at.get("listen"), "%s is not a loopback address: expected one such as %s, or a token", listen, example)
	}
}
