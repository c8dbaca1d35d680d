# One word a task; .ci/run and CONTRIBUTING.md use the same words. `make help` lists them.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
APP ?= examples.hello:app

.PHONY: help serve test lint rust python frameworks docs fuzz bench clean

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

serve: $(VENV)/.installed ## serve an example application on http://127.0.0.1:8000 (APP=module:attribute for another)
	$(BIN)/ferricorn $(APP)

test: lint rust python frameworks ## everything that CI checks

lint: $(VENV)/.tested ## formatting, clippy, ruff, mypy, stubtest
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest ferricorn._ferricorn --allowlist tests/stubtest.allow

rust: ## the crates' tests, and the Rust examples
	cargo test
	cargo build --examples

python: $(VENV)/.tested ## the Python tests, over real sockets
	$(BIN)/pytest tests --ignore tests/frameworks

frameworks: $(VENV)/.tested ## Django, FastAPI, Starlette, Quart, Litestar, Falcon and Responder applications
	$(BIN)/pytest tests/frameworks

docs: $(VENV)/.installed ## write docs/options.md anew from the options' declaration
	$(BIN)/python -m ferricorn.reference > docs/options.md

fuzz: ## a minute on each fuzz target (needs cargo-fuzz)
	fuzz/run 60

bench: $(VENV)/.installed ## compare with every installed peer: see bench/README.md
	$(BIN)/python bench/run.py

clean: ## remove what the others made
	rm -rf $(VENV) target

# The wheel is built anew when a source of it has changed.
SOURCES := $(shell find crates python -name '*.rs' -o -name '*.py' -o -name '*.pyi' -o -name Cargo.toml) Cargo.toml pyproject.toml

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip

$(VENV)/.installed: $(VENV)/bin/python $(SOURCES)
	$(BIN)/pip install --quiet '.[standard]'
	touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(BIN)/pip install --quiet '.[test]'
	$(BIN)/pip install --quiet -r tests/frameworks/requirements.txt
	touch $@
