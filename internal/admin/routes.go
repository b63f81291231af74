package admin

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// endpoint is one thing that can be asked for.
type endpoint struct {
	method string // "": any
	path   string // with a slash at its end, and all below it
	about  string // "": not listed
	handle http.HandlerFunc
}

func (e *endpoint) pattern() string { return strings.TrimSpace(e.method + " " + e.path) }

// probes are asked for without a token.
func (s *Server) probes() []endpoint {
	return []endpoint{
		{"GET", "/healthz", "the process is alive", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) }},
		{"GET", "/readyz", "it should get traffic", s.ready},
	}
}

// guarded are the endpoints that ask for the token.
func (s *Server) guarded() []endpoint {
	metrics := promhttp.HandlerFor(s.opts.Metrics, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(s.opts.Log.Handler(), slog.LevelWarn)})
	list := []endpoint{
		{"GET", "/metrics", "Prometheus", metrics.ServeHTTP},
		{"GET", "/api/v1/status", "connections, upstreams, targets", s.status},
		{"GET", "/api/v1/meters", "requests of clients and routes lately", s.meters},
		{"GET", "/api/v1/version", "the build", s.version},
		{"POST", "/api/v1/reload", "read the configuration file again", s.reload},
		{"GET", "/api/v1/limits", "the limits and what they have decided", s.listLimits},
		{"POST", "/api/v1/limits/check", "decide by a limit, for programs that are not behind the gateway", s.checkLimit},
		{"GET", "/api/v1/limits/overrides", "limits of single clients, set at run time", s.listOverrides},
		{"PUT", "/api/v1/limits/overrides", "set one", s.setOverride},
		{"DELETE", "/api/v1/limits/overrides", "unset one", s.unsetOverride},
	}
	if s.opts.Live != nil {
		list = append(list,
			endpoint{"GET", "/api/v1/live", "everything at a glance", s.glance},
			endpoint{"GET", "/api/v1/live/stream", "the same once a second, as a stream", s.bounded(s.liveStream)})
	}
	list = append(list, s.jobEndpoints()...)
	if s.opts.Events != nil {
		list = append(list, endpoint{"GET", "/api/v1/events", "what happens, as a stream or in pages", s.events})
	}
	if s.opts.Arrivals != nil {
		list = append(list, endpoint{"GET", "/api/v1/arrivals", "when requests arrived, to train a policy on, as CSV", s.bounded(s.arrivals)})
	}
	if s.opts.PProf {
		list = append(list,
			endpoint{"", "/debug/pprof/", "profiles", pprof.Index},
			endpoint{"", "/debug/pprof/cmdline", "", pprof.Cmdline},
			endpoint{"", "/debug/pprof/profile", "", pprof.Profile},
			endpoint{"", "/debug/pprof/symbol", "", pprof.Symbol},
			endpoint{"", "/debug/pprof/trace", "", pprof.Trace},
		)
	}
	return list
}

func (s *Server) routes() http.Handler {
	all, inner := http.NewServeMux(), http.NewServeMux()
	list := s.probes()
	for _, e := range list {
		all.HandleFunc(e.pattern(), e.handle)
	}
	for _, e := range s.guarded() {
		inner.HandleFunc(e.pattern(), e.handle)
		list = append(list, e)
	}
	inner.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		printIndex(w, list)
	})
	programs := s.guard(sameSite(orProblem(inner, list)))
	all.Handle("/", programs)
	if s.opts.Live != nil {
		all.Handle("GET /{$}", s.dashboard(programs))
		all.HandleFunc("GET /ui/", asset)
	}
	return s.ownHost(all)
}

func printIndex(w io.Writer, list []endpoint) {
	fmt.Fprint(w, "sluice admin\n\n")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, e := range list {
		if e.about != "" {
			fmt.Fprintf(table, "%s\t%s\t%s\n", e.method, e.path, e.about)
		}
	}
	table.Flush()
}

// orProblem answers with a problem that says what there is where mux has nothing: 404, or 405 for a path that is there.
func orProblem(mux *http.ServeMux, list []endpoint) http.Handler {
	var listed []string
	for _, e := range list {
		if e.about != "" {
			listed = append(listed, e.pattern())
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		status, detail := http.StatusNotFound, "nothing is here: endpoints lists what there is"
		if methods := methodsOf(r.URL.Path, list); len(methods) > 0 {
			w.Header().Set("Allow", strings.Join(methods, ", "))
			status, detail = http.StatusMethodNotAllowed, "expected the method "+strings.Join(methods, " or ")
		}
		writeProblem(w, status, map[string]any{"detail": detail, "endpoints": listed})
	})
}

// leadsTo reports whether path is one that a pattern stands for, of which a part in braces is any.
func leadsTo(pattern, path string) bool {
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	return slices.EqualFunc(want, got, func(w, g string) bool { return w == g || g != "" && strings.HasPrefix(w, "{") })
}

// methodsOf are the methods that are served at path.
func methodsOf(path string, list []endpoint) (methods []string) {
	if path == "/" {
		methods = append(methods, "GET")
	}
	for _, e := range list {
		if leadsTo(e.path, path) {
			methods = append(methods, e.method)
		}
	}
	if slices.Contains(methods, "GET") {
		methods = append(methods, "HEAD")
	}
	return methods
}
