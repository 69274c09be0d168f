# Everything a newcomer types: `make demo`, `make test`. Everything else is for those who work on Tamis.
PYTHON ?= python3
BIN := .venv/bin
# One thread a process and no spinning: tests run side by side, and two spinning OpenMP pools slow each other down.
QUIET_THREADS := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE

.PHONY: help setup triton feast demo demo-serve test check format bench docs clean
help:
	@echo "make demo    set up and run the whole journey: data to ten recommended items, with an HTML report"
	@echo "make demo-serve   the same, served over HTTP: http://127.0.0.1:8000 is a page to look at"
	@echo "make test    set up and run the tests"
	@echo "make check   formatting, lint and types        make format  put the formatting right"
	@echo "make bench   measure speed and quality, and write the tables in docs/benchmarks.md"
	@echo "make docs    write what the code says into docs/ops.md and docs/serving.md, and the notebooks from their scripts"

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

triton: .venv-triton/ready

.venv-triton/ready: tests/triton-requirements.txt
	@echo "Setting up .venv-triton: Triton Inference Server and its client, about 900 MB."
	@$(PYTHON) -m venv .venv-triton
	.venv-triton/bin/python -m pip install --quiet -r tests/triton-requirements.txt
	.venv-triton/bin/python -m pip install --quiet --no-deps -e .
	@touch $@

feast: .venv-feast/ready

.venv-feast/ready: tests/feast-requirements.txt
	@echo "Setting up .venv-feast: Feast, which cannot be beside pandas 3, about 800 MB."
	@$(PYTHON) -m venv .venv-feast
	.venv-feast/bin/python -m pip install --quiet -r tests/feast-requirements.txt
	@touch $@

.venv/serve: .venv/base
	$(BIN)/python -m pip install --quiet -c constraints.txt torch==2.13.0 -e '.[serve]'
	@touch $@

demo: .venv/base
	@$(BIN)/tamis demo

demo-serve: .venv/serve
	@test -d tamis-demo/recommender || $(BIN)/tamis demo
	@echo "http://127.0.0.1:8000 is the page; Ctrl+C ends the server."
	@$(BIN)/tamis serve tamis-demo

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
	$(BIN)/python docs/refresh_settings.py
	$(BIN)/python examples/make_notebook.py

clean:
	rm -rf .venv .venv-triton .venv-feast .mypy_cache .ruff_cache .pytest_cache tamis-demo
