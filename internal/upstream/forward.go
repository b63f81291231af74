package upstream

import (
	"net/netip"

	"github.com/sluicegate/sluice/internal/http1"
)

// Hop is what the gateway says about the client's side of a request.
type Hop struct {
	Peer      netip.Addr // who connected to the gateway
	Trusted   bool       // Peer is a proxy whose X-Forwarded fields are believed
	RequestID []byte     // what X-Request-Id says
	MaxBody   int64      // bytes of body that are passed on at most; 0: no bound
}

// appendHead appends the request's head as the upstream gets it: every field as it came and in its order, but for
// those that concern one hop, the framing, which is stated afresh, and X-Forwarded-For, -Proto, -Host, Via and
// X-Request-Id. host replaces the Host field unless it is empty.
func appendHead(dst []byte, r *http1.Request, hop *Hop, host, fallbackHost string) []byte {
	dst = append(dst, r.Method...)
	dst = append(dst, ' ')
	dst = append(dst, r.Target...)
	dst = append(dst, " HTTP/1.1\r\n"...)
	var seen forwarded
	for i := range r.Fields {
		f := &r.Fields[i]
		switch f.Kind {
		case http1.Other, http1.Via, http1.ContentLength, http1.Trailer:
			dst = http1.AppendField(dst, f.Name, f.Value)
		case http1.Host:
			seen.host = true
			dst = appendHost(dst, f.Name, r.Host, host)
		case http1.XForwardedProto, http1.XForwardedHost:
			if hop.Trusted {
				dst = http1.AppendField(dst, f.Name, f.Value)
				seen.note(f.Kind)
			}
		}
	}
	if !seen.host {
		if len(r.Host) == 0 && host == "" {
			host = fallbackHost
		}
		dst = appendHost(dst, []byte("Host"), r.Host, host)
	}
	if r.Length == http1.Chunked {
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	if r.Upgrades() {
		dst = appendUpgrade(dst, r)
	}
	return append(appendForwarded(dst, r, hop, seen), "\r\n"...)
}

// forwarded is which of the fields that the gateway adds are there already.
type forwarded struct{ host, proto, forHost bool }

func (s *forwarded) note(k http1.Kind) {
	s.proto = s.proto || k == http1.XForwardedProto
	s.forHost = s.forHost || k == http1.XForwardedHost
}

func appendHost(dst, name, host []byte, override string) []byte {
	if override != "" {
		return http1.AppendField(dst, name, override)
	}
	return http1.AppendField(dst, name, host)
}

func appendUpgrade(dst []byte, r *http1.Request) []byte {
	dst = append(dst, "Connection: Upgrade\r\n"...)
	for i := range r.Fields {
		if r.Fields[i].Kind == http1.Upgrade {
			dst = http1.AppendField(dst, r.Fields[i].Name, r.Fields[i].Value)
		}
	}
	return dst
}

// appendForwarded appends what the gateway knows of the way the request has come. X-Forwarded-For is one line, for the
// many readers that only look at the first.
func appendForwarded(dst []byte, r *http1.Request, hop *Hop, seen forwarded) []byte {
	dst = append(dst, "X-Forwarded-For: "...)
	if hop.Trusted {
		for i := range r.Fields {
			if f := &r.Fields[i]; f.Kind == http1.XForwardedFor && len(f.Value) > 0 {
				dst = append(dst, f.Value...)
				dst = append(dst, ", "...)
			}
		}
	}
	dst = append(appendAddr(dst, hop.Peer), "\r\n"...)
	if !seen.proto {
		dst = append(dst, "X-Forwarded-Proto: http\r\n"...)
	}
	if !seen.forHost && len(r.Host) > 0 {
		dst = http1.AppendField(dst, "X-Forwarded-Host", r.Host)
	}
	if r.Minor == 0 {
		dst = append(dst, "Via: 1.0 sluice\r\n"...)
	} else {
		dst = append(dst, "Via: 1.1 sluice\r\n"...)
	}
	return http1.AppendField(dst, "X-Request-Id", hop.RequestID)
}

func appendAddr(dst []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		return append(dst, "unknown"...)
	}
	return a.WithZone("").AppendTo(dst)
}
