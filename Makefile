# Homeostat: one place for every command. `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test test-pure test-cluster test-product bench score cluster cluster-down lint crds chart sim proof upgrade
.PHONY: coverage mutants quiet-week churn scenarios fit scale-compare scale-node scenario-water

NAME ?= homeostat
PROFILE ?= release
E2E = cargo run --quiet --package homeostat-e2e --bin e2e --
# Prints what a step does and how long it took.
STEP = ./scripts/step

# Everything else runs on the test cluster, or on none: nobody should believe that it used another one.
ifneq ($(strip $(CONTEXT)$(REGISTRY)),)
REFUSED := $(filter-out demo scenarios help,$(MAKECMDGOALS))
ifeq ($(findstring command,$(origin CONTEXT)$(origin REGISTRY)),)
# A variable of the environment may be meant for something else where no cluster is used.
REFUSED := $(filter test test-cluster test-product proof upgrade scenario-water scale-node cluster cluster-down,$(REFUSED))
endif
ifneq ($(REFUSED),)
$(error CONTEXT and REGISTRY name a cluster of your own, and only `make demo` and `make scenarios` can use one: leave them out for `make $(REFUSED)`)
endif
endif

help: ## List the commands
	@printf 'Homeostat: a self-managing AIOps control plane for Kubernetes\n\n'
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | awk -F'\t' '{printf "  make %-14s %s\n", $$1, $$2}'
	@printf '\nSettings: FAST=1 FULL=1 SOURCE=1 (make demo), CONTEXT=name and REGISTRY=host/path (your own cluster: make demo, make scenarios), NAME=cluster\n'

demo: ## Real cluster, real application, real faults; Homeostat beside plain Kubernetes (<= 30 min; FAST=1 about 5 min)
	@$(STEP) "Preparing tools" ./scripts/prepare demo
	@$(STEP) "Building the harness" cargo build --quiet --release --package homeostat-e2e
	@./target/release/e2e demo --name $(NAME) $(if $(FAST),--fast) $(if $(FULL),--full) $(if $(SOURCE),--source) \
	  $(if $(CONTEXT),--context $(CONTEXT)) $(if $(REGISTRY),--registry $(REGISTRY)) $(if $(SEED),--seed $(SEED)) $(ARGS)

test: ## Lint, then tests: pure, scripted API server, real API server, real node; ends with counts
	@./scripts/test all

test-pure: ## The tests that need no cluster
	@./scripts/test pure

test-cluster: ## The tests on the test cluster (needs root, Go)
	@./scripts/test cluster

test-product: ## The installed product on a real node: seventeen scenarios (ARGS=part of a name; root, Go, a quiet machine)
	@$(STEP) "Preparing tools" ./scripts/prepare rust
	@$(STEP) "Building the programs" cargo build --quiet --workspace
	@cargo test --quiet --package homeostat-e2e --test product -- $(ARGS)

sim: ## The proof in virtual time: every plan, 10,000 drawn histories, every mutation (SEED=n or PLAN=text tells one)
	@$(STEP) "Preparing tools" ./scripts/prepare rust
	@$(STEP) "Building the simulator" cargo build --quiet --release --package homeostat-sim
	@./target/release/sim $(if $(SEED),--seed $(SEED)) $(if $(PLAN),--plan $(PLAN)) $(ARGS)

proof: ## The proof on a real API server: plans, kill loop, kill switch, frozen leader, kills for memory in the list, old API server (ARGS="--only plans --every 3"; root, Go)
	@$(STEP) "Preparing tools" ./scripts/prepare cluster
	@$(STEP) "Building the harness" cargo build --quiet --release --package homeostat-e2e
	@$(STEP) "Building the product" cargo build --quiet --release --package homeostat --package food-delivery
	@./target/release/e2e proof $(ARGS)

upgrade: ## From earlier versions to this one and one step back, 50 actions open at each change (REVS="rev1 rev2 rev3"; root, Go)
	@$(STEP) "Preparing tools" ./scripts/prepare cluster
	@$(STEP) "Building earlier versions" ./scripts/earlier $(or $(REVS),HEAD~180 HEAD~90 HEAD~30)
	@$(STEP) "Building the harness" cargo build --quiet --release --package homeostat-e2e
	@$(STEP) "Building the product" cargo build --quiet --release --package homeostat --package food-delivery
	@./target/release/e2e proof --only upgrade $$(sed 's/^/--earlier /' target/earlier/paths) $(ARGS)

coverage: ## Branches of guards and ledger that their crate's tests take (>= 95 %), by the compiler's own counters
	@$(STEP) "Preparing tools" ./scripts/prepare rust
	@$(STEP) "Counting branches" ./scripts/coverage

mutants: ## Small changes of guards and ledger that the crate's tests must notice (>= 90 %; a quarter of an hour)
	@$(STEP) "Preparing tools" ./scripts/prepare mutants
	@$(STEP) "Changing the code" ./scripts/mutants $(ARGS)

