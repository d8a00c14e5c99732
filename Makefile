# `make book` builds the book, `make test` tests it. Both set up all they need in .venv
# first, with nothing but Python 3.11 or newer. `make clean` removes what any target made.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := 0.13.9
PORTABLE := --universal --python-version 3.11 --generate-hashes --no-emit-index-url

.PHONY: book test notebooks lint format lock records colab address setup clean

book: $(VENV)/ready  # build the pages from the stored notebooks, and check them
	rm -rf _build
	$(BIN)/jupyter-book build . -W -n --keep-going
	$(BIN)/python tools/check_site.py _build/html

.PHONY: pdf
pdf: book  # print the whole book, with bookmarks; needs Chromium or Chrome
	$(BIN)/python tools/pdf.py _build/html _build/where-the-kl-loss-goes.pdf

test: lint  # lint, then test the package, the book and every notebook
	$(BIN)/python -m pytest -n 2 --dist loadscope --cov=vaebook

notebooks: $(VENV)/ready  # run the chapters whose code changed
	$(BIN)/python tools/sync.py $(CHAPTERS)

lint: $(VENV)/ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: $(VENV)/ready  # mend what can be mended; notebooks follow their chapters
	$(BIN)/ruff check --fix --exit-zero --exclude "*.ipynb" src tools tests conftest.py
	$(BIN)/ruff format --exclude "*.ipynb" src tools tests conftest.py

records: $(VENV)/ready  # measure what the chapters show from a record; takes hours
	$(BIN)/python tools/records/six_epochs.py
	$(BIN)/python tools/records/target_memory.py
	$(BIN)/python tools/records/mnist_bounds.py
	$(BIN)/python tools/records/closed_over_loss.py
	$(BIN)/python tools/records/porting.py
	$(BIN)/python tools/records/behaviours.py
	$(BIN)/python tools/records/cost.py

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
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Expected Python 3.11 or newer. Received: $$($(PYTHON) --version 2>&1)." \
		"Name another one: make PYTHON=python3.13"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv==$(UV)

$(VENV)/ready: $(BIN)/uv requirements.txt pyproject.toml
	$(BIN)/uv pip install --python $(BIN)/python --require-hashes -r requirements.txt
	$(BIN)/uv pip install --python $(BIN)/python --no-build-isolation --no-deps -e .
	@touch $@

clean:
	rm -rf .venv .venv-colab _build .pytest_cache .ruff_cache .coverage .coverage.* \
		build *.egg-info src/*.egg-info
