package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// between reports a number that is out of range.
func (r *report) between(at *node, n, low, high int) {
	if n < low || n > high {
		r.errorf(at, "%d is out of range, expected %d to %d", n, low, high)
	}
}

// sizeBetween reports a size that is out of range.
func (r *report) sizeBetween(at *node, s, low, high Size) {
	if s < low || s > high {
		r.errorf(at, "%v is out of range, expected %v to %v", s, low, high)
	}
}

// positive reports a duration of 0.
func (r *report) positive(at *node, d Duration) {
	if d <= 0 {
		r.errorf(at, "%v is out of range, expected more than 0", d)
	}
}

// durationBetween reports a duration that is out of range.
func (r *report) durationBetween(at *node, d, low, high Duration) {
	if d < low || d > high {
		r.errorf(at, "%v is out of range, expected %v to %v", d, low, high)
	}
}

// fieldName reports what cannot be the name of a header field.
func (r *report) fieldName(at *node, name string) {
	if !isToken(name) {
		r.errorf(at, "%q is not the name of a header field, expected one as in X-Api-Key", name)
	}
}

// hostPort reports what is no address to listen on.
func (r *report) hostPort(at *node, address string) {
	if err := checkHostPort(address); err != nil {
		r.errorf(at, "%q: %v", address, err)
	}
}

// checkHostPort accepts what a listener can bind: host:port, where an empty host is every address and port 0 a free one.
func checkHostPort(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host != "" && !isHost(host) || !isPort(port, 0) {
		return errors.New("expected host:port with a port from 0 to 65535, as in 127.0.0.1:8080")
	}
	return nil
}

// remoteAddress reports what is no address to connect to.
func (r *report) remoteAddress(at *node, address string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || !isHost(host) || !isPort(port, 1) {
		r.errorf(at, "%q: expected host:port with a port from 1 to 65535, as in 127.0.0.1:50051", address)
	}
}

// isPort reports whether port is a number from low to 65535.
func isPort(port string, low uint64) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n >= low
}

// isHost reports whether host is an IP address or can be the name of a host.
func isHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	if len(host) > 253 || strings.Trim(host, "0123456789.") == "" { // all digits: an address that is wrong
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(c rune) bool { return !isLetterOrDigit(c) && c != '-' && c != '_' }) {
			return false
		}
	}
	return true
}

// isLoopback reports whether only this machine can reach an address that checkHostPort accepts.
func isLoopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// sameAddress reports whether two listeners would collide: one port, and one host or a host that stands for every address.
func sameAddress(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	if isLoopback(a) && isLoopback(b) && (hostA == "localhost" || hostB == "localhost") {
		return true
	}
	return hostA == hostB || isEveryHost(hostA) || isEveryHost(hostB)
}

func isEveryHost(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}

// parseTarget reads the URL of a target. A path of "/" alone is dropped.
func parseTarget(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("expected a URL http://host:port or https://host:port")
	}
	if u.User != nil || u.Path != "" && u.Path != "/" || strings.ContainsAny(text, "?#") {
		return nil, errors.New("expected http or https, a host and maybe a port: no user, path, query or fragment")
	}
	host := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(u.Host, ":"+u.Port()), "["), "]")
	if !isHost(host) || strings.HasSuffix(u.Host, ":") || u.Port() != "" && !isPort(u.Port(), 1) {
		return nil, errors.New("expected a host name or address, and a port from 1 to 65535 if there is one")
	}
	return &url.URL{Scheme: u.Scheme, Host: strings.ToLower(u.Host)}, nil
}

// parseNetwork reads a network in CIDR notation. The bits after its length are cleared.
func parseNetwork(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err == nil {
		return p.Masked(), nil
	}
	if a, bad := netip.ParseAddr(text); bad == nil {
		return p, fmt.Errorf("an address without a length, expected a network as in %s/%d", a, a.BitLen())
	}
	return p, errors.New("expected a network in CIDR notation, as in 10.0.0.0/8 or 2001:db8::/32")
}

// checkName says why a key is no name.
func checkName(key string) error {
	if !isName(key) {
		return errors.New("is not a name, expected up to 64 letters, digits, dots, dashes and underscores")
	}
	return nil
}

// isName reports whether s can name an upstream or a limit: it appears in metrics, logs and the URLs of the admin API.
func isName(s string) bool {
	if s == "" || len(s) > 64 || s == "." || s == ".." {
		return false
	}
	return !strings.ContainsFunc(s, func(c rune) bool { return !isLetterOrDigit(c) && !strings.ContainsRune("._-", c) })
}

// isToken reports whether s is a token of RFC 9110, section 5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return !isLetterOrDigit(c) && !strings.ContainsRune("!#$%&'*+-.^_`|~", c)
	})
}

func isLetterOrDigit(c rune) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// notInTarget reports a character that cannot stand in the target of a request.
func notInTarget(c rune) bool { return c <= ' ' || c >= 0x7f || c == '#' }
