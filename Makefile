# Two commands do everything on a fresh machine with Python 3.11 or newer: `make demo` and `make test`.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
unexport PYTHONDONTWRITEBYTECODE  # pytest keeps what it made of the tests: 8 s of each run but the first

# The first interpreter that is new enough and makes environments; name another with `make PYTHON=/path/to/python demo`.
# The system's come first: distributions build theirs with profile-guided optimisation, pyenv does not (DECISIONS.md 66).
PYTHON ?= $(shell for p in /usr/bin/python3.{11,12,13} python3.{11,12,13} python3; do \
	$$p -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
NEW_ENOUGH = "$(or $(PYTHON),none)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	echo "Penstock needs a Python 3.11 or newer that makes environments; '$(or $(PYTHON),the PATH)' has none." \
	"Install one (Debian: apt install python3 python3-venv) or name it: make PYTHON=/path/to/python3 …"; exit 1; }
BIN := .venv/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes
SOURCES := gateway policies routing backends loadtest serving-image tests

.PHONY: help
help: ## this list
	@echo "usage: make TARGET"; echo
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

.PHONY: demo
demo: .venv/.gateway-stamp serving ## start a real Triton and the gateway, show what every feature does, stop (5 minutes the first time)
	@$(BIN)/python -m gateway.demo $(OPTIONS)

.PHONY: serve
serve: .venv/.gateway-stamp serving ## the same start, and stay up: prints the URLs and a key
	@$(BIN)/python -m gateway.demo --stay $(OPTIONS)

.PHONY: test
test: .venv/.dev-stamp serving redis lint ## everything CI runs: the checks, then all tests, real Triton included
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadgroup --no-loadscope-reorder

.PHONY: check
check: .venv/.dev-stamp lint ## the quick part, under two minutes: format, lint, types, import contracts, fast tests
	@$(BIN)/python -m pytest -q -n auto --dist worksteal -m "not slow"

FUZZ_SECONDS ?= 600
.PHONY: fuzz
fuzz: .venv/.dev-stamp ## hostile bytes for the gate, the tensor head, the JSON, the answers and the policy; FUZZ_SECONDS=600 for all
	@$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) --only "$(FUZZ_ONLY)" $(if $(FUZZ_SEED),--seed $(FUZZ_SEED))

PROOFS := $(addprefix tests/faults/test_,$(addsuffix .py,crossed_cache crossed_again redis_cache leases shadow shadow_verdicts rollout rollout_shared audit))
.PHONY: faults
faults: .venv/.dev-stamp serving redis ## break what can break and print each figure next to its bar, under 10 minutes
	@FAULTS=long $(BIN)/python -m pytest -q -rN tests/faults $(PROOFS:%=--ignore=%)

.PHONY: proofs
proofs: .venv/.dev-stamp redis ## what is promised of cache, shadows, rollouts, cascades and audits at full size, each figure next to its bar, about 25 minutes
	@FAULTS=long $(BIN)/python -m pytest -q -rN $(PROOFS) tests/gateway/rollout/test_shared_faults.py
	@$(BIN)/python -m tests.routing.simulations
	@$(BIN)/python -m tests.routing.simulations.intervals
	@$(BIN)/python -m tests.routing.simulations.drift
	@$(BIN)/python -m tests.routing.simulations.cascades --runs 100 --results /dev/null

.PHONY: lint
lint: .venv/.dev-stamp
	@echo "· ruff format";  $(BIN)/ruff format --quiet --check . || { echo "  run: $(BIN)/ruff format ."; exit 1; }
	@echo "· ruff check";   $(BIN)/ruff check --quiet .
	@echo "· mypy";         $(BIN)/mypy --no-error-summary $(SOURCES)
	@echo "· lint-imports"; out=$$($(BIN)/lint-imports 2>&1) || { echo "$$out"; exit 1; }

.PHONY: bench
bench: .venv/.dev-stamp ## CPU per request next to other proxies in the same run, under 3 minutes (loadtest/)
	@$(BIN)/python -m loadtest --seconds 2 --rounds 3

.PHONY: bench-long
bench-long: .venv/.dev-stamp ## all that loadtest/ measures, about 38 minutes; writes loadtest/results and docs/performance
	@$(BIN)/python -m loadtest.stages --output loadtest/results/stages.json
	@$(BIN)/python -m loadtest.startup || [ $$? -eq 1 ]  # a missed goal is said, and no reason to stop
	@$(BIN)/python -m loadtest.scaling --output loadtest/results/scaling.json
	@$(BIN)/python -m loadtest.memory --output loadtest/results/memory.json
	@$(BIN)/python -m loadtest.overload --output loadtest/results/overload.json
	@$(BIN)/python -m loadtest.cache --seconds 3 --rounds 7 --output loadtest/results/cache.json
	@$(BIN)/python -m loadtest --seconds 1 --rounds 25 --latency --output loadtest/results/compare.json
	@$(BIN)/python -m loadtest.publish

.PHONY: clean
clean: ## remove what make built here: .venv, .cache, caches of the tools
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: lock
lock: ## write the locks anew from pyproject.toml (needs uv)
	uv pip compile --quiet pyproject.toml --group build --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --upgrade -o requirements.lock
	uv pip compile --quiet pyproject.toml --group dev --extra offline --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --upgrade -c requirements.lock -o requirements-dev.lock

# The models' own environment with the real Triton, and the trained models; does nothing when all of it is there.
.PHONY: serving
serving: .venv/.gateway-stamp
	@$(NEW_ENOUGH)
	@$(PYTHON) serving-image/install.py

# A real Redis for the tests; RUNLEVEL=1 keeps Debian from starting one of its own.
.PHONY: redis
redis:
	@command -v redis-server >/dev/null || { echo "· installing redis-server"; \
		{ apt-get -qq update && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get -qq install -y redis-server; } >/dev/null 2>&1; } || { \
		echo "The tests need redis-server, which could not be installed from here. Debian: sudo apt install redis-server"; exit 1; }

.venv/bin/python:
	@$(NEW_ENOUGH)
	@echo "· making .venv with $(PYTHON), $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "The venv module does not work here. Debian: apt install python3-venv"; exit 1; }

.venv/.gateway-stamp: requirements.lock pyproject.toml | .venv/bin/python
	@echo "· installing the gateway (about 40 MB, no torch)"
	@$(PIP) -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev-stamp: requirements-dev.lock .venv/.gateway-stamp
	@echo "· installing what the tests need"
	@$(PIP) -r requirements-dev.lock
	@touch $@
