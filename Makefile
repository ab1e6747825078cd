# Every target works on a machine with Python 3.11 and nothing else; `make` alone lists them.
PYTHON ?= python3.11
VENV ?= .venv
JOBS ?= 2

BIN := $(VENV)/bin
STAMP := $(VENV)/.mesoface-installed
SAMPLE := examples/sample_capture

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint format bench bench-heldout docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo 'Variables: PYTHON=$(PYTHON) VENV=$(VENV) JOBS=$(JOBS)'

setup: $(STAMP) ## virtual environment with the pinned packages, mesoface installed in place

# Redone when a requirement changes; otherwise at no cost.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@$(BIN)/python -c 'import cv2' || \
	  { echo 'OpenCV misses a system library: on Debian and Ubuntu, apt-get install libgl1 libglib2.0-0'; exit 1; }
	@touch $@

demo: setup ## reconstruct the sample capture and measure it against its true surface
	$(BIN)/mesoface reconstruct $(SAMPLE) --out demo --scale 1 --truth $(SAMPLE)/gt.ply --overwrite
	$(BIN)/mesoface evaluate demo $(SAMPLE)/gt.ply
	@echo 'report: $(CURDIR)/demo/report.html'

# One thread in each worker: the workers are what runs in parallel.
test: setup ## the quick tests
	OMP_NUM_THREADS=1 $(BIN)/pytest -m 'not slow' -n $(JOBS)

test-all: setup ## all tests, also those that take minutes
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS)

lint: setup ## ruff (rules and layout) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup ## let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## accuracy, time and memory, as tables; ARGS='--rows lps-10,phone' for some rows
	$(BIN)/python benchmarks/bench.py $(ARGS)

bench-heldout: setup ## the same on synthetic captures that nothing was trained or tuned on
	$(BIN)/python benchmarks/heldout.py $(ARGS)

docs: setup ## the pages and the reference as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --clean
	@echo 'site: $(CURDIR)/site/index.html'

clean: ## remove the environment and what the demo and the benchmark wrote
	rm -rf $(VENV) demo site benchmarks/results benchmarks/cache .pytest_cache .mypy_cache .ruff_cache
