"""The sensor on the landing folder: once for new content that has settled, never for half a file."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import dagster as dg
import pytest

from student_pipeline.definitions import defs
from student_pipeline.jobs import JOB_NAME
from student_pipeline.sensors import look_for_files
from student_pipeline_tests.pipeline import School
from student_pipeline_tests.test_remote import Bucket, bucket, endpoint

__all__ = ["bucket", "endpoint"]  # fixtures

ROSTER = "student_id,name\n1,Ann\n"
START = datetime(2026, 6, 29, 5, tzinfo=timezone.utc).timestamp()


@dataclass
class Watcher:
    """The daemon's side: looks with the cursor of the last look, every 30 seconds."""

    instance: dg.DagsterInstance
    url: str
    now: float = START
    settle: float = 60
    cursor: str | None = None
    keys: list[str] = field(default_factory=list)

    def look(self, seconds: float = 30) -> str:
        """Look again later: `run`, or why there is none."""
        self.now += seconds
        result = look_for_files(self.instance, self.cursor, self.url, self.now, self.settle)
        if isinstance(result, dg.SkipReason):
            return result.skip_message or ""
        self.cursor = result.cursor
        if not result.run_requests:
            return result.skip_reason.skip_message if result.skip_reason else ""
        (request,) = result.run_requests
        assert request.run_key
        assert request.run_key not in self.keys  # Dagster would not start it again
        self.keys.append(request.run_key)
        return "run"

    def looks(self, times: int) -> list[str]:
        return [self.look() for _ in range(times)]


@pytest.fixture
def watcher(school: School) -> Iterator[Watcher]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Watcher(instance, str(school.landing))


SETTLING = "1 new file may still be written."
NOTHING = "No file is new or changed."


def test_a_file_that_settled_starts_one_run(school: School, watcher: Watcher) -> None:
    assert watcher.look() == NOTHING
    school.deliver("students.csv", ROSTER)
    assert watcher.looks(5) == [SETTLING, SETTLING, "run", NOTHING, NOTHING]


def test_a_file_that_grows_is_waited_for(school: School, watcher: Watcher) -> None:
    for lines in range(5):
        school.deliver("students.csv", ROSTER + "2,Bob\n" * lines)
        assert watcher.look() == SETTLING
    assert watcher.looks(3) == [SETTLING, "run", NOTHING]


def test_a_file_that_grows_with_its_times_set_back_is_waited_for(
    school: School, watcher: Watcher
) -> None:
    for lines in range(4):
        path = school.deliver("students.csv", ROSTER + "2,Bob\n" * lines)
        os.utime(path, (START, START))
        assert watcher.look() == SETTLING
    assert watcher.looks(2) == [SETTLING, "run"]


def test_a_file_that_is_whole_waits_for_one_that_is_not(school: School, watcher: Watcher) -> None:
    # A run reads whatever lies there.
    school.deliver("students.csv", ROSTER)
    watcher.look()
    school.deliver("attendance.csv", "attend_id,student_id,date\n")
    assert watcher.look() == "2 new files may still be written."
    school.deliver("attendance.csv", "attend_id,student_id,date\n1,1,2026-06-29\n")
    assert watcher.look() == "2 new files may still be written."
    assert watcher.looks(3) == ["2 new files may still be written.", "run", NOTHING]


@pytest.mark.parametrize(
    "name", ["students.csv.part", ".students.csv", "students.tmp", "readme.txt"]
)
def test_what_a_run_would_not_read_starts_none(school: School, watcher: Watcher, name: str) -> None:
    school.deliver(name, ROSTER)
    assert watcher.looks(4) == [NOTHING] * 4


def test_a_rename_to_the_final_name_starts_a_run(school: School, watcher: Watcher) -> None:
    draft = school.deliver("students.csv.part", ROSTER)
    watcher.looks(3)
    draft.rename(school.landing / "students.csv")
    assert watcher.looks(3) == [SETTLING, SETTLING, "run"]


