module github.com/sluicegate/sluice/bench/pools

go 1.26.0

require (
	github.com/panjf2000/ants/v2 v2.12.1
	github.com/sluicegate/sluice v0.0.0
)

require golang.org/x/sync v0.11.0 // indirect

replace github.com/sluicegate/sluice => ../..
