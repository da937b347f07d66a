# `make` alone lists the targets. Everything is installed into .venv, nothing outside this folder;
# only `make test` also installs Debian packages, where it may.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
# The first Python that is new enough; PYTHON=/path/to/python chooses another.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check \
	$(if $(CI),--quiet --progress-bar off)

define say
	@printf '\n== %s\n' "$(1)"
endef

.PHONY: help demo run test torture bench viewers screenshots check requirements clean installed test-installed debian

help: ## Show this list.
	@echo "The ECG Gateway: ECG pictures in by DICOM, Structured Reports back into the archive."
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1@\2/p' $(MAKEFILE_LIST) \
		| while IFS=@ read -r target text; do printf '%-20s%s\n' "$$target" "$$text"; done

demo: installed ## See the life of two ECGs, from C-STORE to report; ONCE=1 ends by itself.
	@$(BIN)/python manage.py demo $(if $(ONCE),--once)

run: installed ## Run the gateway for real, all processes on this machine, until Ctrl-C.
	@$(BIN)/python manage.py up

test: debian test-installed ## Install what is missing, then check and test everything; ARGS=... goes to pytest.
	@$(MAKE) check
	$(call say,tests)
	@$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder $(ARGS)

torture: debian test-installed ## Pull every plug 200 times, count what became of each ECG (15 minutes); ARGS=--postgresql.
	@$(BIN)/python tests/torture.py $(ARGS)

bench: debian test-installed ## Measure latency, throughput, memory and growth beside peers and limits (15 minutes).
	@for name in ingest saturation life memory growth; do $(BIN)/python -m benchmarks.$$name; done

viewers: debian test-installed ## Take pictures of every report in OHIF into docs/viewers (2 minutes, 250 MB).
	@$(BIN)/python tests/viewers/ohif.py

screenshots: debian test-installed ## Take the pictures of docs/desk anew (1 minute).
	@$(BIN)/python -m pytest -q tests/screenshots.py

check: test-installed ## Check style, types, imports, settings and migrations; changes nothing.
	$(call say,ruff)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	$(call say,mypy)
	@$(BIN)/mypy
	$(call say,who imports whom)
	@$(BIN)/lint-imports
	$(call say,Django: settings and migrations)
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; export ECG_DATA_DIR="$$folder"; \
		DATABASE_URL= BROKER_URL= $(BIN)/python manage.py check --fail-level WARNING; \
		DATABASE_URL= BROKER_URL= $(BIN)/python manage.py makemigrations --check --dry-run

requirements: $(BIN)/python ## Pin requirements/*.in again into *.txt; UPGRADE=1 takes newer versions.
	$(call say,compiling requirements)
	@$(PIP_INSTALL) uv
	@for name in run test bench; do $(BIN)/uv pip compile --universal --python-version 3.11 --no-header \
		--no-emit-index-url --quiet $(if $(UPGRADE),--upgrade) \
		--output-file requirements/$$name.txt requirements/$$name.in; done
	@git --no-pager diff --stat -- requirements 2>/dev/null || true

clean: ## Remove .venv and every cache; the data in var/ stay.
	rm -rf $(VENV) staticfiles .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- what the targets above stand on ---------------------------------------------------------------

installed: $(VENV)/.run-installed
test-installed: $(VENV)/.test-installed

debian:
	@requirements/debian.sh requirements/debian.txt

# A stamp is newer than the list it was installed from, until the list changes.
$(VENV)/.run-installed: requirements/run.txt $(BIN)/python
	$(call say,installing what the gateway needs (a few minutes and 2 GB the first time))
	@$(PIP_INSTALL) --requirement requirements/run.txt || { $(pip-advice); }
	@touch $@

$(VENV)/.test-installed: requirements/test.txt tests/node/package.json $(VENV)/.run-installed
	$(call say,installing what the tests need)
	@$(PIP_INSTALL) --requirement requirements/test.txt || { $(pip-advice); }
	@PATH="$$PWD/$(BIN):$$PATH" npm install --prefix tests/node --no-package-lock --no-audit \
		--no-fund --ignore-scripts --loglevel=error
	@touch $@

define pip-advice
	echo; \
	echo "pip could not install everything; its last lines above say why. No network? Behind a"; \
	echo "proxy set HTTPS_PROXY, with a mirror set PIP_INDEX_URL. Then the same command again:"; \
	echo "what is already installed stays."; \
	exit 1
endef

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "Python 3.11 or newer is needed; this machine has $$(python3 --version 2>&1 || true)."; \
		echo "Install one, or name it: make PYTHON=/path/to/python3.11"; \
		exit 1; \
	fi
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || requirements/debian.sh \
		$$($(PYTHON) -c 'import sys; print("python3.%d-venv" % sys.version_info[1])')
	$(call say,making $(VENV) with $(PYTHON))
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
