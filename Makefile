# Set-up and the commands of every day. Everything here is safe to repeat.
#   make table2_4     set up if needed, then build results/table2_4.csv (any table: make tableC_N)
#   make text5_4      what the thesis prints in the text of a section
#   make fig2_5       the same for a figure: results/fig2_5.svg, .png and .csv
#   make test         set up if needed, then run the whole test suite
# PRESET=smoke|quick|cpu|paper chooses the scale, PYTHON the interpreter the environment is made from, JOBS how many test files
# run at once.

PYTHON ?= python3
PRESET ?= quick
JOBS ?= 2
VENV := .venv
BIN := $(abspath $(VENV))/bin
READY := $(VENV)/.ready
PROJECTS := datasets packages/location_anticipation packages/full_video packages/outlier_matching packages/weight_align \
	packages/efficiency_bench
# What belongs to another environment must not leak into this one.
RUN := env -u PYTHONPATH PATH="$(BIN):$$PATH"

.PHONY: setup test test-packages benchmarks lint all clean
all: setup
	$(RUN) snakemake all --config preset=$(PRESET)

setup: $(READY)

$(READY): requirements.txt $(PROJECTS:%=%/pyproject.toml)
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; try make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet torchvision
	$(BIN)/pip install --quiet -r requirements.txt
	touch $@

table%: setup
	$(RUN) snakemake results/$@.csv --config preset=$(PRESET)

text%: setup
	$(RUN) snakemake results/$@.csv --config preset=$(PRESET)

fig%: setup
	$(RUN) snakemake results/$@.svg --config preset=$(PRESET)

test: setup
	$(RUN) OMP_NUM_THREADS=1 python -m pytest -n $(JOBS) --dist loadfile --benchmark-disable $(PYTEST)

# Each package alone in an environment of its own: installs, imports, passes its tests there (with FAST=--fast those of its
# commands).
test-packages: setup
	$(RUN) python tests/packages_alone.py $(FAST) datasets packages/location_anticipation packages/full_video \
		packages/outlier_matching packages/weight_align

benchmarks: setup
	$(RUN) python -m pytest tests/benchmarks --benchmark-only --benchmark-autosave $(PYTEST)

lint: setup
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy datasets/src packages/location_anticipation/src packages/full_video/src packages/outlier_matching/src packages/weight_align/src packages/efficiency_bench/src
	$(RUN) snakefmt --check Snakefile workflows/rules
	$(RUN) snakemake --lint

clean:
	rm -rf results/runs results/logs results/.src results/*.csv results/*.svg results/*.png data .snakemake
