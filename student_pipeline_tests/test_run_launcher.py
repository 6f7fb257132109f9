"""The launcher of the service notices a run that is gone, with a real code server."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import duckdb
import pytest
from dagster._core.launcher import WorkerStatus

from student_pipeline.jobs import JOB_NAME
from student_pipeline_tests.command import PLENTY_OF_SECONDS, Installation

SETTINGS = """
telemetry: {enabled: false}
run_launcher: {module: student_pipeline.run_launcher, class: MonitoredRunLauncher}
run_coordinator: {module: dagster._core.run_coordinator, class: DefaultRunCoordinator}
"""


class CodeServer:
    """The code server of a school; it and its runs are one process group, as in a container."""

    def __init__(self, school: Installation) -> None:
        self.school = school
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        (school.folder / "workspace.yaml").write_text(
            f"load_from: [{{grpc_server: {{host: 127.0.0.1, port: {self.port}}}}}]\n"
        )
        self.start()

    def dagster(self, *arguments: str) -> "subprocess.Popen[bytes]":
        with (self.school.folder / "log.txt").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dagster", *arguments],
                cwd=self.school.folder,
                env=self.school.environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start(self) -> None:
        self.process = self.dagster(
            *("api", "grpc", "--host", "127.0.0.1", "--port", str(self.port)),
            *("--module-name", "student_pipeline.definitions"),
        )
        deadline = time.monotonic() + PLENTY_OF_SECONDS
        while True:
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None, (self.school.folder / "log.txt").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def launch(self, instance: dg.DagsterInstance) -> dg.DagsterRun:
        """A run that was launched in the server and has begun."""
        known = {run.run_id for run in instance.get_runs()}
        launch = self.dagster("job", "launch", "-w", "workspace.yaml", "-j", JOB_NAME)
        assert launch.wait(PLENTY_OF_SECONDS) == 0, (self.school.folder / "log.txt").read_text()
        (run_id,) = {run.run_id for run in instance.get_runs()} - known
        return wait_for(instance, run_id, dg.DagsterRunStatus.STARTED)


def wait_for(
    instance: dg.DagsterInstance, run_id: str, status: dg.DagsterRunStatus
) -> dg.DagsterRun:
    deadline = time.monotonic() + PLENTY_OF_SECONDS
    while True:
        run = instance.get_run_by_id(run_id)
        assert run
        if run.status == status:
            return run
        assert not run.is_finished, run.status
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[CodeServer]:
    school = Installation(tmp_path)
    school.deliver("students.csv", "student_id,name\nS1,Ann\n")
    school.home.mkdir()
    (school.home / "dagster.yaml").write_text(SETTINGS)
    server = CodeServer(school)
    yield server
    if server.process.poll() is None:
        server.kill()


def test_a_run_that_was_killed_with_its_server_is_missed_when_the_server_is_back(
    server: CodeServer,
) -> None:
    school = server.school
    with school.history() as instance:

        def health(run: dg.DagsterRun) -> tuple[WorkerStatus, str | None]:
            result = instance.run_launcher.check_run_worker_health(run)
            return result.status, result.msg

        assert instance.run_launcher.supports_check_run_worker_health
        with duckdb.connect(school.warehouse):  # the run waits for it
            run = server.launch(instance)
            assert health(run) == (WorkerStatus.RUNNING, None)
            server.kill()
        assert health(run) == (
            WorkerStatus.RUNNING,
            "the code server does not answer; it is asked again",
        )
        server.start()
        assert health(run) == (
            WorkerStatus.NOT_FOUND,
            "the code server was started anew and does not know this run",
        )
        instance.report_run_failed(run)

        # The next one succeeds; of runs that have ended nothing is missed.
        following = server.launch(instance)
        wait_for(instance, following.run_id, dg.DagsterRunStatus.SUCCESS)
        assert health(following) == (WorkerStatus.SUCCESS, "it has ended")
    assert len(school.tables()["silver.dim_student"]) == 1


def test_a_run_of_the_command_is_none_of_its_business(tmp_path: Path) -> None:
    school = Installation(tmp_path)
    school.deliver("students.csv", "student_id,name\nS1,Ann\n")
    school.home.mkdir()
    (school.home / "dagster.yaml").write_text(SETTINGS)
    outcome = school.command("run")
    with school.history() as instance:
        run = instance.get_run_by_id(outcome.run_id)
        assert run
        assert instance.run_launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING
