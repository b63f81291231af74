package storage

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// guard keeps out who may not use the API: those without the token, or, where there is none, everybody but the machine itself; and pages of
// other sites that an operator's browser shows.
func (a *Admin) guard(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, http.StatusForbidden, "a page of another site asks for this, as Origin or Sec-Fetch-Site says: send it from a program")
	}))
	if a.token == "" {
		return protection.Handler(ownMachine(next))
	}
	want := sha256.Sum256([]byte(a.token))
	return protection.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(strings.TrimSpace(token)))
		if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Bearer realm="sluice admin"`)
			writeError(w, http.StatusUnauthorized, "the admin token is missing or wrong: send Authorization: Bearer TOKEN")
			return
		}
		next.ServeHTTP(w, r)
	}))
}

// ownMachine lets pass what came in on a loopback address and asks for localhost or a literal address. A page of a site whose name has been made to
// lead here (DNS rebinding) asks for that name.
func ownMachine(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		switch {
		case local == nil || !isLoopback(local.String()):
			writeError(w, http.StatusForbidden, "without an admin token the API is for loopback addresses only: start the node with SLUICE_ADMIN_TOKEN set")
		case !isOwnHost(r.Host):
			writeError(w, http.StatusForbidden, "the Host field has a name other than localhost: ask by an address, as in http://127.0.0.1:5001")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func isLoopback(hostPort string) bool {
	addr, err := netip.ParseAddrPort(hostPort)
	return err == nil && addr.Addr().Unmap().IsLoopback()
}

// isOwnHost accepts localhost, every literal address, and no host at all, with any port: it may have been forwarded from another one.
func isOwnHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if host == "" || strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	_, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	return err == nil
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.Encode(v)
}

// writeError answers with an RFC 9457 problem whose title is its status.
func writeError(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{
		"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": detail,
	})
}
