package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicegate/sluice/internal/datadir"
	"github.com/sluicegate/sluice/internal/gateway"
	"github.com/sluicegate/sluice/internal/jobs"
	"github.com/sluicegate/sluice/internal/journal"
)

// later is what is accepted now and done later: the log of jobs, the large bodies beside it, and this node's part in doing them.
type later struct {
	log     *jobs.JournalLog
	blobs   jobs.Blobs
	service *jobs.Service
}

// jobsName names the log of jobs on the broker, and what belongs to it in data_dir.
const jobsName = "jobs"

// laterOptions are what openLater stands on. notify is told of what happens to jobs.
type laterOptions struct {
	broker *journal.Broker
	dir    *datadir.Dir
	log    *slog.Logger
	reg    prometheus.Registerer
	notify func(jobs.Event)
}

// openLater restores the jobs from their log. None is begun before somebody handles its queue.
func openLater(ctx context.Context, o laterOptions) (*later, error) {
	l := new(later)
	blobs, err := journal.OpenBlobs(ctx, o.broker, jobsName)
	if err != nil {
		return nil, fmt.Errorf("opening the bodies of jobs: %w", err)
	}
	l.blobs = jobs.JournalBlobs(blobs)
	if l.log, err = jobs.OpenLog(ctx, o.broker, journal.Config{Name: jobsName, Dir: o.dir, Log: o.log}); err != nil {
		return nil, fmt.Errorf("restoring the jobs: %w", err)
	}
	l.service, err = jobs.Open(ctx, jobs.Options{
		Log: l.log, Blobs: l.blobs, Node: o.dir.ID(), Logger: o.log, Registerer: o.reg, Notify: o.notify,
	})
	if err != nil {
		return nil, errors.Join(err, l.log.Close())
	}
	return l, nil
}

// gateway is what the data plane needs of it.
func (l *later) gateway() *gateway.Jobs {
	if l == nil {
		return nil
	}
	return &gateway.Jobs{Service: l.service, Blobs: l.blobs}
}

// close gives back what is claimed and closes the log. The gateway has done the first already, if there was one.
func (l *later) close(ctx context.Context) error {
	err := l.service.Close(ctx)
	if errors.Is(err, jobs.ErrClosed) {
		err = nil
	}
	return errors.Join(err, l.log.Close())
}
