.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# An environment is made anew when what it is made from has changed.
$(VENV)/.runtime: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Gateway needs Python 3.11 or newer; try: make PYTHON=python3.12 run"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.test: pyproject.toml $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --editable '.[test,dev]'
	@touch $@

gateway.yaml: | $(VENV)/.runtime
	@$(BIN)/python -m gateway init

##@ Use

.PHONY: run
run: $(VENV)/.runtime gateway.yaml  ## install what is needed and run the gateway in this folder
	@exec $(BIN)/python -m gateway

##@ Check

# Two more than there are processors: tests wait, for processes and for time, as much as they compute. What Python compiles is kept,
# whatever the environment says: a gateway is started many hundred times.
.PHONY: test
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 2)
test: $(VENV)/.test  ## install what the tests need and run every one of them
	@sh tests/debian-packages.sh
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: coverage
coverage: $(VENV)/.test  ## run the tests and say which lines none of them reached, in child processes too
	$(BIN)/python -m pytest --cov --cov-report=term-missing

.PHONY: machine-coverage
machine-coverage: $(VENV)/.test  ## run the tests and show which rows of the tables they fired: a table, and pictures in machine-coverage/
	$(BIN)/python -m pytest -p tests.machine_coverage --machine-coverage machine-coverage

.PHONY: check
check: $(VENV)/.test  ## all that a merge needs beside the tests: format, lint, types, diagrams and reference in step
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m statemachine check
	@$(BIN)/python -m gateway schema | diff -u docs/config.md - || { echo 'docs/config.md is not what the models say: run `make reference`'; exit 1; }

.PHONY: bench
bench: $(VENV)/.test  ## measure reloads, restarts, messages, start and idle; a table, and bench.json
	$(BIN)/python -m tests.bench --json bench.json

.PHONY: schedules
SEEDS ?= 300
schedules: $(VENV)/.test  ## random schedules against the real process, with a referee: make schedules SEEDS=300
	$(BIN)/python -m tests.real.schedules --seeds $(SEEDS)

.PHONY: explore
CHANNELS ?= 3
explore: $(VENV)/.test  ## visit every world that the gateway can reach, and hold its promises: make explore CHANNELS=3
	$(BIN)/python -m statemachine explore --channels $(CHANNELS)

.PHONY: mutants
mutants: $(VENV)/.test  ## break every guard on purpose, one after the other, and say what sees it
	$(BIN)/python -m tests.mutation

.PHONY: chaos
MINUTES ?= 60
chaos: $(VENV)/.test  ## kills, halts, broken connections, a full disk and more, with a referee: make chaos MINUTES=60
	$(BIN)/python -m tests.chaos --minutes $(MINUTES) --json chaos.json

.PHONY: simulate
simulate: $(VENV)/.test  ## random schedules on virtual time, crashes and broken networks included: make simulate SEEDS=20000
	$(BIN)/python -m tests.simulation --seeds $(SEEDS)

.PHONY: fuzz
TIMES ?= 50
fuzz: $(VENV)/.test  ## made-up frames, calls, config texts and Telegram answers, many times what the tests try: make fuzz TIMES=50
	FUZZ_TIMES=$(TIMES) $(BIN)/python -m pytest tests/fuzz -o timeout=0

.PHONY: proof
proof: $(VENV)/.test  ## run all that holds the promises (over an hour), and write docs/promises.md from it
	$(BIN)/python -m tests.proof

##@ Make

.PHONY: journals
journals: $(VENV)/.test  ## record the journals in tests/replay/journals anew, each by a real process
	$(BIN)/python -m tests.replay.record

.PHONY: vendor
vendor: $(VENV)/.test  ## bundle the page's editor anew from the packages that are pinned in tests/vendor/
	$(BIN)/python -m tests.vendor

.PHONY: diagrams
diagrams: $(VENV)/.test  ## render the pictures of the machines into diagrams/
	$(BIN)/python -m statemachine render

.PHONY: screenshots
screenshots: $(VENV)/.test  ## take pictures of every view of the page into docs/screenshots (needs Chromium)
	$(BIN)/python -m tests.browser.screenshots

.PHONY: reference
reference: $(VENV)/.test  ## write what every key of the config means into docs/config.md
	$(BIN)/python -m gateway schema > docs/config.md

.PHONY: format
format: $(VENV)/.test  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: help
help:  ## this text
	@awk 'BEGIN {FS = ":.*##"} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*##/ {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
