"""The service for real: built, started, used, killed. `make containers-test`; needs Docker.

The tests follow one another on one service, as a day does.
"""

import csv
import json
import os
import re
import secrets
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb
import pytest

from student_pipeline.jobs import JOB_NAME
from student_pipeline.sample_data import write_sample
from student_pipeline.settings import PROJECT_ROOT
from student_pipeline_tests.command import Installation, tables
from student_pipeline_tests.test_report import embedded
from student_pipeline_tests.webserver import REPOSITORY, Webserver

IMAGE = "student-pipeline:local"

WRITES = {
    "postgres": {"/tmp", "/run/postgresql", "/var/lib/postgresql/data"},
    "code": {"/tmp", "/srv/data", "/srv/published", "/srv/scratch", "/srv/dagster_home/storage"},
    "webserver": {"/tmp", "/srv/dagster_home/storage"},
    "daemon": {"/tmp", "/srv/dagster_home/storage"},
}
"""Service -> the folders that it can write to, in all of its container."""

NOTICED_SECONDS = 150
"""In this time a killed run is noticed and recorded: restart, health check, monitoring."""

TOLD_SECONDS = 120
"""In this time an alert is sent: the daemon looks for runs that ended every 30 seconds."""

WEBHOOK = "http://receiver:8000/hooks/s3cr3t"
"""The service `receiver` of the proof."""

REPORT = "report.html"

