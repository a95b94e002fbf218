# `make` alone prints what there is. Every target does the set-up that it needs.
.DEFAULT_GOAL := help
.PHONY: help up deploy preview test soak check bench clean

PYTHON ?= python3
PORT ?= 8080
AWS_PORT ?=
STACK ?=
ONLY ?=

# Compiled modules are what makes the commands start quickly.
unexport PYTHONDONTWRITEBYTECODE

# One for the machine's python3, where Pulumi.yaml says that it is, and one beside it for each version that is asked for.
VERSION = $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
VENV := $(if $(filter python3,$(PYTHON)),.venv,.venv-$(VERSION))
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev
READY_BENCH := $(VENV)/.ready-bench

help:
	@echo "make up                  the whole stack on this machine, until Ctrl-C (PORT=8080, AWS_PORT=4566)"
	@echo "make deploy              in a second terminal: deploy the program as it is now, rolling"
	@echo "make preview STACK=prod  plan a stack: no account, no credentials"
	@echo "make test                every test but the soaks, through the real engine; ONLY=\"components local\": these folders of tests/"
	@echo "make soak                the long tests in their whole size; then service and components on the newest Python there is"
	@echo "make check               ruff and mypy"
	@echo "make bench               this service beside its peers, on one core each (some 20 minutes; needs Go, valgrind); BEFORE=<revision>: and beside itself"
	@echo "make clean               delete the local stack with everything it has stored, and the virtual environments"
	@echo "PYTHON=python3.13        with any of them: that Python, in a virtual environment of its own (.venv-3.13; else .venv)"

$(READY): requirements.txt service/requirements.txt requirements-local.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed, this is $$($(PYTHON) --version): set PYTHON=..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) -m venv failed: install the venv module (Debian: python3-venv)"; exit 1; }
	@echo "installing the pinned packages into $(VENV)"
	@$(BIN)/python -m pip install --require-hashes --quiet --disable-pip-version-check $(^:%=-r %)
	@touch $@

$(READY_DEV): $(READY) requirements-dev.txt
	@echo "installing the pinned test packages into $(VENV)"
	@$(BIN)/python -m pip install --require-hashes --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

$(READY_BENCH): $(READY) requirements-bench.txt
	@echo "installing the pinned packages of the benchmark into $(VENV)"
	@$(BIN)/python -m pip install --require-hashes --quiet --disable-pip-version-check -r requirements-bench.txt
	@touch $@

up: $(READY)
	@exec $(BIN)/python -m local up --port $(PORT) $(if $(AWS_PORT),--cloud-port $(AWS_PORT))

deploy: $(READY)
	@exec $(BIN)/python -m local deploy

preview: $(READY)
	@test -n "$(STACK)" || { echo "make preview needs a stack, such as STACK=prod; there are: $$(ls Pulumi.*.yaml | cut -d. -f2 | xargs)"; exit 2; }
	@exec $(BIN)/python -m local preview $(STACK)

# Two processes, whatever the machine has: some tests wait for what needs a core. tests/conftest.py shares the tests out.
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --no-loadscope-reorder

test: $(READY_DEV)
	@for folder in $(ONLY); do test -d "tests/$$folder" || { echo "ONLY=$$folder: there is no folder tests/$$folder; there are $$(cd tests && ls -d [a-z]*/ | tr -d / | xargs)"; exit 2; }; done
	@$(BIN)/python -m local setup
	@exec $(PYTEST) $(if $(ONLY),$(ONLY:%=tests/%),--cov --cov-report=term)

# The newest Python that this is made for, as it is installed or as pyenv keeps it.
NEWEST ?= $(shell for v in 3.13 3.12; do for p in python$$v "$$HOME"/.pyenv/versions/$$v*/bin/python; do "$$p" -c "" 2>&- && echo "$$p" && exit; done; done)

# One after another: many of them measure what a whole machine can bear.
soak: $(READY_DEV)
	@$(BIN)/python -m local setup
	@$(BIN)/python -m pytest -m soak
	@if test "$$($(or $(NEWEST),false) -V)" \> "$$($(BIN)/python -V)"; then $(MAKE) test PYTHON=$(NEWEST) ONLY="service components"; \
	else echo "no newer Python than $$($(BIN)/python -V) was found (3.12 or 3.13; NEWEST=... names one): nothing was tested on it"; fi

check: $(READY_DEV)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(READY_BENCH)
	@exec $(BIN)/python -m bench $(ONLY:%=--only %) $(BEFORE:%=--before %)

clean:
	@$(PYTHON) -m local clean
	@rm -rf .venv .venv-* .build .mypy_cache .pytest_cache .ruff_cache .hypothesis
