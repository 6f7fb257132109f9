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
	umask 077; DAGSTER_HOME=$(CURDIR)/.dagster_home $(BIN)/dagster dev --host 127.0.0.1

.PHONY: lint
lint: $(READY)  ## Check format, lint, types and SQL.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/sqlfluff lint --disable-progress-bar student_pipeline/sql student_pipeline/spark

.PHONY: coverage
coverage: $(READY)  ## Run the tests and measure how much of the package they execute.
	$(BIN)/python -m pytest --durations=10 --cov --cov-report=term --cov-fail-under=95

ATTENDANCE ?= 20000

.PHONY: spark-test
spark-test: $(READY)  ## Compare both engines on OSS Spark: a master and two workers (needs Java 17).
	STUDENT_PIPELINE_TEST_SPARK=1 $(BIN)/python -m pytest -n 0 student_pipeline_tests/spark/test_oss_spark.py
	$(BIN)/python -m student_pipeline_tests.spark.parity --engine spark --attendance $(ATTENDANCE)

.PHONY: bench
bench: $(READY)  ## Measure speed and memory against what one might use instead; takes hours.
	$(BIN)/python -m benchmarks.run

WHEELHOUSE ?= wheelhouse

.PHONY: secrets
secrets:  ## Write a new password for the service's database to .env, once.
	@test ! -e .env || { echo '.env is there already; it stays as it is.'; exit 1; }
	@umask 077; $(PYTHON) -c "import secrets; print('DAGSTER_POSTGRES_PASSWORD=' + secrets.token_hex(24))" > .env
	@echo 'Written: .env, which only you can read. Keep it; the database keeps this password.'

.PHONY: wheelhouse
wheelhouse:  ## Fetch what the image is made from, so that it can be built without a network.
	docker build --target wheelhouse --output $(WHEELHOUSE) .

.PHONY: sbom
sbom: $(READY)  ## Write the list of what the service is made of (CycloneDX) to build/sbom.json.
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[sbom]'
	$(PYTHON) -m venv --clear build/service
	build/service/bin/python -m pip install --quiet --constraint constraints.txt '.[service]'
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
		--output-file build/sbom.json build/service/bin/python

.PHONY: containers-test
containers-test: $(READY)  ## Build and start the service, use it, kill it (needs Docker).
	$(BIN)/python -m pytest deploy/proof -n 0 -rP

.PHONY: pictures
pictures: $(READY)  ## Take the pictures of the README anew, by the browser tests.
	STUDENT_PIPELINE_SCREENSHOTS=1 $(BIN)/python -m pytest student_pipeline_tests/test_browser.py

.PHONY: vendor
vendor:  ## Fetch the charting libraries of the report anew from npm.
	student_pipeline/reports/vendor/refresh.sh

.PHONY: clean
clean:  ## Remove the virtual environment; data and history stay.
	rm -rf $(VENV)
