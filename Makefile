# The two commands: make demo, make test. Both start from nothing and need Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FOLDER ?= demo-memory
FILE ?= examples/lighthouse.json
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test test-slow bench models clean

demo: $(VENV)/.installed
	$(BIN)/python examples/demo.py --file "$(FILE)" --folder "$(FOLDER)"

test: $(VENV)/.installed-test
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/python -m pytest

test-slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m "slow"

bench: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks.speed --size full --out benchmarks/results/speed.json

models: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks.models

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --editable ".[default]"
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed requirements-test.txt constraints-test.txt
	$(BIN)/pip install --quiet --requirement requirements-test.txt --constraint constraints-test.txt
	touch $@

clean:
	rm -rf $(VENV) $(FOLDER)
