# One command each; `make` alone lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help

.PHONY: help
help:  ## List the commands.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

.PHONY: run
run: $(READY)  ## Materialize and check everything, and show a summary.
	$(BIN)/student-pipeline run

.PHONY: test
test: $(READY)  ## Run the tests.
	$(BIN)/python -m pytest

.PHONY: dev
dev: $(READY)  ## Open the Dagster UI on http://127.0.0.1:3000, on the same history.
	DAGSTER_HOME=$(CURDIR)/.dagster_home $(BIN)/dagster dev --host 127.0.0.1

.PHONY: lint
lint: $(READY)  ## Check format, lint, types and SQL.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/sqlfluff lint --disable-progress-bar student_pipeline/sql

.PHONY: coverage
coverage: $(READY)  ## Run the tests and measure how much of the package they execute.
	$(BIN)/python -m pytest --durations=10 --cov --cov-report=term --cov-fail-under=95

.PHONY: bench
bench: $(READY)  ## Measure speed and memory against a bare DuckDB script and an empty job.
	$(BIN)/python -m benchmarks.run

.PHONY: pictures
pictures: $(READY)  ## Take the pictures of the README anew, by the browser tests.
	STUDENT_PIPELINE_SCREENSHOTS=1 $(BIN)/python -m pytest student_pipeline_tests/test_browser.py

.PHONY: vendor
vendor:  ## Fetch the charting libraries of the report anew from npm.
	student_pipeline/reports/vendor/refresh.sh

.PHONY: clean
clean:  ## Remove the virtual environment; data and history stay.
	rm -rf $(VENV)
