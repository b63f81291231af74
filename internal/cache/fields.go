package cache

import "github.com/sluicegate/sluice/internal/http1"

// field is what a field of a request means to the rules.
type field uint8

const (
	plain field = iota
	authorization
	cookie // or another field that says who asks
	cacheControl
	pragma
	rangeField
	ifRange
	ifNoneMatch
	ifModifiedSince
	ifMatch // or If-Unmodified-Since: preconditions that only the origin may judge, RFC 9111 section 4.3.2
	steering
)

// fieldOf recognises the fields that the rules ask for. Steering fields are those by which many frameworks choose what to
// answer without naming them in Vary; a client that sends one must not choose for others (cache poisoning).
func fieldOf(f *http1.Field) field {
	name := f.Name
	switch len(name) {
	case 5:
		return when(name, "range", rangeField)
	case 7:
		return when(name, "api-key", cookie)
	case 9:
		if name[0]|0x20 == 'x' {
			return when(name, "x-api-key", cookie)
		}
	case 12:
		return when(name, "x-auth-token", cookie)
	case 6:
		if name[0]|0x20 == 'p' {
			return when(name, "pragma", pragma)
		}
		if name[0]|0x20 == 'c' {
			return when(name, "cookie", cookie)
		}
	case 8:
		if name[0]|0x20 == 'i' {
			if http1.EqualFold(name, "if-range") {
				return ifRange
			}
			return when(name, "if-match", ifMatch)
		}
	case 13:
		switch name[0] | 0x20 {
		case 'a':
			return when(name, "authorization", authorization)
		case 'c':
			return when(name, "cache-control", cacheControl)
		case 'i':
			return when(name, "if-none-match", ifNoneMatch)
		}
	case 17:
		if name[0]|0x20 == 'i' {
			return when(name, "if-modified-since", ifModifiedSince)
		}
	case 19:
		if name[0]|0x20 == 'i' {
			return when(name, "if-unmodified-since", ifMatch)
		}
	}
	if steers(name) {
		return steering
	}
	return plain
}

// OfOneClient reports fields of requests that make the answer one client's own: those that say who asks, and conditions and ranges.
func OfOneClient(f *http1.Field) bool {
	switch fieldOf(f) {
	case authorization, cookie, ifMatch, ifNoneMatch, ifModifiedSince, ifRange, rangeField:
		return true
	}
	return false
}

func when(name []byte, lower string, is field) field {
	if http1.EqualFold(name, lower) {
		return is
	}
	return plain
}

// steers reports whether name is a steering field: of the host, the scheme, the path or the method. X-Forwarded-For is
// none: it differs for every client and says who asks, not for what. The gateway writes X-Forwarded-Proto and
// X-Forwarded-Host itself unless a trusted proxy sent them; see keyOf.
func steers(name []byte) bool {
	if len(name) < 6 {
		return false
	}
	switch name[0] | 0x20 {
	case 'f':
		return http1.EqualFold(name, "forwarded") || http1.EqualFold(name, "front-end-https")
	case 'x':
	default:
		return false
	}
	switch len(name) {
	case 6:
		return http1.EqualFold(name, "x-host")
	case 12:
		return http1.EqualFold(name, "x-url-scheme")
	case 13:
		return http1.EqualFold(name, "x-http-method") || http1.EqualFold(name, "x-rewrite-url")
	case 14:
		return http1.EqualFold(name, "x-original-url") || http1.EqualFold(name, "x-original-uri")
	case 15:
		return http1.EqualFold(name, "x-forwarded-ssl") || http1.EqualFold(name, "x-original-host") || http1.EqualFold(name, "x-forwarded-uri")
	case 16:
		return http1.EqualFold(name, "x-forwarded-port") || http1.EqualFold(name, "x-forwarded-path")
	case 17:
		return http1.EqualFold(name, "x-method-override")
	case 18:
		return http1.EqualFold(name, "x-forwarded-server") || http1.EqualFold(name, "x-forwarded-scheme") || http1.EqualFold(name, "x-forwarded-prefix")
	case 20:
		return http1.EqualFold(name, "x-forwarded-protocol")
	case 22:
		return http1.EqualFold(name, "x-http-method-override")
	}
	return false
}