def test_the_same_content_starts_no_second_run(school: School, watcher: Watcher) -> None:
    path = school.deliver("students.csv", ROSTER)
    assert watcher.looks(3)[-1] == "run"
    os.utime(path, (START + 500, START + 500))
    same = "Files were touched, but hold what they held."
    assert watcher.looks(4) == [SETTLING, SETTLING, same, NOTHING]
    path.unlink()
    assert watcher.looks(2) == [NOTHING, NOTHING]
    school.deliver("students.csv", ROSTER)
    assert watcher.looks(4) == [SETTLING, SETTLING, same, NOTHING]


def test_content_that_comes_back_after_another_starts_a_run(
    school: School, watcher: Watcher
) -> None:
    for content in (ROSTER, ROSTER + "2,Bob\n", ROSTER):
        school.deliver("students.csv", content)
        assert watcher.looks(3)[-1] == "run"
    assert len(set(watcher.keys)) == 3


def test_a_change_of_the_same_size_and_time_starts_a_run(school: School, watcher: Watcher) -> None:
    for name in ("Ann", "Bob"):
        path = school.deliver("students.csv", f"student_id,name\n1,{name}\n")
        os.utime(path, (START, START))
        assert watcher.looks(3)[-1] == "run"


def test_a_look_that_was_lost_asks_for_the_same_run(school: School, watcher: Watcher) -> None:
    # Killed between the request and the new cursor: Dagster knows the key and starts nothing.
    school.deliver("students.csv", ROSTER)
    watcher.looks(2)
    cursor = watcher.cursor
    assert watcher.look() == "run"
    again = look_for_files(watcher.instance, cursor, watcher.url, watcher.now + 30, 60)
    assert isinstance(again, dg.SensorResult)
    assert [request.run_key for request in again.run_requests or ()] == watcher.keys


def test_a_run_that_read_the_files_already_is_enough(school: School, watcher: Watcher) -> None:
    school.deliver("students.csv", ROSTER)
    watcher.now = datetime.now(timezone.utc).timestamp() - 600  # the run that follows is of now
    assert watcher.look() == SETTLING
    assert school.run(instance=watcher.instance).success
    assert watcher.look(900) == "A run has read the new files already."
    assert watcher.look() == NOTHING


def test_a_run_at_work_is_waited_for(school: School, watcher: Watcher) -> None:
    school.deliver("students.csv", ROSTER)
    watcher.now = datetime.now(timezone.utc).timestamp() - 600
    watcher.look()
    run = watcher.instance.create_run_for_job(
        defs.resolve_job_def(JOB_NAME), status=dg.DagsterRunStatus.STARTED
    )
    assert watcher.look(900) == "A run is at work that began after the new files had come."
    watcher.instance.report_run_failed(run)
    assert watcher.looks(2) == ["run", NOTHING]


def test_a_landing_folder_that_is_gone_is_a_sentence(watcher: Watcher, tmp_path: Path) -> None:
    watcher.url = str(tmp_path / "elsewhere")
    assert watcher.look() == f"The landing folder {watcher.url} does not exist."


def test_files_of_a_bucket_start_one_run(bucket: Bucket, watcher: Watcher) -> None:
    watcher.url = bucket.url
    bucket.put("students.csv", ROSTER)
    assert watcher.looks(4) == [SETTLING, SETTLING, "run", NOTHING]
    bucket.put("students.csv", ROSTER)  # the same again
    assert "run" not in watcher.looks(4)
    bucket.put("students.csv", ROSTER.replace("Ann", "Bob"))
    assert watcher.looks(3)[-1] == "run"


def test_the_cursor_names_no_file(school: School, watcher: Watcher) -> None:
    school.deliver("students/ann_of_5a.csv", ROSTER)
    watcher.looks(3)
    assert watcher.cursor
    assert "ann" not in watcher.cursor
    assert len(watcher.cursor) < 300


def test_the_sensor_is_off_until_somebody_switches_it_on() -> None:
    (sensor,) = (sensor for sensor in defs.sensors or () if sensor.name == "new_files")
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED
    assert sensor.job_name == JOB_NAME
