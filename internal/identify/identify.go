// Package identify is the first stage: it finds out who a request comes from.
//
// The configured sources are asked in their order, and the first that knows names the client. The name is what limits,
// meters, logs and metrics know a client by, so the order of the sources is the order of trust. A header that anybody
// can set tells whom to count, not whom to trust; but it never gives the name of an API key's owner, nor an address.
package identify

import (
	"bytes"
	"crypto/sha256"
	"net/netip"
	"net/url"
	"strings"

	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/http1"
)

// MaxName bounds a client's name, in bytes. A source that gives a longer one, or an empty one, does not match.
const MaxName = 256

// Client is who a request comes from. It can be used again for the next request. Not safe for concurrent use.
type Client struct {
	Name    []byte     // valid until the exchange ends, or the Client is used again
	Price   int64      // the client's place in a price-ordered queue; 0 if nothing is known
	Addr    netip.Addr // the client's own address, as far as trusted proxies tell
	Trusted bool       // the peer is a trusted proxy

	buf [64]byte // holds Name when it is an address
}

// defaultIPv6Prefix is the network that one subscriber usually has.
const defaultIPv6Prefix = 64

// Identifier names clients as a configuration says. Safe for concurrent use.
type Identifier struct {
	trusted []netip.Prefix
	sources []source
}

// source names the client of a request, or leaves c.Name empty.
type source func(c *Client, r *http1.Request)

// New makes an identifier.
func New(cfg *config.Identify) *Identifier {
	id := &Identifier{trusted: cfg.TrustedProxies}
	owners := keyOwners(cfg)
	for i := range cfg.Sources {
		id.sources = append(id.sources, newSource(&cfg.Sources[i], owners))
	}
	return id
}

// keyOwners are the names that only an API key gives.
func keyOwners(cfg *config.Identify) map[string]bool {
	owners := make(map[string]bool)
	for i := range cfg.Sources {
		if s := cfg.Sources[i].APIKey; s != nil {
			for _, k := range s.Keys {
				owners[k.Name] = true
			}
		}
	}
	return owners
}

// mayClaim reports whether a client may call itself name: not by the name of a key's owner, nor as an address or a
// network, since those names are given on better grounds.
func mayClaim(name []byte, owners map[string]bool) bool {
	if len(name) > MaxName || owners[string(name)] {
		return false
	}
	if bytes.IndexByte(name, '.') < 0 && bytes.IndexByte(name, ':') < 0 {
		return true
	}
	if _, isAddr := parseAddr(name); isAddr {
		return false
	}
	_, err := netip.ParsePrefix(string(name))
	return err != nil
}

func newSource(s *config.Source, owners map[string]bool) source {
	switch {
	case s.APIKey != nil:
		return apiKeys(s.APIKey)
	case s.Header != "":
		return header(s.Header, owners)
	case s.Query != "":
		return query(s.Query, owners)
	default:
		return address(s.Address.IPv6Prefix)
	}
}

// Identify fills c in for a request that came from peer. When no source matches, the client is named by its address.
func (id *Identifier) Identify(c *Client, r *http1.Request, peer netip.Addr) {
	c.Name, c.Price = nil, 0
	c.Trusted = id.isTrusted(peer)
	c.Addr = peer
	if c.Trusted {
		c.Addr = id.clientAddr(r, peer)
	}
	for _, named := range id.sources {
		named(c, r)
		if len(c.Name) > 0 {
			return
		}
	}
	c.nameByAddr(defaultIPv6Prefix)
}

