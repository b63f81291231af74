package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Access lists clients that are treated alike on every route. Deny is asked first.
type Access struct {
	// Allow lists who is never limited. Default none.
	Allow []Who `yaml:"allow"`
	// Deny lists who is always refused. Default none.
	Deny []Who `yaml:"deny"`
}

// Who is a client by its name, or all clients of a network. In a file an address alone is a network of one.
type Who struct {
	Name    string       // "" for a network
	Network netip.Prefix // with its host bits cleared; the zero Prefix for a name
}

// String returns what a file would say.
func (w Who) String() string {
	if w.Name != "" {
		return w.Name
	}
	return w.Network.String()
}

// parseWho reads a name, an address or a network.
func parseWho(text string) (Who, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		a = a.Unmap().WithZone("")
		return Who{Network: netip.PrefixFrom(a, a.BitLen())}, nil
	}
	if p, err := netip.ParsePrefix(text); err == nil {
		return Who{Network: p.Masked()}, nil
	}
	before, _, _ := strings.Cut(text, "/")
	if _, err := netip.ParseAddr(before); err == nil {
		return Who{}, errors.New("expected a network in CIDR notation, as in 10.0.0.0/8 or 2001:db8::/32")
	}
	if text == "" || len(text) > MaxClientName {
		return Who{}, fmt.Errorf("expected the name of a client of 1 to %d bytes, or a network as in 10.0.0.0/8", MaxClientName)
	}
	return Who{Name: text}, nil
}
