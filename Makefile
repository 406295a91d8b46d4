# Everything a person or CI runs. `make demo` and `make test` work on a machine with Python 3.11, git and make.
SHELL := bash
PYTHON ?= python3
BIN := .venv/bin
# Test processes of `make test`. Four take up to 13 GB of memory, and a fifth saves little on a machine with 2 cores.
WORKERS ?= 4
.DEFAULT_GOAL := help
# Many containers set it, and then each of the hundreds of processes of the tests compiles Rollway again: a second each.
unexport PYTHONDONTWRITEBYTECODE
# uv reads neither the variables nor the configuration of pip: this gives it their settings.
UV := $(BIN)/python -I rollway/local/uv_like_pip.py
# At a terminal both show their progress.
QUIET := $(shell test -t 2 || echo --quiet)
.PHONY: help demo demo-progressive test matrix check lint imports types unit coverage format up up-team down lock schema screenshot clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' Makefile

# Bytecode is compiled once here, because Prefect and the Azure SDK start in half the time with it.
.venv/ready: requirements.lock pyproject.toml
	@echo "· installing $$(grep -c '^[a-z].*==' requirements.lock) packages into .venv, which takes one or two minutes"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install $(QUIET) --disable-pip-version-check --require-hashes --no-deps -r <(sed -n '/^uv==/,/[^\\]$$/p' requirements.lock)
	@$(UV) pip sync $(QUIET) --compile-bytecode --require-hashes --python $(BIN)/python requirements.lock
	@$(UV) pip install --quiet --no-deps --no-build-isolation --python $(BIN)/python --editable .
	@touch $@

demo: .venv/ready ## train a model, roll it out, roll out a second version under load, find nothing to do
	@$(BIN)/rollway local demo

demo-progressive: .venv/ready ## roll out a good version in steps, then a bad one, which is caught
	@$(BIN)/rollway local demo-progressive

test: .venv/ready ## all checks and all tests
	@$(MAKE) --no-print-directory check
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations 25 tests/e2e tests/browser tests/packaging tests/contract

matrix: .venv/ready ## every call of a rollout with every fault, every write with a kill, more examples; `make test` tries a part
	ROLLWAY_MATRIX=full $(BIN)/pytest -n 2 tests/unit
	ROLLWAY_MATRIX=full $(BIN)/pytest -n 2 -o timeout=3600 tests/e2e/test_fault_matrix.py tests/e2e/test_kill_matrix.py tests/e2e/test_progressive.py

check: .venv/ready ## format, lint, types, import rules, unit tests
	@$(MAKE) --no-print-directory -j 3 $(if $(filter output-sync,$(.FEATURES)),--output-sync=line) lint imports types unit

lint: .venv/ready
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

imports: .venv/ready
	@$(BIN)/lint-imports

types: .venv/ready
	@$(BIN)/mypy

unit: .venv/ready
	@$(BIN)/pytest -n 2 tests/unit

coverage: .venv/ready ## how much of rollway, tasks and flows the unit tests cover (emulator and local stack aside)
	@$(BIN)/pytest -n 2 --cov --cov-report=term-missing:skip-covered tests/unit

format: .venv/ready ## format, and fix what can be fixed automatically
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

up: .venv/ready ## local Azure ML, Prefect server and a worker, to explore in the browser; PORT=4201 for another port
	@$(BIN)/rollway local up $(if $(PORT),--port $(PORT))

up-team: .venv/ready ## the same as a team runs it: two Prefect servers on PostgreSQL and Redis, two workers
	@$(BIN)/rollway local up --team $(if $(PORT),--port $(PORT))

down: .venv/ready ## stop what `make up` or `make up-team` started
	@$(BIN)/rollway local down

lock: .venv/ready ## resolve pyproject.toml again into requirements.lock
	$(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --no-annotate --group dev --extra emulator --extra team pyproject.toml --output-file requirements.lock

schema: .venv/ready ## generate deployments/schema/rollout.schema.json
	$(BIN)/rollway schema > deployments/schema/rollout.schema.json

screenshot: .venv/ready ## the pictures in docs/, from a real run in the Prefect UI
	ROLLWAY_SCREENSHOTS=docs $(BIN)/pytest tests/browser tests/e2e/test_progressive_metrics.py

clean: ## remove the virtual environment and all local state
	rm -rf .venv .rollway
