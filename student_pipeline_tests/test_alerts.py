"""Alerts: real runs, told to a real webhook of this machine."""

import json
import re
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import ClassVar
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from student_pipeline.alerts.ledger import FILE
from student_pipeline.alerts.message import Message, Problem
from student_pipeline.alerts.notifiers import NotSent, Webhook, slack
from student_pipeline.alerts.problems import DEFECT, WHAT_TO_DO, Seen
from student_pipeline.alerts.settings import Alerts
from student_pipeline.alerts.tell import Post, tell, tell_of_run
from student_pipeline.checks import CHECKS, proofs
from student_pipeline.sample_data import write_sample
from student_pipeline.sensors import alert_sensors
from student_pipeline.settings import Rules
from student_pipeline_tests.command import Installation
from student_pipeline_tests.pipeline import School
from student_pipeline_tests.receivers import Channel, webhook
from student_pipeline_tests.test_cli import deliver_all
from student_pipeline_tests.test_connection import held

UI = "https://dagster.school.org"
MONDAY = datetime(2026, 6, 29, 11, 0, 10, tzinfo=timezone.utc)
BROKEN = "attend_id,student_id\n1,2\n"
"""A file of attendance that is refused: it has no date."""


@pytest.fixture
def channel() -> Iterator[Channel]:
    with webhook() as channel:
        yield channel


@pytest.fixture
def complaints() -> list[str]:
    return []


@pytest.fixture
def post(channel: Channel, tmp_path: Path, complaints: list[str]) -> Post:
    """The post of a school in Chicago."""
    return Post(
        [Webhook(channel.url, slack)],
        tmp_path,
        ZoneInfo("America/Chicago"),
        UI,
        complaints.append,
        pause=lambda seconds: None,
    )


def texts(channel: Channel) -> list[str]:
    return [post["text"] for post in channel.posts]


def titles(channel: Channel) -> list[str]:
    return [text.splitlines()[0].strip("*") for text in texts(channel)]


# --- which problems a run has ---------------------------------------------------------------------


def test_a_refused_file_is_one_message_that_says_all(
    school: School, post: Post, channel: Channel
) -> None:
    school.deliver("students.csv", "student_id,name,class_id,status\nS1,Ann,5A,ACTIVE\n")
    school.deliver("attendance.csv", BROKEN)
    with dg.DagsterInstance.ephemeral() as instance:
        run_id = school.run(instance=instance).run_id
        assert tell_of_run(post, instance, run_id, proofs()) == len(channel.posts)
        assert tell_of_run(post, instance, run_id, proofs()) == 0  # whoever asks next
    (text,) = (text for text in texts(channel) if text.startswith("*FAILED"))
    lines = text.splitlines()
    assert lines[0] == "*FAILED: check files_readable of bronze/attendance*"
    assert lines[1] == (
        "*What:* The check did not pass. What it looks for: Every file of the source could be read "
        "and loaded. Found: refused files: 1. What is built from the table waits, as it was."
    )
    assert lines[2] == f"*Where:* bronze/attendance, run {run_id}"
    assert re.fullmatch(r"\*Since:\* 20\d\d-\d\d-\d\d \d\d:\d\d C[SD]T", lines[3])
    assert lines[4].startswith("*What to do:* Open the run: the check names each refused file")
    page = "/assets/bronze/attendance?view=checks&checkDetail=files_readable"
    assert lines[5] == f"<{UI}{page}|Open in Dagster>"
    assert "FAILED: step" not in str(titles(channel))  # the check's step failed because of it


def test_a_run_that_is_all_well_says_nothing(school: School, post: Post, channel: Channel) -> None:
    school.deliver("students.csv", "student_id,name,class_id,status\nS1,Ann,5A,ACTIVE\n")
    school.deliver("attendance.csv", "attend_id,student_id,date,status\nA1,S1,2026-06-29,P\n")
    school.deliver(
        "assessments.csv", "assessment_id,student_id,subject,score,date\nT1,S1,Art,5,2026-06-29\n"
    )
    with dg.DagsterInstance.ephemeral() as instance:
        assert tell_of_run(post, instance, school.run(instance=instance).run_id, proofs()) == 0
    assert channel.posts == []


