# Two commands matter: `make demo` and `make test`. Each makes .venv itself when it is missing or stale.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The tests start some thousand processes, which should not compile Heeler anew each time.
unexport PYTHONDONTWRITEBYTECODE
PYTHON_313 := $(firstword $(shell for python in python3.13 $${PYENV_ROOT:-$$HOME/.pyenv}/versions/3.13.*/bin/python3.13; do \
	$$python -c "" 2>/dev/null && echo $$python; done))

.PHONY: demo test services check bench docs format clean help

help:
	@echo "make demo    a real job on SQLite, with nothing else installed"
	@echo "make test    every test (installs or starts the services it needs)"
	@echo "make check   format, lint, types, layers, and that every test can be collected"
	@echo "make bench   the benchmarks, as tables"
	@echo "make docs    the documentation, warnings are errors"

$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[all]" --group dev --group docs
	@touch $@

$(VENV): $(STAMP)

demo: $(STAMP)
	@$(BIN)/heeler demo

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest --collect-only -qq >/dev/null || $(BIN)/python -m pytest --collect-only -qq

# All tests on the Python of .venv; what needs no server once more on 3.13, where there is one.
test: $(STAMP) services
	$(BIN)/python -m pytest $(PYTEST_ARGS)
	@if [ "$(VENV)" = .venv ] && [ -z "$(PYTEST_ARGS)" ] && [ -n "$(PYTHON_313)" ]; then \
		$(MAKE) --no-print-directory test VENV=.venv-3.13 PYTHON=$(PYTHON_313) PYTEST_ARGS="tests/unit tests/conformance -k 'not (redis or valkey or rabbitmq)'"; \
	fi

# The tests start the servers they need by themselves; here their programs are installed where that can be done.
services:
	@command -v redis-server >/dev/null || command -v valkey-server >/dev/null || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get -qq update && apt-get -qq install -y redis-server; } || \
		echo "redis-server is not installed: tests that need it skip and say so (with CI=true they fail)"
	@command -v rabbitmq-server >/dev/null || test -x /usr/lib/rabbitmq/bin/rabbitmq-server || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get -qq update && apt-get -qq install -y rabbitmq-server; } || \
		echo "rabbitmq-server is not installed: tests that need it skip and say so (with CI=true they fail)"

bench: $(STAMP)
	$(BIN)/python -m benchmarks

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir build/docs

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv .venv-3.13 build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
