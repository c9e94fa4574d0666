# The two commands of the README are `make demo` and `make test`; both set up .venv by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A file's tests share what is dear to set up, so a file stays with one process.
PARALLEL := -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

# The tests start hundreds of processes: what Python has compiled is kept for the next one, whatever the machine says.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo check test test-newest lint format types docs licences lock sbom notebooks benchmark study clean
.DEFAULT_GOAL := help

help:  ## Show what there is to make
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

demo: $(VENV)/.demo-installed  ## Answer one real question in all three modes
	$(BIN)/pluralism demo

check: lint types  ## Lint, types, and the tests that need no real model and start no process: for every change
	$(BIN)/python -m pytest $(PARALLEL) -m "not model and not command and not browser and not faults and not documents"

test: $(VENV)/.dev-installed  ## Run the whole test suite: real model, real browser, killed processes
	$(BIN)/python -m pytest $(PARALLEL)

test-newest:  ## The whole suite with the newest versions that pyproject.toml admits, in an environment of its own
	@rm -f .venv-newest/.dev-installed
	@$(MAKE) --no-print-directory VENV=.venv-newest INSTALL=--newest test

lint: $(VENV)/.dev-installed  ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.dev-installed  ## Mend style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# graphs/, nodes/ and prompts/ are a part of the package once it is installed, so that is what is checked: a copy of the
# installed package, without its dependencies, and the tests beside it. What mypy knows from the last time is kept.
types: $(VENV)/.dev-installed  ## Check types
	@mkdir -p .types
	@rm -rf .types/bin .types/modular_pluralism .types/modular_pluralism-* .types/tests .types/benchmarks build
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --target .types .
	@rm -rf build
	@cp -r tests benchmarks .types/
	cd .types && ../$(BIN)/mypy --config-file ../pyproject.toml -p modular_pluralism -p tests -p benchmarks

docs: $(VENV)/.docs-installed  ## Build docs/ and the API reference as a site, out/docs
	$(BIN)/python docs/site/build.py

licences: $(VENV)/.dev-installed  ## Write docs/licences.md; fails where an extra brings a package under the GPL
	$(BIN)/python install/licences.py

# From an environment of its own, since uv is no part of what it locks.
lock:  ## Write requirements.lock anew after a change of pyproject.toml; UPGRADE=--upgrade takes the newest versions
	@test -x .venv-lock/bin/python || $(PYTHON) -m venv .venv-lock
	@.venv-lock/bin/python install/environment.py lock
	@.venv-lock/bin/python install/lock.py $(UPGRADE)

# From an environment of its own, which is no part of what it lists.
sbom: $(VENV)/.demo-installed  ## List what is installed in .venv as a CycloneDX file, out/sbom.json
	@test -x .venv-sbom/bin/cyclonedx-py || \
		{ $(PYTHON) -m venv .venv-sbom && .venv-sbom/bin/pip install --quiet 'cyclonedx-bom>=7'; }
	@mkdir -p out
	.venv-sbom/bin/cyclonedx-py environment --output-file out/sbom.json $(BIN)/python

notebooks: $(VENV)/.dev-installed  ## Run the notebooks and keep what they print
	$(BIN)/python notebooks/run.py

benchmark: $(VENV)/.dev-installed  ## Measure against the peers that are installed
	$(BIN)/python benchmarks/serving.py

study: $(VENV)/.dev-installed  ## Train communities on survey answers in DATA=folder, and measure them
	$(BIN)/python -m benchmarks.study --data $(or $(DATA),$(error name the folder of the three task files: make study DATA=folder))

clean:  ## Remove what was built here
	rm -rf $(VENV) .venv-newest .venv-sbom .venv-lock .types build *.egg-info

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	@command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null || \
		{ echo "A C++ compiler is needed to build llama-cpp-python; on Debian: apt-get install g++ make"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo-installed: pyproject.toml requirements.lock | $(VENV)/bin/python
	@$(BIN)/python install/environment.py demo $(INSTALL)
	@touch $@

$(VENV)/.dev-installed: pyproject.toml requirements.lock | $(VENV)/bin/python
	@$(BIN)/python install/environment.py dev $(INSTALL)
	@touch $@ $(VENV)/.demo-installed

$(VENV)/.docs-installed: pyproject.toml requirements.lock | $(VENV)/bin/python
	@$(BIN)/python install/environment.py docs $(INSTALL)
	@touch $@
