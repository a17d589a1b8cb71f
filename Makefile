# Everything a fresh machine with Python 3.11+ and make needs. No Docker, no root.

SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
# The machine's own uv where there is one; else one of this folder's.
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
UV_REQUIREMENTS := server/dagcall/demo/uv.txt
RUN := $(UV) run --frozen --no-sync
UNIT := tests/unit tests/server tests/project
UNIT_TESTS := -m pytest $(UNIT) -q --numprocesses auto --dist worksteal
TIMES := --durations=30 --durations-min=3

# Python compiles each module once, not in each of the hundreds of processes that the tests start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install demo test check check-code check-units coverage format overload conformance versions clients scale chaos fuzz soak mutate pin bench build package clean

help: ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

.tools/bin/uv: $(UV_REQUIREMENTS)
	@echo "uv is not installed: fetching it into .tools/"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "dagcall needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Name another one: make PYTHON=python3.12 …"; exit 1; }
	@$(PYTHON) -m venv .tools
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r $(UV_REQUIREMENTS)
	@touch $@

.venv/.ready: pyproject.toml uv.lock | $(filter .tools/bin/uv,$(UV))
	@$(UV) sync --frozen --quiet --compile-bytecode
	@touch $@

install: .venv/.ready ## make .venv, ready for work

demo: .venv/.ready ## a real Airflow with example dags, and dagcall in front of it (Ctrl-C stops both)
	@$(RUN) dagcall demo $(ARGS)

test: .venv/.ready ## every test, real Airflows included (15 minutes on 2 cores)
	@$(MAKE) --no-print-directory --jobs=2 check-code coverage
	@$(RUN) pytest $(patsubst %,--ignore %,$(UNIT)) --numprocesses 4 --dist loadfile --no-loadscope-reorder $(TIMES) $(ARGS)

check: .venv/.ready ## format, lint, types, unit tests (a minute and a half on 2 cores)
	@$(MAKE) --no-print-directory --jobs=2 check-code check-units

check-code: .venv/.ready
	@$(UV) lock --check --quiet
	@$(RUN) ruff format --check --quiet
	@$(RUN) ruff check --quiet
	@told=$$($(RUN) lint-imports --no-logo --no-cache) || { echo "$$told"; exit 1; }
	@$(RUN) mypy

check-units: .venv/.ready
	@$(RUN) python $(UNIT_TESTS)

coverage: .venv/.ready ## the unit tests, and the lines that they do not run (2 minutes on 2 cores)
	@$(RUN) coverage erase
	@$(RUN) coverage run $(UNIT_TESTS)
	@$(RUN) coverage combine --quiet
	@$(RUN) coverage report

overload: .venv/.ready ## as many callers as a real Airflow bears, and somebody who overruns it (5 minutes; wants a quiet machine)
	@$(RUN) pytest tests/faults -m overload $(ARGS)

conformance: .venv/.ready ## the official conformance suite of MCP before a real Airflow, and other probes (9 minutes; writes docs/proof.md)
	@$(RUN) pytest tests/conformance -m "long or not long" -o faulthandler_timeout=1800 $(ARGS)

versions: .venv/.ready ## the core of the end-to-end tests on Airflow 3.1.8 and 3.2.2 (8 minutes; writes docs/proof.md)
	@$(RUN) pytest tests/versions -m "long or not long" -o faulthandler_timeout=1800 $(ARGS)

clients: .venv/.ready ## clients that others wrote, each in an environment of its own (6 minutes; writes docs/clients-tested.md)
	@$(RUN) pytest tests/clients -m "long or not long" -o faulthandler_timeout=1800 $(ARGS)

scale: .venv/.ready ## two api-servers, Celery workers and dagcalls behind nginx, and one of each killed (7 minutes; writes docs/proof.md)
	@$(RUN) pytest tests/scale -m long -o faulthandler_timeout=1800 $(ARGS)

fuzz: .venv/.ready ## inputs that are almost right, many of them (10 minutes; writes docs/proof.md)
	@FUZZ_FACTOR=$(or $(FACTOR),10) $(RUN) pytest tests/fuzz $(ARGS)

chaos: .venv/.ready ## faults at random, for ten minutes or SECONDS, the same again with SEED; writes docs/proof.md
	@SEED=$(SEED) SECONDS=$(SECONDS) $(RUN) pytest tests/chaos -m long -o faulthandler_timeout=0 $(ARGS)

soak: .venv/.ready ## mixed calls for a quarter of an hour, or SECONDS: what dagcall holds is level (writes docs/benchmarks.md)
	@SEED=$(SEED) SECONDS=$(SECONDS) $(RUN) pytest tests/soak -m long -o faulthandler_timeout=0 $(ARGS)

bench: .venv/.ready ## what dagcall costs, measured on an Airflow of its own (29 minutes; writes bench/results.json)
	@$(RUN) python -m bench $(ARGS)

format: .venv/.ready ## format the code and mend what ruff can mend
	@$(RUN) ruff format
	@$(RUN) ruff check --fix

mutate: .venv/.ready ## small faults put into the pure modules: the tests should see them (an hour; MODULES="ledger naming"; writes docs/proof.md)
	@$(UV) sync --frozen --quiet --group mutation
	@$(RUN) python -m tests.mutation $(MODULES)

pin: .venv/.ready ## tool_schemas/ anew, from the demo that runs
	@$(RUN) dagcall pin --prune

build: .venv/.ready ## wheel and sdist in dist/
	@rm -rf dist
	@$(UV) build --quiet --build-constraints deploy/build-tools.txt --require-hashes
	@ls dist

package: build ## the MCPB bundle and the Helm chart beside them; checks every package (5 minutes)
	@$(RUN) python -m tests.packaging
	@$(RUN) pytest tests/packaging -m "long or not long" $(TIMES) $(ARGS)

clean: ## remove what these commands made here
	rm -rf .venv .tools dist .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis .mutation
