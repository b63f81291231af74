package gateway

import "github.com/sluicegate/sluice/coalesce"

type flushes struct{}

func (*flushes) Observe(coalesce.Flush)          {}
func (*flushes) Cached(route string, key uint64) {}
