# `make demo` and `make test` do all their own set-up. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
CARGO ?= cargo
export CARGO_TERM_COLOR ?= auto
CLUSTER := target/debug/weir-cluster

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: policies
policies: ## Build the built-in policies to WebAssembly
	@policies/build.sh

.PHONY: build
build: policies ## Build the programs
	$(CARGO) build --workspace

.PHONY: tools
tools: build ## Build the control plane, collectors and stores from Go modules, once, into a cache
	$(CLUSTER) build --all

.PHONY: demo
demo: build ## Show Weir at work on a real cluster
	$(CARGO) run --quiet -p weir-demo

.PHONY: cluster
cluster: build ## Keep a cluster running and print its kubeconfig
	$(CLUSTER) up --level $${LEVEL:-control-plane}

.PHONY: test
test: tools ## Run all tests
	$(CARGO) test --manifest-path policies/Cargo.toml --workspace
	$(CARGO) test --workspace --no-run
	$(CLUSTER) run --level control-plane -- $(CARGO) test --workspace --exclude weir-e2e --exclude weir-cluster
	$(CARGO) test -p weir-cluster -- --test-threads=1 --nocapture
	$(CARGO) test -p weir-e2e -- --test-threads=1 --nocapture

.PHONY: bench
bench: policies ## Print measured figures beside the promises
	$(CARGO) run --quiet --release -p weir-bench

.PHONY: lint
lint: policies ## Format, lints, licences, generated files, docs
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path policies/Cargo.toml --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	hack/core-is-pure.sh
	hack/cargo-deny.sh
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet

.PHONY: generate
generate: ## Write the generated files (crds/yaml)
	WEIR_UPDATE=1 $(CARGO) test -p weir-crds --test generated

.PHONY: ci
ci: lint test ## What every change has to pass