def test_no_message_holds_data_of_a_student(school: School, post: Post, channel: Channel) -> None:
    write_sample(school.landing, students=150, attendance=600, assessments=300, seed=7)
    school.deliver("attendance_2.csv", BROKEN)
    with dg.DagsterInstance.ephemeral() as instance:
        tell_of_run(post, instance, school.run(instance=instance).run_id, proofs())
        school.deliver("attendance_2.csv", "attend_id,student_id,date\n")
        tell_of_run(post, instance, school.run(instance=instance).run_id, proofs())
    said = " ".join(texts(channel))
    assert "WARNING: check one_student_per_id of bronze/attendance" in said
    values = school.query(
        "SELECT unnest([student_id, name]) FROM bronze.students "
        "UNION SELECT unnest([attend_id, student_id]) FROM bronze.attendance "
        "UNION SELECT unnest([assessment_id, student_id]) FROM bronze.assessments"
    )
    telling = {value.strip() for (value,) in values if value and len(value.strip()) > 4}
    assert len(telling) > 800
    assert [value for value in telling if value in said] == []


def test_a_busy_warehouse_is_one_message_that_names_who_holds_it(
    school: School, post: Post, channel: Channel
) -> None:
    school.deliver("students.csv", "student_id\nS1\n")
    with dg.DagsterInstance.ephemeral() as instance:
        school.run(instance=instance)
        with held(school.warehouse) as holder:
            run_id = school.run(instance=instance).run_id
        tell_of_run(post, instance, run_id, proofs())
    (text,) = texts(channel)  # though the three steps of bronze failed of it
    assert f"is in use by {holder.name}" in text
    assert "*Where:* bronze_assessments, bronze_attendance, bronze_students, run" in text


def test_an_error_of_another_kind_is_told_without_its_message(post: Post, channel: Channel) -> None:
    @dg.asset
    def broken() -> None:
        raise ValueError("Ann of 5A")

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([broken], instance=instance, raise_on_error=False)
        tell_of_run(post, instance, result.run_id, proofs())
    (text,) = texts(channel)
    assert text.startswith(
        "*FAILED: step broken*\n*What:* It ended with an error of the kind Value"
    )
    assert f"{UI}/runs/{result.run_id}" in text
    assert "Ann" not in text


def test_every_check_knows_what_it_proves_and_what_to_do() -> None:
    names = {spec.name for checks in CHECKS for spec in checks.check_specs}
    assert set(WHAT_TO_DO) <= names
    assert all(proofs().values())
    assert {key[1] for key in proofs()} == names
    for todo in (*WHAT_TO_DO.values(), DEFECT):
        assert todo.endswith(".")


# --- what is told again, and what is over ---------------------------------------------------------


def problem(name: str = "a", *, warning: bool = False) -> Problem:
    return Problem(name, warning, f"check {name}", "It is so.", "gold", "Mend it.", f"/{name}")


def seen(when: datetime, *problems: Problem, passed: tuple[str, ...] = ()) -> Seen:
    return Seen(when, list(problems), set(passed))


def test_a_lasting_error_is_told_once_a_day_with_its_beginning(
    post: Post, channel: Channel
) -> None:
    for hours in (0, 1, 22, 24, 25, 48):
        tell(post, seen(MONDAY + timedelta(hours=hours, seconds=-hours), problem()), f"run {hours}")
    assert titles(channel) == ["FAILED: check a", "STILL FAILED: check a", "STILL FAILED: check a"]
    assert all("*Since:* 2026-06-29 06:00 CDT" in text for text in texts(channel))


def test_a_lasting_warning_is_told_once_a_week(post: Post, channel: Channel) -> None:
    for day in range(15):
        tell(post, seen(MONDAY + timedelta(days=day), problem(warning=True)), f"run {day}")
    assert titles(channel) == [
        "WARNING: check a",
        "STILL WARNING: check a",
        "STILL WARNING: check a",
    ]


def test_a_warning_that_becomes_an_error_is_told_at_once(post: Post, channel: Channel) -> None:
    tell(post, seen(MONDAY, problem(warning=True)), "1")
    tell(post, seen(MONDAY + timedelta(hours=1), problem()), "2")
    assert titles(channel) == ["WARNING: check a", "FAILED: check a"]


def test_what_is_over_is_told_once(post: Post, channel: Channel) -> None:
    tell(post, seen(MONDAY, problem("a"), problem("b")), "1")
    tell(post, seen(MONDAY + timedelta(hours=1), problem("b")), "2")  # says nothing of a
    tell(post, seen(MONDAY + timedelta(hours=2), problem("b"), passed=("a",)), "3")
    tell(post, seen(MONDAY + timedelta(hours=3), problem("b"), passed=("a",)), "4")
    tell(post, seen(MONDAY + timedelta(hours=4), problem("a"), passed=("b",)), "5")
    assert titles(channel) == [
        "FAILED: check a",
        "FAILED: check b",
        "RECOVERED: check a",
        "FAILED: check a",
        "RECOVERED: check b",
    ]
    recovered = texts(channel)[2]
    assert "*Since:* 2026-06-29 06:00 CDT" in recovered
    assert "*Until:* 2026-06-29 08:00 CDT" in recovered


