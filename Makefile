# Everything runs in .venv; the first target that needs it makes it. PYTHON chooses the interpreter (3.11 or newer).
PYTHON ?= python3.11
BIN := .venv/bin
DEMO ?= demo
BENCH ?= $(wildcard tests/bench/bench_*.py)

.PHONY: demo test test-slow lint types bench questions pictures format clean

.venv/installed: pyproject.toml infra/constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip -c infra/constraints.txt
	$(BIN)/python -m pip install --quiet -c infra/constraints.txt -e '.[all,test]'
	@touch $@

demo: .venv/installed ## make a phantom cohort, run everything, print the tallies
	$(BIN)/spinetally demo --store $(DEMO)

test: .venv/installed ## minutes; needs no server but those it starts itself
	$(BIN)/python -m pytest

test-slow: .venv/installed ## the long ones: faults, servers, browsers
	$(BIN)/python -m pytest -m slow

lint: .venv/installed types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_structure.py

types: .venv/installed
	$(BIN)/mypy

.venv-peers/installed: infra/peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet -r infra/peers.txt
	@touch $@

bench: .venv/installed .venv-peers/installed ## prints figures, asserts none; BENCH chooses files
	$(BIN)/python -m pytest -m bench -s $(BENCH)

questions: .venv/installed ## answers of the worked questions on the demo, into the README
	$(BIN)/python -m tests.write_examples $(DEMO) README.md

pictures: .venv/installed ## of the demo's report and viewer, for the README; needs chromium and its driver
	$(BIN)/python -m tests.take_pictures $(DEMO) infra/pictures

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-peers $(DEMO) .mypy_cache .ruff_cache .pytest_cache .hypothesis
