# One word a task; .ci/run and CONTRIBUTING.md use the same words. `make help` lists them.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
APP ?= examples.hello:app
# Crates that are no members of the workspace.
BENCH = bench/epoll bench/load
# Most tests wait for a server most of the time: two at once for each CPU take a third of the time.
SIDE_BY_SIDE ?= --numprocesses $(shell expr 2 '*' `nproc`) --dist worksteal

.PHONY: help serve test lint rust python interop frameworks autobahn conformance advisories docs fuzz bench clean

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

serve: $(VENV)/.installed ## serve an example application on http://127.0.0.1:8000 (APP=module:attribute for another)
	$(BIN)/ferricorn $(APP)

test: lint rust python frameworks autobahn ## everything that CI checks

lint: $(VENV)/.tested ## formatting, clippy, the crates' documentation, arrows and licences, ruff, mypy, stubtest
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	set -e; for crate in $(BENCH) fuzz; do cargo fmt --check --manifest-path $$crate/Cargo.toml; done
	set -e; for crate in $(BENCH); do \
	    cargo clippy --quiet --target-dir target/bench --manifest-path $$crate/Cargo.toml -- -D warnings; done
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
	@if cargo deny --version >/dev/null 2>&1; then set -x; cargo deny --log-level error check bans licenses sources; else \
	    echo "cargo-deny is not installed: tests/test_layers.py alone holds what deny.toml says"; fi
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --strict tests --exclude tests/frameworks/apps/
	$(BIN)/mypy --strict conformance
	$(BIN)/mypy --strict deploy/docker/start.py
	$(BIN)/python -m mypy.stubtest ferricorn._ferricorn --allowlist tests/stubtest.allow

rust: ## the crates' tests, and the Rust examples
	cargo test
	cargo build --examples
	cargo test --quiet --target-dir target/bench --manifest-path bench/load/Cargo.toml

python: $(VENV)/.tested ## the Python tests, over real sockets
	$(BIN)/pytest $(SIDE_BY_SIDE) tests bench/test_harness.py conformance --ignore tests/frameworks --ignore tests/interop/programs

interop: $(VENV)/.tested ## curl, nghttp and Chromium over HTTP/2 and TLS (needs all three: see CONTRIBUTING.md)
	$(BIN)/pytest tests/interop

frameworks: $(VENV)/.tested ## Django, FastAPI, Starlette, Quart, Litestar, Falcon and Responder applications
	$(BIN)/pytest $(SIDE_BY_SIDE) tests/frameworks

autobahn: $(VENV)/.tested ## a part of the Autobahn WebSocket suite, over HTTP/1.1 and HTTP/2 (needs a Python 2.7)
	$(BIN)/python -m conformance.autobahn --quick
	$(BIN)/python -m conformance.autobahn --quick --http2

conformance: $(VENV)/.tested ## all 517 cases of the Autobahn WebSocket suite, over HTTP/1.1 and HTTP/2
	$(BIN)/python -m conformance.autobahn
	$(BIN)/python -m conformance.autobahn --http2

advisories: ## known faults of what is built on (needs cargo-deny, and its database over the network)
	cargo deny check advisories

docs: $(VENV)/.installed ## write docs/options.md anew from the options' declaration
	$(BIN)/python -m ferricorn.reference > docs/options.md

fuzz: ## a minute on each fuzz target (needs cargo-fuzz; see fuzz/README.md)
	mkdir -p fuzz/corpus/hpack fuzz/corpus/http2_connection fuzz/corpus/http1_input fuzz/corpus/http1_application fuzz/corpus/proxies fuzz/corpus/websocket_session
	cd fuzz && $(FUZZ) --no-trace-compares hpack corpus/hpack -- $(FUZZ_LIMITS) -max_len=64
	cd fuzz && $(FUZZ) http1_input corpus/http1_input seeds/http1_input -- $(FUZZ_LIMITS) -max_len=1024 -dict=http1.dict
	cd fuzz && $(FUZZ) http1_application corpus/http1_application -- $(FUZZ_LIMITS) -max_len=256
	cd fuzz && $(FUZZ) --no-trace-compares http2_connection corpus/http2_connection -- $(FUZZ_LIMITS) -max_len=100
	cd fuzz && $(FUZZ) proxies corpus/proxies seeds/proxies -- $(FUZZ_LIMITS) -max_len=300
	cd fuzz && $(FUZZ) --no-trace-compares websocket_session corpus/websocket_session -- $(FUZZ_LIMITS) -max_len=100

FUZZ = RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none
FUZZ_LIMITS = -max_total_time=60

bench: $(VENV)/.installed ## compare with every installed peer: see bench/README.md
	$(BIN)/python bench/run.py

clean: ## remove what the others made
	rm -rf $(VENV) target

# The wheel is built anew when a source of it has changed.
SOURCES := $(shell find crates python -name '*.rs' -o -name '*.py' -o -name '*.pyi' -o -name Cargo.toml) Cargo.toml Cargo.lock pyproject.toml

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip

$(VENV)/.installed: $(VENV)/bin/python $(SOURCES)
	$(BIN)/pip install --quiet '.[standard]'
	touch $@

# Installs all that `.installed` does, so that the wheel is built once.
$(VENV)/.tested: $(VENV)/bin/python $(SOURCES) tests/frameworks/requirements.txt
	$(BIN)/pip install --quiet '.[test]' -r tests/frameworks/requirements.txt
	touch $(VENV)/.installed $@