def test_two_that_tell_at_once_tell_once(post: Post, channel: Channel) -> None:
    told: list[int] = []
    threads = [
        threading.Thread(target=lambda: told.append(tell(post, seen(MONDAY, problem()), "run")))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == [0, 0, 0, 0, 1]
    assert titles(channel) == ["FAILED: check a"]


# --- when nothing gets through --------------------------------------------------------------------


def test_a_message_that_may_pass_is_tried_once_more(
    post: Post, channel: Channel, complaints: list[str]
) -> None:
    channel.statuses = [503]
    assert tell(post, seen(MONDAY, problem()), "1") == 1
    assert complaints == []
    assert titles(channel) == ["FAILED: check a"]


def test_what_did_not_get_through_is_told_after_the_next_run(
    post: Post, channel: Channel, complaints: list[str]
) -> None:
    channel.statuses = [404]
    assert tell(post, seen(MONDAY, problem("a"), problem("b")), "1") == 0
    assert complaints == [
        "An alert could not be sent by webhook: The webhook on 127.0.0.1 answers with status 404. "
        "The first one that is missing: FAILED: check a. It is sent again with the next run, or "
        "within ten minutes by the daemon."
    ]
    assert tell(post, seen(MONDAY + timedelta(minutes=5), problem("a"), problem("b")), "2") == 2
    assert titles(channel) == ["FAILED: check a", "FAILED: check b"]
    assert all("*Since:* 2026-06-29 06:00 CDT" in text for text in texts(channel))


def test_what_did_not_get_through_is_sent_by_whoever_looks_next(
    post: Post, channel: Channel, complaints: list[str]
) -> None:
    channel.statuses = [404, 404]
    tell(post, seen(MONDAY, problem("a")), "1")
    tell(post, seen(MONDAY + timedelta(minutes=5)), "")  # the daemon's look at stale tables
    assert len(complaints) == 2
    tell(post, seen(MONDAY + timedelta(minutes=10)), "")
    tell(post, seen(MONDAY + timedelta(minutes=15)), "")
    tell(post, seen(MONDAY + timedelta(minutes=20), problem("a")), "2")  # told already
    assert titles(channel) == ["FAILED: check a"]


def test_that_it_is_over_gets_through_later_too(post: Post, channel: Channel) -> None:
    tell(post, seen(MONDAY, problem("a")), "1")
    channel.statuses = [404]
    tell(post, seen(MONDAY + timedelta(hours=1), passed=("a",)), "2")
    tell(post, seen(MONDAY + timedelta(hours=2), passed=("a",)), "3")
    tell(post, seen(MONDAY + timedelta(hours=3), passed=("a",)), "4")
    assert titles(channel) == ["FAILED: check a", "RECOVERED: check a"]
    assert "*Until:* 2026-06-29 07:00 CDT" in texts(channel)[1]


def test_nothing_is_said_of_what_nobody_was_told_of_and_is_over(
    post: Post, channel: Channel
) -> None:
    channel.statuses = [404]
    tell(post, seen(MONDAY, problem("a")), "1")
    tell(post, seen(MONDAY + timedelta(hours=1), passed=("a",)), "2")
    tell(post, seen(MONDAY + timedelta(hours=2), problem("b")), "3")
    assert titles(channel) == ["FAILED: check b"]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [(NotSent("It rains.", may_pass=True), "It rains."), (KeyError("secret"), "KeyError.")],
)
def test_one_way_that_is_closed_does_not_close_the_other(
    post: Post, channel: Channel, complaints: list[str], error: Exception, sentence: str
) -> None:
    class Closed:
        name = "pigeon"

        def send(self, message: object) -> None:
            raise error

    both = Post([Closed(), *post.notifiers], post.folder, post.zone, UI, post.complain, post.pause)
    assert tell(both, seen(MONDAY, problem("a"), problem("b")), "1") == 2
    assert len(complaints) == 1  # and it was not asked again for the second
    assert complaints[0].startswith(f"An alert could not be sent by pigeon: {sentence} The first ")
    assert titles(channel) == ["FAILED: check a", "FAILED: check b"]


def test_a_way_that_was_closed_gets_what_it_missed_and_the_other_nothing_twice(
    post: Post, channel: Channel
) -> None:
    class Mail:
        name = "mail"
        closed = True
        sent: ClassVar[list[str]] = []

        def send(self, message: Message) -> None:
            if self.closed:
                raise NotSent("It is closed.", may_pass=False)
            self.sent.append(message.title)

    mail = Mail()
    both = Post([mail, *post.notifiers], post.folder, post.zone, UI, post.complain, post.pause)
    tell(both, seen(MONDAY, problem("a"), problem("b")), "1")
    mail.closed = False
    tell(both, seen(MONDAY + timedelta(minutes=10)), "")
    tell(both, seen(MONDAY + timedelta(minutes=20)), "")
    assert mail.sent == titles(channel) == ["FAILED: check a", "FAILED: check b"]


