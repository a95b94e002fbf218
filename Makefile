# `make` alone prints what there is. Every target does the set-up that it needs.
.DEFAULT_GOAL := help
.PHONY: help up deploy preview test check bench clean

PYTHON ?= python3
PORT ?= 8080
AWS_PORT ?=
STACK ?=

# Compiled modules are what makes the commands start quickly.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev
READY_BENCH := $(VENV)/.ready-bench

help:
	@echo "make up                  the whole stack on this machine, until Ctrl-C (PORT=8080, AWS_PORT=4566)"
	@echo "make deploy              in a second terminal: deploy the program as it is now, rolling"
	@echo "make preview STACK=prod  plan a stack: no account, no credentials"
	@echo "make test                every test, through the real engine"
	@echo "make check               ruff and mypy"
	@echo "make bench               this service beside its peers, on one core each (some 15 minutes; needs Go)"
	@echo "make clean               delete the local stack with everything it has stored, and the virtual environment"

$(READY): requirements.txt service/requirements.txt requirements-local.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed, this is $$($(PYTHON) --version): set PYTHON=..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) -m venv failed: install the venv module (Debian: python3-venv)"; exit 1; }
	@echo "installing the pinned packages into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(^:%=-r %)
	@touch $@

$(READY_DEV): $(READY) requirements-dev.txt
	@echo "installing the pinned test packages into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

$(READY_BENCH): $(READY) requirements-bench.txt
	@echo "installing the pinned packages of the benchmark into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	@touch $@

up: $(READY)
	@exec $(BIN)/python -m local up --port $(PORT) $(if $(AWS_PORT),--cloud-port $(AWS_PORT))

deploy: $(READY)
	@exec $(BIN)/python -m local deploy

preview: $(READY)
	@test -n "$(STACK)" || { echo "make preview needs a stack, such as STACK=prod; there are: $$(ls Pulumi.*.yaml | cut -d. -f2 | xargs)"; exit 2; }
	@exec $(BIN)/python -m local preview $(STACK)

test: $(READY_DEV)
	@$(BIN)/python -m local setup
	@exec $(BIN)/python -m pytest --cov --cov-report=term

check: $(READY_DEV)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(READY_BENCH)
	@exec $(BIN)/python -m bench $(ONLY:%=--only %)

clean:
	@$(PYTHON) -m local clean
	@rm -rf $(VENV) .build .mypy_cache .pytest_cache .ruff_cache .hypothesis
