# `make demo` shows what the package does; `make test` checks everything. Both make .venv when there is none.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2

.PHONY: demo test check table

demo: $(VENV)/.stamp
	$(BIN)/python -m wengert demo

test: check
	$(BIN)/python -m pytest -n $(WORKERS)

check: $(VENV)/.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

table: $(VENV)/.stamp # the contract table, from the primitives themselves
	$(BIN)/python -m wengert primitives > docs/primitives.md

$(VENV)/.stamp: pyproject.toml
	@echo "setting up $(VENV) (about a minute)"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test,data]"
	touch $@
