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
	// File lists the keys; a relative path is relative to the configuration file. Required.
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

func (a *AddressSource) defaults() { *a = AddressSource{IPv6Prefix: DefaultIPv6Prefix} }

// DefaultIPv6Prefix is the network that one subscriber usually has.
const DefaultIPv6Prefix = 64
