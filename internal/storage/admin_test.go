package storage_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/internal/admin"
	"github.com/sluicegate/sluice/internal/jobs"
	"github.com/sluicegate/sluice/internal/storage"
)

// An operator talks to the admin listener of a node.
type operator struct {
	t     *testing.T
	admin *storage.Admin
	url   string
}

// startAdmin starts an admin listener that waits for a storage.
func startAdmin(t *testing.T, token string) *operator {
	t.Helper()
	a := storage.NewAdmin(token, testLog(t))
	a.MountJobs(func(s *jobs.Service) http.Handler { return admin.JobsAPI(s, testLog(t)) })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a.Start(ln)
	t.Cleanup(func() { a.Stop(context.Background()) })
	return &operator{t, a, "http://" + ln.Addr().String()}
}

// ask sends a request; head is names and values of fields in turn.
func (o *operator) ask(method, target, body string, head ...string) answer {
	o.t.Helper()
	req, err := http.NewRequest(method, o.url+target, strings.NewReader(body))
	if err != nil {
		o.t.Fatal(err)
	}
	for i := 0; i < len(head); i += 2 {
		if req.Header.Add(head[i], head[i+1]); head[i] == "Host" {
			req.Host = head[i+1]
		}
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		o.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

// Probes are answered before there is a storage, and the API when there is one.
func TestAdminStart(t *testing.T) {
	o := startAdmin(t, "")
	o.ask("GET", "/healthz", "").is(t, 200, "ok")
	o.ask("GET", "/readyz", "").is(t, 503, "starting")
	o.ask("GET", "/api/v1/quotas", "").is(t, 503, "starting")
	o.ask("GET", "/api/v1/jobs", "").is(t, 503, "starting")
	n := serve(t, t.TempDir())
	o.admin.Serving(n.server)
	o.ask("GET", "/readyz", "").is(t, 200, "ready")
	a := n.order("1", pngOrder).is(t, 202)
	o.ask("GET", "/metrics", "").is(t, 200, "sluice_store_objects 1", "sluice_store_object_bytes 1e+06", `sluice_limit_decisions_total{outcome="allowed",rule="user"} 1`,
		`sluice_store_commands_total{command="jobs",result="done"}`)
	var v jobs.View
	n.get(a.head.Get("Location")).json(t, &v)
	o.ask("GET", "/api/v1/jobs?state=done", "").is(t, 200, v.ID.String(), `"owner": "1"`)
	o.ask("GET", "/api/v1/jobs/"+v.ID.String(), "").is(t, 200, `"state": "done"`)
	o.ask("POST", "/api/v1/jobs/"+v.ID.String()+"/retry", "").is(t, 409)
}

func TestAdminQuotas(t *testing.T) {
	n := serve(t, t.TempDir())
	o := startAdmin(t, "")
	o.admin.Serving(n.server)
	n.put("o", "content").is(t, 201)
	o.ask("PUT", "/api/v1/quotas", `{"userId":"1","quota":10}`).is(t, 200, `"quota": 10,`, `"requests_per_minute": 120`, `"own_quota": true`)
	n.put("o2", "four").problem(t, 403, "storage-quota-exceeded", `"quota":10,"used":7,"reserved":0,"requested":4`)
	o.ask("PUT", "/api/v1/quotas", `{"default":true,"requests_per_minute":7}`).is(t, 200)
	for i := range 3 {
		o.ask("PUT", "/api/v1/quotas", fmt.Sprintf(`{"userId":"u%d","quota":%d}`, i, i)).is(t, 200)
	}
	var page storage.QuotaPage
	o.ask("GET", "/api/v1/quotas?limit=2", "").is(t, 200).json(t, &page)
	first := page
	page = storage.QuotaPage{}
	o.ask("GET", "/api/v1/quotas?limit=9&cursor="+first.Next, "").is(t, 200).json(t, &page)
	if len(first.Quotas) != 2 || first.Quotas[0].UserID != "1" || first.Quotas[0].Used != 7 || len(page.Quotas) != 2 || page.Quotas[1].UserID != "u2" ||
		page.Next != "" || page.Default.Rate != 7 || page.Default.Quota != 50_000_000 {
		t.Errorf("%+v, and then %+v", first, page)
	}
	o.ask("DELETE", "/api/v1/quotas?userId=1", "").is(t, 200, `"quota": 50000000`, `"own_quota": false`)
	o.ask("DELETE", "/api/v1/quotas?default", "").is(t, 200, `"requests_per_minute": 120`)
	for body, says := range map[string]string{
		`{}`: "userId must not be empty", `{"userId":"1"}`: "quota is missing", `{"userId":"1","quota":-1}`: "JSON object", `{"userId":"1","quoat":1}`: "quoat",
		`{"userId":"1","default":true,"quota":1}`: "default goes without userId", `{"userId":"1","requests_per_minute":0}`: "must be 1 to",
		`{"userId":"1","quota":2000000000000000000}`: "at most", `{"userId":"\u0000","quota":1}`: "control characters",
	} {
		o.ask("PUT", "/api/v1/quotas", body).is(t, 400, says)
	}
	o.ask("DELETE", "/api/v1/quotas", "").is(t, 400, "userId is missing")
	o.ask("GET", "/api/v1/quotas?limit=0", "").is(t, 400, "limit must be")
}

// The API is for those who have the token, or sit at the machine; and never for a page of another site.
func TestAdminGuard(t *testing.T) {
	n := serve(t, t.TempDir())
	open, guarded := startAdmin(t, ""), startAdmin(t, "secret")
	open.admin.Serving(n.server)
	open.ask("GET", "/api/v1/quotas", "").is(t, 200)
	open.ask("GET", "/api/v1/quotas", "", "Host", "rebound.example").is(t, 403, "Host field")
	open.ask("GET", "/api/v1/jobs", "", "Host", "rebound.example").is(t, 403, "Host field")
	open.ask("PUT", "/api/v1/quotas", `{"userId":"1","quota":1}`, "Origin", "http://other.example").is(t, 403, "another site")
	guarded.ask("GET", "/api/v1/quotas", "").is(t, 401, "token")
	guarded.ask("GET", "/api/v1/quotas", "", "Authorization", "Bearer wrong").is(t, 401, "token")
	guarded.ask("GET", "/api/v1/jobs", "", "Authorization", "Bearer wrong").is(t, 401, "token")
	guarded.ask("GET", "/api/v1/quotas", "", "Authorization", "bearer secret").is(t, 503, "starting")
	guarded.ask("GET", "/metrics", "").is(t, 200)
	n.used("1", 0)
}
