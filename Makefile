# make run    install what the main job needs, run it     make test   install what the tests need, run them all
# make slow   the proofs of minutes: kills, lost hosts, long comparisons of layouts
# make check  format, lint, types and contracts alone     make test TESTS=tests/pipeline/optim   one part of them
# Everything is installed into .venv. Another interpreter: make run PYTHON=/usr/bin/python3.12

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3,$(shell command -v $(name) 2>/dev/null)))
RECIPE ?= launch/recipes/quickstart.yaml
TESTS ?= tests
PYTEST = PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
BIN := .venv/bin
# pip would compile 25,000 modules one after the other, for a minute; compileall uses every core. Some packages
# bring templates that are no Python, so that its status says nothing.
INSTALL := $(BIN)/pip install --quiet --no-compile --constraint constraints.txt --editable
COMPILE := $(BIN)/python -m compileall -qq -j 0 .venv/lib || true

.PHONY: run test slow check clean

run: .venv/.installed-all
	$(BIN)/bloomery run $(RECIPE)

test: check
	$(PYTEST) -m "not slow and not by_hand" $(TESTS)

slow: .venv/.installed-test
	$(PYTEST) -m slow $(TESTS)

check: .venv/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.venv/.installed-test: .venv/.installed-all
	$(INSTALL) '.[test]'
	@$(COMPILE)
	@touch $@

.venv/.installed-all: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; \
	  sys.exit(0 if v in ((3, 11), (3, 12)) else f"Bloomery needs Python 3.11 or 3.12; $(PYTHON) is {v[0]}.{v[1]}. Name one: make run PYTHON=python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv (two to three minutes)"
	$(INSTALL) '.[all]'
	@$(COMPILE)
	@touch $@

clean:
	rm -rf .venv build *.egg-info
