# `make` alone lists the targets. Everything they need is set up on the way.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo run worker test check bench gallery lock clean

PYTHON ?= python3
QUEUE ?= cpu
export PYTHON
# Python keeps what it has compiled, or each of the many processes would compile it all again.
# It writes into .venv and beside our own modules, and `git` knows not to look there.
unexport PYTHONDONTWRITEBYTECODE

MANAGE = .venv/bin/python manage.py
PYTEST = CHROMIUM="$$(scripts/browser)" .venv/bin/python -m pytest -raR -p tests.no_skips

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

setup: ## Get ready: environment, packages, front end, weights, database
	@scripts/system-packages python
	@scripts/setup

demo: setup ## Start everything and cut out a few sample photos (DEMO_EXIT=1: then stop)
	@exec $(MANAGE) demo

run: setup ## Start everything: web server, workers, scheduler
	@exec $(MANAGE) run

worker: setup ## Start one worker (QUEUE=cpu, or io)
	@exec $(MANAGE) worker $(QUEUE)

test: ## Run every test, on a PostgreSQL and a Valkey of their own; concurrency on SQLite too
	@scripts/system-packages python browser shell
	@scripts/setup
	@scripts/browser --fetch >/dev/null
	$(PYTEST) -n 2 --dist worksteal -m "not gpu and not worker and not chaos and not browser and not diffusion"
	$(PYTEST) -n 2 --dist worksteal -m browser tests/browser
	$(PYTEST) -n 2 --dist loadfile -m "(worker or chaos) and not browser" tests/worker tests/studio tests/browser
	STUDIO_TEST_DATABASE=sqlite $(PYTEST) -n 2 --dist loadfile -m concurrency
	"$$(scripts/diffusion-environment)" -m pytest -ra -p tests.no_skips -m diffusion tests/engines

check: setup ## Lint (Python, scripts, templates, Dockerfiles), types, import contracts, migrations, deployment settings, lock files
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-logo
	scripts/node npm run --silent lint
	.venv/bin/djlint --lint --quiet templates */templates
	[ ! -x .venv/bin/hadolint ] || .venv/bin/hadolint Dockerfile Dockerfile.gpu
	$(MANAGE) makemigrations --check --dry-run
	scripts/check-deploy
	! grep -nE '://|"resolved"' requirements*.txt package-lock.json

bench: setup ## Measure images per second beside rembg's own command and of every tool, and pages
	@exec .venv/bin/python -m bench

gallery: setup ## Draw a contact sheet of every tool on every sample photo, into var/gallery
	@exec $(MANAGE) makegallery

lock: setup ## Pin every package again after a change to requirements*.in or package.json
	@scripts/lock

clean: ## Remove the environment and all that was built; data and weights stay
	rm -rf .venv .venv-diffusion node_modules static/dist var/static var/static.collected
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .grimp_cache .hypothesis
