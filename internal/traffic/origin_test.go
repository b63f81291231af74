package traffic_test

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/sluicegate/sluice/internal/origin"
)

func TestMain(m *testing.M) {
	// fasthttp's clock for the Date field: one goroutine for the whole process, which nothing stops.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
}

// The origin answers every kind of request in the script with what the script asks for.
func TestOriginUnderstandsTheScript(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := origin.New(origin.Options{})
	go server.Serve(ln)
	transport := &http.Transport{}
	defer func() {
		transport.CloseIdleConnections()
		server.Shutdown(context.Background())
	}()
	for _, r := range script(1, 30, 1000) {
		target, err := url.Parse("http://" + ln.Addr().String() + r.Path)
		if err != nil {
			t.Fatal(err)
		}
		query := target.Query()
		if query.Has("sleep") {
			query.Set("sleep", "0s")
			target.RawQuery = query.Encode()
		}
		req, err := http.NewRequest(r.Method, target.String(), strings.NewReader(r.Body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		want := http.StatusOK
		if s := query.Get("status"); s != "" {
			want, _ = strconv.Atoi(s)
		}
		if resp.StatusCode != want || resp.Header.Get("Cache-Control") != query.Get("cache") {
			t.Errorf("%s %s: %d, Cache-Control %q", r.Method, r.Path, resp.StatusCode, resp.Header.Get("Cache-Control"))
		}
	}
}
