# Every target sets up what it needs: a virtual environment in .venv, with the versions of constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/installed

.PHONY: run test check coverage slow clean

run: $(READY)  ## the built-in study on the embedded digits; resumes, and trains nothing when finished
	$(BIN)/regulab run

test: $(READY)  ## the default suite, on all cores
	$(BIN)/python -m pytest -n auto --dist loadfile

check: $(READY)  ## format, lint, types, import contracts; the tests are `make test`
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

coverage: $(READY)  ## the default suite again, measured: lines and branches, lessons left out; fails under 90 %
	$(BIN)/python -m pytest -n auto --dist loadfile --cov --cov-report=term:skip-covered --cov-fail-under=90

slow: $(READY)  ## the tests that take minutes
	$(BIN)/python -m pytest -n auto --dist load -m slow

clean:  ## removes the environment and caches; run directories stay
	rm -rf .venv build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage* src/*.egg-info

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,lessons]'
	touch $@
