package config

import "net/netip"

// Identify says how a client gets the name that it is known by in the log, the metrics and the limits.
type Identify struct {
	// TrustedProxies are the networks whose X-Forwarded-For is believed. Default none.
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies"`
	// Sources are tried in order; the first that matches names the client. Default: the address, IPv6 grouped by /64.
	Sources []Source `yaml:"sources"`
	// MaxNames is how many names appear in logs and metrics; the rest are "other". 1 to 1000000, default 1000.
	MaxNames int `yaml:"max_names"`
}

// Source is one way to name a client. Exactly one of its fields is set.
type Source struct {
	// APIKey looks a request field up in a table of hashed keys.
	APIKey *APIKeySource `yaml:"api_key"`
	// Header takes the value of this request field.
	Header string `yaml:"header"`
	// Query takes the value of this query parameter.
	Query string `yaml:"query"`
	// Address takes the client's address, which always exists, so nothing may follow it.
	Address *AddressSource `yaml:"address"`
}

// APIKeySource names the owner of the API key in a request field.
type APIKeySource struct {
	// Header is the request field that carries the key. Required.
	Header string `yaml:"header,required"`
	// File lists the keys. In the configuration a relative path is relative to the directory of the configuration file;
	// here it is the path that was read. Required.
	File string `yaml:"file,required"`
	// Keys is what File holds, each hash once.
	Keys []Key `yaml:"-"`
}

// AddressSource names a client by its address.
type AddressSource struct {
	// IPv6Prefix is how many leading bits of an IPv6 address count. 1 to 128, default 64.
	IPv6Prefix int `yaml:"ipv6_prefix"`
}

func (i *Identify) defaults() {
	address := new(AddressSource)
	address.defaults()
	*i = Identify{Sources: []Source{{Address: address}}, MaxNames: 1000}
}

func (a *AddressSource) defaults() { *a = AddressSource{IPv6Prefix: 64} }

func (i *Identify) validate(at *node, r *report) {
	r.between(at.get("max_names"), i.MaxNames, 1, 1_000_000)
	sources := at.get("sources")
	if len(i.Sources) == 0 {
		r.errorf(sources, "empty, expected at least one source")
	}
	for n, s := range i.Sources[:max(len(i.Sources)-1, 0)] {
		if s.Address != nil {
			r.errorf(sources.item(n+1), "never used: every client has an address, which the source before takes")
		}
	}
}

func (s *Source) validate(at *node, r *report) {
	if len(at.entries) != 1 {
		r.errorf(at, "expected exactly one of api_key, header, query, address")
	}
	if s.Header != "" {
		r.fieldName(at.get("header"), s.Header)
	}
}

func (s *APIKeySource) validate(at *node, r *report) {
	if s.Header != "" {
		r.fieldName(at.get("header"), s.Header)
	}
}

func (a *AddressSource) validate(at *node, r *report) {
	r.between(at.get("ipv6_prefix"), a.IPv6Prefix, 1, 128)
}
