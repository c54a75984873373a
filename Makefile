# Eman. `make run` and `make test` need Python 3.11+ and nothing else.
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
PIP    := $(PY) -m pip install --quiet --disable-pip-version-check

.PHONY: run test check bench lipsync-eval doctor clean browser

run: $(VENV)/.run  ## serve on http://localhost:8010 (PORT=… HOST=… ARGS="--set …")
	@$(PY) app.py $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT)) $(ARGS)

doctor: $(VENV)/.run  ## check this machine
	@$(PY) app.py doctor $(ARGS)

test: $(VENV)/.test browser  ## everything that CI checks (JOBS=1: one test after the other)
	$(PY) -m pytest -n $(or $(JOBS),2) --dist loadfile -m "not alone" $(ARGS) || [ $$? -eq 5 ]
	$(PY) -m pytest -m alone $(ARGS) || [ $$? -eq 5 ]

check: $(VENV)/.test  ## style and types
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

bench: $(VENV)/.test browser  ## measure; writes bench/results/*.json
	$(PY) -m bench $(ARGS)

lipsync-eval: $(VENV)/.test  ## score the lips on held-out sets made now; writes docs/lipsync-results.md
	$(PY) -m avatar.lipsync.train.sets $(or $(SETS),/tmp/eman-lipsync-sets)
	$(PY) -m avatar.lipsync.train.results $(or $(SETS),/tmp/eman-lipsync-sets)

browser:
	@sh tests/install_tools.sh

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Eman needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make run PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

# `pip install .` installs the dependencies only; see [tool.setuptools] in pyproject.toml
$(VENV)/.run: pyproject.toml | $(VENV)/bin/python
	@echo "Installing what Eman needs into $(VENV) (a minute or two, once)"
	$(PIP) .
	@rm -rf build eman.egg-info
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	$(PIP) '.[test]'
	@rm -rf build eman.egg-info
	@touch $@ $(VENV)/.run

clean:
	rm -rf $(VENV) build eman.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
