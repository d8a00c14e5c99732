# `make book` builds the book, `make test` tests it. Both set up all they need in .venv
# first, with nothing but Python 3.11 or newer. `make clean` removes what any target made.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := 0.13.9
PORTABLE := --universal --python-version 3.11 --generate-hashes --no-emit-index-url

NEW_ENOUGH = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "Expected Python 3.11 or newer. Received: $$($(PYTHON) --version 2>&1)." \
	"Name another one: make PYTHON=python3.13"; exit 1; }

.PHONY: book test check notebooks lint format lock records colab address setup clean

book: $(VENV)/ready  # build the pages from the stored notebooks, and check them
	rm -rf _build
	$(BIN)/jupyter-book build . -W -n --keep-going
	$(BIN)/python tools/check_site.py _build/html

.PHONY: pdf
pdf: book  # print the whole book, with bookmarks; needs Chromium or Chrome
	$(BIN)/python tools/pdf.py _build/html _build/where-the-kl-loss-goes.pdf

test: lint  # lint, then test the package, the book and every notebook
	$(BIN)/python -m pytest -n 2 --dist loadscope

.PHONY: coverage
coverage: $(VENV)/ready  # which lines of the package no test runs; counting costs a fifth
	$(BIN)/python -m pytest tests/package --cov=vaebook --cov-report=term-missing

# Words, links and the tests of what changed since main, in less than a minute. If .venv is not
# there, a small one does, without TensorFlow. CHAPTER=06 compares one chapter's cells instead.
ifdef CHAPTER
check: $(VENV)/ready
	$(BIN)/python -m pytest book/notebooks/$(CHAPTER)-*.ipynb
else
CHECK := $(if $(wildcard $(VENV)/ready),$(VENV),.venv-check)
check: $(CHECK)/ready
	$(CHECK)/bin/python tools/check.py
endif

notebooks: $(VENV)/ready  # run the chapters whose code changed
	$(BIN)/python tools/sync.py $(CHAPTERS)

lint: $(VENV)/ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: $(VENV)/ready  # fix what ruff can fix; notebooks follow their chapters
	$(BIN)/ruff check --fix --exit-zero --exclude "*.ipynb" src tools tests conftest.py
	$(BIN)/ruff format --exclude "*.ipynb" src tools tests conftest.py

records: $(VENV)/ready  # measure the records that are not there, or RECORD=cost again
	$(BIN)/python tools/records $(RECORD)

.PHONY: killed
killed: $(VENV)/ready  # kill trainings at random batches, go on, compare; CASE=train_step
	$(BIN)/python tools/killed.py $(CASE)

address: $(VENV)/ready  # make address URL=https://github.com/me/fork
	$(BIN)/python tools/address.py $(URL)

lock: $(BIN)/uv  # add LOCK=--upgrade for the newest releases
	$(BIN)/uv pip compile $(PORTABLE) $(LOCK) --custom-compile-command "make lock" \
		requirements.in -o requirements.txt

# Colab has its own versions and its own pip. The package must fit in and change nothing.
colab: PYTHON := python3.13
colab:
	$(PYTHON) -m venv --clear .venv-colab
	.venv-colab/bin/python -m pip install --quiet -r .github/colab.txt
	.venv-colab/bin/python -m pip freeze > .venv-colab/before.txt
	.venv-colab/bin/python -m pip install --quiet .
	.venv-colab/bin/python -m pip freeze --exclude vaebook > .venv-colab/after.txt
	diff .venv-colab/before.txt .venv-colab/after.txt
	.venv-colab/bin/python -m pytest tests/package book/notebooks

setup: $(VENV)/ready

# The set-up. It runs again when the lock or the package's own needs change.
$(BIN)/uv:
	@$(NEW_ENOUGH)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv==$(UV)

$(VENV)/ready: $(BIN)/uv requirements.txt pyproject.toml
	$(BIN)/uv pip install --python $(BIN)/python --compile-bytecode --require-hashes \
		-r requirements.txt
	$(BIN)/uv pip install --python $(BIN)/python --no-build-isolation --no-deps -e .
	@touch $@

.venv-check/ready: requirements-check.in requirements.txt
	@$(NEW_ENOUGH)
	$(PYTHON) -m venv .venv-check
	.venv-check/bin/python -m pip install --quiet uv==$(UV)
	.venv-check/bin/uv pip install --quiet --python .venv-check/bin/python \
		--constraint requirements.txt -r requirements-check.in
	@touch $@

clean:
	rm -rf .venv .venv-check .venv-colab _build .pytest_cache .ruff_cache .coverage .coverage.* \
		build *.egg-info src/*.egg-info