CANARY = "Zzyzx Quillfeather"
"""A name that only a file which is refused has."""

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
            "STUDENT_PIPELINE_PUBLISH_MODE": "0644",
            "STUDENT_PIPELINE_ALERT_WEBHOOK": WEBHOOK,
        }
        self.web = Webserver(self.port)

    def compose(self, *arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
        """Run `docker compose`; an exit status other than 0 is an error, unless `check=False`."""
        files = ("-f", "docker-compose.yml", "-f", "deploy/proof/override.yml")
        done = subprocess.run(
            ["docker", "compose", *files, *arguments],
            cwd=PROJECT_ROOT,
            env=options.pop("env", self.environment),
            stdin=options.pop("stdin", subprocess.DEVNULL),
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

    def published(self) -> Path:
        """A copy of the published files, out of the volume."""
        copy = self.reference.folder / "published_copy"
        shutil.rmtree(copy, ignore_errors=True)
        self.compose("cp", "code:/srv/published", str(copy))
        return copy

    def posts(self) -> list[str]:
        """The alerts that were posted to the webhook, oldest first."""
        lines = self.inside("receiver", "sh", "-c", "cat /tmp/posts 2>/dev/null || true")
        return [json.loads(line)["text"] for line in lines.splitlines()]

    def waits_for_post(self, *words: str) -> None:
        """Wait for an alert that holds all of the words; it comes once."""

        def found() -> list[str]:
            return [post for post in self.posts() if all(word in post for word in words)]

        wait_until(found, TOLD_SECONDS, f"an alert with {words}")
        assert len(found()) == 1, found()

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

    def retries(self, run_id: str) -> list[str]:
        """The runs that were started because this one failed."""
        return [run["runId"] for run in self.runs() if run["parentRunId"] == run_id]

    def rests(self) -> bool:
        """Whether all runs of the pipeline have ended."""
        ended = {"SUCCESS", "FAILURE", "CANCELED"}
        return all(run["status"] in ended for run in self.runs() if run["jobName"] == JOB_NAME)


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
        ["docker", "image", "inspect", "-f", "{{.Size}}", IMAGE],
        capture_output=True,
        check=True,
    ).stdout
    say(f"image of {int(size) / 1e6:.0f} MB")
    try:
        started = time.monotonic()
        service.compose("up", "--detach", "--wait", "--wait-timeout", "180")
        say(f"all healthy {time.monotonic() - started:.0f} s after `up`")
        yield service
    except AssertionError:  # it did not start: why is in its logs, which go with it
        print(service.compose("logs", "--no-color", "--tail", "20", check=False).stdout)
        raise
    finally:
        service.compose("--profile", "viewer", "down", "--volumes", "--timeout", "20", check=False)


def test_without_a_password_nothing_starts(tmp_path: Path) -> None:
    service = Service(tmp_path)
    without = {**service.environment, "DAGSTER_POSTGRES_PASSWORD": ""}
    refused = service.compose("up", "--no-build", env=without, check=False)
    assert refused.returncode != 0
    assert "DAGSTER_POSTGRES_PASSWORD" in refused.stderr
    assert "is not set. Run `make secrets`" in refused.stderr


@pytest.mark.parametrize("role", ["code", "webserver", "daemon"])
def test_the_image_does_not_start_without_one_either(service: Service, role: str) -> None:
    refused = subprocess.run(
        [
            *("docker", "run", "--rm", "--network", "none"),
            *(f"--env=DAGSTER_POSTGRES_{name}=x" for name in ("HOST", "DB", "USER")),
            *(IMAGE, role),
        ],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        "DAGSTER_POSTGRES_PASSWORD is not set; docker-compose.yml sets all four of them.\n"
    )


def test_the_services_are_healthy_and_waited_for_each_other(service: Service) -> None:
    states = {name: service.containers()[name]["State"] for name in WRITES}
    assert {state["Health"]["Status"] for state in states.values()} == {"healthy"}
    order = sorted(states, key=lambda name: states[name]["StartedAt"])
    assert order == ["postgres", "code", "webserver", "daemon"]


def test_the_schedule_and_the_alerts_are_on(service: Service) -> None:
    found = service.web.ask(
        """query ($repository: RepositorySelector!) {
            repositoryOrError(repositorySelector: $repository) { ... on Repository {
                schedules { name scheduleState { status } }
                sensors { name sensorState { status } } } } }""",
        repository=REPOSITORY,
    )["repositoryOrError"]
    schedules = {one["name"]: one["scheduleState"]["status"] for one in found["schedules"]}
    sensors = {one["name"]: one["sensorState"]["status"] for one in found["sensors"]}
    assert schedules == {"every_morning": "RUNNING"}
    assert sensors == {
        "new_files": "STOPPED",
        "alert_on_failure": "RUNNING",
        "alert_on_success": "RUNNING",
        "alert_on_stale_tables": "RUNNING",
    }


def test_nobody_is_root_and_nothing_is_open(service: Service) -> None:
    containers = service.containers()
    for name in WRITES:
        assert service.inside(name, "id", "-u") == ("999" if name == "postgres" else "10001")
        status = service.inside(name, "cat", "/proc/self/status")
        assert "NoNewPrivs:\t1" in status
        assert "CapEff:\t0000000000000000" in status
        assert "CapBnd:\t0000000000000000" in status
        ports = containers[name]["NetworkSettings"]["Ports"] or {}
        addresses = {bound["HostIp"] for bindings in ports.values() for bound in bindings or ()}
        assert addresses == ({"127.0.0.1"} if name == "webserver" else set()), name
    # The files and the warehouse are the code server's alone.
    for name in ("webserver", "daemon"):
        places = ("/srv/landing", "/srv/data", "/srv/published")
        assert service.inside(name, "find", *places).split() == list(places)


def test_only_the_volumes_can_be_written(service: Service) -> None:
    for name, expected in WRITES.items():
        assert writable(service, name) == expected, name
    refused = service.compose("exec", "-T", "code", "touch", "/srv/landing/x", check=False)
    assert "Read-only file system" in refused.stderr


def writable(service: Service, name: str) -> set[str]:
    """The topmost folders and files that the user of a service can write to, but for devices."""
    found = service.inside(
        name, "sh", "-c",
        "find / -regextype egrep -regex '/(proc|sys|dev)' -prune -o"
        " '(' -type d -o -type f ')' -writable -print -prune 2>/dev/null || true",
    )  # fmt: skip
    return set(found.split())


def test_the_limits_are_those_of_the_kernel(service: Service) -> None:
    def limit(name: str, *places: str) -> str:
        """What the control group says, in version 2 or 1."""
        files = " ".join(f"/sys/fs/cgroup/{place}" for place in places)
        return service.inside(name, "sh", "-c", f"cat {files} 2>/dev/null || true")

    for name, container in service.containers().items():
        if name not in WRITES:
            continue
        host = container["HostConfig"]
        memory = limit(name, "memory.max", "memory/memory.limit_in_bytes")
        assert memory == str(host["Memory"]), name
        assert limit(name, "pids.max", "pids/pids.max") == str(host["PidsLimit"]), name
        assert host["Memory"] <= 4 * 2**30
        assert host["PidsLimit"] <= 500
        assert host["RestartPolicy"]["Name"] == "unless-stopped", name
        assert host["LogConfig"] == {
            "Type": "json-file",
            "Config": {"max-size": "10m", "max-file": "5"},
        }


def test_the_image_holds_no_secret_and_the_pinned_versions(service: Service) -> None:
    image = subprocess.run(
        ["docker", "image", "inspect", IMAGE], capture_output=True, check=True
    ).stdout.decode()
    history = subprocess.run(
        ["docker", "history", "--no-trunc", IMAGE],
        capture_output=True,
        check=True,
    ).stdout.decode()
    assert "PASSWORD" not in image + history
    assert service.environment["DAGSTER_POSTGRES_PASSWORD"] not in image + history
    assert installed(IMAGE).items() <= pinned().items()


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


def test_what_is_published_is_whole_and_for_those_whom_the_setting_names(service: Service) -> None:
    """After the run of the test before; the reference has had the same files."""
    listed = service.inside("code", "sh", "-c", "stat -c '%a %U %n' /srv/published/*")
    ours, theirs = service.published(), service.reference.folder / "published"
    names = sorted(file.name for file in theirs.iterdir())
    assert listed.splitlines() == [f"644 pipeline /srv/published/{name}" for name in names]
    assert sorted(file.name for file in ours.iterdir()) == names  # no draft beside them
    for file in theirs.glob("*.csv"):
        assert (ours / file.name).read_bytes() == file.read_bytes()
        parquet = f"{file.stem}.parquet"
        assert rows_of(ours / parquet) == rows_of(theirs / parquet)
    assert tables(ours / "gold.duckdb") == tables(theirs / "gold.duckdb")
    html = (ours / REPORT).read_text(encoding="utf-8")
    assert html.rstrip().endswith("</html>")
    assert without_times(embedded(html)) == without_times(
        embedded((theirs / REPORT).read_text(encoding="utf-8"))
    )

    # Somebody else's container, with the volume mounted as docs/deployment.md says.
    def stranger(*command: str) -> "subprocess.CompletedProcess[bytes]":
        volume = f"{service.environment['COMPOSE_PROJECT_NAME']}_published:/gold:ro"
        options = ("--rm", "--network", "none", "--user", "4321:4321", "--volume", volume)
        return subprocess.run(
            ["docker", "run", *options, IMAGE, *command], capture_output=True, check=False
        )

    assert stranger("cat", f"/gold/{REPORT}").stdout == (ours / REPORT).read_bytes()
    assert b"Read-only file system" in stranger("touch", "/gold/x").stderr


def rows_of(parquet: Path) -> list[tuple[Any, ...]]:
    """All rows of a Parquet file."""
    with duckdb.connect() as connection:
        return connection.read_parquet(str(parquet)).fetchall()


def without_times(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures of a report, but for when and by which run they were made."""
    freshness = {k: v for k, v in figures["freshness"].items() if k != "last_load"}
    kept = {k: v for k, v in figures.items() if k not in ("made", "run")}
    return {**kept, "freshness": freshness}


def test_status_and_a_run_by_hand(service: Service) -> None:
    by_hand = service.compose("exec", "-T", "code", "student-pipeline", "run")
    (run_id,) = re.findall(r"^Run ([0-9a-f-]{36}): succeeded\.$", by_hand.stdout, re.MULTILINE)
    assert service.web.history()[run_id] == "SUCCESS"
    said = service.compose("exec", "-T", "code", "student-pipeline", "status").stdout
    assert re.search(rf"^Last run: +succeeded .*{run_id}", said, re.MULTILINE), said
    assert "the gold tables are fresh" in said
    rows = len(service.reference.tables()["gold.student_performance_summary"])
    assert re.search(rf"^gold.student_performance_summary +{rows:,} ", said, re.MULTILINE), said


def test_an_alert_gets_out_when_a_check_stops_a_run_and_when_it_is_over(service: Service) -> None:
    def ticks() -> object:
        """Of the sensor; it tells of runs that end after its first one."""
        return service.web.ask(
            """query ($sensor: SensorSelector!) { sensorOrError(sensorSelector: $sensor) {
                ... on Sensor { sensorState { ticks(limit: 1) { status } } } } }""",
            sensor={**REPOSITORY, "sensorName": "alert_on_failure"},
        )["sensorOrError"]["sensorState"]["ticks"]

    wait_until(ticks, TOLD_SECONDS, "the first tick of the sensor")
    before = {file.name: file.read_bytes() for file in service.published().iterdir()}
    refused = service.reference.deliver("students_headless.csv", f"S1,Headless {CANARY},G1-A\n")
    refused.chmod(0o644)
    (run_id,) = service.web.launch(JOB_NAME)
    assert service.web.ends(run_id) == "FAILURE"
    title = "check files_readable of bronze/students"
    service.waits_for_post(f"FAILED: {title}", f"run {run_id}", "refused files: 1")
    after = {file.name: file.read_bytes() for file in service.published().iterdir()}
    assert after == before
    status = service.compose("exec", "-T", "code", "student-pipeline", "status", check=False)
    assert status.returncode == 1
    assert re.search(rf"^Last run: +FAILED .*{run_id}", status.stdout, re.MULTILINE), status
    assert "FAILED  bronze/students: files_readable: 1 file was refused. students_" in status.stdout
    # Bad data stays bad: it is not tried again.
    assert service.retries(run_id) == []

    refused.unlink()
    (run_id,) = service.web.launch(JOB_NAME)
    assert service.web.ends(run_id) == "SUCCESS"
    service.waits_for_post(f"RECOVERED: {title}")
    assert not [post for post in service.posts() if CANARY in post]


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
    service.waits_for_post("FAILED: the run", f"run {run_id}", "killed")

    wait_until(lambda: service.retries(run_id), NOTICED_SECONDS, "the run is started again")
    (second,) = service.retries(run_id)
    assert service.web.ends(second) == "SUCCESS"
    say(f"done again {time.monotonic() - killed_at:.0f} s after the kill")
    assert service.reference.command("run").status == 0
    assert tables(service.warehouse()) == service.reference.tables()
    assert service.inside("code", "ls", "-A", "/srv/scratch") == ""


def test_after_a_killed_daemon_no_tick_is_lost_or_doubled(service: Service) -> None:
    schedule = {
        "repositoryName": "__repository__",
        "repositoryLocationName": "ticker",
        "scheduleName": "tick_schedule",
    }

    def ticks() -> list[dict[str, Any]]:
        return service.web.ask(
            """query ($schedule: ScheduleSelector!) {
                scheduleOrError(scheduleSelector: $schedule) { ... on Schedule {
                    scheduleState { ticks { timestamp status runIds } } } } }""",
            schedule=schedule,
        )["scheduleOrError"]["scheduleState"]["ticks"]

    switched_on = service.web.ask(
        """mutation ($schedule: ScheduleSelector!) { startSchedule(scheduleSelector: $schedule) {
            ... on ScheduleStateResult { scheduleState { id status } } } }""",
        schedule=schedule,
    )["startSchedule"]["scheduleState"]
    assert switched_on["status"] == "RUNNING"
    wait_until(ticks, 90, "the first tick")
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
    service.web.ask(
        "mutation ($id: String!) { stopRunningSchedule(id: $id) { __typename } }",
        id=switched_on["id"],
    )

    found = ticks()
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


def test_a_killed_database_loses_nothing(service: Service) -> None:
    before = service.web.history()
    service.deliver(3, SMALL)
    (run_id,) = service.web.launch(JOB_NAME)
    wait_until(
        lambda: any(e["__typename"] == "MaterializationEvent" for e in service.events(run_id)),
        120,
        "the first table of the run",
    )
    service.kill("postgres")
    wait_until(lambda: service.containers()["postgres"]["RestartCount"] == 1, 60, "restarted")
    service.compose("up", "--detach", "--wait", "--wait-timeout", "120", "--no-recreate")
    # The first request after it was away is answered like any other.
    assert service.web.history().items() >= before.items()
    (next_id,) = service.web.launch(JOB_NAME)
    assert service.web.ends(next_id) == "SUCCESS"
    say(f"the run that was at work ended as {service.web.ends(run_id)}")
    wait_until(service.rests, NOTICED_SECONDS, "no run is at work")
    assert service.reference.command("run").status == 0
    assert tables(service.warehouse()) == service.reference.tables()


@contextmanager
def held(service: Service) -> Iterator[None]:
    """Within: somebody in the code server's container has the warehouse open, so runs wait."""
    wait_until(service.rests, NOTICED_SECONDS, "no run is at work")
    hold = (
        "import duckdb, sys; held = duckdb.connect('/srv/data/warehouse.duckdb');"
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        ["docker", "compose", "exec", "-T", "code", "python", "-c", hold],
        cwd=PROJECT_ROOT,
        env=service.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdin
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        try:
            yield
        finally:
            holder.stdin.close()


def test_a_run_that_is_killed_alone_is_done_again(service: Service) -> None:
    """As the kernel does with it when memory is out; the code server goes on."""
    restarts = service.containers()["code"]["RestartCount"]
    with held(service):
        (run_id,) = service.web.launch(JOB_NAME)
        service.web.wait_until(run_id, "STARTED")
        service.inside(
            "code", "sh", "-c",
            "for p in /proc/[0-9]*; do if tr '\\0' ' ' < $p/cmdline | grep -q 'spawn_main('"
            " && [ ${p#/proc/} != $$ ]; then kill -9 ${p#/proc/}; fi; done",
        )  # fmt: skip
        wait_until(lambda: service.web.history()[run_id] == "FAILURE", NOTICED_SECONDS, "noticed")
    wait_until(lambda: service.retries(run_id), NOTICED_SECONDS, "the run is started again")
    (second,) = service.retries(run_id)
    assert service.web.ends(second) == "SUCCESS"
    assert service.containers()["code"]["RestartCount"] == restarts


def test_a_run_that_takes_too_long_is_ended(service: Service) -> None:
    """As after four hours: a run that waits, with a limit."""
    with held(service):
        started = time.monotonic()
        launched = service.web.ask(
            """mutation ($run: ExecutionParams!) { launchRun(executionParams: $run) {
                ... on LaunchRunSuccess { run { runId } } } }""",
            run={
                "selector": {**REPOSITORY, "pipelineName": JOB_NAME},
                "mode": "default",
                "runConfigData": {},
                "executionMetadata": {"tags": [{"key": "dagster/max_runtime", "value": "5"}]},
            },
        )
        run_id = launched["launchRun"]["run"]["runId"]
        assert service.web.ends(run_id) == "FAILURE"
        say(f"a run with a limit of 5 s was ended after {time.monotonic() - started:.0f} s")
        said = [event.get("message") or "" for event in service.events(run_id)]
        assert "Exceeded maximum runtime of 5 seconds." in said
    wait_until(service.rests, NOTICED_SECONDS, "no run is at work")


def test_a_viewer_may_look_but_not_launch(service: Service) -> None:
    service.compose("--profile", "viewer", "up", "--detach", "--wait", "viewer")
    viewer = Webserver(service.viewer_port)
    wait_until(lambda: viewer.history() == service.web.history(), 30, "the same history")
    answer = viewer.ask(
        """mutation ($run: ExecutionParams!) { launchRun(executionParams: $run) { __typename } }""",
        run={
            "selector": {**REPOSITORY, "pipelineName": JOB_NAME},
            "mode": "default",
            "runConfigData": {},
        },
    )
    assert answer == {"launchRun": {"__typename": "UnauthorizedError"}}
    assert writable(service, "viewer") == {"/tmp"}
    assert service.inside("viewer", "id", "-u") == "10001"


def test_no_name_is_in_the_history_or_the_logs(service: Service) -> None:
    names: set[str] = set()
    for file in service.reference.landing.glob("students_*.csv"):
        with file.open(newline="") as lines:
            names.update(row["name"] for row in csv.DictReader(lines))
    full = {name.strip() for name in names if name and " " in name.strip()} | {CANARY}
    assert len(full) > 1_000
    # Every table of the database, as `pg_dump` writes them, which wants to be of its version.
    psql = ("psql", "-U", "dagster", "-d", "dagster", "-Atc")
    all_tables = (
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
        " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    )
    listed = service.inside("postgres", *psql, all_tables).split()
    assert "public.event_logs" in listed
    assert service.inside("postgres", *psql, "SELECT count(*) FROM pg_largeobject_metadata") == "0"
    said = "".join(service.inside("postgres", *psql, f"COPY {table} TO STDOUT") for table in listed)
    assert "students_headless.csv" in said  # the file of the failed run that held the canary
    said += service.compose("logs", "--no-color").stdout
    said += service.inside(
        "code", "sh", "-c", "find /srv/dagster_home/storage -type f -exec cat {} +"
    )
    assert "student_data_pipeline" in said
    assert [name for name in full if name in said] == []
    for secret in (service.environment["DAGSTER_POSTGRES_PASSWORD"], WEBHOOK):
        assert secret not in said


def test_a_backup_goes_in_again(service: Service) -> None:
    wait_until(service.rests, NOTICED_SECONDS, "no run is at work")
    service.compose("stop", "daemon")
    backup = service.warehouse()
    before = tables(backup)
    service.inside("code", "sh", "-c", "echo broken > /srv/data/warehouse.duckdb")
    (command,) = re.findall(
        r"^docker compose (exec -T code .+) < backup\.duckdb$",
        (PROJECT_ROOT / "docs/deployment.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    with backup.open("rb") as content:
        service.compose(*shlex.split(command), stdin=content)
    assert tables(service.warehouse()) == before
    mode = service.inside("code", "stat", "-c", "%a %U", "/srv/data/warehouse.duckdb")
    assert mode == "600 pipeline"
    # What a new version wants.
    service.compose("run", "--rm", "daemon", "dagster", "instance", "migrate")
    service.compose("start", "daemon")
    (run_id,) = service.web.launch(JOB_NAME)
    assert service.web.ends(run_id) == "SUCCESS"
    assert tables(service.warehouse()) == before


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
    assert installed("student-pipeline:offline") == installed(IMAGE)


def test_it_stops_when_it_is_asked_to(service: Service) -> None:
    started = time.monotonic()
    service.compose("stop")
    say(f"stopped in {time.monotonic() - started:.0f} s")
    containers = service.containers()
    statuses = {name: containers[name]["State"]["ExitCode"] for name in (*WRITES, "viewer")}
    assert 137 not in statuses.values(), statuses  # 137: had to be killed
