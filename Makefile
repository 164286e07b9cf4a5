# Two commands do everything: `make demo` and `make test`. Both need Python >= 3.11 (with venv) and nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input

.PHONY: help demo test lint types tests clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    simulate a small head, map its susceptibility, and say how far the map is from the truth"
	@echo "make test    lint, types and all tests"
	@echo "make clean   remove what the two make (environment, demo, caches)"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "mensura needs Python 3.11 or newer; say which: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "Creating the environment in $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "Installing mensura and its dependencies"
	@$(PIP) --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(READY)
	@$(BIN)/python bench/demo.py demo

test: lint types tests

lint: $(READY)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .

types: $(READY)
	@$(BIN)/mypy --no-error-summary

tests: $(READY)
	@$(BIN)/pytest -q

clean:
	rm -rf $(VENV) demo build .pytest_cache .mypy_cache .ruff_cache
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
