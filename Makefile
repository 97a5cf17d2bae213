# What people run. `make help` lists it.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# Only what stands on make's own command line: the shell's variables of these names belong to other programs.
SHELL_HAS := $(foreach name,DATA PRESET EDITION YES,$(if $(findstring environment,$(origin $(name))),$(name)))
$(foreach name,$(SHELL_HAS),$(eval $(name) :=))
PRESET := $(or $(PRESET),sound)
EDITION := $(or $(EDITION),kaggle)
LENS := $(BIN)/lesionlens
# uv is several times faster; where it is missing or set up for another index, pip. Either keeps a torch that is there.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock
INSTALL = { command -v uv >/dev/null && uv pip install --quiet --python $(BIN)/python -c requirements.lock $(1); } || $(PIP) $(1)

.PHONY: help demo demo-systems study fetch serve stop test check docs lock clean

help:
	@sed -n 's/^\([a-z-]*\):.*## /\1  /p' $(MAKEFILE_LIST)

$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "lesionlens needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing into .venv from requirements.lock (about 5 GB, once) ..."
	@$(call INSTALL,-e '.[dev]')
	@touch $(READY)

demo: $(READY) ## the whole study on synthetic mammograms, in minutes
	@$(LENS) demo

demo-systems: $(READY) ## the demo's runs by every attribution method, cases, and a detector, in minutes after the demo
	@$(LENS) demo --systems

study: $(READY) ## the study on CBIS-DDSM or own images (docs/data.md): make study DATA=/path PRESET=sound|small|paper|barnett
	@test -n "$(DATA)" || { echo "Name the data folder: make study DATA=/path/to/cbis-ddsm PRESET=sound"; exit 2; }
	@$(LENS) study --preset "$(PRESET)" --data "$(DATA)"

fetch: $(READY) ## obtain CBIS-DDSM: make fetch DATA=/path/to/cbis-ddsm EDITION=kaggle|idc
	@test -n "$(DATA)" || { echo "Name the folder: make fetch DATA=/path/to/cbis-ddsm"; exit 2; }
	@$(call INSTALL,-e '.[fetch]')
	@$(LENS) fetch $(EDITION) "$(DATA)" $(if $(YES),--yes)

serve: $(READY) ## Prefect server, UI and worker on 127.0.0.1:4200
	@$(LENS) serve

stop: $(READY) ## stop what `make serve` and the embedded record left running
	@$(LENS) stop

test: $(READY) ## all tests
	@$(BIN)/python -m pytest

check: $(READY) ## formatting, lint, types, layers, migrations
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(LENS) migrate --check

docs: $(READY) ## write the file list and the entity diagram anew
	@$(BIN)/python docs/files.py
	@$(BIN)/python -m docs.entities

lock: ## write requirements.lock anew from what pyproject.toml admits today
	@rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	@.venv-lock/bin/python -m pip install --quiet torch==2.14.1 torchvision==0.29.1 -e '.[dev,fetch]'
	@.venv-lock/bin/python -m pip freeze --exclude-editable | sed 's/ @ .*//' > requirements.lock
	@rm -rf .venv-lock

clean: ## remove the environment (state lives elsewhere and stays)
	@rm -rf .venv .venv-lock