func (id *Identifier) isTrusted(a netip.Addr) bool {
	for _, p := range id.trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// clientAddr follows X-Forwarded-For from its end, which the nearest proxy wrote, to the first address that is no
// trusted proxy. Anything that is not an address ends the search: nobody who is trusted wrote it.
func (id *Identifier) clientAddr(r *http1.Request, peer netip.Addr) netip.Addr {
	addr := peer
	for i := len(r.Fields) - 1; i >= 0; i-- {
		if r.Fields[i].Kind != http1.XForwardedFor {
			continue
		}
		for list := r.Fields[i].Value; len(list) > 0; {
			var last []byte
			last, list = lastElement(list)
			a, ok := parseAddr(last)
			if !ok {
				return addr
			}
			addr = a
			if !id.isTrusted(a) {
				return addr
			}
		}
	}
	return addr
}

// lastElement cuts the last element off a comma-separated list.
func lastElement(list []byte) (last, rest []byte) {
	if i := bytes.LastIndexByte(list, ','); i >= 0 {
		return bytes.TrimSpace(list[i+1:]), list[:i]
	}
	return bytes.TrimSpace(list), nil
}

// parseAddr reads an address, with or without a port.
func parseAddr(b []byte) (netip.Addr, bool) {
	if len(b) > 64 {
		return netip.Addr{}, false
	}
	s := string(b)
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Unmap().WithZone(""), true
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return a.Unmap().WithZone(""), true
	}
	return netip.Addr{}, false
}

// apiKeys looks a field's value up by its SHA-256: the keys themselves are known to their owners alone. Comparing
// hashes in a map leaks no more of a key than its hash would.
func apiKeys(s *config.APIKeySource) source {
	type owner struct {
		name  []byte
		price int64
	}
	owners := make(map[config.Hash]owner, len(s.Keys))
	for _, k := range s.Keys {
		owners[k.SHA256] = owner{[]byte(k.Name), k.Price}
	}
	name := strings.ToLower(s.Header)
	return func(c *Client, r *http1.Request) {
		key, ok := r.Get(name)
		if !ok {
			return
		}
		if o, ok := owners[sha256.Sum256(key)]; ok {
			c.Name, c.Price = o.name, o.price
		}
	}
}

func header(name string, owners map[string]bool) source {
	name = strings.ToLower(name)
	return func(c *Client, r *http1.Request) {
		if v, ok := r.Get(name); ok && mayClaim(v, owners) {
			c.Name = v
		}
	}
}

// query takes the first parameter of the name, decoded.
func query(name string, owners map[string]bool) source {
	return func(c *Client, r *http1.Request) {
		for rest := r.Query; len(rest) > 0; {
			var pair []byte
			pair, rest, _ = bytes.Cut(rest, []byte{'&'})
			k, v, _ := bytes.Cut(pair, []byte{'='})
			if !sameParameter(k, name) {
				continue
			}
			if v = decode(v); mayClaim(v, owners) && http1.IsFieldValue(v) {
				c.Name = v
			}
			return
		}
	}
}

func sameParameter(k []byte, name string) bool {
	return string(k) == name || bytes.IndexByte(k, '%') >= 0 && string(decode(k)) == name
}

// decode undoes the escapes of a query component; one that is malformed is empty.
func decode(v []byte) []byte {
	if bytes.IndexByte(v, '%') < 0 && bytes.IndexByte(v, '+') < 0 {
		return v
	}
	s, err := url.QueryUnescape(string(v))
	if err != nil {
		return nil
	}
	return []byte(s)
}

func address(ipv6Prefix int) source {
	return func(c *Client, _ *http1.Request) { c.nameByAddr(ipv6Prefix) }
}

// nameByAddr names the client by its address. Of an IPv6 address only the network counts, since one subscriber has a
// whole network of them.
func (c *Client) nameByAddr(ipv6Prefix int) {
	switch {
	case !c.Addr.IsValid():
		c.Name = append(c.buf[:0], "unknown"...)
	case c.Addr.Is4():
		c.Name = c.Addr.AppendTo(c.buf[:0])
	default:
		network, err := c.Addr.WithZone("").Prefix(ipv6Prefix)
		if err != nil {
			panic(err) // the configuration allows 1 to 128
		}
		c.Name = network.AppendTo(c.buf[:0])
	}
}
