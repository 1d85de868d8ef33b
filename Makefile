# make demo: Table 5.2 and the page of a run of phantom images from nothing. make test: the tests.

PYTHON ?= python3
BIN := .venv/bin
TABLE := results/table_5_2.csv
PAGE := results/report.html

.PHONY: gpu-check demo docs study study-gpu env test test-all lint format config lock help

help:
	@echo "make demo    build $(TABLE) and $(PAGE) from nothing (phantom images, no GPU, no account)"
	@echo "make study   the study's tables at its own scale, as published and without leaks (GPU, Kaggle account)"
	@echo "make study-gpu  what of docs/study.md waits for a GPU, in minutes on an H100"
	@echo "make test    run the tests that take minutes"
	@echo "make test-all  run those and the slow ones: whole runs, kills, S3, several processes"
	@echo "make gpu-check  check and time training and sampling on this machine's GPU, in minutes"
	@echo "make env     make the environment in .venv from requirements.txt"
	@echo "make lint    check style, types and the workflow"
	@echo "make format  format the code"
	@echo "make config  write config/ from the settings in src/meddiff/"
	@echo "make docs    build the site of docs/ into site/"
	@echo "make lock    write requirements.txt from pyproject.toml (needs uv)"

env: .venv/.ready

# One environment serves all rules. Python's own venv and pip: nothing else to install first.
.venv/.ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("meddiff needs Python 3.11 or newer; name one with make PYTHON=python3.12 " + "(this is " + sys.version.split()[0] + ")")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: env
	$(BIN)/snakemake --cores all $(TABLE) $(PAGE)
	@echo
	@$(BIN)/meddiff show $(TABLE)
	@echo
	@echo "The table: $(TABLE)"
	@echo "What each cell was made from: $(BIN)/meddiff verify $(TABLE)"
	@echo "The run on one page, for any browser: $(PAGE)"
	@[ -z "$${DISPLAY:-}$${WAYLAND_DISPLAY:-}" ] && [ "$$(uname)" != Darwin ] || \
		$(BIN)/python -m webbrowser -t "file://$(CURDIR)/$(PAGE)" > /dev/null || true

study: env
	$(BIN)/snakemake --profile profiles/thesis-hand
	$(BIN)/snakemake --profile profiles/thesis
	$(BIN)/snakemake --profile profiles/thesis-leak-free
	$(BIN)/snakemake --profile profiles/thesis results/comparison.csv
	@echo "Every table beside the published values: runs/thesis/results/comparison.csv"

PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test: env
	$(PYTEST) -m "not slow"

test-all: test
	$(PYTEST) -m slow

# Any Python with torch and the lock's packages will do: make gpu-check GPU_PYTHON=python3
GPU_PYTHON ?= $(BIN)/python
gpu-check: export PYTHONPATH := src:$(PYTHONPATH)
gpu-check: $(if $(filter $(BIN)/python,$(GPU_PYTHON)),env)
	$(GPU_PYTHON) tests/gpu/packages.py
	$(GPU_PYTHON) -m pytest -m gpu tests/gpu
	$(GPU_PYTHON) benchmarks/gpu.py --json gpu.json

# What of docs/study.md waits for a GPU; run again, it goes on. ARCHIVES: a folder of the raw archives. IMAGES: a zip of
# `meddiff pack`, where they are not. STUDY: profiles, at the same time; SHARING: jobs of each that share the GPU.
STUDY ?= study-2018 thesis-hand
SHARING ?= 3
QUALITY := results/table_5_2.csv results/sample_checks.csv results/figures/image_sets.png
TABLES_study-2018 := results/table_5_1.csv results/table_5_3.csv results/cas_hog_svm.csv
TABLES_study-2018-leak-free := $(TABLES_study-2018)
study-gpu: export PYTHONPATH := src:$(PYTHONPATH)
study-gpu: export TORCHINDUCTOR_CACHE_DIR := $(CURDIR)/.snakemake/compiled
study-gpu: $(if $(filter $(BIN)/python,$(GPU_PYTHON)),env)
	$(GPU_PYTHON) tests/gpu/packages.py study
	$(if $(IMAGES),$(GPU_PYTHON) -m meddiff.cli unpack $(IMAGES))
	$(MAKE) --jobs --output-sync=line $(STUDY:%=study-gpu-%)
	$(GPU_PYTHON) -m meddiff.cli study

study-gpu-%:
	$(GPU_PYTHON) -m snakemake --profile profiles/$* --resources gpu=$(SHARING) --keep-going \
		$(if $(ARCHIVES),--config 'data={archives: {folder: $(ARCHIVES)}}' --) $(QUALITY) $(TABLES_$*)

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

format: env
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

config: env
	$(BIN)/python -m meddiff.workflow.config_files config

docs: env
	$(BIN)/python -m mkdocs build --strict --site-dir site

lock:
	uv pip compile --universal --python-version 3.11 --group dev --extra share --extra slurm --no-annotate \
		--custom-compile-command "make lock" --output-file requirements.txt pyproject.toml
