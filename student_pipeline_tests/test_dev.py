"""The real `dagster dev`, in a copy of the checkout: what it shows a browser, and what it runs."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from student_pipeline.jobs import JOB_NAME
from student_pipeline.settings import PROJECT_ROOT
from student_pipeline_tests.command import (
    PLENTY_OF_SECONDS,
    Installation,
    Outcome,
    clean_environment,
    tables,
)
from student_pipeline_tests.test_cli import ASSETS, ROWS, deliver_all
from student_pipeline_tests.webserver import MATERIALIZE_ALL, REPOSITORY, Webserver


@dataclass
class Dev(Webserver):
    """A running `dagster dev`."""

    process: "subprocess.Popen[bytes]"

    def kill(self) -> None:
        """End it and all that it started, at once, as a power cut would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def dagster_dev(root: Path, **environment: str) -> Iterator[Dev]:
    """`dagster dev` in the folder, until the end of the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = root / "dev.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "dagster", "dev", "--host", "127.0.0.1", "--port", str(port)],
            cwd=root,
            env=clean_environment() | {"PYTHONPATH": str(root), **environment},
            stdout=output,
            stderr=output,
            start_new_session=True,  # a process group of its own, which `kill` ends
        )
    dev = Dev(port, process)
    try:
        deadline = time.monotonic() + PLENTY_OF_SECONDS
        while not _answers(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield dev
    finally:
        if process.poll() is None:
            dev.kill()


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=5):
            return True
    except OSError:
        return False


def copy_checkout(root: Path) -> None:
    """Put the project into the folder, without data and history."""
    for name in ("dagster.yaml", "workspace.yaml", "rules.yaml", "pyproject.toml"):
        shutil.copyfile(PROJECT_ROOT / name, root / name)
    for name in ("student_pipeline", ".dagster_home"):
        shutil.copytree(
            PROJECT_ROOT / name,
            root / name,
            ignore=shutil.ignore_patterns("__pycache__", "history", "storage", "schedules"),
        )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, so that neither data nor history of this one change."""
    root = tmp_path_factory.mktemp("checkout")
    copy_checkout(root)
    deliver_all(Installation(root))
    (root / "data").mkdir()
    (root / "landing").rename(root / "data" / "raw")
    return root


@pytest.fixture(scope="module")
def by_command(root: Path) -> Outcome:
    """`student-pipeline run` in the copy, from another folder, into a warehouse of its own."""
    elsewhere = root / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "student_pipeline.cli", "run"],
        cwd=elsewhere,
        env=clean_environment()
        | {
            "PYTHONPATH": str(root),
            "STUDENT_PIPELINE_SOURCE": "",  # empty is the default
            "STUDENT_PIPELINE_WAREHOUSE": str(root / "by_command.duckdb"),
        },
        capture_output=True,
        encoding="utf-8",
        timeout=PLENTY_OF_SECONDS,
        check=False,
    )
    outcome = Outcome(done.returncode, done.stdout, done.stderr)
    assert outcome.status == 0, outcome
    return outcome


@pytest.fixture(scope="module")
def dev(root: Path, by_command: Outcome) -> Iterator[Dev]:
    """`dagster dev` in the root, without `DAGSTER_HOME`."""
    with dagster_dev(root) as dev:
        yield dev


def test_the_defaults_are_below_the_project_wherever_the_command_starts(
    root: Path, by_command: Outcome
) -> None:
    lines = by_command.out.splitlines()
    assert lines[0] == f"Landing folder: {root}/data/raw"
    assert lines[3] == f"Run history:    {root}/.dagster_home"
    assert not list((root / "elsewhere").iterdir())


def test_the_workspace_loads(dev: Dev) -> None:
    answer = dev.ask(
        """{ workspaceOrError { ... on Workspace { locationEntries {
            name loadStatus
            locationOrLoadError { __typename ... on PythonError { message } }
        } } } }"""
    )
    assert answer["workspaceOrError"]["locationEntries"] == [
        {
            "name": "student_pipeline.definitions",
            "loadStatus": "LOADED",
            "locationOrLoadError": {"__typename": "RepositoryLocation"},
        }
    ]


def test_every_asset_is_listed(dev: Dev) -> None:
    nodes = dev.ask("{ assetNodes { assetKey { path } isExecutable } }")["assetNodes"]
    listed = {"/".join(node["assetKey"]["path"]) for node in nodes if node["isExecutable"]}
    assert listed == ASSETS


def test_the_schedule_is_on(dev: Dev) -> None:
    answer = dev.ask(
        """query ($repository: RepositorySelector!) {
            schedulesOrError(repositorySelector: $repository) { ... on Schedules { results {
                name cronSchedule executionTimezone scheduleState { status }
            } } } }""",
        repository=REPOSITORY,
    )
    assert answer["schedulesOrError"]["results"] == [
        {
            "name": "every_morning",
            "cronSchedule": "0 6 * * *",
            "executionTimezone": "UTC",
            "scheduleState": {"status": "RUNNING"},
        }
    ]


def test_the_places_are_shown_as_environment_variables(dev: Dev) -> None:
    answer = dev.ask(
        """query ($repository: RepositorySelector!) {
            allTopLevelResourceDetailsOrError(repositorySelector: $repository) {
                ... on ResourceDetailsList { results {
                    name configuredValues { key value type }
                } } } }""",
        repository=REPOSITORY,
    )
    shown = {
        value["value"]
        for resource in answer["allTopLevelResourceDetailsOrError"]["results"]
        for value in resource["configuredValues"]
        if value["type"] == "ENV_VAR"
    }
    assert shown >= {"STUDENT_PIPELINE_SOURCE", "STUDENT_PIPELINE_WAREHOUSE"}


@pytest.fixture(scope="module")
def launched(dev: Dev) -> str:
    """The id of a run of the job that was launched in the UI, and has ended."""
    (run_id,) = dev.launch(JOB_NAME)
    assert dev.ends(run_id) == "SUCCESS"
    return run_id


def test_a_launched_run_leaves_the_tables_of_the_command(
    root: Path, launched: str, by_command: Outcome
) -> None:
    left = tables(root / "data" / "warehouse.duckdb")
    assert {name.replace(".", "/"): len(rows) for name, rows in left.items()} == ROWS
    assert left == tables(root / "by_command.duckdb")
    # What the run printed lies where it is found later, too.
    assert list((root / ".dagster_home" / "storage" / launched).rglob("*.out"))


def test_the_run_of_the_command_is_in_the_history(
    dev: Dev, launched: str, by_command: Outcome
) -> None:
    expected = {launched: "SUCCESS", by_command.run_id: "SUCCESS"}
    assert expected.items() <= dev.history().items()


def test_after_a_power_cut_all_goes_on(root: Path, dev: Dev, launched: str) -> None:
    """Killed in the middle of a run; then started with `DAGSTER_HOME`, with two more runs."""
    warehouse = root / "data" / "warehouse.duckdb"
    before = tables(warehouse)
    with duckdb.connect(warehouse):
        (killed,) = dev.launch(JOB_NAME)
        dev.wait_until(killed, "STARTED")
        history = dev.history()
        dev.kill()  # the tests above come first, then
    assert tables(warehouse) == before

    with dagster_dev(root, DAGSTER_HOME=str(root / ".dagster_home")) as again:
        assert history.items() <= again.history().items()
        for job in (JOB_NAME, MATERIALIZE_ALL):
            (run_id,) = again.launch(job)
            assert again.ends(run_id) == "SUCCESS"
        assert tables(warehouse) == before
