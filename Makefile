# Tasks of the template. Everything runs from .venv, which the first target that needs it makes.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Without bytecode every command compiles its libraries again and takes three times as long.
unexport PYTHONDONTWRITEBYTECODE
export UV_PYTHON_DOWNLOADS := never
export UV_SYSTEM_CERTS ?= 1

PYTHON ?= python3
PROBLEM_TYPE ?= classification
ARGS ?=
CONFIG ?= all-repos.json
JOBS ?= 4
CHECK ?= make check

BIN := .venv/bin
ENVIRONMENTS := $(CURDIR)/build/env
AIRFLOW_LOCK := $(wildcard *cookiecutter.project_slug*/requirements/airflow__airflow.txt)
AZURE_LOCK := $(wildcard *cookiecutter.project_slug*/deploy/requirements__azureml.txt)
LOCKS := $(filter-out $(AIRFLOW_LOCK),$(wildcard *cookiecutter.project_slug*/requirements/*.txt))
TEMPLATE_FILES := $(shell git ls-files -co --exclude-standard -- hooks cookiecutter.json local_extensions.py '{{cookiecutter.project_slug}}' | sed 's/ /\\ /g')
# The folder a render with the default answers lands in.
SLUG := penguins
# Two processes: the loop of one problem type waits as often as it works.
PYTEST := $(BIN)/pytest --numprocesses 2 --dist loadscope
# The library's tests run its sources, in a repository's training environment.
LIBRARY_SETTINGS := PYTHONPATH=$(CURDIR)/runtime/src:$(ENVIRONMENTS)/library \
	MONITORING_TOOLS=$(ENVIRONMENTS)/tools SERVE_PYTHON=$(ENVIRONMENTS)/serve/bin/python
LIBRARY_PYTHON := $(LIBRARY_SETTINGS) $(ENVIRONMENTS)/main/bin/python
LIBRARY := $(LIBRARY_PYTHON) -m pytest --quiet
SLOW := library boosted swaps azureml airflow
RENDER := $(BIN)/cookiecutter . --no-input --default-config --overwrite-if-exists

.PHONY: help setup wheel demo test test-library test-fast test-slow test-containers bench bench-rows mutate bench-serve docs reference \
	check format lock modules render render-diff rollout release clean rebuild

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-16s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: .venv/.stamp ## make .venv from the lock

wheel: setup ## build the library into the template, and pin it in the locks; after every change of runtime/
	@$(BIN)/python fleet/wheel.py

demo: setup ## render a model repository and run its whole loop once (PROBLEM_TYPE=regression)
	@mkdir -p build/demo/$(SLUG)
	@find build/demo/$(SLUG) -mindepth 1 -maxdepth 1 ! -name '.venv*' -exec rm -rf {} +
	@echo "Rendering a $(PROBLEM_TYPE) repository into build/demo/$(SLUG), then running its demo"
	@$(RENDER) --output-dir build/demo problem_type=$(PROBLEM_TYPE)
	@$(MAKE) -C build/demo/$(SLUG) demo PYTHON=$(PYTHON)

test: test-library setup build/env/.stamp ## run the library's tests and those of renders, the loop for each problem type (ARGS="-k name")
	@$(PYTEST) -m "not slow" $(ARGS)

test-library: setup build/env/library/.stamp build/rendered/.stamp ## run the tests of the library from its sources (ARGS="tests/serving -k name")
	@cd runtime && $(LIBRARY) --numprocesses 2 --dist loadscope -m "not slow" $(ARGS)

test-fast: setup ## run the tests that need no environment and update no repository
	@$(PYTEST) -m "not execute and not slow" $(ARGS)

test-slow: setup .venv-docs/.stamp $(SLOW:%=build/env/%/.stamp) build/rendered/.stamp ## the rest: what is slow of the library, mutation of the rules, containers, browser, updates, foreign data, Azure, Airflow
	@cd runtime && $(LIBRARY) --numprocesses 2 --dist loadscope -m slow
	@cd runtime && $(LIBRARY_SETTINGS) $(ENVIRONMENTS)/azureml/bin/python -m pytest --quiet tests/release/test_azureml.py
	@$(MAKE) --no-print-directory mutate
	@$(BIN)/pytest -m slow $(ARGS)

test-containers: setup build/env/.stamp ## build and run the images with podman, a part of test-slow (ARGS="-k name")
	@$(BIN)/pytest tests/containers $(ARGS)

bench: setup build/env/.stamp ## measure a render, a roll-out, the pipeline, the metrics and batch scoring against limits
	@$(BIN)/python benchmarks/render.py
	@$(BIN)/python benchmarks/rollout.py
	@$(ENVIRONMENTS)/main/bin/python benchmarks/metrics.py
	@$(BIN)/python benchmarks/pipeline.py
	@$(BIN)/python benchmarks/batch.py

bench-rows: setup build/env/.stamp ## measure training and scoring by rows, to 10^6 (ARGS="1000 100000 --candidates linear boosting")
	@$(BIN)/python benchmarks/rows.py $(ARGS)

mutate: setup build/env/library/.stamp build/rendered/.stamp ## hold the tests of the alert rules against faults put into the rules
	@cd runtime && $(LIBRARY_PYTHON) tests/repository/mutate_alerts.py

bench-serve: setup build/env/.stamp ## measure the model server against its peers (ARGS=--quick)
	@$(ENVIRONMENTS)/main/bin/python benchmarks/serving $(ARGS)

docs: .venv-docs/.stamp ## build the site of the docs into build/site, to read without a network
	@.venv-docs/bin/python docs_tools/build_site.py

reference: setup ## write docs/reference.md anew from the sources
	@$(BIN)/python docs_tools/build_reference.py

check: setup build/env/library/.stamp ## lint the template's and the library's Python, its types and its layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@cd runtime && $(CURDIR)/$(BIN)/ruff check . && $(CURDIR)/$(BIN)/ruff format --check .
	@cd runtime && PYTHONPATH=$(ENVIRONMENTS)/library $(CURDIR)/$(BIN)/mypy --python-executable $(ENVIRONMENTS)/main/bin/python
	@cd runtime && PYTHONPATH=src $(CURDIR)/$(BIN)/lint-imports --no-logo

format: setup ## format the template's own Python, and mend what ruff can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@cd runtime && $(CURDIR)/$(BIN)/ruff check --fix . && $(CURDIR)/$(BIN)/ruff format .

lock: setup ## compile every lock again, a rendered repository's too (ARGS=--upgrade)
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
		--custom-compile-command "make lock" $(ARGS) requirements/dev.in --output-file requirements/dev.txt
	@for name in boosted swaps library; do \
		$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-deps \
		--custom-compile-command "make lock" $(ARGS) requirements/$$name.in \
		--output-file requirements/$$name.txt; done
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
		--custom-compile-command "make lock" $(ARGS) --constraints requirements/dev.txt \
		$(addprefix --no-emit-package ,novasvg quickjs-ng termaid) \
		requirements/docs.in --output-file requirements/docs.txt
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
		--custom-compile-command "make lock" $(ARGS) --constraints requirements/dev.txt \
		fleet/requirements.in --output-file fleet/requirements.txt
	@rm -rf build/lock
	@$(RENDER) --output-dir build/lock
	@$(MAKE) -C build/lock/$(SLUG) lock MAIN= UV=$(CURDIR)/$(BIN)/uv ARGS=$(ARGS)
	@cp build/lock/$(SLUG)/requirements/*.txt *cookiecutter.project_slug*/requirements/
	@$(RENDER) --output-dir build/lock/azureml release_target=azureml
	@$(MAKE) -C build/lock/azureml/$(SLUG) lock MAIN= UV=$(CURDIR)/$(BIN)/uv ARGS=$(ARGS)
	@cp build/lock/azureml/$(SLUG)/deploy/requirements.txt $(AZURE_LOCK)
	@$(RENDER) --output-dir build/lock/airflow airflow_dag=yes
	@$(MAKE) -C build/lock/airflow/$(SLUG) lock MAIN= UV=$(CURDIR)/$(BIN)/uv ARGS=$(ARGS)
	@cp build/lock/airflow/$(SLUG)/requirements/airflow.txt $(AIRFLOW_LOCK)

modules: $(addprefix build/env/,.stamp azureml/.stamp airflow/.stamp) ## write the names that a package cannot have, from the locks' environments
	@$(BIN)/python fleet/modules.py

render: setup ## render the default answers into build/render, to edit there
	@if [ -n "$$(git -C build/render/$(SLUG) status --porcelain 2>/dev/null; \
		git -C build/render/$(SLUG) log --oneline --skip=1 2>/dev/null)" ]; then \
		echo "build/render/$(SLUG) has changes: bring them into the template, or remove it."; exit 1; fi
	@rm -rf build/render
	@$(RENDER) --output-dir build/render

render-diff: setup ## how renders differ between BASE and the work tree (BASE=tag or commit, PROBLEM_TYPE=regression)
	@$(BIN)/python fleet/render_diff.py "$(or $(BASE),HEAD)" $(if $(filter file,$(origin PROBLEM_TYPE)),,$(PROBLEM_TYPE))

rollout: setup ## update the repositories that CONFIG lists, a dry run (PUSH=1, JOBS=4, REF=, CHECK="make check")
	@$(BIN)/python fleet/rollout.py --config "$(CONFIG)" --ref "$(REF)" --jobs $(JOBS) --check "$(CHECK)" \
		$(if $(PUSH),--push)

release: setup ## date the changelog, commit and tag (VERSION=1.2.0)
	@$(BIN)/python fleet/release.py "$(VERSION)"

clean: ## remove everything that the other targets made
	rm -rf .venv .venv-docs build .pytest_cache .ruff_cache

# A Python that is asked for by name replaces environments of another version.
VERSION := import sys; print("%d.%d" % sys.version_info[:2])
ifneq ($(origin PYTHON),file)
ASKED := $(shell $(PYTHON) -c '$(VERSION)')
stale = $(if $(filter-out $(ASKED),$(shell $(1)/bin/python -c '$(VERSION)' 2>/dev/null)),rebuild)
endif

.venv/.stamp: requirements/dev.txt $(call stale,.venv)
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else \
		"Python 3.11, 3.12 or 3.13 is needed, $(PYTHON) is %d.%d: try make PYTHON=python3.12" \
		% sys.version_info[:2])'
	@$(if $(call stale,.venv),rm -rf .venv)
	@{ $(BIN)/python -c '' && test -x $(BIN)/uv; } 2>/dev/null || { \
		$(PYTHON) -m venv --clear .venv; \
		sed -n '/^uv==/,/# via/p' $< > .venv/uv.txt; \
		$(BIN)/python -m pip install --quiet --require-hashes --requirement .venv/uv.txt; }
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes $<
	@touch $@

# The generator of the site.
.venv-docs/.stamp: requirements/docs.txt $(call stale,.venv-docs) | .venv/.stamp
	@$(if $(call stale,.venv-docs),rm -rf $(@D))
	@test -x $(@D)/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python $(@D)
	@$(BIN)/uv pip sync --quiet --python $(@D)/bin/python --require-hashes $<
	@touch $@

# The environments of a rendered repository, made once and shared by all that the tests render.
build/env/.stamp: $(LOCKS) $(call stale,build/env/main) | .venv/.stamp
	@rm -rf build/env/render $(if $(call stale,build/env/main),build/env)
	@$(RENDER) --output-dir build/env/render
	@$(MAKE) -C build/env/render/$(SLUG) setup $(ENVIRONMENTS)/tools/.stamp PYTHON=$(PYTHON) \
		VENV=$(ENVIRONMENTS)/main VENV_SERVE=$(ENVIRONMENTS)/serve MONITORING_TOOLS=$(ENVIRONMENTS)/tools
	@touch $@

# The repositories that the tests of the library run with, one of each problem type.
build/rendered/.stamp: $(TEMPLATE_FILES) | .venv/.stamp
	@rm -rf $(@D)
	@$(RENDER) --output-dir $(@D)
	@$(RENDER) --output-dir $(@D) project_name=Weights problem_type=regression
	@touch $@

# LightGBM and XGBoost, other data sets, and tools, for the tests: beside the environments, so that the
# others stay without.
build/env/boosted/.stamp build/env/swaps/.stamp build/env/library/.stamp: build/env/%/.stamp: requirements/%.txt | build/env/.stamp
	@rm -rf $(@D)
	@$(BIN)/uv pip install --quiet --python $(ENVIRONMENTS)/main/bin/python --no-deps \
		--require-hashes --requirement $< --target $(@D)
	@touch $@

# The environment of a repository that releases to Azure ML.
build/env/azureml/.stamp: $(AZURE_LOCK) build/env/.stamp
	@test -x $(@D)/bin/python || $(BIN)/uv venv --quiet --python $(ENVIRONMENTS)/main/bin/python $(@D)
	@$(BIN)/uv pip sync --quiet --python $(@D)/bin/python --require-hashes $<
	@touch $@

# The environment of the DAGs of a repository that has them.
build/env/airflow/.stamp: $(AIRFLOW_LOCK) build/env/.stamp
	@test -x $(@D)/bin/python || $(BIN)/uv venv --quiet --python $(ENVIRONMENTS)/main/bin/python $(@D)
	@$(BIN)/uv pip sync --quiet --python $(@D)/bin/python --require-hashes $<
	@touch $@
