# make demo   a speech recogniser, from nothing: corpus, training, decoding, report
# make graphs lexicons and language models as graphs, built, searched and drawn
# make test   ruff, mypy, pytest
# make build  (re)build the native kernels after a change in wfst_entropy/csrc
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# pip's own variable, so that the build environment is constrained too
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Threads that wait sleep: where another process needs the cores, spinning slows both down.
export OMP_WAIT_POLICY ?= passive

NATIVE := CMakeLists.txt $(wildcard wfst_entropy/csrc/*)

.PHONY: demo graphs test lint build clean

demo: $(VENV)/demo.stamp
	PATH="$(abspath $(BIN)):$$PATH" recipes/librispeech/run.sh --corpus mini $(DEMO_OPTIONS)

graphs: $(VENV)/graphs.stamp
	for material in toy mini; do \
	  graphs/build.sh --python $(BIN)/python --material $$material && \
	  graphs/inspect.sh --python $(BIN)/python --material $$material || exit 1; \
	done

test: $(VENV)/dev.stamp lint
	$(BIN)/pytest -q

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

build: $(VENV)/bin/python
	$(BIN)/pip install -q -e .

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/%.stamp: pyproject.toml constraints.txt $(NATIVE) | $(VENV)/bin/python
	$(BIN)/pip install -q -e '.[$*]'
	touch $@

clean:
	rm -rf $(VENV) build
