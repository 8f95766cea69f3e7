# Every target sets up what it needs (scripts/bootstrap): a fresh machine needs make and a Python.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help bootstrap run test check format bench prove lock

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

bootstrap:
	@scripts/bootstrap

run: bootstrap ## Start everything on this machine: PORT (8000), WEB_CONCURRENCY (1); Ctrl-C stops it
	@exec .venv/bin/python -m lumyx.supervisor

test: bootstrap ## Run all tests; ARGS goes to the first pytest (ARGS="-k ledger -n 0")
	@scripts/test $(ARGS)

check: bootstrap ## Format, lint, types, import contracts, templates, settings, migrations
	@scripts/check

format: bootstrap ## Format the code and the templates, and repair what can be repaired
	@.venv/bin/ruff check --fix --quiet . || true
	@.venv/bin/ruff format .
	@.venv/bin/djade --target-version 6.1 $$(find templates -name '*.html' -type f) || true

bench: bootstrap ## Measure one gateway worker; ARGS goes to it (ARGS="--quick")
	@.venv/bin/python -m bench $(ARGS)

prove: bootstrap ## Run the long proofs; ARGS names them (ARGS="kill --seed 7"), docs/proofs.md explains them
	@.venv/bin/python -m proofs $(ARGS)

lock: bootstrap ## Compile the requirements anew
	@scripts/lock
