# Bandstand's commands. `make help` lists them; every one makes or refreshes .venv first when its lock has changed.

.DEFAULT_GOAL := help
.SUFFIXES:
MAKEFLAGS += --no-print-directory

# The first Python on the path that is 3.11 or newer and starts (a version manager's stub may not).
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then echo "$$name"; break; fi; \
	done)
RUN := .venv/bin/python
# Where it is set (images for containers like to), each process would compile all that it imports: three seconds of it.
unexport PYTHONDONTWRITEBYTECODE
ENVIRONMENT = @if [ -z "$(PYTHON)" ]; then \
	echo "Bandstand needs Python 3.11 or newer with pip; none was found on the PATH. Install it, or say which: make PYTHON=/path/to/python3.11" >&2; exit 1; fi; \
	"$(PYTHON)" .ci/environment.py
# What a check sees: no developer's .env, and an address as in production.
CHECKED := BANDSTAND_ENV_FILE=/dev/null DATABASE_URL= BANDSTAND_PUBLIC_URL=https://bandstand.example \
	BANDSTAND_TRUSTED_PROXIES=127.0.0.1 BANDSTAND_DATA_DIR=.cache/check

.PHONY: help run test check lint chaos bench bench-memory lock demo-data screenshots

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name what; do \
	printf '  make %-12s %s\n' "$$name" "$$what"; done
	@echo
	@echo '  Settings come from the environment or from .env; .env.example lists them all.'
	@echo '  Example: HOST=127.0.0.1 PORT=8001 BANDSTAND_DATA_DIR=/tmp/second make run'

run: ## start everything on this machine; Ctrl-C stops it (VENDORS=1: with Anthropic, Google and Bedrock; OTLP=1: traces)
	$(ENVIRONMENT) $(if $(VENDORS),requirements-vendors.lock,$(if $(OTLP),requirements-otlp.lock,requirements.lock))
	@exec $(RUN) manage.py run

test: ## run all tests (PG=16 for the older server, ARGS="-k name" for some)
	$(ENVIRONMENT) requirements-dev.lock
	@exec $(RUN) -m pytest -n 3 $(ARGS)

check: lint test ## the gate: format, lint (Python and JavaScript), types, contracts, settings, migrations, tests

lint:
	$(ENVIRONMENT) requirements-dev.lock
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	.venv/bin/oxlint --quiet agents
	$(RUN) -m mypy .
	PYTHONPATH=platform .venv/bin/lint-imports
	$(CHECKED) $(RUN) manage.py check --deploy --fail-level WARNING
	$(CHECKED) $(RUN) -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run

chaos: ## kill runners, web processes and PostgreSQL at random, let tools run wild, and prove that nothing is lost
	$(ENVIRONMENT) requirements-dev.lock
	@PYTHONPATH=platform $(RUN) -m tests.chaos $(ARGS)
	@$(if $(ARGS),,PYTHONPATH=platform $(RUN) -m tests.chaos.cuts --cuts 300)
	@$(if $(ARGS),,PYTHONPATH=platform $(RUN) -m tests.chaos.alert_kills --kills 500)
	@$(if $(ARGS),,PYTHONPATH=platform $(RUN) -m tests.chaos.schedules --kills 300)
	@$(if $(ARGS),,PYTHONPATH=platform $(RUN) -m tests.chaos.handoffs --rounds 1000 --kills 60)
	@$(if $(ARGS),,PYTHONPATH=platform $(RUN) -m tests.chaos.attack)
	@$(if $(ARGS),,PYTHONPATH=platform $(RUN) -m tests.chaos.watchdog)
	@$(if $(ARGS),,PYTHONPATH=platform $(RUN) -m tests.chaos.hostile_model)
	@$(if $(ARGS),,PYTHONPATH=platform $(RUN) -m tests.chaos.approvals --kills 400)
	@$(if $(ARGS),,PYTHONPATH=platform $(RUN) -m tests.chaos.budgets --kills 100)
	@$(if $(ARGS),,PYTHONPATH=platform $(RUN) -m tests.chaos.message_rate --runs 20)

bench: ## measure a turn, and others' turns under attack (QUICK=1: a turn only, under a minute)
	$(ENVIRONMENT) requirements-dev.lock
	@PYTHONPATH=platform QUICK=$(QUICK) $(RUN) -m tests.bench $(ARGS)
	@$(if $(ARGS)$(QUICK),,PYTHONPATH=platform $(RUN) -m tests.bench.attacks)

bench-memory: ## measure what searches of memories find and cost (DATA=/path/to/locomo10.json, which is not part of this)
	$(ENVIRONMENT) requirements-dev.lock
	@PYTHONPATH=platform $(RUN) -m tests.bench.memory $(if $(DATA),--data $(DATA)) $(ARGS)

demo-data: ## fill the running installation with made-up conversations (SIZE=10000 turns)
	$(ENVIRONMENT) requirements.lock
	@exec $(RUN) manage.py demo_data --turns $(or $(SIZE),10000) $(ARGS)

screenshots: ## the pictures of the docs anew, in Chromium, by having short conversations
	$(ENVIRONMENT) requirements-dev.lock
	@PYTHONPATH=platform exec $(RUN) -m tests.browser.screenshots $(ARGS)

lock: ## resolve the dependencies of pyproject.toml anew, with hashes, for every platform
	$(ENVIRONMENT) requirements-dev.lock
	@test -x .cache/uv/bin/uv || { "$(PYTHON)" -m venv .cache/uv && .cache/uv/bin/python -m pip install --quiet uv; }
	@set -e; for lock in "pyproject.toml -o requirements.lock" \
	"--extra otlp -c requirements.lock pyproject.toml -o requirements-otlp.lock" \
	"--extra otlp --extra vendors -c requirements-otlp.lock pyproject.toml -o requirements-vendors.lock" \
	"--group dev --extra otlp --extra vendors -c requirements-vendors.lock pyproject.toml -o requirements-dev.lock"; do \
	.cache/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-header \
	--no-annotate --no-emit-index-url $$lock; done
