# Every verb sets up what it needs: Python 3.11 or newer and make are enough to begin with.
# Another interpreter than the first one found: make demo PYTHON=/path/to/python3.12

PYTHON ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
TRY := $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python)
RECENT := import sys; sys.exit(sys.version_info < (3, 11))

.DEFAULT_GOAL := help
.PHONY: help demo lab test check bench clean

help: ## Show these verbs
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r verb what; do printf '%-14s%s\n' "$$verb" "$$what"; done

demo: .venv/.demo ## Cut real photographs into a patch set, with a report, in runs/demo
	@$(BIN)/patchmill run configs/demo.yaml

lab: .venv/.lab ## Open the notebooks in JupyterLab
	@$(BIN)/jupyter lab notebooks

test: .venv/.dev ## Run the tests, less those marked slow, and the examples in the docstrings
	@$(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not slow"

check: .venv/.dev ## Lint, formatting and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: .venv/.dev ## Measure against bounds and peers, into runs/benchmarks; takes a while
	@$(BIN)/python benchmarks/run.py $(BENCH)

clean: ## Remove caches and builds; .venv and runs stay
	@rm -rf build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find pipeline tests benchmarks notebooks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# The stamps say what .venv holds; each is made again when pyproject.toml has changed. Whoever has the tools of a developer has the rest too.
.venv/.demo: EXTRAS := notebooks,geo,fast
.venv/.demo: BRINGS := .venv/.demo
.venv/.lab: EXTRAS := lab,geo,fast
.venv/.lab: BRINGS := .venv/.demo .venv/.lab
.venv/.dev: EXTRAS := dev
.venv/.dev: BRINGS := .venv/.demo .venv/.lab .venv/.dev

.venv/.demo .venv/.lab .venv/.dev: pyproject.toml | .venv/bin/python
	@echo "patchmill: installing patchmill[$(EXTRAS)] into .venv, once; this takes a few minutes"
	@$(PIP) install --editable ".[$(EXTRAS)]" || { echo "patchmill: the installation failed, for the reason pip gives above." >&2; exit 1; }
	@touch $(BRINGS)

.venv/bin/python:
	@for python in $(TRY); do \
	    "$$python" -c '$(RECENT)' 2>/dev/null && break; \
	    found="$$found $$("$$python" -V 2>/dev/null)"; python=; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "patchmill: Python 3.11 or newer is needed, found:$${found:- none}; name one with 'make PYTHON=/path/to/python3'." >&2; exit 1; \
	fi; \
	echo "patchmill: creating .venv with $$("$$python" -V)"; \
	fresh=; [ -e .venv ] || fresh=yes; \
	if ! "$$python" -m venv .venv >/dev/null 2>&1; then \
	    [ -z "$$fresh" ] || rm -rf .venv; \
	    echo "patchmill: $$python could not create a virtual environment in .venv (on Debian and Ubuntu: apt install python3-venv)." >&2; exit 1; \
	fi
