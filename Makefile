# Each target works from a bare checkout; PYTHON is any Python of 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: setup serve test check bench recall scale crowd schema reference format playground example example-test lock clean

setup: $(INSTALLED)

$(INSTALLED): requirements.lock pyproject.toml hatch_build.py $(filter-out %/node_modules,$(wildcard playground/*))
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "RecallQL needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python hatch_build.py
	RECALLQL_SKIP_PLAYGROUND_BUILD=1 $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/recallql model install --static || echo "Search goes on by words alone; make setup tries again after a change."
	@touch $@

serve: setup
	$(BIN)/recallql serve

# Whatever the shell says, compiled modules are kept: the tests start Python some hundred times.
test check: export PYTHONDONTWRITEBYTECODE :=

test: setup
	$(BIN)/pytest -n auto --dist loadgroup

# What CI runs. The tests come last, so that their closing lines are the last thing printed.
check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/recallql schema | diff -u schema.graphql -
	$(BIN)/pytest -n auto --dist loadgroup

# RecallQL beside its peers, about a quarter of an hour: make bench BENCH='--rounds 3 --seconds 2'
bench: setup
	$(BIN)/python -m benchmarks.run $(BENCH)

# Whether search finds the turns that answer a question, with the local model too: make recall RECALL=folder
recall: setup
	$(BIN)/recallql model install
	$(BIN)/python -m benchmarks.recall $(RECALL)

# A long session in a large file, memory over time, first answers, durable mutations. Ten minutes and more, for a
# large file has to be filled; then SCALE=--reuse keeps it.
scale: setup
	$(BIN)/python -m benchmarks.scale $(SCALE)

# What callers do to one another: one user's worst requests, memory, erasures in a crowd, search beside others.
crowd: setup
	$(BIN)/python -m benchmarks.crowd $(CROWD)

schema: setup
	$(BIN)/recallql schema > schema.graphql.new && mv schema.graphql.new schema.graphql

# The tables of docs/ that come from the code: settings, limits, commands.
reference: setup
	$(BIN)/python -m docs.reference

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

playground: setup
	$(BIN)/python hatch_build.py

# A chat application on the API, with its server: prints one URL. EXAMPLE_PORT and RECALLQL_PORT choose the ports,
# EXAMPLE_DATABASE_URL the data.
example: setup
	@$(BIN)/python -m examples.chat

example-test: setup
	$(BIN)/pytest tests/test_example.py

# The newest versions that pyproject.toml admits, written down for everybody.
lock:
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	RECALLQL_SKIP_PLAYGROUND_BUILD=1 build/lock/bin/pip install --quiet --disable-pip-version-check '.[dev]'
	build/lock/bin/pip uninstall --quiet --yes recallql
	build/lock/bin/pip freeze > requirements.lock

clean:
	rm -rf .venv build dist recallql/_playground playground/node_modules tests/*/node_modules
	rm -rf examples/chat/node_modules examples/chat/dist examples/chat/src/generated
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
