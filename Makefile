# Everything sets itself up in .venv on first use; the second time is quick. PYTHON=… picks another interpreter.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
export WEIGHUP_DATA ?= ../shared/data

.PHONY: help run test lint claims bench soak fuzz weights docs clean models

help:  ## say what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /make \1\t/'

run: models  ## check the bundled claims, offline; ends with a table and an HTML report
	@mkdir -p out
	$(BIN)/weighup check --input examples/claims.jsonl --output out/verdicts.jsonl --overwrite --offline \
	  --format html --out out/report.html
	$(BIN)/python examples/table.py out/verdicts.jsonl
	echo "report: $$PWD/out/report.html"

test: models $(VENV)/.dev $(if $(NO_TORCH),,$(VENV)/.train)  ## run the tests; NO_TORCH=1 leaves out what trains
	@$(BIN)/python -m pytest -n 3 --dist worksteal -q

lint: $(VENV)/.dev  ## style, types and import layering
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy src
	$(BIN)/lint-imports

claims: models $(VENV)/.dev $(VENV)/.train  ## measure the published claims against their baselines
	@$(BIN)/weighup claims --run --jobs 2

bench: models $(VENV)/.dev  ## run every benchmark
	@$(BIN)/python benchmarks/run_all.py

soak: models $(VENV)/.dev  ## kill what watches, works and serves for 10 minutes; nothing may be lost or doubled
	@$(BIN)/python benchmarks/soak.py

fuzz: models $(VENV)/.dev  ## feed the readers broken and hostile input for 5 minutes
	@$(BIN)/python benchmarks/fuzz.py --minutes 5

weights: out/weights/ease.done out/weights/moe.done  ## remake everything trained that is shipped (hours; a finished step is not done again)

# Content, then stance, then what is fitted on top of both. `rm out/weights/NAME.done` does a step anew.
WEIGHTS := src/weighup/_weights
TRAINING := $(VENV)/.train $(wildcard src/weighup/train/*.py)

out/weights/content.done: weights/content.py $(TRAINING)
	@mkdir -p $(@D)
	$(BIN)/python weights/content.py --data $(WEIGHUP_DATA) --out $(WEIGHTS) --vectors out/weights/vectors.npz \
	  --halves out/weights/content
	touch $@

out/weights/stance.done: weights/stance.py $(TRAINING) $(wildcard src/weighup/train/stance/*.py)
	@mkdir -p $(@D)
	$(BIN)/weighup models pull minilm-train
	$(BIN)/python weights/stance.py --data $(WEIGHUP_DATA) --start encoder --minutes 75 --out $(WEIGHTS)
	touch $@

# What the language model says of the claims is kept with the project: it is not asked again.
out/weights/ease.done: weights/ease.py out/weights/content.done out/weights/stance.done \
  $(wildcard src/weighup/train/ease/*.py)
	@$(BIN)/python weights/ease.py --data $(WEIGHUP_DATA) --out $(WEIGHTS)
	touch $@

out/weights/moe.done: weights/moe.py $(VENV)/.train $(wildcard src/weighup/moe/*.py)
	@mkdir -p $(@D)
	$(BIN)/python weights/moe.py --data $(WEIGHUP_DATA)
	touch $@

docs: $(VENV)/.docs  ## build the documentation into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir site
	echo "documentation: site/index.html"

clean:  ## remove what these targets made; pulled models stay in the user's cache
	@rm -rf $(VENV) site out .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

models: $(VENV)/.core
	@$(BIN)/weighup models pull

$(VENV)/.core: pyproject.toml | $(BIN)/python
	@echo "installing weighup into $(VENV) …"
	$(PIP) install -e .
	touch $@

$(VENV)/.dev: $(VENV)/.core
	@echo "installing what the tests need …"
	$(PIP) install -e '.[dev]'
	touch $@

$(VENV)/.train: $(VENV)/.core
	@echo "installing what training needs …"
	$(PIP) install torch==2.13.0 $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
	$(PIP) install -e '.[train]'
	touch $@

$(VENV)/.docs: $(VENV)/.core
	@echo "installing what the documentation needs …"
	$(PIP) install -e '.[docs]'
	touch $@

$(BIN)/python:
	@found=
	for candidate in $(PYTHON) python3 python3.13 python3.12 python3.11; do
	  if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
	    found=$$candidate; break
	  fi
	done
	if [ -z "$$found" ]; then
	  echo "make: no Python 3.11 or newer with venv found; install one (Debian: apt-get install python3 python3-venv)" >&2
	  echo "      or name it: make run PYTHON=/path/to/python3.12" >&2
	  exit 1
	fi
	"$$found" -m venv $(VENV)
