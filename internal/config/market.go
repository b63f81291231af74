package config

import (
	"net/url"
	"strings"
)

// Market is the listener that takes bids and sales, as `sluice market` does.
type Market struct {
	// Listen is the host:port of the market. Port 0 picks a free one. Required.
	Listen string `yaml:"listen,required"`
}

func (m *Market) validate(at *node, r *report) {
	if m.Listen != "" {
		r.hostPort(at.get("listen"), m.Listen)
	}
}

// Trades reports whether the market is of any concern to this node: it takes orders, or lets clients spend what they bought.
func (c *Config) Trades() bool {
	if c.Market != nil {
		return true
	}
	for _, l := range c.Limits {
		if l.From == FromMarket {
			return true
		}
	}
	return false
}

// validateMarket checks the market and its log.
func (c *Config) validateMarket(at *node, r *report) {
	if nats := at.get("nats"); c.NATS != "" {
		for part := range strings.SplitSeq(c.NATS, ",") {
			if u, err := url.Parse(strings.TrimSpace(part)); err != nil || u.Host == "" || u.Scheme != "nats" && u.Scheme != "tls" {
				r.errorf(nats, "expected URLs of NATS servers, separated by commas, as in nats://127.0.0.1:4222")
				break
			}
		}
	}
	if c.Market == nil {
		return
	}
	section := at.get("market")
	listen := section.get("listen")
	switch {
	case c.DataDir == "":
		r.errorf(section, "orders are kept on disk: expected the key data_dir as well")
	case sameAddress(c.Listen, c.Market.Listen):
		r.errorf(listen, "the same port as that of listen, %s: expected another one", c.Listen)
	case sameAddress(c.Admin.Listen, c.Market.Listen):
		r.errorf(listen, "the same port as that of admin.listen, %s: expected another one", c.Admin.Listen)
	}
}
