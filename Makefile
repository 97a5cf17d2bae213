# What people run. `make help` lists it.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# Only what stands on make's own command line: the shell's variables of these names belong to other programs.
SHELL_HAS := $(foreach name,DATA PRESET EDITION YES RUN STUDIES STUDY RUNS FILE WRITE,$(if $(findstring environment,$(origin $(name))),$(name)))
$(foreach name,$(SHELL_HAS),$(eval $(name) :=))
PRESET := $(or $(PRESET),sound)
EDITION := $(or $(EDITION),kaggle)

.PHONY: help demo study fetch evaluate compare card serve stop psql backup restore test check docs lock clean

help:
	@sed -n 's/^\([a-z]*\):.*## /\1  /p' $(MAKEFILE_LIST)

$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "lesionlens needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing into .venv from requirements.lock (about 5 GB, once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[dev]'
	@touch $(READY)

demo: $(READY) ## the whole study on synthetic mammograms, in minutes
	@$(BIN)/python -m flows demo

study: $(READY) ## the study on CBIS-DDSM or own images (docs/data.md): make study DATA=/path PRESET=sound|paper
	@test -n "$(DATA)" || { echo "Name the data folder: make study DATA=/path/to/cbis-ddsm PRESET=sound"; exit 2; }
	@$(BIN)/python -m flows study --preset "$(PRESET)" --data "$(DATA)"

fetch: $(READY) ## obtain CBIS-DDSM: make fetch DATA=/path/to/cbis-ddsm EDITION=kaggle|idc
	@test -n "$(DATA)" || { echo "Name the folder: make fetch DATA=/path/to/cbis-ddsm"; exit 2; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[fetch]'
	@$(BIN)/python -m lesionlens.datasets.download $(EDITION) "$(DATA)" $(if $(YES),--yes)

evaluate: $(READY) ## a finished run on another data set: make evaluate RUN=7 DATA=/other/set
	@test -n "$(RUN)" -a -n "$(DATA)" || { echo "Name run and folder: make evaluate RUN=7 DATA=/other/set"; exit 2; }
	@$(BIN)/python -m flows evaluate "$(RUN)" --data "$(DATA)"

compare: $(READY) ## several studies on one page: make compare STUDIES="demo 2", or runs of any: RUNS="3 7"
	@test -n "$(STUDIES)$(RUNS)" || { echo 'Name studies by number or name, or runs: make compare STUDIES="demo 2", or RUNS="3 7"'; exit 2; }
	@$(BIN)/python -m flows compare $(STUDIES) $(if $(RUNS),--runs $(RUNS))

card: $(READY) ## the model card of a study, as Markdown and JSON: make card STUDY=demo
	@test -n "$(STUDY)" || { echo 'Name a study by number or name: make card STUDY=demo'; exit 2; }
	@$(BIN)/python -m flows card "$(STUDY)"

serve: $(READY) ## Prefect server, UI and worker on 127.0.0.1:4200
	@$(BIN)/python -m flows serve

stop: $(READY) ## stop what `make serve` and the embedded record left running
	@$(BIN)/python -m flows stop

psql: $(READY) ## a prompt on the record, reading only (WRITE=1: writing, too); takes SQL on standard input
	@$(BIN)/python -m db.cli psql $(if $(filter 1,$(WRITE)),--write)

backup: $(READY) ## the whole record into a file: make backup FILE=study.dump
	@test -n "$(FILE)" || { echo "Name the file: make backup FILE=study.dump"; exit 2; }
	@$(BIN)/python -m db.cli backup "$(FILE)"

restore: $(READY) ## fill an empty record from such a file: make restore FILE=study.dump
	@test -n "$(FILE)" || { echo "Name the file: make restore FILE=study.dump"; exit 2; }
	@$(BIN)/python -m db.cli restore "$(FILE)"

test: $(READY) ## all tests
	@$(BIN)/python -m pytest

check: $(READY) ## formatting, lint, types, layers, migrations
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m db.cli check

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
