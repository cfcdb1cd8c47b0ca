# make run    install what the main job needs, run it     make test   install what the tests need, run them all
# Everything is installed into .venv. Another interpreter: make run PYTHON=/usr/bin/python3.12

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3,$(shell command -v $(name) 2>/dev/null)))
RECIPE ?= launch/recipes/quickstart.yaml
BIN := .venv/bin

.PHONY: run test check clean

run: .venv/.installed-all
	$(BIN)/bloomery run $(RECIPE)

test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest

check: .venv/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.venv/.installed-test: .venv/.installed-all
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@

.venv/.installed-all: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; \
	  sys.exit(0 if v in ((3, 11), (3, 12)) else f"Bloomery needs Python 3.11 or 3.12; $(PYTHON) is {v[0]}.{v[1]}. Name one: make run PYTHON=python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv (two to three minutes)"
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[all]'
	@touch $@

clean:
	rm -rf .venv build *.egg-info
