"""The service for real: built, started, used, killed. `make containers-test`; needs Docker.

The tests follow one another on one service, as a day does.
"""

import csv
import json
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from student_pipeline.jobs import JOB_NAME
from student_pipeline.sample_data import write_sample
from student_pipeline.settings import PROJECT_ROOT
from student_pipeline_tests.command import Installation, tables
from student_pipeline_tests.webserver import REPOSITORY, Webserver

SERVICES = {"postgres", "code", "webserver", "daemon"}
NOTICED_SECONDS = 150
"""In this time a killed run is noticed and recorded: restart, health check, monitoring."""

SMALL = {"students": 200, "attendance": 2_000, "assessments": 600}
BIG = {"students": 20_000, "attendance": 500_000, "assessments": 100_000}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Service:
    """The compose project, under a name and with volumes of its own."""

    def __init__(self, folder: Path) -> None:
        self.reference = Installation(folder)
        self.reference.landing.mkdir()
        self.port, self.viewer_port = free_port(), free_port()
        self.environment = {
            **os.environ,
            "COMPOSE_PROJECT_NAME": "student-pipeline-proof",
            "COMPOSE_PROGRESS": "plain",
            "DAGSTER_POSTGRES_PASSWORD": secrets.token_hex(16),
            "LANDING_FOLDER": str(self.reference.landing),
            "WEBSERVER_PORT": str(self.port),
            "VIEWER_PORT": str(self.viewer_port),
        }
        self.web = Webserver(self.port)

    def compose(self, *arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
        """Run `docker compose`; an exit status other than 0 is an error, unless `check=False`."""
        files = ("-f", "docker-compose.yml", "-f", "deploy/proof/override.yml")
        done = subprocess.run(
            ["docker", "compose", *files, *arguments],
            cwd=PROJECT_ROOT,
            env=options.pop("env", self.environment),
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0 or not options.pop("check", True), done.stdout + done.stderr
        return done

    def inside(self, service: str, *command: str) -> str:
        """What a command in the container of a service prints."""
        return self.compose("exec", "-T", service, *command).stdout.strip()

    def containers(self) -> dict[str, dict[str, Any]]:
        """Service -> what Docker knows of its container."""
        found = {}
        for service in self.compose("ps", "-a", "--services").stdout.split():
            number = self.compose("ps", "-a", "-q", service).stdout.strip()
            text = subprocess.run(
                ["docker", "inspect", number], capture_output=True, check=True
            ).stdout
            found[service] = json.loads(text)[0]
        return found

    def kill(self, service: str) -> None:
        """End the main process of a service by SIGKILL, as the kernel does when memory is out."""
        self.compose(
            "exec", "-T", service, "sh", "-c",
            "for p in /proc/[0-9]*; do"
            " if [ \"$(cut -d' ' -f4 $p/stat)\" = 1 ] && [ ${p#/proc/} != $$ ];"
            " then kill -9 ${p#/proc/}; fi; done",
            check=False,
        )  # fmt: skip

    def warehouse(self) -> Path:
        """A copy of the warehouse, out of the volume."""
        copy = self.reference.folder / "copy.duckdb"
        self.compose("cp", "code:/srv/data/warehouse.duckdb", str(copy))
        return copy

    def deliver(self, seed: int, sizes: dict[str, int]) -> None:
        """Put a delivery into the landing folder, readable for everybody."""
        spool = self.reference.folder / f"delivery_{seed}"
        write_sample(spool, seed=seed, **sizes)
        for file in spool.iterdir():
            file.chmod(0o644)
            file.rename(self.reference.landing / f"{file.stem}_{seed}{file.suffix}")

    def events(self, run_id: str) -> list[dict[str, Any]]:
        """The events of a run."""
        return self.web.ask(
            """query ($run: ID!) { logsForRun(runId: $run, limit: 1000) {
                ... on EventConnection { events { __typename
                    ... on MessageEvent { message stepKey timestamp } } } } }""",
            run=run_id,
        )["logsForRun"]["events"]

    def runs(self) -> list[dict[str, Any]]:
        """All runs, newest first."""
        return self.web.ask(
            """{ runsOrError { ... on Runs { results {
                runId jobName status parentRunId tags { key value } } } } }"""
        )["runsOrError"]["results"]


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> float:
    """Wait for the condition; the seconds that it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() < started + seconds, f"not within {seconds} s: {what}"
        time.sleep(0.5)
    return time.monotonic() - started


def say(line: str) -> None:
    """A measured figure, shown by `pytest -rP` and `-s`."""
    print(f"\n[proof] {line}")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service, built and started; taken down with its volumes at the end."""
    service = Service(tmp_path_factory.mktemp("service"))
    service.deliver(1, SMALL)
    service.reference.landing.chmod(0o755)
    started = time.monotonic()
    service.compose("build", "code")
    say(f"image built in {time.monotonic() - started:.0f} s")
    size = subprocess.run(
        ["docker", "image", "inspect", "-f", "{{.Size}}", "student-pipeline:local"],
        capture_output=True,
        check=True,
    ).stdout
    say(f"image of {int(size) / 1e6:.0f} MB")
    try:
        started = time.monotonic()
        service.compose("up", "--detach", "--wait", "--wait-timeout", "180")
        say(f"all healthy {time.monotonic() - started:.0f} s after `up`")
        yield service
    finally:
        logs = service.compose("logs", "--no-color", check=False).stdout
        (service.reference.folder / "logs.txt").write_text(logs)
        service.compose("--profile", "viewer", "down", "--volumes", "--timeout", "20", check=False)


def test_without_a_password_nothing_starts(tmp_path: Path) -> None:
    service = Service(tmp_path)
    without = {**service.environment, "DAGSTER_POSTGRES_PASSWORD": ""}
    refused = service.compose("up", "--no-build", env=without, check=False)
    assert refused.returncode != 0
    assert "DAGSTER_POSTGRES_PASSWORD" in refused.stderr
    assert "is not set. Run `make secrets`" in refused.stderr


def test_the_services_are_healthy(service: Service) -> None:
    states = {
        name: container["State"]["Health"]["Status"]
        for name, container in service.containers().items()
        if name in SERVICES
    }
    assert states == dict.fromkeys(SERVICES, "healthy")


def test_nobody_is_root_and_nothing_is_open(service: Service) -> None:
    for name, container in service.containers().items():
        if name not in SERVICES:
            continue
        host = container["HostConfig"]
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert host["Memory"] > 0, name
        assert host["PidsLimit"] > 0, name
        assert service.inside(name, "id", "-u") == ("999" if name == "postgres" else "10001")
        assert service.compose("exec", "-T", name, "touch", "/x", check=False).returncode
        status = service.inside(name, "cat", "/proc/self/status")
        assert "NoNewPrivs:\t1" in status
        assert "CapEff:\t0000000000000000" in status
        ports = container["NetworkSettings"]["Ports"] or {}
        addresses = {bound["HostIp"] for bindings in ports.values() for bound in bindings or ()}
        assert addresses == ({"127.0.0.1"} if name == "webserver" else set()), name
    refused = service.compose("exec", "-T", "code", "touch", "/srv/landing/x", check=False)
    assert "Read-only file system" in refused.stderr
    # The files and the warehouse are the code server's alone.
    for name in ("webserver", "daemon"):
        assert service.inside(name, "ls", "-A", "/srv/landing", "/srv/data").split() == [
            "/srv/data:",
            "/srv/landing:",
        ]


def test_the_image_holds_no_secret_and_the_pinned_versions(service: Service) -> None:
    image = subprocess.run(
        ["docker", "image", "inspect", "student-pipeline:local"], capture_output=True, check=True
    ).stdout.decode()
    history = subprocess.run(
        ["docker", "history", "--no-trunc", "student-pipeline:local"],
        capture_output=True,
        check=True,
    ).stdout.decode()
    assert "PASSWORD" not in image + history
    assert service.environment["DAGSTER_POSTGRES_PASSWORD"] not in image + history
    assert installed("student-pipeline:local").items() <= pinned().items()


def installed(image: str) -> dict[str, str]:
    """Package -> version of an image, without the project itself."""
    listing = (
        "import importlib.metadata as m, json;"
        "print(json.dumps({d.name.lower().replace('_', '-'): d.version"
        " for d in m.distributions()}))"
    )
    found = subprocess.run(
        ["docker", "run", "--rm", "--network", "none", image, "python", "-c", listing],
        capture_output=True,
        check=True,
    ).stdout
    packages = json.loads(found)
    del packages["student-pipeline"]
    return packages


def pinned() -> dict[str, str]:
    """Package -> version of constraints.txt, for the Python of the image."""
    lines = (PROJECT_ROOT / "constraints.txt").read_text().splitlines()
    entries = [line.partition("#")[0].strip() for line in lines]
    pairs = [e.partition(";")[0].split("==") for e in entries if e and '< "3.11"' not in e]
    return {name.lower().replace("_", "-"): version.strip() for name, version in pairs}


def test_a_run_goes_through_the_queue_and_leaves_its_tables(service: Service) -> None:
    (run_id,) = service.web.launch(JOB_NAME)
    assert service.web.ends(run_id) == "SUCCESS"
    kinds = [event["__typename"] for event in service.events(run_id)]
    order = ["RunEnqueuedEvent", "RunStartingEvent", "RunStartEvent", "RunSuccessEvent"]
    assert [kind for kind in kinds if kind in order] == order
    assert service.reference.command("run").status == 0
    assert tables(service.warehouse()) == service.reference.tables()
    modes = service.inside(
        "code", "stat", "-c", "%a %U %n", "/srv/data", "/srv/data/warehouse.duckdb"
    )
    assert modes.splitlines() == [
        "700 pipeline /srv/data",
        "600 pipeline /srv/data/warehouse.duckdb",
    ]


def test_a_killed_run_is_noticed_and_done_again(service: Service) -> None:
    service.deliver(2, BIG)
    (run_id,) = service.web.launch(JOB_NAME)
    wait_until(
        lambda: any(e["__typename"] == "MaterializationEvent" for e in service.events(run_id)),
        120,
        "the first table of the run",
    )
    assert service.web.history()[run_id] == "STARTED"
    killed_at = time.monotonic()
    service.kill("code")
    wait_until(lambda: service.web.history()[run_id] == "FAILURE", NOTICED_SECONDS, "noticed")
    say(f"killed run recorded as failed after {time.monotonic() - killed_at:.0f} s")
    (reason,) = [
        e["message"] for e in service.events(run_id) if e["__typename"] == "RunFailureEvent"
    ]
    assert "the code server was started anew and does not know this run" in reason
    assert service.containers()["code"]["RestartCount"] == 1

    def again() -> list[str]:
        return [run["runId"] for run in service.runs() if run["parentRunId"] == run_id]

    wait_until(again, NOTICED_SECONDS, "the run is started again")
    (second,) = again()
    assert service.web.ends(second) == "SUCCESS"
    say(f"done again {time.monotonic() - killed_at:.0f} s after the kill")
    assert service.reference.command("run").status == 0
    assert tables(service.warehouse()) == service.reference.tables()
    assert service.inside("code", "ls", "-A", "/srv/scratch") == ""


def test_after_a_killed_daemon_no_tick_is_lost_or_doubled(service: Service) -> None:
    service.kill("daemon")
    wait_until(lambda: service.containers()["daemon"]["RestartCount"] == 1, 60, "restarted")
    time.sleep(70)
    # Down for longer, over two ticks at least, and up again in the middle of a minute.
    service.compose("stop", "daemon")
    stopped = datetime.now(timezone.utc)
    time.sleep(120)
    wait_until(lambda: 15 <= datetime.now().second <= 30, 60, "the middle of a minute")
    started = datetime.now(timezone.utc)
    service.compose("start", "daemon")
    time.sleep(75)

    found = service.web.ask(
        """query ($schedule: ScheduleSelector!) { scheduleOrError(scheduleSelector: $schedule) {
            ... on Schedule { scheduleState { ticks { timestamp status runIds } } } } }""",
        schedule={
            "repositoryName": "__repository__",
            "repositoryLocationName": "ticker",
            "scheduleName": "tick_schedule",
        },
    )["scheduleOrError"]["scheduleState"]["ticks"]
    assert {(tick["status"], len(tick["runIds"])) for tick in found} == {("SUCCESS", 1)}
    launched = [run["runId"] for run in service.runs() if run["jobName"] == "tick"]
    assert sorted(launched) == sorted(run for tick in found for run in tick["runIds"])
    ticks = sorted(datetime.fromtimestamp(tick["timestamp"], timezone.utc) for tick in found)
    assert len(set(ticks)) == len(ticks)
    minutes = (ticks[-1] - ticks[0]) // timedelta(minutes=1)
    missing = {ticks[0] + timedelta(minutes=n) for n in range(minutes)} - set(ticks)
    # Of those that it was not there for, Dagster makes up for the last: its run does it all.
    assert all(stopped < minute < started for minute in missing), missing
    made_up = [tick for tick in ticks if stopped < tick < started]
    assert len(made_up) == 1
    assert not [minute for minute in missing if minute > made_up[0]]
    say(f"{len(ticks)} ticks in {minutes + 1} minutes, {len(missing)} covered by the one after")


def test_a_viewer_may_look_but_not_launch(service: Service) -> None:
    service.compose("--profile", "viewer", "up", "--detach", "--wait", "viewer")
    viewer = Webserver(service.viewer_port)
    assert viewer.history() == service.web.history()
    answer = viewer.ask(
        """mutation ($run: ExecutionParams!) { launchRun(executionParams: $run) { __typename } }""",
        run={
            "selector": {**REPOSITORY, "pipelineName": JOB_NAME},
            "mode": "default",
            "runConfigData": {},
        },
    )
    assert answer == {"launchRun": {"__typename": "UnauthorizedError"}}


def test_no_name_is_in_the_history_or_the_logs(service: Service) -> None:
    names: set[str] = set()
    for file in service.reference.landing.glob("students_*.csv"):
        with file.open(newline="") as lines:
            names.update(row["name"] for row in csv.DictReader(lines))
    full = {name.strip() for name in names if name and " " in name.strip()}
    assert len(full) > 1_000
    psql = ("psql", "-U", "dagster", "-d", "dagster", "-Atc")
    public = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    listed = service.inside("postgres", *psql, public).split()
    assert "event_logs" in listed
    said = "".join(service.inside("postgres", *psql, f"COPY {table} TO STDOUT") for table in listed)
    said += service.compose("logs", "--no-color").stdout
    said += service.inside(
        "code", "sh", "-c", "find /srv/dagster_home/storage -type f -exec cat {} +"
    )
    assert "student_data_pipeline" in said
    assert [name for name in full if name in said] == []


def test_it_builds_without_a_network_from_a_wheelhouse(service: Service, tmp_path: Path) -> None:
    context = tmp_path / "context"
    for name in ("Dockerfile", ".dockerignore", "pyproject.toml", "constraints.txt"):
        context.mkdir(exist_ok=True)
        shutil.copyfile(PROJECT_ROOT / name, context / name)
    for name in ("README.md", "rules.yaml"):
        shutil.copyfile(PROJECT_ROOT / name, context / name)
    for name in ("deploy", "student_pipeline"):
        shutil.copytree(
            PROJECT_ROOT / name, context / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    (context / "wheelhouse").mkdir()
    shutil.copyfile(PROJECT_ROOT / "wheelhouse" / ".gitignore", context / "wheelhouse/.gitignore")
    subprocess.run(
        ["make", "wheelhouse", f"WHEELHOUSE={context / 'wheelhouse'}"], cwd=PROJECT_ROOT, check=True
    )
    subprocess.run(
        ["docker", "build", "--quiet", "--network", "none", "-t", "student-pipeline:offline", "."],
        cwd=context,
        check=True,
    )
    assert installed("student-pipeline:offline") == installed("student-pipeline:local")


def test_it_stops_when_it_is_asked_to(service: Service) -> None:
    started = time.monotonic()
    service.compose("stop")
    say(f"stopped in {time.monotonic() - started:.0f} s")
    statuses = {n: c["State"]["ExitCode"] for n, c in service.containers().items()}
    assert 137 not in statuses.values(), statuses  # 137: had to be killed
