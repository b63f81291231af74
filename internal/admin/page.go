package admin

import (
	"embed"
	"net/http"
	"strings"
)

// ui is the dashboard: files that the browser takes as they are. They hold nothing of the node, so they are served without a token; what they show
// they ask the API for.
//
//go:embed ui
var ui embed.FS

// policy keeps the page to itself: nothing from elsewhere is loaded, nothing inline is run, and no other page may frame it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// dashboard answers with the page, and programs, which do not ask for HTML, with the list of endpoints.
func (s *Server) dashboard(index http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept")
		if !strings.Contains(r.Header.Get("Accept"), "text/html") {
			index.ServeHTTP(w, r)
			return
		}
		secure(w)
		http.ServeFileFS(w, r, ui, "ui/index.html")
	})
}

// asset answers with a file of the dashboard.
func asset(w http.ResponseWriter, r *http.Request) {
	secure(w)
	http.ServeFileFS(w, r, ui, strings.TrimPrefix(r.URL.Path, "/"))
}

func secure(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache") // a new version of the program has new files under the same names
}
