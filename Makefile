# SPDX-License-Identifier: Apache-2.0
# Copyright The MidoInsights authors
#
# make demo   runs a simulated cloud, the plugin and the collector, and opens nothing: it prints the address of the manager
# make test   passes everything that must hold; what CI calls
# make help   all targets

SHELL := /bin/bash
TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
BIN := $(TARGET)/debug
TOOLS := $(TARGET)/tools
LIBRARY := $(BIN)/libmidonet_insights.so
TEST_LIBRARY := $(BIN)/examples/libmidonet_insights_hooks.so
MVN := mvn --batch-mode --no-transfer-progress -q
DENY_VERSION := 0.20.2

.PHONY: help setup setup-test setup-packages build jar demo test lint test-rust test-java test-browser packages repos test-packages \
	test-packages-full test-packages-here test-packages-release bench bench-rooms bench-whole bench-history bench-peers bench-growth clean

help: ## all targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

setup: ## install what a fresh Debian machine lacks to build
	@tests/tools/setup

setup-test: ## install what a fresh Debian machine lacks to test
	@tests/tools/setup test

setup-packages: ## install what a fresh Debian machine lacks to make packages
	@tests/tools/setup packages

# Everything is built in one way, tests included: another choice of crates would mean other features and the column store a second time.
build: setup ## all Rust programs, the plugin's library, the tests
	cargo build --locked --workspace --all-targets

jar: setup ## the minion's jar
	cd jvm-shim && $(MVN) -DskipTests package
	tests/daemon/bin/build

demo: build jar ## everything, running, until Ctrl-C
	@exec $(BIN)/demo

test: setup-test lint test-rust test-java test-browser test-packages-here ## everything that must hold

lint: setup $(TOOLS)/bin/cargo-deny ## formatting, lints, boundaries between rooms, licences
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	$(TOOLS)/bin/cargo-deny --locked check --hide-inclusion-graph bans licenses sources

$(TOOLS)/bin/cargo-deny:
	cargo install --quiet --locked --version $(DENY_VERSION) --root $(TOOLS) cargo-deny

test-rust: build jar ## unit, property, golden and integration tests; everything together, parts of it killed
	cargo test --locked --workspace

test-java: build jar ## the minion on the real library
	cd tests/daemon && $(MVN) verify
	cd jvm-shim && $(MVN) verify -Dinsights.library=$(LIBRARY) -Dinsights.test.library=$(TEST_LIBRARY)

test-browser: build ## the pages in a real browser
	cd tests/browser && npm ci --no-audit --no-fund --silent && npm test

# PROFILE=dev takes the collector that `make build` made, for trying things; VERSION gives the packages another version.
packages: setup-packages ## all packages, as operators get them, in target/packages/dist (half an hour of a processor)
	packaging/make-packages --profile $(or $(PROFILE),release) $(if $(VERSION),--version $(VERSION))

repos: setup-packages ## signed repositories of them in target/packages/repositories: KEY=, URL=
	packaging/make-repos --packages $(TARGET)/packages/dist --out $(TARGET)/packages/repositories --key '$(KEY)' $(if $(URL),--url $(URL))

test-packages: setup-packages build jar ## packages, built, signed, installed into roots of their own, upgraded and removed
	packaging/container/check
	tests/packages/run

test-packages-here: setup-packages build jar ## the same if this machine lets mount
	packaging/container/check
	tests/packages/run --where-possible

test-packages-full: setup-packages build jar ## the same, and everything in them compiled a second time
	tests/packages/run --full

test-packages-release: setup-packages build jar ## the same with what `make packages` left in target/packages/dist
	tests/packages/run --packages $(TARGET)/packages/dist

# Benchmarks run in the profile of the tests unless told otherwise; after `cargo build --locked --release --workspace --bins --examples`,
# `make bench BIN=target/release`. Of BIN alone the programs are taken that are measured.
RUNNER := $(TARGET)/debug/bench
FIGURES := docs/benchmarks

bench: bench-rooms bench-whole bench-history bench-peers bench-growth ## all benchmarks, and the pages of their figures

bench-peers: build ## the same flows to us, nfdump, GoFlow2, ClickHouse and zstd
	tests/bench/tools/install
	rm -rf target/bench-peers
	$(RUNNER) --bin $(BIN) --dir target/bench-peers --out $(FIGURES)/peers.json compare
	rm -rf target/bench-peers
	$(RUNNER) pages

bench-growth: build ## how cost grows with sites and with stored flows
	rm -rf target/bench-growth
	$(RUNNER) --bin $(BIN) --dir target/bench-growth --out $(FIGURES)/growth.json growth
	rm -rf target/bench-growth
	$(RUNNER) pages

bench-history: build ## the topology of any time, what differs between two times
	$(firstword $(wildcard $(BIN)/examples/history) $(TARGET)/debug/examples/history) > $(FIGURES)/history.txt
	$(RUNNER) pages

bench-whole: build jar ## the whole way of flow records: rates, CPU time, bytes on the wire and at rest
	rm -rf target/bench-whole
	$(BIN)/throughput
	$(BIN)/throughput --agents --records 200000 --rate 4000 --dir target/bench-whole
	$(BIN)/examples/columns target/bench-whole/collector/store

bench-rooms: setup ## benchmarks of the small rooms
	cargo bench --locked -p midonet -p insights-protocol -p insights-spool -p insights-gateway

clean: ## remove what was built
	cargo clean
	rm -rf jvm-shim/*/target tests/daemon/target tests/daemon/*/target tests/browser/node_modules
