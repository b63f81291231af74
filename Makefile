# make help lists the targets.
.DEFAULT_GOAL := help
FUZZTIME ?= 60s
FUZZ ?= .
GO ?= go

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: build
build: ## build ./bin/sluice, static and reproducible
	@# grpcnotrace leaves out gRPC's trace pages, whose templates make the linker keep every method: 13 MB.
	CGO_ENABLED=0 $(GO) build -trimpath -tags grpcnotrace -o bin/sluice ./cmd/sluice

.PHONY: reproducible
reproducible: ## build twice, from two directories, and compare
	@set -e; tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	cp -r . "$$tmp/elsewhere"; \
	for dir in . "$$tmp/elsewhere"; do (cd $$dir && CGO_ENABLED=0 $(GO) build -buildvcs=false -trimpath -tags grpcnotrace -o "$$tmp/$$(basename $$PWD).bin" ./cmd/sluice); done; \
	sha256sum "$$tmp"/*.bin; cmp "$$tmp"/*.bin && echo "the same, byte for byte"

.PHONY: sbom
sbom: ## list what is in the program, as CycloneDX, in bin/sluice.cdx.json
	@mkdir -p bin
	$(GO) tool -modfile=tools/sbom/go.mod cyclonedx-gomod app -json -main cmd/sluice -output bin/sluice.cdx.json .

.PHONY: man
man: ## write manual pages into bin/man, and completions for shells into bin/completions
	@mkdir -p bin/completions
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(GO) run ./cmd/sluice man bin/man
	@for shell in bash zsh fish powershell; do $(GO) run ./cmd/sluice completion $$shell >bin/completions/sluice.$$shell; done

.PHONY: test
test: ## run the tests
	$(GO) test ./...

# Where the tests of python/ install it, with what it needs.
PYTHON_VENV ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sluice/python

.PHONY: test-python
test-python: build ## run the tests of python/ (needs python3-venv, and PyPI the first time)
	[ -x $(PYTHON_VENV)/bin/pip ] || python3 -m venv $(PYTHON_VENV)
	$(PYTHON_VENV)/bin/pip install --quiet --disable-pip-version-check ./python pytest
	SLUICE_BIN=$(CURDIR)/bin/sluice $(PYTHON_VENV)/bin/python -m pytest -q -p no:cacheprovider python/tests

.PHONY: ci
ci: ## run what must hold before a change lands
	./.ci/run

.PHONY: proto
proto: ## make the code of proto/ anew (needs protoc)
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
	GOBIN=$$dir $(GO) install -modfile=tools/go.mod google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc && \
	PATH="$$dir:$$PATH" protoc -I proto --go_out=. --go_opt=module=github.com/sluicegate/sluice \
		--go-grpc_out=. --go-grpc_opt=module=github.com/sluicegate/sluice proto/*.proto && \
	protoc -I proto --descriptor_set_out=python/sluice_gym/protocol.binpb proto/*.proto

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (60s) each
	@set -e; for file in $$(grep -rlE '^func Fuzz' --include='*_test.go' $(FUZZ) | sort); do \
		dir=$$(dirname $$file); \
		for target in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' $$file); do \
			echo "fuzz $$dir $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$dir; \
		done; \
	done

.PHONY: soak
soak: ## a million requests, aborted connections, nodes killed and power cut: nothing may grow, nothing may be lost
	SLUICE_SOAK=1 $(GO) test ./test/e2e -run 'TestSoak$$' -count 1 -v -timeout 60m
	SLUICE_SOAK=1 $(GO) test -race ./test/e2e -run TestSharedSoak -count 1 -v -timeout 60m
	SLUICE_SOAK=1 $(GO) test ./test/e2e -run Market -count 1 -v -timeout 120m
	SLUICE_SOAK=1 $(GO) test ./internal/journal -count 1 -v -timeout 60m
	SLUICE_SOAK=1 $(GO) test ./book -run Seeds -count 1 -timeout 60m
	SLUICE_SOAK=1 $(GO) test ./internal/market -run Model -count 1 -timeout 60m

.PHONY: screenshot
screenshot: ## make the picture of the dashboard, docs/dashboard.png, from the demo (needs chromium; 2 minutes)
	$(GO) run ./docs/screenshot

.PHONY: bench
bench: ## make every comparison in one run, and write bench/RESULTS.md and its plots (needs nginx, wrk, varnish, haproxy, redis-server; 25 minutes)
	$(GO) run ./bench/report
.PHONY: cluster
cluster: build ## run nginx, Redis, three NATS servers and three nodes of sluice store; CLUSTER="-restart 5s" passes flags (needs nginx and redis-server)
	@$(GO) build -o bin/cluster ./deploy/cluster
	@./bin/cluster -sluice bin/sluice $(CLUSTER)

.PHONY: bench-proxy
bench-proxy: ## compare with nginx as a reverse proxy (needs nginx and wrk)
	$(GO) run ./bench/proxy

.PHONY: bench-counter
bench-counter: ## compare the counter with nginx's return 200 of the same size (needs nginx and wrk)
	$(GO) run ./bench/counter

.PHONY: bench-limiters
bench-limiters: ## compare the library gcra with other limiters
	cd bench/limiters && $(GO) test -run '^$$' -bench . -cpu 2

.PHONY: bench-book
bench-book: ## measure the library book beside a heap, a sorted slice and a list for each price
	$(GO) test -run '^$$' -bench . -cpu 1 -timeout 30m ./book

.PHONY: bench-work
bench-work: ## measure the library work, and compare it with a channel and other pools
	$(GO) test -run '^$$' -bench . -cpu 2 ./work
	cd bench/pools && $(GO) test -run '^$$' -bench . -cpu 2

.PHONY: bench-market
bench-market: ## measure sluice market against its bars: synced orders, replay, start (needs nginx and wrk)
	$(GO) run ./bench/market

.PHONY: bench-jobs
bench-jobs: ## measure jobs against their bars: synced requests, no-op jobs, a million queued (needs nginx and wrk)
	$(GO) run ./bench/jobs

.PHONY: bench-limit
bench-limit: ## measure what the limit stage costs a route (needs nginx and wrk)
	$(GO) run ./bench/limit

.PHONY: bench-coalesce
bench-coalesce: ## measure shared calls against their bars, counted at the origin (needs nginx and wrk)
	$(GO) run ./bench/coalesce

.PHONY: bench-flush
bench-flush: ## measure the flush policies under three kinds of traffic, as a table in Markdown
	$(GO) run ./bench/coalesce -table

.PHONY: eval
eval: ## compare the flush policies with the best schedules, and draw the plots of docs/flush-policy.md
	$(GO) run ./cmd/sluice eval --plots docs/plots

.PHONY: bench-policy
bench-policy: ## measure what the learned policy costs in the gateway, beside timer, balance and immediate
	$(GO) run ./bench/coalesce -costs strict

.PHONY: policy
policy: ## train the flush policy that is shipped, anew: some minutes, the same each time
	$(GO) run ./cmd/sluice train --out flush/policy.json

.PHONY: sim-lease
sim-lease: ## play leased limits on 1,000 nodes and 1,000,000 keys, in virtual time
	$(GO) run ./bench/simlease

.PHONY: bench-shared
bench-shared: ## measure shared limits on a redis-server of their own
	$(GO) test -run '^$$' -bench . -benchtime 2s ./internal/redislimit
