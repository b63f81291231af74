package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/admin"
	"github.com/sluicegate/sluice/internal/datadir"
	"github.com/sluicegate/sluice/internal/jobs"
	"github.com/sluicegate/sluice/internal/journal"
)

// startJobs opens jobs on an embedded log.
func startJobs(t *testing.T) *jobs.Service {
	t.Helper()
	dir, err := datadir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	broker, err := journal.Embed(journal.EmbedConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	log, err := jobs.OpenLog(t.Context(), broker, journal.Config{Name: "jobs", Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	s, err := jobs.Open(t.Context(), jobs.Options{Log: log, Node: dir.ID(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
	return s
}

func post(t *testing.T, url, body string) (*http.Response, string) {
	t.Helper()
	resp, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

func TestNoJobs(t *testing.T) {
	url := serve(t, admin.Options{})
	id := jobs.NewID(time.Now()).String()
	for _, path := range []string{"", "/stats", "/" + id, "/" + id + "/body", "/" + id + "/result"} {
		resp, body := ask(t, "GET", url+"/api/v1/jobs"+path)
		expectProblem(t, resp, body, 404, "no route of this node is async")
	}
	resp, body := ask(t, "GET", url+"/api/v1/jobs/"+id+"/retry")
	if expectProblem(t, resp, body, 405, "expected the method POST"); resp.Header.Get("Allow") != "POST" {
		t.Errorf("allows %q", resp.Header.Get("Allow"))
	}
}

// fill makes three jobs: one that waits, one that is done and one that has failed, for good.
func fill(t *testing.T, s *jobs.Service) (waits, done, failed jobs.ID) {
	t.Helper()
	s.Handle("done", jobs.HandlerFunc(func(context.Context, *jobs.Claim) jobs.Result {
		return jobs.Result{Verdict: jobs.Succeed, Status: 200, Body: []byte("<script>alert(1)</script>")}
	}), 1)
	s.Handle("failed", jobs.HandlerFunc(func(context.Context, *jobs.Claim) jobs.Result {
		return jobs.Result{Verdict: jobs.Fail, Error: "no"}
	}), 1)
	var ids []jobs.ID
	for i, queue := range []string{"waits", "done", "failed"} {
		id := jobs.NewID(time.Now().Add(time.Duration(i) * time.Second)) // of one millisecond they have no order
		v, _, err := s.Enqueue(t.Context(), jobs.Spec{ID: id, Queue: queue, Owner: "alice", Tenant: "alice"})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, v.ID)
	}
	for _, id := range ids[1:] {
		for {
			v, err := s.Get(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if v.State == jobs.Done || v.State == jobs.Failed {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	return ids[0], ids[1], ids[2]
}

func TestJobs(t *testing.T) {
	s := startJobs(t)
	waits, done, failed := fill(t, s)
	url := serve(t, admin.Options{Jobs: s, JobRequest: func(_ context.Context, id jobs.ID) (*admin.JobRequest, error) {
		body := func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader([]byte("<b>body</b>"))), nil
		}
		return &admin.JobRequest{Method: "POST", Target: "/t", Bytes: 11, Body: body}, nil
	}}) + "/api/v1/jobs"
	for query, want := range map[string][]jobs.ID{
		"": {waits, done, failed}, "?state=done": {done}, "?queue=waits": {waits}, "?owner=alice&limit=1": {waits}, "?owner=bob": {},
		"?cursor=" + waits.String(): {done, failed},
	} {
		resp, body := ask(t, "GET", url+query)
		var page struct {
			Jobs []struct{ ID, Owner string }
			Next string
		}
		if err := json.Unmarshal([]byte(body), &page); err != nil || resp.StatusCode != 200 || len(page.Jobs) != len(want) {
			t.Errorf("%s: %s with %s, expected %d jobs", query, resp.Status, body, len(want))
			continue
		}
		for i, j := range page.Jobs {
			if j.ID != want[i].String() || j.Owner != "alice" {
				t.Errorf("%s: job %d is %+v, expected %s of alice", query, i, j, want[i])
			}
		}
		if more := query == "?owner=alice&limit=1"; more != (page.Next == waits.String()) {
			t.Errorf("%s: the next page is after %q", query, page.Next)
		}
	}
	for query, text := range map[string]string{"?state=x": "state: ", "?cursor=x": "cursor: ", "?limit=0": "limit: expected 1 to 1000", "?limit=x": "limit: "} {
		resp, body := ask(t, "GET", url+query)
		expectProblem(t, resp, body, 400, text)
	}
	if resp, body := ask(t, "GET", url+"/"+waits.String()); resp.StatusCode != 200 || !strings.Contains(body, `"target": "/t"`) {
		t.Errorf("%s with %s", resp.Status, body)
	}
	if resp, body := ask(t, "GET", url+"/"+done.String()); resp.StatusCode != 200 || strings.Contains(body, "target") {
		t.Errorf("of a job that is done nobody knows what it sent: %s with %s", resp.Status, body)
	}
	for path, want := range map[string]string{"/" + waits.String() + "/body": "<b>body</b>", "/" + done.String() + "/result": "<script>alert(1)</script>"} {
		resp, body := ask(t, "GET", url+path)
		h := resp.Header
		if body != want || h.Get("Content-Type") != "application/octet-stream" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Content-Disposition") != "attachment" {
			t.Errorf("%s: %v with %q, expected a download of %q", path, h, body, want)
		}
	}
	resp, body := ask(t, "GET", url+"/"+done.String()+"/body")
	expectProblem(t, resp, body, 409, "not kept")
	resp, body = ask(t, "GET", url+"/"+waits.String()+"/result")
	expectProblem(t, resp, body, 409, "no upstream has answered")
	resp, body = ask(t, "GET", url+"/nobody")
	expectProblem(t, resp, body, 400, "26 characters")
	resp, body = ask(t, "GET", url+"/"+jobs.NewID(time.Now()).String())
	expectProblem(t, resp, body, 404, "no such job")
	if resp, body := ask(t, "GET", url+"/stats"); resp.StatusCode != 200 || !strings.Contains(body, `"oldest_seconds"`) || strings.Count(body, `"queue"`) != 3 {
		t.Errorf("%s with %s", resp.Status, body)
	}
}

func TestRetryAndPurgeJobs(t *testing.T) {
	s := startJobs(t)
	_, done, failed := fill(t, s)
	url := serve(t, admin.Options{Jobs: s}) + "/api/v1/jobs"
	if resp, body := post(t, url+"/"+failed.String()+"/retry", ""); resp.StatusCode != 200 || !strings.Contains(body, `"state": "queued"`) {
		t.Errorf("%s with %s", resp.Status, body)
	}
	resp, body := post(t, url+"/"+done.String()+"/retry", "")
	expectProblem(t, resp, body, 409, "done")
	resp, body = ask(t, "POST", url+"/purge", "Origin", "https://evil.example")
	expectProblem(t, resp, body, 403, "another site")
	for ask, text := range map[string]string{
		`{}`: "expected", `{"older_than": "soon"}`: "older_than: expected a duration", `{"older_than": "-1h"}`: "older_than: ", `x`: "not the JSON object",
		`{"ids": ["x"]}`: "26 characters", `{"ids": ["` + done.String() + `"], "all": true}`: "alone", `{"queues": "a"}`: "unknown field",
	} {
		resp, body := post(t, url+"/purge", ask)
		expectProblem(t, resp, body, 400, text)
	}
	for _, c := range []struct{ ask, want string }{
		{`{"older_than": "1h"}`, `"purged": 0`}, {`{"queue": "done"}`, `"purged": 0`}, {`{"ids": ["` + done.String() + `"]}`, `"purged": 1`},
	} {
		if resp, body := post(t, url+"/purge", c.ask); resp.StatusCode != 200 || !strings.Contains(body, c.want) {
			t.Errorf("%s: %s with %s, expected %s", c.ask, resp.Status, body, c.want)
		}
	}
	for v, err := s.Get(t.Context(), failed); v.State != jobs.Failed; v, err = s.Get(t.Context(), failed) { // once more
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	if resp, body := post(t, url+"/purge", `{"all": true}`); resp.StatusCode != 200 || !strings.Contains(body, `"purged": 1`) {
		t.Errorf("%s with %s", resp.Status, body)
	}
}
