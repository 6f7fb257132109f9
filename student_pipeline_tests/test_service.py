"""The files of the service, as far as they can be judged without a container engine.

`make containers-test` builds and runs them.
"""

import fnmatch
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
import yaml
from dagster._core.instance.ref import InstanceRef
from dagster_postgres.utils import pg_url_from_config

from student_pipeline.alerts.settings import SECRETS
from student_pipeline.run_launcher import MonitoredRunLauncher
from student_pipeline.settings import PROJECT_ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((PROJECT_ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (PROJECT_ROOT / "Dockerfile").read_text()
INSTRUCTIONS = [
    line.split(None, 1)
    for line in re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.M)).splitlines()
    if line and not line[0].isspace()
]

every_service = pytest.mark.parametrize("name", SERVICES)


def volumes(name: str) -> dict[str, bool]:
    """Mount point -> whether the service may write there."""
    found = {}
    for volume in SERVICES[name].get("volumes", ()):
        if isinstance(volume, dict):
            found[volume["target"]] = not volume.get("read_only", False)
        else:
            target, _, options = volume.partition(":")[2].partition(":")
            found[target] = options != "ro"
    return found


# --- docker-compose.yml ---------------------------------------------------------------------------


@every_service
def test_a_service_has_only_the_rights_that_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & set(service)
    assert "docker.sock" not in str(service)


@every_service
def test_a_service_has_limits_and_comes_back(name: str) -> None:
    service = SERVICES[name]
    assert service["mem_limit"]
    assert service["pids_limit"] > 0
    assert service["restart"] == "unless-stopped"
    assert service["init"] is True
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}
    assert {"test", "interval", "timeout", "retries", "start_period"} <= set(service["healthcheck"])


@every_service
def test_a_service_is_reachable_from_this_machine_alone(name: str) -> None:
    for port in SERVICES[name].get("ports", ()):
        assert port.startswith("127.0.0.1:"), port
    assert bool(SERVICES[name].get("ports")) == (name in ("webserver", "viewer"))
    assert ("outside" in SERVICES[name]["networks"]) == (name in ("webserver", "viewer"))
    assert COMPOSE["networks"]["inside"] == {"internal": True}


def test_the_files_and_the_warehouse_are_for_the_code_server_alone() -> None:
    assert volumes("code") == {
        "/srv/landing": False,
        "/srv/rules.yaml": False,
        "/srv/data": True,
        "/srv/published": True,
        "/srv/scratch": True,
        "/srv/dagster_home/storage": True,
    }
    for name in set(SERVICES) - {"code"}:
        assert not {"/srv/landing", "/srv/data"} & set(volumes(name)), name


def test_the_services_wait_for_each_other() -> None:
    healthy = {"condition": "service_healthy"}
    assert {name: service.get("depends_on") for name, service in SERVICES.items()} == {
        "postgres": None,
        "code": {"postgres": healthy},
        "webserver": {"code": healthy},
        "daemon": {"webserver": healthy},
        "viewer": {"webserver": healthy},
    }


def test_no_password_is_in_the_files_and_none_is_a_refusal() -> None:
    needed = re.compile(r"\$\{DAGSTER_POSTGRES_PASSWORD:\?is not set\. Run `make secrets`.*\}")
    found = [
        value
        for service in SERVICES.values()
        for name, value in service["environment"].items()
        if name.endswith("POSTGRES_PASSWORD")
    ]
    assert len(found) == len(SERVICES)
    assert all(needed.fullmatch(value) for value in found)
    for secret in SECRETS.values():  # of the alerts: nothing where the environment has none
        assert SERVICES["code"]["environment"][secret] == f"${{{secret}:-}}"
    for line in DOCKERFILE.splitlines():
        assert not re.search(r"passw|secret|token", line, re.IGNORECASE), line


def test_what_is_not_named_stays_out_of_the_image_and_of_the_repository() -> None:
    lines = (PROJECT_ROOT / ".dockerignore").read_text().splitlines()
    assert lines[0] == "*"
    assert not any(fnmatch.fnmatch(".env", line[1:]) for line in lines if line.startswith("!"))
    assert ".env" in (PROJECT_ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_no_password_is_in_the_repository() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=PROJECT_ROOT, capture_output=True, encoding="utf-8", check=False
    )
    if tracked.returncode:
        pytest.skip("this is no git checkout")
    names = tracked.stdout.splitlines()
    assert not [n for n in names if re.search(r"(^|/)\.env$|\.pem$|\.key$|(^|/)users$", n)]


# --- Dockerfile -----------------------------------------------------------------------------------


def test_the_base_image_has_a_version() -> None:
    (image,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert re.fullmatch(r"python:3\.1[0-3](\.\d+)?-slim-\w+", image)
    bases = [rest for word, rest in INSTRUCTIONS if word == "FROM"]
    assert {base.split()[0] for base in bases} == {"${PYTHON_IMAGE}", "scratch"}
    # An operator pins both by digest, in the environment.
    assert SERVICES["code"]["build"]["args"] == ["PYTHON_IMAGE"]
    assert SERVICES["postgres"]["image"] == "${POSTGRES_IMAGE:-postgres:16-bookworm}"
    named = (PROJECT_ROOT / "docs/deployment.md").read_text(encoding="utf-8")
    assert f"| `{image}`, `postgres:16-bookworm` |" in named


def test_the_image_runs_as_nobody_in_particular() -> None:
    last_stage = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    assert re.findall(r"^USER (.+)$", last_stage, re.MULTILINE) == ["10001:10001"]
    written_as_root = last_stage.partition("\nUSER ")[0]
    assert "COPY --from=build" in written_as_root
    assert "--chown" not in written_as_root  # its user can't change the code


def test_the_image_is_made_of_what_the_context_holds() -> None:
    allowed = [
        line[1:]
        for line in (PROJECT_ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    for word, rest in INSTRUCTIONS:
        assert word != "ADD"
        if word != "COPY" or "--from=" in rest:
            continue
        *sources, _ = [part for part in rest.split() if not part.startswith("--")]
        for source in sources:
            assert (PROJECT_ROOT / source).exists(), source
            assert any(name == source or name.startswith(f"{source}/") for name in allowed), source


def test_commands_are_lists_and_there_is_a_health_check() -> None:
    words = [word for word, _ in INSTRUCTIONS]
    assert words.count("HEALTHCHECK") == 1
    for word, rest in INSTRUCTIONS:
        if word in ("ENTRYPOINT", "CMD"):
            assert rest.startswith("["), rest
    for name, service in SERVICES.items():
        assert isinstance(service.get("command", []), list), name
        assert service["healthcheck"]["test"][0] == "CMD", name


def test_the_entrypoint_runs_a_command_in_private() -> None:
    entrypoint = PROJECT_ROOT / "deploy" / "entrypoint.sh"
    assert os.access(entrypoint, os.X_OK)
    done = subprocess.run(
        [entrypoint, "sh", "-c", 'umask; echo "$1"', "sh", "a b"], capture_output=True, check=True
    )
    assert done.stdout.decode() == "0077\na b\n"
    roles = re.findall(r"^(\w+)\)$", entrypoint.read_text(), re.MULTILINE)
    used = {SERVICES[name]["command"][0] for name in SERVICES if "command" in SERVICES[name]}
    assert set(roles) == used


@pytest.mark.parametrize("missing", ["HOST", "DB", "USER", "PASSWORD"])
@pytest.mark.parametrize("role", ["code", "webserver", "daemon"])
def test_no_role_starts_without_its_database(role: str, missing: str) -> None:
    names = {f"DAGSTER_POSTGRES_{name}" for name in ("HOST", "DB", "USER", "PASSWORD")}
    environment = dict.fromkeys(names - {f"DAGSTER_POSTGRES_{missing}"}, "x")
    done = subprocess.run(
        [PROJECT_ROOT / "deploy" / "entrypoint.sh", role],
        env=environment | {"PATH": os.environ["PATH"]},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"DAGSTER_POSTGRES_{missing} is not set; docker-compose.yml sets all four of them.\n"
    )


# --- Dagster's settings ---------------------------------------------------------------------------


def test_dagster_takes_the_settings_of_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copyfile(PROJECT_ROOT / "deploy" / "dagster.yaml", tmp_path / "dagster.yaml")
    for name, value in {"HOST": "db", "DB": "d", "USER": "u", "PASSWORD": "a/b@c"}.items():
        monkeypatch.setenv(f"DAGSTER_POSTGRES_{name}", value)
    instance = InstanceRef.from_dir(str(tmp_path))
    assert isinstance(instance.run_launcher, MonitoredRunLauncher)
    assert instance.settings["telemetry"] == {"enabled": False}
    assert instance.settings["run_monitoring"]["enabled"] is True
    assert instance.settings["run_retries"]["retry_on_asset_or_op_failure"] is False
    (environment,) = {
        tuple(sorted(name for name in service["environment"] if name.startswith("DAGSTER_")))
        for name, service in SERVICES.items()
        if name != "postgres"
    }
    named = set(re.findall(r"env: (\w+)", (tmp_path / "dagster.yaml").read_text()))
    assert named == set(environment)


def test_the_driver_of_the_database_is_installed() -> None:
    """SQLAlchemy 2.1 takes another one, which nobody installs: hence the pin."""
    url = pg_url_from_config(
        {"postgres_db": {"hostname": "db", "db_name": "d", "username": "u", "password": "p"}}
    )
    assert sqlalchemy.create_engine(url).dialect.driver == "psycopg2"


# --- make secrets ---------------------------------------------------------------------------------


def test_make_secrets_writes_a_password_once(tmp_path: Path) -> None:
    def make() -> "subprocess.CompletedProcess[str]":
        makefile = PROJECT_ROOT / "Makefile"
        return subprocess.run(
            ["make", "-C", tmp_path, "-f", makefile, "secrets", f"PYTHON={sys.executable}"],
            capture_output=True,
            encoding="utf-8",
            check=False,
        )

    assert make().returncode == 0
    written = (tmp_path / ".env").read_text()
    assert re.fullmatch(r"DAGSTER_POSTGRES_PASSWORD=[0-9a-f]{48}\n", written)
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    again = make()
    assert again.returncode != 0
    assert ".env is there already" in again.stdout
    assert (tmp_path / ".env").read_text() == written
