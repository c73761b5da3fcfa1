# `make demo` shows what the program does; `make test` checks it. Both set up `.venv` first.

PYTHON ?= python3
ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts
else
BIN := .venv/bin
endif
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PINS := requirements.txt requirements-nodeps.txt requirements-dev.txt

.PHONY: setup demo test lint clean
# An environment whose interpreter is too old, or has gone, is made again.
ifneq ($(shell $(BIN)/python -c "$(NEW_ENOUGH)" 2>/dev/null && echo usable),usable)
.PHONY: .venv/installed
endif

setup: .venv/installed

.venv/installed: $(PINS)
	@$(BIN)/python -c "import pip; $(NEW_ENOUGH)" 2>/dev/null || { \
		$(PYTHON) -c "$(NEW_ENOUGH)" 2>/dev/null || { \
			echo "error: Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) -V 2>/dev/null || echo missing);" \
				"name one, such as: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }; \
		rm -rf .venv && $(PYTHON) -m venv .venv; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-nodeps.txt
	touch $@

demo: setup
	$(BIN)/python -m demo

test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

clean:
	rm -rf .venv data/demo log .cache
