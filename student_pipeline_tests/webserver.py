"""Talking to Dagster's webserver as its UI does."""

import json
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from student_pipeline_tests.command import PLENTY_OF_SECONDS
from student_pipeline_tests.test_cli import ASSETS

REPOSITORY = {
    "repositoryName": "__repository__",
    "repositoryLocationName": "student_pipeline.definitions",
}

MATERIALIZE_ALL = "__ASSET_JOB"
"""The job behind the button above the asset graph."""


@dataclass
class Webserver:
    """A webserver that runs on this machine."""

    port: int

    def ask(self, query: str, **variables: Any) -> Any:
        """The answer to a GraphQL query."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PLENTY_OF_SECONDS) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer
        return answer["data"]

    def launch(self, *jobs: str) -> list[str]:
        """Launch the jobs as the UI does; the ids of the runs."""
        everything = [{"path": name.split("/")} for name in ASSETS]
        executions = [
            {
                "selector": {
                    **REPOSITORY,
                    "pipelineName": job,
                    **({"assetSelection": everything} if job == MATERIALIZE_ALL else {}),
                },
                "mode": "default",
                "runConfigData": {},
            }
            for job in jobs
        ]
        results = self.ask(
            """mutation ($runs: [ExecutionParams!]!) {
                launchMultipleRuns(executionParamsList: $runs) {
                    ... on LaunchMultipleRunsResult {
                        launchMultipleRunsResult {
                            __typename
                            ... on LaunchRunSuccess { run { runId } }
                        }
                    }
                }
            }""",
            runs=executions,
        )["launchMultipleRuns"]["launchMultipleRunsResult"]
        return [result["run"]["runId"] for result in results]

    def history(self) -> dict[str, str]:
        """Run id -> status."""
        runs = self.ask("{ runsOrError { ... on Runs { results { runId status } } } }")
        return {run["runId"]: run["status"] for run in runs["runsOrError"]["results"]}

    def wait_until(self, run_id: str, *statuses: str) -> str:
        deadline = time.monotonic() + PLENTY_OF_SECONDS
        status = ""
        while status not in statuses:
            assert time.monotonic() < deadline, status
            time.sleep(0.3)
            # The webserver answers 500 when it asks while a run writes to the SQLite history.
            with suppress(urllib.error.HTTPError):
                status = self.history()[run_id]
        return status

    def ends(self, run_id: str) -> str:
        return self.wait_until(run_id, "SUCCESS", "FAILURE", "CANCELED")
