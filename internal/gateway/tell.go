package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/http1"
	"github.com/sluicegate/sluice/internal/jobs"
	"github.com/sluicegate/sluice/internal/problem"
)

const resultPath = "/result"

// jobIn returns which job a path is about, and whether it is about its result.
func jobIn(path []byte) (id jobs.ID, result, ok bool) {
	rest, ok := bytes.CutPrefix(path, []byte(config.JobsPath))
	if !ok {
		return id, false, false
	}
	rest, result = bytes.CutSuffix(rest, []byte(resultPath))
	id, err := jobs.ParseID(string(rest))
	return id, result, err == nil
}

// asksForJob reports whether a path is one below which clients ask for their jobs. What is no job's ID may be a route's.
func asksForJob(path []byte) bool {
	_, _, ok := jobIn(path)
	return ok
}

// tellJob answers a client about a job of its own.
func (g *Gateway) tellJob(r *request, path []byte) {
	id, result, _ := jobIn(path)
	allowed := "GET, HEAD, DELETE"
	if result {
		allowed = "GET, HEAD"
	}
	if !safeMethod(&r.Request) && (result || !r.IsMethod("DELETE")) {
		problem.Write(r.Exchange, problem.Problem{
			Type: problem.MethodNotAllowed, Detail: "this path has " + allowed, RequestID: string(r.hop.RequestID), Fields: allow(allowed),
		})
		return
	}
	view, err := g.jobs.Service.Get(context.Background(), id)
	if err == nil && view.Owner != string(r.client.Name) {
		err = jobs.ErrNotFound // whether there is one is nobody else's business
	}
	switch {
	case err != nil:
		r.failTell(err)
	case result:
		g.tellResult(r, &view)
	case r.IsMethod("DELETE"):
		g.cancelJob(r, id)
	default:
		r.answerJob(200, &view)
	}
}

// allow is the field that says which methods a path has.
type allow string

// AddFields implements problem.FieldAdder.
func (a allow) AddFields(x *http1.Exchange) { x.AddString("Allow", string(a)) }

func (r *request) failTell(err error) {
	if errors.Is(err, jobs.ErrNotFound) {
		r.refuse(problem.UnknownJob, "no job of this client has this id: it never was, or it is forgotten")
		return
	}
	r.refuseFor(problem.JobsUnavailable, "jobs can't be looked up now; try again later", time.Second)
}

func (g *Gateway) cancelJob(r *request, id jobs.ID) {
	view, err := g.jobs.Service.Cancel(context.Background(), id)
	switch {
	case errors.Is(err, jobs.ErrRefused):
		r.refuse(problem.NotCancelled, "only a job that is queued can be cancelled, and this one is "+view.State.String())
	case err != nil:
		r.failTell(err)
	default:
		r.answerJob(200, &view)
	}
}

// tellResult answers with what the upstream answered.
func (g *Gateway) tellResult(r *request, v *jobs.View) {
	kept, err := g.jobs.Service.Result(context.Background(), v.ID)
	if err != nil {
		r.failTell(err)
		return
	}
	if why := noResult(v, &kept); why != "" {
		r.refuseFor(problem.NoResult, why, untilNext(v, r.Start))
		return
	}
	body, err := g.jobs.Service.ResultBody(context.Background(), &kept)
	if err != nil {
		g.log.Warn("the result of a job can't be read", "job", v.ID.String(), "error", err)
		r.failTell(err)
		return
	}
	defer body.Close()
	r.Begin(kept.Status, nil)
	r.AddLines(kept.Head)
	r.AddDate()
	r.AddString("Cache-Control", "no-store")
	r.AddString("Via", "1.1 sluice")
	r.addOwn()
	r.EndHead(max(int64(len(kept.Body)), kept.BlobSize))
	if r.IsMethod("HEAD") {
		r.Finish(nil)
		return
	}
	if err := r.copyBody(body); err != nil {
		g.log.Debug("the result of a job broke off", "job", v.ID.String(), "error", err)
		r.Abort()
	}
}

// noResult says why a job has none to show.
func noResult(v *jobs.View, kept *jobs.Stored) string {
	switch {
	case v.State != jobs.Done && v.State != jobs.Failed:
		return "the job is " + v.State.String() + ": ask again later"
	case kept.Status == 0:
		return "no upstream answered: " + kept.Error
	case strings.Contains(kept.Error, notKept):
		return kept.Error
	}
	return ""
}

func (r *request) copyBody(body io.Reader) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := body.Read(buf)
		if _, failed := r.Write(buf[:n]); failed != nil {
			return failed
		}
		if err == io.EOF {
			return r.Finish(nil)
		}
		if err != nil {
			return err
		}
	}
}
