# Mercato. `make run` is all that a fresh Debian needs; `make help` lists the rest.
# Everything is built with one profile, --release, so that RocksDB's C++ is compiled once.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run demo test bench deb container fmt lint ci deps test-deps test-packages nak

# ccache makes a rebuilt RocksDB cheap; a new shell may not have ~/.cargo/bin on its PATH.
export PATH := $(addsuffix :,$(wildcard /usr/lib/ccache))$(PATH):$(HOME)/.cargo/bin

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 10

run: deps ## Install what is missing, build, and start the relay
	cargo run --release --locked --package mercato -- relay

demo: deps ## Show a relay, a customer and providers at work
	cargo run --release --locked --package mercato -- demo

# The tests start the real binary, so it is built first.
test: test-deps ## Run every test
	cargo build --release --locked --workspace
	cargo test --release --locked --workspace --no-fail-fast

SCENARIO ?= publish --connections 10
bench: deps ## Measure a relay of our own: make bench SCENARIO="jobs --rate 100"
	cargo run --release --locked --package mercato -- bench $(SCENARIO)

CARGO_DEB_ROOT := .cache/cargo-deb
deb: deps ## Build the Debian package: target/debian/mercato_*.deb
	@test -x $(CARGO_DEB_ROOT)/bin/cargo-deb || cargo install cargo-deb --locked --root $(CARGO_DEB_ROOT)
	PATH="$(CURDIR)/$(CARGO_DEB_ROOT)/bin:$$PATH" cargo deb --package mercato --locked

CONTAINER ?= $(firstword $(notdir $(wildcard /usr/bin/podman /usr/bin/docker /usr/local/bin/docker)) docker)
container: ## Build the container image `mercato`, by podman or docker
	$(CONTAINER) build --file Containerfile --tag mercato .

fmt: ## Format the code
	cargo fmt --all

lint: deps ## Check the formatting, and run clippy with warnings denied
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets --locked -- -D warnings

ci: ## Run what continuous integration runs
	.ci/run

deps:
	@scripts/install-deps build

JS := tests/clients/js
JS_MODULES := $(patsubst %/package-lock.json,%/node_modules/.package-lock.json,$(wildcard $(JS)/package-lock.json))

test-deps: test-packages $(JS_MODULES)

test-packages:
	@scripts/install-deps test

# npm writes this file last, so it dates the installation.
$(JS)/node_modules/.package-lock.json: $(JS)/package-lock.json | test-packages
	npm ci --no-audit --no-fund --prefix $(JS)
	@touch $@

NAK_VERSION ?= v0.9.1
nak: ## Build the client nak for the tests that use it; needs Go
	GOBIN=$(CURDIR)/tests/clients/bin go install github.com/fiatjaf/nak@$(NAK_VERSION)
