package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// guard asks for the token.
func (s *Server) guard(next http.Handler) http.Handler {
	if s.opts.Token == "" {
		return next
	}
	want := sha256.Sum256([]byte(s.opts.Token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(strings.TrimSpace(token)))
		if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Bearer realm="sluice admin"`)
			writeError(w, http.StatusUnauthorized, "the admin token is missing or wrong: send Authorization: Bearer TOKEN")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// sameSite keeps the pages of other sites from acting with an operator's browser, which tells where a request that changes something
// comes from.
func sameSite(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, http.StatusForbidden, "a page of another site asks for this, as Origin or Sec-Fetch-Site says: send it from a program")
	}))
	return protection.Handler(next)
}

// ownHost keeps out the pages of sites whose name has been made to lead here, which a browser takes for this server's own pages and
// lets read every answer (DNS rebinding). Such a request tells the name in Host. Without a token the listener is on a loopback address,
// where nobody needs a name but localhost; with one a stranger's page gets nowhere.
func (s *Server) ownHost(next http.Handler) http.Handler {
	if s.opts.Token != "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isOwnHost(r.Host) {
			writeError(w, http.StatusForbidden, "the Host field has a name other than localhost: ask by an address, as in http://127.0.0.1:8081, or set admin.token")
			return
		}
		next.ServeHTTP(w, r)
	})
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
