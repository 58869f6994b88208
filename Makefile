# make demo: install and run the whole loop on drawn data. make test: install and run every check.
# Both work from any folder, also one with a space in its path, and are quick the second time.

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test test-all lint types layers unit unit-flows unit-faults unit-others clean

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(INSTALLED)

demo: $(INSTALLED)
	$(BIN)/python -m flows.cli demo-data demo_data
	$(BIN)/python -m flows.cli run configs/demo.yaml

test: lint types layers unit

test-all: lint types layers $(INSTALLED)
	$(BIN)/python -m pytest

lint: $(INSTALLED)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

types: $(INSTALLED)
	$(BIN)/python -m mypy

layers: $(INSTALLED)
	$(BIN)/python -c "from importlinter.cli import lint_imports_command; lint_imports_command()"

# Tests of flows and of faults wait for servers and for what they killed most of the time: others run beside them.
unit: $(INSTALLED)
	$(MAKE) -j3 --output-sync=line unit-flows unit-faults unit-others

unit-flows: $(INSTALLED)
	$(BIN)/python -m pytest -m "not slow" --durations=20 -o cache_dir=.pytest_cache/flows tests/flows

unit-faults: $(INSTALLED)
	$(BIN)/python -m pytest -m "not slow" --durations=20 -o cache_dir=.pytest_cache/faults tests/faults

unit-others: $(INSTALLED)
	$(BIN)/python -m pytest -m "not slow" --durations=30 -o cache_dir=.pytest_cache/others \
		--ignore tests/flows --ignore tests/faults

clean:
	rm -rf $(VENV) demo_data .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
