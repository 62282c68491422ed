# `make` lists what there is. Works with GNU make 3.81 or newer, sh, and Python 3.11 to 3.13.

PYTHON ?= python3
VENV := .venv
SECONDS ?= 600
FUZZER := atheris==3.0.0
PIP := $(VENV)/bin/python -m pip --quiet --no-input --disable-pip-version-check

# What measures. The other scripts there make pages of it, or run in the rivals' environment.
BENCHMARKS := $(filter-out $(addprefix benchmarks/,update_%.py write_%.py rival_training.py checkpoints.py level_alarms.py), \
  $(sort $(shell grep -l '__main__' benchmarks/*.py)))

# The stamps are named by content and place, so that neither a fresh mtime (git switch) nor a copied
# or moved checkout is taken for an installed one, and an interrupted install for a finished one.
LOCKED := $(VENV)/.locked-$(shell { pwd -P; cat requirements/lock.txt requirements/torch.txt; } | cksum | cut -d ' ' -f 1)
INSTALLED := $(VENV)/.installed-$(shell cksum < pyproject.toml | cut -d ' ' -f 1)

# Each of the many processes of the tests would compile the same modules again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup run ui test test-core soak fuzz mutants check format audit sbom lock lock-upgrade bench bench-seed clean

help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo '  Variables: DATA=folder, PROFILE=name and ARTIFACTS=folder for run; ARGS="..." for any command;'
	@echo '  SECONDS=600 for fuzz; PYTHON=python3.12 for setup; TORCH_INDEX=address of an index of CPU or'
	@echo '  CUDA builds of torch, for the first setup (to change the build later: make clean first).'

setup: $(INSTALLED) ## Install everything into .venv (2 to 3 minutes, 2 GB; at once when nothing changed)

$(LOCKED):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "ERROR: gridcast needs Python 3.11, 3.12 or 3.13; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 | tail -n 1)." >&2; \
	  echo "       Name another one: make setup PYTHON=python3.12" >&2; exit 1; }
	@echo "Installing into $(VENV): 2 to 3 minutes, 2 GB (2 GB more where pip finds no CPU build of torch)"
	@$(PYTHON) -m venv --clear $(VENV)
	@echo "  1/3 the locked packages, each checked by its hash"
	@$(PIP) install --no-deps --require-hashes -r requirements/lock.txt
	@echo "  2/3 torch"
	@$(PIP) install $(if $(TORCH_INDEX),--index-url "$(TORCH_INDEX)") -r requirements/torch.txt
	@touch $@

$(INSTALLED): $(LOCKED)
	@echo "  3/3 gridcast itself, editable"
	@rm -f $(VENV)/.installed-*
	@$(PIP) install --no-deps --no-build-isolation -e .
	@found=$$($(VENV)/bin/python -m pip check 2>&1) || { echo "$$found" >&2; \
	  echo "ERROR: pyproject.toml and requirements/lock.txt disagree: make lock" >&2; exit 1; }
	@touch $@

run: setup ## Run the whole pipeline, from the regional CSVs to the report
	$(VENV)/bin/gridcast run $(if $(DATA),--data "$$DATA") $(if $(PROFILE),--profile "$$PROFILE") $(if $(ARTIFACTS),--artifacts "$$ARTIFACTS") $(ARGS)

ui: setup ## Open the Prefect and MLflow pages on this machine
	$(VENV)/bin/gridcast ui $(if $(ARTIFACTS),--artifacts "$$ARTIFACTS") $(ARGS)

# Two processes on two cores: with a third the whole took a tenth longer.
test: setup ## All tests, the slow ones too, on two cores; not what lasts (make soak)
	$(VENV)/bin/python -m pytest -m "not soak" -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

test-core: setup ## The tests that need neither Prefect nor patience
	$(VENV)/bin/python -m pytest -m "not prefect and not slow and not soak" $(ARGS)

soak: setup ## What lasts: real servers and workers, kills, a simulated week
	$(VENV)/bin/python -m pytest -m soak $(ARGS)

fuzz: setup ## Search for files that break a promise of the readers, SECONDS=600 long
	@$(PIP) install --no-deps $(FUZZER)
	$(VENV)/bin/python -m tests.fuzz.fuzz_layouts $(SECONDS)
	$(VENV)/bin/python -m tests.fuzz.fuzz_parser -max_total_time=$(SECONDS) $(ARGS)

mutants: setup ## Change the code in small ways and see whether the tests notice (10 minutes)
	$(VENV)/bin/python -m tests.mutations.run $(ARGS)

check: setup ## Format, lint, types, import contracts, doctests
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo
	$(VENV)/bin/python -m pytest --quiet --doctest-modules gridcast

format: setup ## Format the code and repair what ruff can repair
	$(VENV)/bin/ruff check --fix-only .
	$(VENV)/bin/ruff format .

# Known vulnerabilities of what the lock has, and a list of it: by tools that stand beside it.
AUDIT := build/audit
AUDITED := $(AUDIT)/.installed-$(shell cksum < requirements/audit.txt | cut -d ' ' -f 1)

$(AUDITED):
	@$(PYTHON) -m venv --clear $(AUDIT)
	@$(AUDIT)/bin/python -m pip --quiet --no-input --disable-pip-version-check install \
	  --require-hashes -r requirements/audit.txt
	@touch $@

audit: $(AUDITED) ## Ask for known vulnerabilities of the lock; less requirements/audit-allowed.toml
	@$(AUDIT)/bin/python requirements/audit.py $(AUDIT)/bin/pip-audit

sbom: $(AUDITED) ## Write build/sbom.json: what the lock has, with hashes (CycloneDX)
	@$(AUDIT)/bin/cyclonedx-py requirements requirements/lock.txt --pyproject pyproject.toml \
	  --mc-type application --output-format JSON --output-reproducible --output-file build/sbom.json
	@echo "build/sbom.json"

# Keeps every pin that still fits; lock-upgrade takes the newest releases that pyproject.toml allows.
lock: $(LOCKED) ## Make requirements/lock.txt anew after a change of dependencies
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --custom-compile-command "make lock" --excludes requirements/lock-excludes.txt \
	  --extra dev --extra boosting --extra kaggle --extra postgres --extra ray --extra s3 --extra server $(ARGS) \
	  --output-file requirements/lock.txt pyproject.toml requirements/lock.in
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --custom-compile-command "make lock" $(ARGS) \
	  --output-file requirements/audit.txt requirements/audit.in

lock-upgrade: ARGS += --upgrade
lock-upgrade: lock ## The same, with the newest releases (then run make check test)

bench: setup ## Run every benchmark, or those of BENCH="rivals ceilings"; GRIDCAST_DATA=folder
	@for script in $(if $(BENCH),$(BENCH:%=benchmarks/%.py),$(BENCHMARKS)); do \
	  echo "== $$script"; $(VENV)/bin/python "$$script" $(ARGS) || exit 1; done

bench-seed: setup ## Train the article's way and ours in turn: windows a second, memory
	$(VENV)/bin/python benchmarks/article_speed.py $(ARGS)

clean: ## Remove .venv and the caches; never data or artifacts
	rm -rf $(VENV) .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find $(wildcard benchmarks flows gridcast tasks tests) -name __pycache__ -type d -prune -exec rm -rf {} +