def test_a_broken_ledger_gets_a_sentence(post: Post, complaints: list[str]) -> None:
    for content in ("{}", "no json", ""):
        (post.folder / FILE).write_text(content)
        assert tell(post, seen(MONDAY, problem()), "1") == 0
    assert len(complaints) == 3
    assert all("since the ledger of alerts can't be used: " in said for said in complaints)
    assert all("remove it to begin anew" in said for said in complaints)


# --- the sensors of the daemon --------------------------------------------------------------------


def test_sensors_are_on_where_somebody_is_to_be_told() -> None:
    for alerts, status in (
        (Alerts(), dg.DefaultSensorStatus.STOPPED),
        (Alerts(webhook_url="https://x"), dg.DefaultSensorStatus.RUNNING),
    ):
        assert {sensor.default_status for sensor in alert_sensors(alerts, Rules())} == {status}


def test_the_sensors_tell_of_runs_and_of_their_end(school: School, channel: Channel) -> None:
    alerts = Alerts(webhook_url=channel.url, ui_url=UI)
    failure, success, stale = alert_sensors(alerts, Rules())
    school.deliver("students.csv", "student_id,name\nS1,Ann\n")
    school.deliver("attendance.csv", BROKEN)
    with dg.DagsterInstance.ephemeral() as instance:

        def run_and_tell(sensor: dg.SensorDefinition) -> None:
            result = school.run(instance=instance)
            end = [event for event in result.all_events if event.is_job_event][-1]
            context = dg.build_run_status_sensor_context(
                sensor_name=sensor.name,
                dagster_instance=instance,
                dagster_run=result.dagster_run,
                dagster_event=end,
                resources={"alerts": alerts},
            )
            sensor(context.for_run_failure() if sensor is failure else context)

        channel.statuses = [404]
        run_and_tell(failure)
        assert channel.posts == []
        stale(dg.build_sensor_context(instance=instance, resources={"alerts": alerts}))
        assert "FAILED: check files_readable of bronze/attendance" in titles(channel)
        school.deliver("attendance.csv", "attend_id,student_id,date\n")
        run_and_tell(success)
        assert "RECOVERED: check files_readable of bronze/attendance" in titles(channel)
        before = len(channel.posts)
        skipped = stale(dg.build_sensor_context(instance=instance, resources={"alerts": alerts}))
        assert "0 problems; 0 messages sent." in str(skipped)
        assert len(channel.posts) == before


# --- the command ----------------------------------------------------------------------------------


def test_the_command_tells_of_its_runs_and_keeps_its_exit_status(
    tmp_path: Path, channel: Channel
) -> None:
    school = Installation(tmp_path)
    deliver_all(school)
    secret = {"STUDENT_PIPELINE_ALERT_WEBHOOK": channel.url}
    broken = school.deliver("attendance_2.csv", BROKEN)
    assert school.command("run", **secret).status == 1
    told = titles(channel)
    assert told.count("FAILED: check files_readable of bronze/attendance") == 1
    assert len({title.partition(":")[0] for title in told}) == 2  # and warnings
    broken.unlink()
    channel.statuses = [404]
    outcome = school.command("run", **secret)
    assert outcome.status == 0
    assert outcome.err.startswith("student-pipeline: An alert could not be sent by webhook: ")
    assert len(outcome.err.splitlines()) == 1
    assert channel.url not in outcome.out + outcome.err
    assert (
        json.loads((school.home / "storage" / FILE).read_text())["problems"]
        .keys()
        .isdisjoint({"check/bronze/attendance/files_readable"})
    )


def test_the_command_tells_that_it_could_not_begin(tmp_path: Path, channel: Channel) -> None:
    school = Installation(tmp_path)
    outcome = school.command("run", STUDENT_PIPELINE_ALERT_WEBHOOK=channel.url)
    assert outcome.status == 2
    (text,) = texts(channel)
    assert text.startswith("*FAILED: the run*\n*What:* STUDENT_PIPELINE_SOURCE: The landing folder")
    assert not school.warehouse.exists()


def test_without_somebody_to_tell_nothing_is_kept(tmp_path: Path) -> None:
    school = Installation(tmp_path)
    outcome = school.command("run")
    assert outcome.status == 2
    assert not (school.home / "storage" / FILE).exists()
