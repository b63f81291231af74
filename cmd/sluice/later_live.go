package main

import (
	"fmt"
	"time"

	"github.com/sluicegate/sluice/internal/jobs"
	"github.com/sluicegate/sluice/internal/live"
)

// Of dead letters the first so many are shown. To find them all jobs are looked at, so that is done when their number has changed, or else every so
// often.
const (
	shownDead   = 20
	refreshDead = 10 * time.Second
)

// figures returns what tells of the jobs once a second, nil where there are none.
func (l *later) figures() func() *live.Jobs {
	if l == nil {
		return nil
	}
	return jobFigures(l.service)
}

func jobFigures(service *jobs.Service) func() *live.Jobs {
	var dead []live.DeadJob
	var known int
	var looked time.Time
	return func() *live.Jobs {
		queues, err := service.Stats()
		if err != nil { // the log has stopped, which ends the process
			return nil
		}
		shown := new(live.Jobs)
		for _, q := range queues {
			shown.Queued, shown.Running, shown.Done, shown.Failed = shown.Queued+q.Queued, shown.Running+q.Running, shown.Done+q.Done, shown.Failed+q.Failed
			shown.OldestAge = max(shown.OldestAge, q.Age.Seconds())
		}
		if shown.Failed != known || time.Since(looked) > refreshDead {
			known, looked = shown.Failed, time.Now()
			dead = deadJobs(service, known)
		}
		shown.Dead = dead
		return shown
	}
}

func deadJobs(service *jobs.Service, failed int) (dead []live.DeadJob) {
	if failed == 0 {
		return nil
	}
	page, err := service.List(jobs.Filter{State: jobs.Failed, Limit: shownDead})
	if err != nil {
		return nil
	}
	for _, v := range page.Jobs {
		why := v.Error
		if why == "" {
			why = fmt.Sprintf("the upstream answered %d", v.Status)
		}
		dead = append(dead, live.DeadJob{ID: v.ID.String(), Queue: v.Queue, Owner: v.Owner, Attempts: v.Attempts, Finished: v.Finished.Time(), Error: why})
	}
	return dead
}
