# Two commands on a fresh machine: `make quickstart` and `make test`. Both do their own set-up.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
RECIPE := recipes/quickstart/roberta-tiny.yaml
RUN    := runs/quickstart

# Test processes side by side. Tests that start ranks or hosts run in one of them (tests/README.md).
WORKERS := 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --no-loadscope-reorder

.PHONY: quickstart test lint types imports tests slow mutations docs release-check clean help

help:
	@echo "make quickstart   install, then pretrain, evaluate, export and try a tiny RoBERTa"
	@echo "make test         install with the tools, then lint, types, import rules and tests"
	@echo "make slow         the tests that take minutes, and whole matrices"
	@echo "make docs         the generated pages of docs/, from the code"
	@echo "make release-check  build, install the wheel in a new environment, quickstart, slow tests"
	@echo "make mutations    mistakes put into a copy of the code, which the tests must notice"

$(VENV)/python: 
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is not installed; ptm needs Python 3.11 or newer (or give PYTHON=...)"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $$($(PYTHON) --version) is too old; ptm needs 3.11 or newer (give PYTHON=python3.11)"; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "make: $(PYTHON) has no venv module; install it (Debian: apt-get install python3-venv)"; exit 2; }
	@command -v cc >/dev/null || command -v gcc >/dev/null || { echo "make: no C compiler; install one (Debian: apt-get install build-essential)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# torch comes first and alone: later requirements then find it and do not look for another build.
$(VENV)/torch: $(VENV)/python constraints.txt
	$(PIP) torch
	@touch $@

$(VENV)/installed: $(VENV)/torch pyproject.toml
	$(PIP) -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/torch pyproject.toml
	$(PIP) -e '.[dev]'
	@touch $(VENV)/installed $@

quickstart: $(VENV)/installed
	$(BIN)/ptm validate $(RECIPE)
	$(BIN)/ptm preprocess $(RECIPE)
	$(BIN)/ptm train $(RECIPE)
	$(BIN)/ptm evaluate $(RUN)
	$(BIN)/ptm report $(RUN)
	test -e $(RUN)/export || $(BIN)/ptm export $(RUN) $(RUN)/export --to hf
	$(BIN)/python recipes/quickstart/try_probes.py $(RUN)/export
	@echo
	@echo "the run:    $(RUN)"
	@echo "its report: $(RUN)/report.html"
	@echo "the export: $(RUN)/export (for transformers: $(BIN)/pip install -c constraints.txt -e '.[transformers]')"

test: lint types imports tests

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tests/plain_english.py

types: $(VENV)/installed-dev
	$(BIN)/mypy

imports: $(VENV)/installed-dev
	$(BIN)/lint-imports --no-cache

tests: $(VENV)/installed-dev
	$(PYTEST) -m "not slow"

slow: $(VENV)/installed-dev
	$(PYTEST) -m slow --timeout 3600

mutations: $(VENV)/installed-dev
	$(BIN)/python tests/mutations.py

release-check: $(VENV)/installed-dev
	$(BIN)/python tests/release_check.py
	$(MAKE) slow

docs: $(VENV)/installed-dev
	$(BIN)/python docs/generate.py

clean:
	@test ! -e $(VENV) || test -f $(VENV)/pyvenv.cfg || { echo "make: $(VENV) is not a virtual environment and is not removed"; exit 2; }
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
