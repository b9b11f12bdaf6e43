# Thin entrances; `make help` lists them. Everything runs in .venv, made from the hash-locked packages.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
CORES ?= all
SCALE ?= demo
SEEDS ?=
PACKAGES := $(shell grep -c '^[a-zA-Z0-9].*==' envs/dev.txt)
INSTALLED := .venv/installed

.DEFAULT_GOAL := help
.PHONY: help install demo reference gpu report page tables docs audit images test lint types unit e2e test-hpc lock bench bench-passes clean

help:  ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(INSTALLED): envs/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v <= (3, 13) or sys.exit("error: Python %d.%d is not supported\n  expected: 3.11, 3.12 or 3.13\n  to do:    add PYTHON=python3.11, say, to the command" % v)'
	@echo "installing up to $(PACKAGES) hash-locked packages into .venv: about 3 GB to download, 7 GB on disk, some minutes"
	$(PYTHON) -m venv .venv
	# First the locked setuptools: a few packages have no wheel and would else be built with one that nobody pinned.
	sed -n '/^setuptools==/,/[^\\]$$/p' envs/dev.txt >.venv/setuptools.txt
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r .venv/setuptools.txt
	@set -o pipefail; $(BIN)/python -m pip install --require-hashes --no-deps --no-build-isolation -r envs/dev.txt \
	| awk '/^Collecting/ {printf "\r%d packages found", ++n; fflush()} /^Installing/ {print "; installing them"; fflush()}'
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --no-index --editable .
	touch $@

install: $(INSTALLED)  ## make .venv from the hash-locked packages

demo: $(INSTALLED)  ## five papers on real digits: tables, figures, report, audit (SEEDS=3: with spreads; SCALE=smoke: a test)
	@$(BIN)/robustft run --scale $(SCALE) $(if $(SEEDS),--seeds $(SEEDS)) -- --cores $(CORES)
	@$(MAKE) --no-print-directory report audit

reference: $(INSTALLED)  ## evaluate published networks of CIFAR-10 as published, on the CPU (MIRROR=FOLDER: files that are at hand)
	@$(if $(MIRROR),ROBUSTFT_MIRROR=$(abspath $(MIRROR))) $(BIN)/robustft run --scale reference -- --cores $(CORES)
	@for table in results/reference/references/tables/*.md results/reference/references/verdicts.md; do echo; cat $$table; done
	@$(MAKE) --no-print-directory audit SCALE=reference

gpu: $(INSTALLED)  ## check, time and run the GPU path: under ten minutes on one GPU, results/gpu/ (DEVICE=cpu QUICK=1: a rehearsal)
	@$(if $(MIRROR),ROBUSTFT_MIRROR=$(abspath $(MIRROR))) $(BIN)/python -m benchmarks.gpu --device $(or $(DEVICE),cuda) $(if $(QUICK),--quick)

report: $(INSTALLED)  ## write results/SCALE/report.html and print the summary
	@echo; $(BIN)/robustft summary --scale $(SCALE); echo
	@$(BIN)/robustft report --scale $(SCALE)

page: $(INSTALLED)  ## write exports/SCALE/page.html: every table, and behind each cell where it comes from
	@$(BIN)/robustft export page --scale $(SCALE)

tables: $(INSTALLED)  ## print every table and verdict of SCALE, as wide as the terminal
	@$(BIN)/robustft tables --scale $(SCALE)

docs:  ## build the documentation in site/, with strict links; needs only a few small packages, in .venv/docs
	@[ -x .venv/docs/bin/mkdocs ] || { $(PYTHON) -m venv .venv/docs && .venv/docs/bin/pip install --quiet --require-hashes -r envs/docs.txt; }
	@NO_MKDOCS_2_WARNING=1 .venv/docs/bin/mkdocs build --quiet && echo "site/index.html (searching it needs a server: python3 -m http.server -d site)"

audit: $(INSTALLED)  ## check every number back to data and source
	@$(BIN)/robustft audit --scale $(SCALE)

images: $(INSTALLED)  ## build the container images with docker, podman, buildah or apptainer (OPTIONS='report --builder podman')
	@$(BIN)/robustft images $(OPTIONS)

lint: $(INSTALLED)  ## ruff, snakefmt, snakemake --lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile pipeline/rules
	$(BIN)/snakemake --lint

types: $(INSTALLED)  ## mypy
	$(BIN)/mypy pipeline/robustft

unit: $(INSTALLED)  ## unit tests
	$(BIN)/pytest -q -n 2 --ignore tests/e2e --ignore tests/faults

e2e: $(INSTALLED)  ## the small DAG end to end, and fault tests
	$(BIN)/pytest -q -n 2 --dist loadscope tests/e2e tests/faults

test: lint types  ## everything: lint, types, and all tests
	$(BIN)/pytest -n 2 --dist loadscope

test-hpc: $(INSTALLED)  ## real containers, Slurm, browser and kills; needs root, Debian's packages and about an hour (ONLY=PATH: a part)
	$(BIN)/pytest -m hpc -v $(or $(ONLY),tests)

bench: $(INSTALLED)  ## our speed beside the textbook's, in one table (QUICK=1: under three minutes; RESUME=1: go on); stored in benchmarks/results/
	$(BIN)/python -m benchmarks.table $(if $(QUICK),--quick) $(if $(RESUME),--resume)

bench-passes: $(INSTALLED)  ## measure this machine for `robustft plan` (DEVICE=cpu or cuda); stored in benchmarks/passes/
	$(BIN)/python benchmarks/passes.py --device $(or $(DEVICE),cpu)

lock:  ## solve the locked packages again (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header -q -o envs/run.txt
	uv pip compile pyproject.toml --extra dev -c envs/run.txt --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header -q -o envs/dev.txt
	uv pip compile --group docs --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header -q -o envs/docs.txt
	uv pip compile --group report -c envs/run.txt --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header -q -o envs/report.txt

clean:  ## remove results of SCALE (keeps .venv and decoded data)
	rm -rf results/$(SCALE) scratch logs/$(SCALE)
