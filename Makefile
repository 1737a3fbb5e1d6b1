# One task a line below; `make` alone lists them. What a task does is in tools/.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-python simulate check format bench docs wheel lock tools clean

help:         ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup:        ## .venv with everything, the native core built (5 minutes the first time, then a moment)
	@$(PYTHON) -m tools.setup

demo: setup   ## two nodes exchange a proposal and a direct message, and say what each saw
	@$(BIN)/covm demo --proposal examples/proposal.json

test: setup   ## every test, Rust and Python, with a time table by suite
	@$(BIN)/python -m tools.test $(ARGS)

test-python: setup  ## the Python tests alone; ARGS="tests/unit -k name" picks some
	@$(BIN)/python -m pytest $(ARGS)

simulate: setup ## SEEDS=10000 stories on made-up time in which everything fails that can; SEED=7 tells one of them again; STORY=shared, village
	@$(BIN)/python -m tools.simulate $(if $(STORY),--story $(STORY)) $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),200)) $(ARGS)

check: setup tools  ## format, lint, types, stub, import contracts, clippy, licences, known holes, docs
	@$(BIN)/python -m tools.check $(ARGS)

format: setup ## lay out Python and Rust as `make check` wants them
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet . && cargo fmt --all

bench: setup  ## the benchmarks, each row with its floor from the native core without Python
	@$(BIN)/python -m benchmarks $(ARGS)

docs: setup   ## the documentation, into build/docs
	@$(BIN)/sphinx-build -W --keep-going -q -b html -d build/doctrees docs build/docs && echo "build/docs/index.html"

wheel: setup  ## the wheel that ships: optimised, for every Python from 3.11, into dist/
	@$(BIN)/python -m tools.wheel

lock:         ## lock requirements/*.in again; ARGS=--upgrade takes the newest
	@PYTHON=$(PYTHON) tools/lock.sh $(ARGS)

tools:        ## cargo-deny, once per machine (a minute or two)
	@$(PYTHON) -m tools.cargo_deny

clean:        ## what was built in this clone; lent libraries stay for the next
	@rm -rf .venv build dist target docs/_build src/covm/_native*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
