# make run | test | torture | lint | bench | clean: each sets up .venv by itself when needed; all work offline afterwards.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The first interpreter that answers and is 3.11 or 3.12 (a version manager's shim may exist and not answer).
PYTHON ?= $(shell for p in python3.12 python3.11 python3 python; do \
  $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null && { echo $$p; break; }; done)
JOBS ?= 2
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test torture lint bench clean

run: $(STAMP)
	$(BIN)/sfsim run scenarios/quickstart.toml --jobs $(JOBS)

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS)

torture: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.torture.mutations --jobs $(JOBS)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.torture.kills
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.torture.flips

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "sfsim needs Python 3.11 or 3.12 (make PYTHON=/path/to/python)" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/sfsim warm
	touch $@
