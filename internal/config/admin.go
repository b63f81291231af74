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
	if strings.ContainsFunc(a.Token, func(c rune) bool { return c <= ' ' || c > '~' }) {
		r.errorf(at.get("token"), "expected printable ASCII characters without spaces")
	}
	if a.Token == "" && checkHostPort(a.Listen) == nil && !isLoopback(a.Listen) {
		r.errorf(at.get("listen"), "%s is not a loopback address: expected one such as 127.0.0.1:8081, or a token", a.Listen)
	}
}
