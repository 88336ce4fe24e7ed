# Set-up and the commands of every day. Everything here is safe to repeat.
#   make table2_4     set up if needed, build results/table2_4.csv and print it (any table: make tableC_N)
#   make text5_4      the same for numbers that the thesis prints in the text of a section
#   make fig2_5       the same for a figure: results/fig2_5.svg, .png and .csv
#   make ch4_f1_steady  the same for a claim: the runs it rests on, and its verdict (any id of workflows/claims.yaml)
#   make report       everything, and results/report.html: one page that shows it, to open in a browser
#   make test         set up if needed, then run the test suite without the tests marked slow
#   make test-all     the whole test suite
#   make bench        run the benchmarks: counters and ratios can fail, times are saved; make bench-compare compares them
#   make docs         the site of docs/, in site/index.html
#   make unlock       remove the lock of a Snakemake that was killed (make table2_4 does so itself where nothing works any more)
#   make lock         write requirements.lock anew: the newest versions that requirements.txt allows
# PRESET=smoke|quick|cpu|paper chooses the scale, PYTHON the interpreter the environment is made from, JOBS how many test files
# run at once. LOCK=no installs the newest versions that requirements.txt allows instead of those of requirements.lock.

PYTHON ?= python3
PRESET ?= quick
JOBS ?= 2
LOCK ?= yes
BIN := .venv/bin
READY := .venv/.ready
TORCH := ^(torch|torchvision|triton|nvidia-.*|cuda-.*)==
PROJECTS := datasets packages/efficiency_core packages/location_anticipation packages/full_video packages/outlier_matching \
	packages/weight_align packages/efficiency_bench
BENCH := --benchmark-sort=name --benchmark-columns=min,median,rounds
# What belongs to another environment must not leak into this one. The folder's name may contain spaces.
RUN := env -u PYTHONPATH PATH="$(CURDIR)/$(BIN):$$PATH"

.PHONY: all setup lock test test-all test-packages bench bench-compare bench-counters benchmarks lint lint-types lint-style docs report unlock clean
all: setup
	$(RUN) snakemake all --config preset=$(PRESET)

setup: $(READY)

$(READY): requirements.txt requirements.lock $(PROJECTS:%=%/pyproject.toml)
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; try make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
ifeq ($(LOCK),no)
	$(BIN)/python -m pip install --quiet torchvision
	grep -v '^-e' requirements.txt > .venv/requirements.txt
	$(BIN)/python -m pip install --quiet -r .venv/requirements.txt
else
	# Versions are exact, so that no part needs to know of the others: two are unpacked at a time, torch beside the rest.
	rm -rf .venv/pins && mkdir .venv/pins
	grep -E '$(TORCH)' requirements.lock > .venv/pins/a
	grep -vE '$(TORCH)|^(-e|\#)' requirements.lock | split -l 40 - .venv/pins/b
	printf '%s\0' .venv/pins/* | xargs -0 -n 1 -P 2 $(BIN)/python -m pip install --quiet --no-deps -r
endif
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation $(PROJECTS:%=-e ./%)
	$(BIN)/python -m pip check
	touch $@

lock:
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet uv
	sed '/^-e/d' requirements.txt > .venv-lock/requirements.in
	head -n 1 requirements.lock > .venv-lock/requirements.lock
	.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate .venv-lock/requirements.in >> .venv-lock/requirements.lock
	sed -n '/^-e/p' requirements.txt >> .venv-lock/requirements.lock
	mv .venv-lock/requirements.lock requirements.lock
	rm -rf .venv-lock

table% text%: setup
	$(RUN) EFFBENCH_SHOW=no snakemake results/$@.csv --config preset=$(PRESET)
	@$(RUN) effbench show results/$@.csv

fig%: setup
	$(RUN) snakemake results/$@.svg --config preset=$(PRESET)

ch2_% ch3_% ch4_% ch5_%: setup
	$(RUN) EFFBENCH_SHOW=no snakemake results/claims/$@.csv --config preset=$(PRESET)
	@$(RUN) effbench show results/claims/$@.csv

report: setup
	$(RUN) snakemake results/report.html --config preset=$(PRESET)

unlock: setup
	$(RUN) snakemake --unlock

test: setup
	$(RUN) OMP_NUM_THREADS=1 python -m pytest -n $(JOBS) --dist loadfile -m "not slow" --benchmark-disable $(PYTEST)

test-all: setup
	$(RUN) OMP_NUM_THREADS=1 python -m pytest -n $(JOBS) --dist loadfile --benchmark-disable $(PYTEST)

# Each package alone in an environment of its own: installs, imports, passes its tests there (with FAST=--fast those of its
# commands).
test-packages: setup
	$(RUN) python tests/packages_alone.py $(FAST) $(PROJECTS)

# Counters and ratios can fail; times are saved under .benchmarks/, and compared with the last ones saved on this machine.
bench: setup
	$(RUN) python -m pytest tests/benchmarks --benchmark-only --benchmark-autosave $(BENCH) $(PYTEST)

bench-compare: setup
	$(RUN) python -m pytest tests/benchmarks --benchmark-only --benchmark-compare $(BENCH) $(PYTEST)

# After a change that is meant to change what is computed: writes tests/benchmarks/counters.json anew.
bench-counters: setup
	$(RUN) python -m pytest tests/benchmarks --benchmark-disable --write-counters --quiet $(PYTEST)

benchmarks: bench

# `make -j2 lint` checks the types beside the rest.
lint: lint-types lint-style

lint-types: setup
	$(RUN) mypy $(PROJECTS:%=%/src)

lint-style: setup
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) snakefmt --check Snakefile workflows/rules
	$(RUN) snakemake --lint

# The site in site/, which needs no network to be read: open site/index.html.
docs: setup
	$(RUN) NO_MKDOCS_2_WARNING=true python -m mkdocs build --strict

clean:
	rm -rf results/runs results/logs results/.src results/.worker results/*.csv results/*.csv-metadata.json results/*.svg results/*.png results/report.html data .snakemake