bench: ## Speed and memory into target/bench/summary.json, with the figures of the last demo and the last quiet run
	@$(STEP) "Preparing tools" ./scripts/prepare rust
	@$(STEP) "Measuring" ./scripts/bench

score: ## Models on benchmark data, beside the best known figures (DATA=folder, SCORER=file)
	@$(STEP) "Preparing tools" ./scripts/prepare rust
	@DATA="$(DATA)" SCORER="$(SCORER)" SUITES="$(SUITES)" ./scripts/score

scenarios: ## Every kind of fault of the catalogue on a real node: healed or handed over as it must be (ARGS="--kinds hung --runs 3")
	@$(STEP) "Preparing tools" ./scripts/prepare demo
	@$(STEP) "Building the harness" cargo build --quiet --release --package homeostat-e2e
	@./target/release/e2e scenarios --name $(NAME) \
	  $(if $(CONTEXT),--context $(CONTEXT)) $(if $(REGISTRY),--registry $(REGISTRY)) $(if $(SEED),--seed $(SEED)) $(ARGS)

scenario-water: ## A water utility's tenants on a real cluster: queues, workers from and to zero, Jobs (TENANTS=n HOURS=n SEED=n)
	@$(STEP) "Preparing tools" ./scripts/prepare cluster
	@$(STEP) "Building the harness" cargo build --quiet --release --package homeostat-e2e
	@./target/release/e2e water --name $(NAME) $(if $(TENANTS),--tenants $(TENANTS)) $(if $(HOURS),--hours $(HOURS)) \
	  $(if $(SEED),--seed $(SEED)) $(ARGS)

scale-node: ## A real HPA with metrics-server beside Homeostat on a real node: same service, same load, two lines (TARGET=60 SEED=n)
	@$(STEP) "Preparing tools" ./scripts/prepare cluster
	@$(STEP) "Building the harness" cargo build --quiet --release --package homeostat-e2e
	@./target/release/e2e scale --name $(NAME) $(if $(TARGET),--target $(TARGET)) $(if $(SEED),--seed $(SEED)) $(ARGS)

quiet-week: ## A simulated week of 1,000 workloads without a fault: incidents and actions (WORKLOADS=n DAYS=n SEED=n)
	@$(STEP) "Preparing tools" ./scripts/prepare rust
	@$(STEP) "Building the simulation" cargo build --quiet --release --package homeostat --example quiet_week
	@./target/release/examples/quiet_week $(or $(WORKLOADS),1000) $(or $(DAYS),7) $(or $(SEED),1)

churn: ## A simulated day of 10,000 workloads, 20 changes a second: memory, steps, false alarms (HOURS=n SEED=n WORKLOADS=n)
	@$(STEP) "Preparing tools" ./scripts/prepare rust
	@$(STEP) "Building the simulation" cargo build --quiet --release --package homeostat --example churn
	@./target/release/examples/churn $(or $(HOURS),24) $(or $(SEED),1) $(or $(WORKLOADS),10000)

fit: ## How many tenants' jobs fit 32 vCPU, by policy, in virtual time (SHAPES=file SEEDS=n TENANTS=n DAYS=n POLICY=name; LARGE=1)
	@$(STEP) "Preparing tools" ./scripts/prepare rust
	@$(STEP) "Building the simulator of jobs" cargo build --quiet --release --package homeostat-scale --example fit
	@./target/release/examples/fit $(if $(SHAPES),--shapes $(SHAPES)) $(if $(SEEDS),--seeds $(SEEDS)) \
	  $(if $(TENANTS),--tenants $(TENANTS)) $(if $(DAYS),--days $(DAYS)) $(if $(POLICY),--policy $(POLICY)) \
	  $(if $(LARGE),--large) $(ARGS)
scale-compare: ## Replicas ahead of the load, beside HPA, KEDA and Crane (DATA=folder) into target/scale
	@$(STEP) "Preparing tools" ./scripts/prepare rust
	@$(STEP) "Building the comparison" cargo build --quiet --release --package homeostat-scale --example compare
	@./target/release/examples/compare $(DATA) $(ARGS)

cluster: ## Bring up the test cluster (NAME=homeostat) and print its kubeconfig
	@$(STEP) "Preparing tools" ./scripts/prepare cluster
	@$(STEP) "Bringing up cluster $(NAME)" $(E2E) cluster up --name $(NAME)

cluster-down: ## Remove the test cluster without a trace
	@$(STEP) "Removing cluster $(NAME)" $(E2E) cluster down --name $(NAME)

lint: ## Format, clippy, licences and bans, generated files, docs
	@./scripts/test lint

crds: ## Write crds/generated from the types
	@$(STEP) "Preparing tools" ./scripts/prepare rust
	@$(STEP) "Generating CRDs" cargo run --quiet --package homeostat-crds --bin crdgen

chart: ## Render and check the Helm chart and the static manifest
	@$(STEP) "Rendering the chart" ./scripts/chart
