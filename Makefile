# The commands of the project. `make help` lists them.
SHELL := /bin/bash
GO ?= go
LINT := $(CURDIR)/.tools/golangci-lint
# Modules that have tests of their own; each is tested apart.
MODULES := . $(patsubst %/go.mod,%,$(wildcard bench/go.mod interop/*/go.mod))
PACKAGE ?= ./...
RUN ?= .

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Install what the tests need: redis-server, and Medusa's packages where Node.js can
	@scripts/setup.sh
	@exec 3>&1; why=$$(scripts/setup-medusa.sh 2>&1 >&3) || echo "--- SKIP: interop/medusa: $$why"

.PHONY: demo
demo: ## Oversell without a lock, then sell right: in memory, and on Redis with three processes
	@GO="$(GO)" scripts/demo.sh

.PHONY: test
test: setup vet lint ## Install what is needed, then vet, lint, and run all tests with the race detector
	@set -e; for m in $(MODULES); do (cd $$m && $(GO) test -race -timeout 30m ./...); done

.PHONY: vet
vet:
	@set -e; for m in $(MODULES); do (cd $$m && $(GO) vet ./...); done

.PHONY: lint
lint: $(LINT) ## Run the linters, and check formatting and go.mod
	@$(LINT) run ./...
	@$(GO) mod tidy -diff
	@test -z "$$(gofmt -l .)" || { echo "not gofmt-ed:"; gofmt -l .; exit 1; }

$(LINT): tools/go.mod tools/go.sum
	@echo "building the linters (once, about two minutes)"
	@mkdir -p $(dir $(LINT))
	@$(GO) build -C tools -o $(LINT) github.com/golangci/golangci-lint/v2/cmd/golangci-lint

.PHONY: bench
bench: ## Run the benchmarks
	@$(GO) test -run '^$$' -bench . -benchmem ./...

.PHONY: bench-locks
bench-locks: setup ## Compare the locks on Redis with other libraries: make bench-locks ARGS="-json report.json"
	@cd bench && $(GO) run ./cmd/locks $(ARGS)

.PHONY: bench-engine
bench-engine: ## Measure the workflow engine: make bench-engine ARGS="-json report.json"
	@cd bench && $(GO) run ./cmd/engine $(ARGS)

.PHONY: bench-restart
bench-restart: ## Restart on a SQLite file with far more executions than fit into memory: make bench-restart ARGS="-folder /a/disk"
	@cd bench && $(GO) run ./cmd/restart $(ARGS)

.PHONY: interop
interop: setup ## Run the tests beside Medusa, a minute of contest among them: make interop ARGS="-contest=5s -run Starves"
	@cd interop/medusa && $(GO) test -race -v -timeout 600s . -contest=1m $(ARGS)

.PHONY: repeat
repeat: setup ## Run tests 50 times: make repeat PACKAGE=./locking/... RUN=TestName
	@$(GO) test -race -count=50 -run '$(RUN)' $(PACKAGE)

.PHONY: histories
histories: setup ## Judge long histories of locks in trouble: make histories ARGS="-histories.times=10 -histories.seed=1"
	@$(GO) test -race -timeout 2h -v -run 'TestHistories' ./internal/lockhistory ./locking/lockmem
	@$(GO) test -race -timeout 2h -v -run 'TestHistories' ./locking/lockredis -args $(ARGS)

.PHONY: sim
sim: ## Make many histories of engines in trouble: make sim ARGS="-seeds=100000 -for=1h -first=1"
	@$(GO) test -race -timeout 0 -v -run '^TestSimulation$$' ./internal/simulation -args -seeds=100000 -for=10m $(ARGS)

.PHONY: tidy
tidy: ## Tidy every module, and format
	@set -e; for m in $(MODULES) tools; do (cd $$m && $(GO) mod tidy); done
	@gofmt -w .
