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
	@# One test among the targets gives dependencies the features that they have for all tests: nothing is compiled twice.
	$(CARGO) build --workspace --bins --test generated

.PHONY: tools
tools: build ## Build the control plane, collectors and stores from Go modules, once, into a cache
	$(CLUSTER) build --all

.PHONY: demo
demo: build ## Show Weir at work on a real cluster
	target/debug/weir-demo $(ARGS)

.PHONY: cluster
cluster: build ## Keep a cluster running and print its kubeconfig
	$(CLUSTER) up --level $${LEVEL:-control-plane}

.PHONY: test
test: policies ## Run all tests
	$(CARGO) build --workspace --all-targets
	$(CLUSTER) build --all
	$(CARGO) test --manifest-path policies/Cargo.toml --workspace
	$(CLUSTER) run --level control-plane -- $(CARGO) test --workspace -- --test-threads=2

.PHONY: bench
bench: policies ## Measure what docs/design.md promises, and print a table (half an hour)
	$(CARGO) build --release -p weir-bench -p weir
	target/release/weir-bench $(or $(PART),all) $(ARGS)

.PHONY: lint
lint: policies check ## Lints, licences, docs
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	hack/cargo-deny.sh
	@# Tables of modules also name private ones, for readers of the source; docs of the API are what kubectl explain prints.
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links -A rustdoc::bare_urls" $(CARGO) doc --workspace --no-deps --quiet

.PHONY: check
check: ## Format and the purity of the core
	$(CARGO) fmt --all --check
	hack/core-is-pure.sh

.PHONY: examples
examples: build ## Build the examples in every language and ask them the same cases
	hack/examples.sh target/debug/weir

.PHONY: generate
generate: ## Write the generated files (crds/yaml, bindings of the policy templates)
	WEIR_UPDATE=1 $(CARGO) test --workspace --test generated
	cd policies && $(CARGO) run --quiet --package weir-pack -- bindings c template/support/c/weir ../wit
	cd policies && $(CARGO) run --quiet --package weir-pack -- bindings go template/support/go ../wit

# The tests on real nodes take longest and want a machine for themselves: `make test` runs them.
NODE_TESTS := config::a_configuration_that_is_refused health::what_is_wrong_with_pods partitions::no_record_is_lost records::no_record_is_lost rights::the_operator_needs silence:: surge::a_surge

.PHONY: ci
ci: lint ## What every change has to pass: lints, and all tests but those of weir-e2e on real nodes
	$(CARGO) build --workspace --all-targets
	$(CLUSTER) build --all
	$(CARGO) test --manifest-path policies/Cargo.toml --workspace
	$(CLUSTER) run --level control-plane -- $(CARGO) test --workspace -- --test-threads=2 $(addprefix --skip ,$(NODE_TESTS))
