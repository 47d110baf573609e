# make quickstart   install what the demonstration needs, then run it
# make test         install what the tests need, then run them
# make check        about three minutes: the linters, the units, and one task end to end
# make lint         format, style, types, order of imports
# make acceptance   the long checks of what the project promises
# make docs         build the documentation site in build/site
# make constraints  renew constraints.txt from the newest releases
# make clean        remove the virtual environment and what tools have left

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# More arguments for pytest, as in: make test PYTEST_ARGS="-x tests/config"
PYTEST_ARGS ?=
# One for each processor, four at most: each of them holds torch and takes a gigabyte.
TEST_PROCESSES ?= $(shell getconf _NPROCESSORS_ONLN)

CHECKED := tests/test_imports.py tests/test_bundle.py tests/test_two_phase_task.py tests/config tests/data tests/runtime \
	tests/tracking tests/tasks/classification/test_classification_stages.py

.PHONY: quickstart test check lint acceptance docs constraints clean

quickstart: $(VENV)/installed-demo
	@$(BIN)/tao-like quickstart

# Processes side by side leave no processor for more threads in each.
test check: export OMP_NUM_THREADS := $(or $(OMP_NUM_THREADS),1)

# A file's tests stay in one process, since they share what a training has left.
test: $(VENV)/installed-dev
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

check: lint
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) --maxprocesses 4 --dist loadfile $(CHECKED) $(PYTEST_ARGS)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

acceptance: $(VENV)/installed-dev
	@$(BIN)/python -m pytest -m acceptance $(PYTEST_ARGS)

docs: $(VENV)/installed-dev
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "To read it: $(BIN)/python -m http.server --directory build/site"

# pip is the last thing that a complete virtual environment gets.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "Python 3.10 or newer is needed; name one: make quickstart PYTHON=python3.12"; exit 1; }
	@echo "Making the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV) \
		|| { echo "That failed; on Debian and Ubuntu: apt install python3-venv"; exit 1; }

# The marker files keep make from installing again until what is to be installed has changed.
$(VENV)/installed-demo: pyproject.toml constraints.txt | $(BIN)/pip
	@echo "Installing into $(VENV): a few minutes on the first run, nothing after that"
	@$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[demo]'
	@touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(BIN)/pip
	@echo "Installing into $(VENV): a few minutes on the first run, nothing after that"
	@$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[demo,dev]'
	@touch $(VENV)/installed-demo $@

constraints:
	@echo "Resolving in build/constraints: some minutes"
	@rm -rf build/constraints
	@$(PYTHON) -m venv build/constraints
	@build/constraints/bin/pip install --quiet '.[demo,dev,notebooks]'
	@build/constraints/bin/python .ci/constraints.py > constraints.new
	@mv constraints.new constraints.txt
	@echo "constraints.txt is new; run make test before it is committed"

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find tao_like tests -name __pycache__ -type d -exec rm -rf {} +
