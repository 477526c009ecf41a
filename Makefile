# Everything a developer or a newcomer types. Only Python >= 3.11 and make are needed.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Tests and demo find the programs that the environment brings.
export PATH := $(CURDIR)/$(BIN):$(PATH)

# Two processes, each with a stack of its own where its tests need one: most tests wait for servers.
PYTEST   := $(BIN)/python -m pytest --durations=20 --numprocesses=2 --dist=loadfile --no-loadscope-reorder
# The tests that share nothing but the files of the repository.
UNIT     := tests/unit tests/contract tests/architecture

.DEFAULT_GOAL := help
# The environment is installed without compiled modules: each is compiled when it is first imported,
# and must be kept: a process that compiles them all anew takes a second longer to start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test long unit integration check format docs site programs compose-check bench clean

help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# What runs, and the local stack to run it on; nothing that only a change of the code needs.
$(VENV)/.product: pyproject.toml constraints.txt .ci/install
	$(PYTHON) .ci/install $(VENV) local,demo
	touch $@

$(VENV)/.installed: pyproject.toml constraints.txt .ci/install
	$(PYTHON) .ci/install $(VENV) local,demo,network,dev
	touch $(VENV)/.product $@

demo: $(VENV)/.product ## Start everything, run seven plans with real work, show what came of them
	$(BIN)/python -m demo $(if $(KEEP),--keep)

# Both parts run whatever comes of the first; the whole fails if one of them did.
test: $(VENV)/.installed ## All tests, with a real broker and a real database
	@failed=0; \
	$(PYTEST) $(UNIT) || failed=1; \
	$(PYTEST) tests $(UNIT:%=--ignore=%) || failed=1; \
	exit $$failed

# What CI has no time for; see tests/sizes.py.
LONG := integration/test_locks integration/test_cancel_phases integration/test_router_crashes
LONG += integration/test_file_sizes tools/odd/test_sizes tools/test_errors chaos/test_kill
LONG += tools/test_line_in_file tools/test_accounts
long: $(VENV)/.installed ## Tests of locks, cancels, crashes and sizes in full length
	LONG_TESTS=1 $(PYTEST) $(LONG:%=tests/%.py)

unit: $(VENV)/.installed ## The tests that need no broker and no database
	$(PYTEST) $(UNIT) tests/docs/test_names.py tests/docs/test_blocks.py

check: $(VENV)/.installed ## Format, lint, types, import borders, drift of the generated documents
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/runstream docs check

format: $(VENV)/.installed ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.installed ## Generate docs/reference anew
	$(BIN)/runstream docs generate

# From a repository alone: nothing is fetched for it, and none of its pages fetches anything.
site: $(VENV)/.installed ## Build docs/ as a site, into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

# Minutes each, so CI goes without them; tests that need one skip and say so.
programs: ## Build the programs of the tools' tests that Debian lacks, with Go; kept for later
	.ci/programs

# As root; minutes, so CI goes without it. docs/deploy.md says what it shows.
compose-check: $(VENV)/.installed ## Start compose.yaml with Podman, run a plan in it, remove it all
	.ci/programs docker-compose
	$(BIN)/python -m deploy.compose_check

bench: $(VENV)/.installed ## Measure the system beside the bare loop; writes build/bench.json
	$(BIN)/python -m bench.run

clean: ## Remove what was built; a running stack is stopped first
	-test -x $(BIN)/runstream && $(BIN)/runstream down
	rm -rf $(VENV) build .runstream tests/node/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis
