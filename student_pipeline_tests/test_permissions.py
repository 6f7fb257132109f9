"""Who may read what the pipeline writes."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from student_pipeline import permissions
from student_pipeline.reports.folder import PublishFolder
from student_pipeline.settings import SettingsError
from student_pipeline.warehouse.connection import Warehouse
from student_pipeline_tests.command import Installation
from student_pipeline_tests.pipeline import School
from student_pipeline_tests.test_docs import table_rows

ROSTER = "student_id,name\nS1,Ann\n"


@pytest.fixture(autouse=True)
def _others_may_read_by_default() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):04o}"


def test_warehouse_and_history_are_for_their_user_alone(tmp_path: Path) -> None:
    school = Installation(tmp_path)
    school.deliver("students.csv", ROSTER)
    warehouse = tmp_path / "vault" / "warehouse.duckdb"
    outcome = school.command("run", STUDENT_PIPELINE_WAREHOUSE=str(warehouse))
    assert outcome.status == 0, outcome
    assert mode(warehouse.parent) == "0700"
    assert mode(warehouse) == "0600"
    assert mode(school.home) == "0700"
    inside = [path for path in school.home.rglob("*") if path.name != "dagster.yaml"]
    assert {path.suffix for path in inside} >= {".db"}
    assert {mode(path) for path in inside} == {"0700", "0600"}

    # What an operator opened to more people stays open to them.
    school.home.chmod(0o750)
    warehouse.chmod(0o640)
    assert school.command("run", STUDENT_PIPELINE_WAREHOUSE=str(warehouse)).status == 0
    assert mode(school.home) == "0750"
    assert mode(warehouse) == "0640"


def test_the_log_beside_the_warehouse_is_private_too(school: School) -> None:
    warehouse = Warehouse(database=str(school.warehouse))
    with warehouse.yield_for_execution(dg.build_init_resource_context()) as opened:
        with opened.transaction() as connection:
            connection.execute("CREATE TABLE bronze.names AS SELECT 'Ann' AS name")
        assert mode(school.warehouse.with_name("warehouse.duckdb.wal")) == "0600"
        assert mode(school.warehouse) == "0600"
    (school.folder / "afterwards").touch()
    assert mode(school.folder / "afterwards") == "0644"


@pytest.mark.parametrize(
    ("setting", "file_mode", "folder_mode"),
    [
        (None, "0640", "0750"),
        ("", "0640", "0750"),
        ("0600", "0600", "0700"),
        ("644", "0644", "0755"),
        ("0604", "0604", "0705"),
    ],
)
def test_published_files_get_the_mode_of_the_setting(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    setting: str | None,
    file_mode: str,
    folder_mode: str,
) -> None:
    monkeypatch.setenv(permissions.PUBLISH_MODE, setting or "")
    if setting is None:
        monkeypatch.delenv(permissions.PUBLISH_MODE)
    folder = tmp_path / "published"
    with (
        permissions.private(),
        PublishFolder(path=str(folder)).new_files("gold.csv") as drafts,
    ):
        drafts["gold.csv"].touch()
    assert mode(folder) == folder_mode
    assert mode(folder / "gold.csv") == file_mode


@pytest.mark.parametrize("setting", ["0755", "0666", "0400", "rw-r-----", "640 ", "0o640", "9"])
def test_a_wrong_mode_gets_a_sentence(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(permissions.PUBLISH_MODE, setting)
    with pytest.raises(SettingsError, match=rf"such as 0640 or 0644.* found '{setting}'\.$"):
        permissions.publish_mode()


def test_the_command_refuses_a_wrong_mode(tmp_path: Path) -> None:
    school = Installation(tmp_path)
    school.deliver("students.csv", ROSTER)
    outcome = school.command("run", STUDENT_PIPELINE_PUBLISH_MODE="0777")
    assert outcome.status == 2
    assert outcome.err.startswith("student-pipeline: STUDENT_PIPELINE_PUBLISH_MODE: expected a ")
    assert len(outcome.err.splitlines()) == 1
    assert not school.warehouse.exists()


def test_the_readme_names_the_setting_and_its_default() -> None:
    assert table_rows("README.md")[permissions.PUBLISH_MODE][0] == "`0640`"
