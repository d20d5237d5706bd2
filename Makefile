# Needs make and Python 3.11 to 3.14; everything else is installed into .venv, by hash, from requirements/.
#   PYTHON=/path/to/python   makes .venv with that interpreter
#   LOCK_FLAGS=--upgrade     lets `make lock` move to newer versions
#   MINUTES=10               bounds how long `make torture` takes

VENV   := .venv
PY     := $(VENV)/bin/python
PYTHON ?=
LOCK_FLAGS ?=
MINUTES ?=

RUN   := $(PY) examples/quickstart/run.py
# Three at a time on two cores: a fifth of the time is waiting for servers and processes. The long tests are neighbours:
# whoever has nothing left takes from the others.
TEST  := $(PY) -m pytest -n 3 --dist worksteal -q
BENCH := $(PY) -m benchmarks
TORTURE := $(PY) -m tests.torture
SIMULATE := $(PY) -m anystrat.testing.simulate
# The variable silences an advertisement of the theme for its successor.
DOCS  := NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet

# Without byte code every start would compile the libraries anew.
unexport PYTHONDONTWRITEBYTECODE

# A stamp names what it stands for: the lock files, the package's metadata and this directory (an editable install points
# into it). As long as none of them changes, nothing is installed again.
run_id := $(shell { pwd; cat requirements/uv.txt requirements/run.txt pyproject.toml; } | cksum | cut -d' ' -f1)
dev_id := $(shell cat requirements/dev.txt | cksum | cut -d' ' -f1)
run_ready := $(VENV)/.run-$(run_id)
dev_ready := $(VENV)/.dev-$(run_id)-$(dev_id)

# uv takes a tenth of pip's time. A mirror named in pip's own configuration is known only to pip, which therefore goes second.
pip := $(PY) -m pip install --quiet --disable-pip-version-check
uv := $(PY) -m uv pip install --quiet --python $(PY)
install = $(uv) $(1) || { echo "uv could not install; pip tries" >&2; $(pip) $(1); }

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test check lint types layers hygiene supply docs bench torture simulate fuzz mutate lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

run: $(run_ready) ## the quickstart: replay real prices through a strategy
	@$(RUN)

test: $(dev_ready) ## all tests
	@$(TEST)

check: lint types layers docs hygiene supply ## what must hold before a commit, tests apart

lint: $(dev_ready)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(dev_ready)
	$(PY) -m mypy
	$(PY) -m pyright

layers: $(dev_ready)
	@# By module, as all tools here: a script names the directory it was installed in, which may have been moved since.
	$(PY) -c "from importlinter.cli import lint_imports_command; lint_imports_command()" --no-logo

hygiene: $(dev_ready)
	$(PY) tools/hygiene.py

supply: $(dev_ready)  # known vulnerabilities, hashes, and out/sbom.cdx.json
	$(PY) tools/supply_chain.py

docs: $(dev_ready) ## the documentation, into site/
	$(DOCS)

bench: $(dev_ready) ## the benchmarks, on this machine
	@$(BENCH)

torture: $(dev_ready) ## kill runs, restart servers, count every signal (MINUTES=10: what fits)
	@$(TORTURE) $(if $(MINUTES),--minutes $(MINUTES))

fuzz: $(dev_ready) ## 100,000 inputs for every reader, guided by coverage (MINUTES=10: what fits; needs Python 3.11)
	@$(PY) -m tests.fuzz $(if $(MINUTES),--seconds $$(($(MINUTES) * 60 / 7)))

mutate: $(dev_ready) ## put mistakes into the modules that matter most, and see the tests find them (MINUTES=10: what fits)
	@$(PY) -m tests.mutation $(if $(MINUTES),--minutes $(MINUTES) --sample 12)

simulate: $(dev_ready) ## 10,000 histories of crashes and faults, from their seeds, on a simulated loop
	@$(SIMULATE) --seeds 1..10000 --workers 2 --minimise

lock: $(VENV)/.uv-$(run_id) ## write the lock files anew (LOCK_FLAGS=--upgrade for newer versions)
	$(compile) requirements/uv.in -o requirements/uv.txt
	$(compile) pyproject.toml --extra parquet --extra ml --extra live requirements/run.in -o requirements/run.txt
	$(compile) pyproject.toml --all-extras requirements/dev.in -o requirements/dev.txt
	@# The engines that the benchmarks compare with, each in an environment of its own.
	for peer in $(basename $(notdir $(wildcard $(PEERS)/*.in))); do $(compile) $(PEERS)/$$peer.in -o $(PEERS)/$$peer.txt || exit; done

PEERS := benchmarks/peers/requirements
compile = UV_CUSTOM_COMPILE_COMMAND="make lock" $(PY) -m uv pip compile --quiet --universal --python-version 3.11 \
          --generate-hashes --no-emit-index-url --no-emit-find-links $(LOCK_FLAGS)

clean: ## remove the environment and whatever was built
	rm -rf $(VENV) site dist build out htmlcov .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---------------------------------------------------------------------------------------------------- the environment

# 3.11 first: the lock files are resolved for it and up. A candidate counts only if it runs and can make environments.
$(PY):
	@for python in $(or $(PYTHON),python3.11 python3.12 python3.13 python3.14 python3); do \
	    if "$$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null; then \
	        echo "Making $(VENV) with $$("$$python" --version)"; \
	        exec "$$python" -m venv $(VENV); \
	    fi; \
	done; \
	echo "anystrat needs Python 3.11, 3.12, 3.13 or 3.14 with its venv module; none of these would do:" >&2; \
	for python in $(or $(PYTHON),python3.11 python3.12 python3.13 python3.14 python3); do \
	    echo "  $$python: $$("$$python" --version 2>&1 | head -n 1)" >&2; \
	done; \
	echo "On Debian and Ubuntu the module is a package of its own, such as python3-venv." >&2; \
	echo "To name an interpreter: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; \
	exit 1

$(VENV)/.uv-$(run_id): | $(PY)
	@rm -f $(VENV)/.uv-*
	@$(pip) --require-hashes -r requirements/uv.txt
	@touch $@

$(run_ready): $(VENV)/.uv-$(run_id)
	@rm -f $(VENV)/.run-*
	@echo "Installing what a run needs into $(VENV) (once)"
	@$(call install,--require-hashes -r requirements/run.txt)
	@$(call install,--no-deps --no-build-isolation -e .)
	@touch $@

$(dev_ready): $(run_ready)
	@rm -f $(VENV)/.dev-*
	@echo "Installing what development needs into $(VENV) (once)"
	@$(call install,--require-hashes -r requirements/dev.txt)
	@touch $@
