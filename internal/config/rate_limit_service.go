package config

// RateLimitService is the listener for proxies such as Envoy, which ask about limits over gRPC.
type RateLimitService struct {
	// Listen is its host:port; port 0 picks a free one. Anything but a loopback address needs a Token. Required.
	Listen string `yaml:"listen,required"`
	// Token, when it is not empty, must come with every call as the metadata "authorization: Bearer TOKEN". Default "".
	Token string `yaml:"token,empty"`
	// Domain is the one that is answered for: questions of another domain are not limited. Default sluice.
	Domain string `yaml:"domain"`
}

func (s *RateLimitService) defaults() { s.Domain = "sluice" }

func (s *RateLimitService) validate(at *node, r *report) {
	if s.Listen == "" { // missing, which is reported already
		return
	}
	r.hostPort(at.get("listen"), s.Listen)
	r.bearer(at, s.Listen, s.Token, "127.0.0.1:8082")
}
