# Everything a newcomer types: `make demo`, `make test`. Everything else is for those who work on Tamis.
PYTHON ?= python3
BIN := .venv/bin
# One thread a process and no spinning: tests run side by side, and two spinning OpenMP pools slow each other down.
QUIET_THREADS := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE

.PHONY: help setup demo test check format bench docs clean
help:
	@echo "make demo    set up and run the whole journey: data to ten recommended items, with an HTML report"
	@echo "make test    set up and run the tests"
	@echo "make check   formatting, lint and types        make format  put the formatting right"
	@echo "make bench   measure speed and quality, and write the tables in docs/benchmarks.md"
	@echo "make docs    write the ops' signatures and docstrings into docs/ops.md, and the notebooks from their scripts"

setup: .venv/dev

.venv/base: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Tamis needs Python 3.11 or newer; $(PYTHON) is older. Run: make PYTHON=python3.12 demo"; exit 1; }
	@echo "Setting up .venv: a few minutes the first time, most of it torch."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt torch==2.13.0 -e .
	@touch $@

.venv/dev: .venv/base
	$(BIN)/python -m pip install --quiet -c constraints.txt torch==2.13.0 -e '.[dev]'
	@touch $@

demo: .venv/base
	@$(BIN)/tamis demo

test: .venv/dev
	$(QUIET_THREADS) $(BIN)/python -m pytest -n 2 --dist loadfile

check: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/dev
	$(BIN)/python benchmarks/run_all.py

docs: .venv/dev
	$(BIN)/python docs/refresh_ops.py
	$(BIN)/python examples/make_notebook.py

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache tamis-demo
