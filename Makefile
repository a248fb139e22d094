# Everything that a developer or a machine needs: `make demo`, `make test`. Each sets up what it lacks.
#
# `make quick` is for every commit, `make test` for every change, and takes minutes. `make test-oldest` has what goes
# through ComfyUI's own interfaces in the oldest one. `make test-slow` has the extras: long tests, and all others in the
# oldest ComfyUI and in the oldest frontend, and the face where neither of the next two has it. `make test` has each test of
# the face in Nodes 2.0, of ComfyUI's own frontend or of the newest one, and `make test-frontends` in the classic renderer of
# the other of the two, and the long ones in both. `make test-all` is all of them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A CPU build is enough; any torch from 2.4 on will do.
TORCH ?= torch==2.13.0
# ComfyUI's own environment with the test tools beside it; ComfyUI itself is never changed.
COMFYUI_VENV := .venv-comfyui
# ComfyUI's published types, the compiler that checks the face with them, and what checks its names and roles; Node 20
# or newer.
NODE_MODULES := node_modules/.package-lock.json
# How many processes share the tests; each takes some 2 GB at most. Those in the browser have one more, and one ComfyUI.
WORKERS ?= 2
# Workers go on with each other's tests when their own are done, a module's in a row as far as may be.
SHARED := -n $(WORKERS) --dist worksteal

# Rooms that need no torch: their tests take seconds.
PURE := files schedule spelling stack exchange workflow architectures fit library service

.PHONY: quick demo fuzz test test-beside-face test-oldest-beside test-core test-nodes test-face test-js test-slow test-oldest test-frontends test-all lint bench clean

demo: $(VENV)/ready
	$(BIN)/lorchestra demo -o demo-output

# Before each commit: what needs neither torch nor ComfyUI, in Python and in js, and the linters but for types.
quick: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	HYPOTHESIS_PROFILE=quick $(BIN)/pytest -q $(SHARED) -m "not slow" $(wildcard $(PURE:%=tests/lorchestra/%)) tests/lorchestra/test_*.py
	node --test tests/js/*.test.mjs

# The browser waits much, so all others run beside it, and give way to it. Both need ComfyUI's environment, so it is
# made first.
test: test-js
	PYTHON="$(PYTHON)" sh tests/with_comfyui.sh $(COMFYUI_VENV) setup
	$(MAKE) -j 2 $(if $(filter output-sync,$(.FEATURES)),--output-sync) test-face test-beside-face

test-beside-face:
	nice $(MAKE) test-core
	nice $(MAKE) test-nodes

test-core: $(VENV)/ready
	$(BIN)/pytest $(SHARED) -m "not slow" tests/lorchestra tests/deploy

# In the real ComfyUI, without its face.
test-nodes: $(VENV)/ready
	PYTHON="$(PYTHON)" sh tests/with_comfyui.sh $(COMFYUI_VENV) quick $(SHARED)

# In the browser.
test-face: $(VENV)/ready $(NODE_MODULES)
	PYTHON="$(PYTHON)" sh tests/with_comfyui.sh $(COMFYUI_VENV) face

# What the face computes by itself, in Node; and that it is what Python computes.
test-js: $(VENV)/ready
	node --test tests/js/*.test.mjs
	$(BIN)/pytest tests/js

test-slow: $(VENV)/ready
	$(BIN)/pytest $(SHARED) -m slow tests/lorchestra
	PYTHON="$(PYTHON)" sh tests/with_comfyui.sh $(COMFYUI_VENV) slow $(SHARED)

test-oldest: $(VENV)/ready
	PYTHON="$(PYTHON)" sh tests/with_comfyui.sh $(COMFYUI_VENV) oldest $(SHARED)

# The same, giving way to what runs beside it.
test-oldest-beside:
	nice $(MAKE) test-oldest

test-frontends: $(VENV)/ready $(NODE_MODULES)
	PYTHON="$(PYTHON)" sh tests/with_comfyui.sh $(COMFYUI_VENV) frontends -n $(WORKERS) --dist loadgroup

test-all: test test-oldest test-slow test-frontends

lint: $(VENV)/ready $(NODE_MODULES)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright
	node_modules/.bin/tsc

# Mutated texts and files for every parser, from a new seed each time, which is printed. `make fuzz SECONDS=3600`.
SECONDS ?= 60

fuzz: $(VENV)/ready
	$(BIN)/python tools/fuzz.py --seconds $(SECONDS)

# Compares with ComfyUI's own path, in one run.
bench: $(VENV)/ready
	$(BIN)/python bench/run.py

$(NODE_MODULES): package.json package-lock.json
	npm ci --no-audit --no-fund
	touch $@

$(VENV)/ready: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --editable ".[cli,dev,serve]"
	touch $@

clean:
	rm -rf $(VENV) $(COMFYUI_VENV) node_modules demo-output bench-output
