"""Both sides of every asset check, and what a failed one stops, says and never says."""

import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from student_pipeline import definitions
from student_pipeline.checks import CHECKS
from student_pipeline.ingest.delivery import LandingFolder
from student_pipeline.published_checks import published_checks
from student_pipeline.sample_data import write_sample
from student_pipeline.warehouse import connection as connection_module
from student_pipeline.warehouse import values
from student_pipeline_tests.pipeline import (
    NOW,
    School,
    errors,
    failed_checks,
    passed_checks,
    warnings_of,
)

CANARY = "Canary"
"""Every student of these tests is called so; no event of any run may say it."""

SPECS = {
    f"{spec.asset_key.to_user_string()}: {spec.name}": spec
    for definition in CHECKS
    for spec in definition.check_specs
}
"""`schema/table: check` -> its specification, of every check of a table."""

OF_FILES = {
    f"{spec.asset_key.to_user_string()}: {spec.name}" for spec in published_checks.check_specs
}
"""The checks of the published files, which `test_published.py` makes fail."""

STUDENTS = 40

ADVICE = (
    "Where a column stands under another header, add that to header_aliases in rules.yaml and "
    "deliver the file anew, changed. The ledger ops.source_files names the headers."
)
"""What `columns_known` says at its end."""


def roster(*rows: str) -> str:
    return "\n".join(("student_id,name,class_id,grade,status", *rows))


def attendance(*rows: str) -> str:
    return "\n".join(("attend_id,student_id,date,status,created_at", *rows))


def assessments(*rows: str) -> str:
    return "\n".join(("assessment_id,student_id,subject,score,max_score,date", *rows))


def deliver_a_good_day(school: School) -> None:
    """40 students, two days of attendance, one assessment each; a refused row of each source."""
    classes = {number: "5A" if number <= 20 else "5B" for number in range(1, STUDENTS + 1)}
    school.deliver(
        "students.csv",
        roster(
            *(f"S{n:02},{CANARY} {n},{name},5,active" for n, name in classes.items()),
            f",{CANARY} Nobody,5A,5,active",
        ),
    )
    school.deliver(
        "attendance.csv",
        attendance(
            *(
                f"A{day}{n:02},S{n:02},2026-06-{day},{'A' if n % 8 == 0 else 'P'},"
                for day in (26, 29)
                for n in classes
            ),
            "A9999,S99,2026-06-29,P,",
        ),
    )
    school.deliver(
        "assessments.csv",
        assessments(
            *(f"X{n:02},S{n:02},Math,{n},50,2026-06-29" for n in classes),
            "X99,S99,Math,1,50,2026-06-29",
        ),
    )


@pytest.fixture(scope="module")
def good_day(tmp_path_factory: pytest.TempPathFactory) -> tuple[School, dg.ExecuteInProcessResult]:
    """A school after a run in which everything passed, to be copied, not changed; and that run."""
    school = School(tmp_path_factory.mktemp("good_day"))
    deliver_a_good_day(school)
    return school, school.run()


@pytest.fixture
def after(good_day: tuple[School, dg.ExecuteInProcessResult], tmp_path: Path) -> School:
    """A school of its own after a run in which everything passed."""
    shutil.copytree(good_day[0].folder, tmp_path, dirs_exist_ok=True)
    return School(tmp_path)


@dataclass
class Looked:
    """What a run of checks alone found."""

    result: dg.ExecuteInProcessResult
    events: str

    @property
    def found(self) -> dict[str, dg.AssetCheckEvaluation]:
        return {
            f"{found.asset_key.to_user_string()}: {found.check_name}": found
            for found in self.result.get_asset_check_evaluations()
        }


def look(school: School, *names: str, now: datetime = NOW, **rules: Any) -> Looked:
    """Run these checks alone, on the warehouse as it is."""
    with dg.DagsterInstance.ephemeral() as instance:
        result = _job(names).execute_in_process(
            instance=instance,
            raise_on_error=False,
            run_config={
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                "resources": {
                    "landing": {
                        "config": {"url": str(school.landing), "fixed_time": now.isoformat()}
                    },
                    "warehouse": {
                        "config": {"database": str(school.warehouse), "lock_timeout_seconds": 0}
                    },
                    "rules": {"config": rules},
                },
            },
        )
        return Looked(result, said_in(instance, result))


@cache
def _job(names: tuple[str, ...]) -> dg.JobDefinition:
    selection = dg.AssetSelection.checks(*(SPECS[name].key for name in names))
    job = dg.define_asset_job("checks", selection=selection)
    return dg.Definitions(
        asset_checks=CHECKS,
        jobs=[job],
        resources=definitions.defs.resources,
        loggers=definitions.defs.loggers,
        executor=dg.in_process_executor,
    ).resolve_job_def("checks")


def said_in(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> str:
    """Everything that a run put into the event log."""
    return "\n".join(entry.to_json() for entry in instance.all_logs(result.run_id))


def materialized(result: dg.ExecuteInProcessResult) -> set[str]:
    return {
        event.asset_key.to_user_string()
        for event in result.get_asset_materialization_events()
        if event.asset_key
    }


# --- every check fails when it should -------------------------------------------------------------


def _gone(table: str) -> tuple[str, str]:
    return f"DELETE FROM {table}", f"{table} had rows before and has none now."


def _dropped(table: str) -> tuple[str, str]:
    return (
        f"UPDATE ops.table_state SET row_count = 99, previous_row_count = 200 "
        f"WHERE table_name = '{table}'",
        f"{table} has 99 rows, 200 before: more than 50% are gone.",
    )


def _refused(source: str) -> tuple[str, str]:
    return (
        "UPDATE ops.source_files SET status = 'refused', message = 'Expected this, found that.' "
        f"WHERE source = '{source}'",
        f"1 file was refused. {source}.csv: Expected this, found that. "
        "Mend or remove what was refused; everything else was loaded.",
    )


def _lacking(source: str) -> tuple[str, str]:
    return (
        "UPDATE ops.source_files SET message = 'It lacks the column status.' "
        f"WHERE source = '{source}'",
        f"1 file lacks columns that silver uses. {source}.csv: It lacks the column status. {ADVICE}",
    )


CASES: dict[str, tuple[str, str]] = {
    # bronze
    "bronze/students: not_empty": _gone("bronze.students"),
    "bronze/students: schema": (
        "ALTER TABLE bronze.students DROP COLUMN grade",
        "The columns of bronze.students are not as declared: "
        "missing grade VARCHAR; unexpected none.",
    ),
    "bronze/students: row_count_kept": _dropped("bronze.students"),
    "bronze/students: required_columns": (
        "UPDATE bronze.students SET _ingested_at = NULL WHERE student_id = 'S02'",
        "required columns: _ingested_at in 1 row. Among them: students.csv 2.",
    ),
    "bronze/students: files_readable": _refused("students"),
    "bronze/students: columns_known": _lacking("students"),
    "bronze/students: still_in_roster": (
        "DELETE FROM ops.latest_roster WHERE student_id IN ('S02', 'S40')",
        "2 students are not in the roster that was loaded last; they stay as they were. "
        "Among them: S02, S40.",
    ),
    "bronze/attendance: not_empty": _gone("bronze.attendance"),
    "bronze/attendance: schema": (
        "ALTER TABLE bronze.attendance ADD COLUMN mood VARCHAR",
        "The columns of bronze.attendance are not as declared: "
        "missing none; unexpected mood VARCHAR.",
    ),
    "bronze/attendance: row_count_kept": _dropped("bronze.attendance"),
    "bronze/attendance: required_columns": (
        "UPDATE bronze.attendance SET _source_file = NULL, _ingested_at = NULL "
        "WHERE _source_row > 80",
        "required columns: _ingested_at in 1 row, _source_file in 1 row. Among them: 81.",
    ),
    "bronze/attendance: files_readable": _refused("attendance"),
    "bronze/attendance: columns_known": _lacking("attendance"),
    "bronze/attendance: one_student_per_id": (
        "INSERT INTO bronze.attendance SELECT * REPLACE ('S02' AS student_id) "
        "FROM bronze.attendance WHERE student_id = 'S01'",
        "2 ids were delivered for different students; the latest version counts. "
        "Among them: A2601, A2901.",
    ),
    "bronze/assessments: not_empty": _gone("bronze.assessments"),
    "bronze/assessments: schema": (
        "ALTER TABLE bronze.assessments ALTER _source_row TYPE INTEGER",
        "The columns of bronze.assessments are not as declared: "
        "missing _source_row BIGINT; unexpected _source_row INTEGER.",
    ),
    "bronze/assessments: row_count_kept": _dropped("bronze.assessments"),
    "bronze/assessments: required_columns": (
        "UPDATE bronze.assessments SET _source_file = NULL WHERE _source_row < 3",
        "required columns: _source_file in 2 rows. Among them: 1, 2.",
    ),
    "bronze/assessments: files_readable": _refused("assessments"),
    "bronze/assessments: columns_known": _lacking("assessments"),
    "bronze/assessments: one_student_per_id": (
        "INSERT INTO bronze.assessments SELECT * REPLACE (' x07 ' AS assessment_id) "
        "FROM bronze.assessments WHERE student_id = 'S08';"
        "UPDATE bronze.assessments SET assessment_id = 'x07' WHERE student_id = 'S07'",
        "1 id was delivered for different students; the latest version counts. Among them: x07.",
    ),
    # quarantine
    "quarantine/students: schema": (
        "ALTER TABLE quarantine.students RENAME COLUMN detail TO details",
        "The columns of quarantine.students are not as declared: "
        "missing detail VARCHAR; unexpected details VARCHAR.",
    ),
    "quarantine/students: required_columns": (
        "UPDATE quarantine.students SET detail = NULL",
        "required columns: detail in 1 row. Among them: students.csv 41.",
    ),
    "quarantine/students: accepted_values": (
        "UPDATE quarantine.students SET reason = 'unknown_student'",
        "accepted values: reason in 1 row. Among them: students.csv 41.",
    ),
    "quarantine/students: quarantined_share": (
        "INSERT INTO quarantine.students FROM quarantine.students, range(2) SELECT students.*",
        "1 reason refuses more rows than expected. Among them: missing_student_id: 3 of 43 rows.",
    ),
    "quarantine/attendance: schema": (
        "ALTER TABLE quarantine.attendance DROP COLUMN _raw",
        "The columns of quarantine.attendance are not as declared: "
        "missing _raw VARCHAR; unexpected none.",
    ),
    "quarantine/attendance: required_columns": (
        "UPDATE quarantine.attendance SET reason = NULL",
        "required columns: reason in 1 row. Among them: attendance.csv 81.",
    ),
    "quarantine/attendance: accepted_values": (
        "UPDATE quarantine.attendance SET reason = 'invalid_score', _source_row = NULL",
        "accepted values: reason in 1 row. Among them: attendance.csv.",
    ),
    "quarantine/attendance: quarantined_share": (
        "INSERT INTO quarantine.attendance FROM quarantine.attendance, range(9) "
        "SELECT attendance.*; INSERT INTO quarantine.attendance "
        "SELECT * REPLACE ('invalid_date' AS reason) FROM quarantine.attendance",
        "2 reasons refuse more rows than expected. Among them: "
        "invalid_date: 10 of 100 rows, unknown_student: 10 of 100 rows.",
    ),
    "quarantine/assessments: schema": (
        "ALTER TABLE quarantine.assessments ALTER _load_id TYPE VARCHAR",
        "The columns of quarantine.assessments are not as declared: "
        "missing _load_id BIGINT; unexpected _load_id VARCHAR.",
    ),
    "quarantine/assessments: required_columns": (
        "UPDATE quarantine.assessments SET _source_file = NULL",
        "required columns: _source_file in 1 row. Among them: 41.",
    ),
    "quarantine/assessments: accepted_values": (
        "UPDATE quarantine.assessments SET reason = 'unknown_status'",
        "accepted values: reason in 1 row. Among them: assessments.csv 41.",
    ),
    "quarantine/assessments: quarantined_share": (
        "DELETE FROM silver.fact_assess WHERE assess_id > 'X18'",
        "1 reason refuses more rows than expected. Among them: unknown_student: 1 of 19 rows.",
    ),
    # silver
    "silver/dim_student: not_empty": (
        "DELETE FROM silver.dim_student",
        "There is no student: nothing can be built without a roster.",
    ),
    "silver/dim_student: schema": (
        "ALTER TABLE silver.dim_student ADD COLUMN shoe_size INTEGER",
        "The columns of silver.dim_student are not as declared: "
        "missing none; unexpected shoe_size INTEGER.",
    ),
    "silver/dim_student: row_count_kept": _dropped("silver.dim_student"),
    "silver/dim_student: key_unique": (
        "INSERT INTO silver.dim_student FROM silver.dim_student WHERE student_id < 'S03';"
        "UPDATE silver.dim_student SET student_id = NULL WHERE student_id = 'S40'",
        "3 keys that are null or stand twice. Among them: S01 (2x), S02 (2x), null (1x).",
    ),
    "silver/dim_student: required_columns": (
        "UPDATE silver.dim_student SET student_name = NULL, class_id = NULL "
        "WHERE student_id = 'S05'",
        "required columns: student_name in 1 row, class_id in 1 row. Among them: S05.",
    ),
    "silver/dim_student: ranges": (
        "UPDATE silver.dim_student SET grade_level = 100 WHERE student_id = 'S05';"
        "UPDATE silver.dim_student SET grade_level = -2 WHERE student_id = 'S06'",
        "ranges: grade_level in 2 rows. Among them: S05, S06.",
    ),
    "silver/dim_student: nothing_is_lost": (
        "DELETE FROM silver.dim_student WHERE student_id = 'S05'",
        "1 equation does not hold. Among them: latest versions in bronze 41, "
        "rows in silver 39, refused rows in quarantine 1.",
    ),
    "silver/fact_attend: not_empty": _gone("silver.fact_attend"),
    "silver/fact_attend: schema": (
        "ALTER TABLE silver.fact_attend ALTER attend_date TYPE VARCHAR",
        "The columns of silver.fact_attend are not as declared: "
        "missing attend_date DATE; unexpected attend_date VARCHAR.",
    ),
    "silver/fact_attend: row_count_kept": _dropped("silver.fact_attend"),
    "silver/fact_attend: key_unique": (
        "INSERT INTO silver.fact_attend FROM silver.fact_attend WHERE attend_id = 'A2605'",
        "1 key that is null or stands twice. Among them: A2605 (2x).",
    ),
    "silver/fact_attend: required_columns": (
        "UPDATE silver.fact_attend SET counts_for_day = NULL WHERE attend_id = 'A2605'",
        "required columns: counts_for_day in 1 row. Among them: A2605.",
    ),
    "silver/fact_attend: accepted_values": (
        "UPDATE silver.fact_attend SET status = 'present' WHERE attend_id = 'A2605'",
        "accepted values: status in 1 row. Among them: A2605.",
    ),
    "silver/fact_attend: foreign_keys": (
        "UPDATE silver.fact_attend SET student_id = 'S77' WHERE attend_id = 'A2605';"
        "INSERT INTO silver.dim_student (student_name) VALUES ('nobody')",
        "foreign keys: student_id in 1 row. Among them: A2605.",
    ),
    "silver/fact_attend: nothing_is_lost": (
        "INSERT INTO silver.fact_attend FROM silver.fact_attend WHERE attend_id = 'A2605'",
        "1 equation does not hold. Among them: latest versions in bronze 81, "
        "rows in silver 81, refused rows in quarantine 1.",
    ),
    "silver/fact_attend: class_of_student": (
        "UPDATE silver.dim_student SET class_id = '5C' WHERE student_id = 'S05'",
        "2 records have another class than their student. Among them: A2605, A2905.",
    ),
    "silver/fact_attend: recent_data": (
        "DELETE FROM silver.fact_attend WHERE attend_date > '2026-06-26';"
        "UPDATE silver.fact_attend SET attend_date = '2026-06-22'",
        "The newest record of silver.fact_attend is of 2026-06-22: 6 school days ago.",
    ),
    "silver/fact_attend: one_counted_record": (
        "UPDATE silver.fact_attend SET counts_for_day = false WHERE attend_id = 'A2605';"
        "INSERT INTO silver.fact_attend FROM silver.fact_attend WHERE attend_id = 'A2606'",
        "2 student-days don't have exactly one record that counts. "
        "Among them: S05 on 2026-06-26, S06 on 2026-06-26.",
    ),
    "silver/fact_attend: presence_follows_status": (
        "UPDATE silver.fact_attend SET status = 'EXCUSED' WHERE attend_id = 'A2605';"
        "UPDATE silver.fact_attend SET status = 'LATE' WHERE attend_id = 'A2606'",
        "1 record whose presence does not follow from the status. Among them: A2605.",
    ),
    "silver/fact_assess: not_empty": _gone("silver.fact_assess"),
    "silver/fact_assess: schema": (
        "ALTER TABLE silver.fact_assess DROP COLUMN subject",
        "The columns of silver.fact_assess are not as declared: "
        "missing subject VARCHAR; unexpected none.",
    ),
    "silver/fact_assess: row_count_kept": _dropped("silver.fact_assess"),
    "silver/fact_assess: key_unique": (
        "UPDATE silver.fact_assess SET assess_id = 'X01' WHERE assess_id < 'X04'",
        "1 key that is null or stands twice. Among them: X01 (3x).",
    ),
    "silver/fact_assess: required_columns": (
        "UPDATE silver.fact_assess SET score = NULL WHERE assess_id = 'X01'",
        "required columns: score in 1 row. Among them: X01.",
    ),
    "silver/fact_assess: ranges": (
        "UPDATE silver.fact_assess SET score_pct = 100.01 WHERE assess_id = 'X01';"
        "UPDATE silver.fact_assess SET score_pct = 'NaN' WHERE assess_id = 'X02';"
        "UPDATE silver.fact_assess SET score = -0.01 WHERE assess_id = 'X03'",
        "ranges: score in 1 row, score_pct in 2 rows. Among them: X01, X02, X03.",
    ),
    "silver/fact_assess: foreign_keys": (
        "DELETE FROM silver.dim_student WHERE student_id = 'S02'",
        "foreign keys: student_id in 1 row. Among them: X02.",
    ),
    "silver/fact_assess: nothing_is_lost": (
        "DELETE FROM quarantine.assessments",
        "1 equation does not hold. Among them: latest versions in bronze 41, "
        "rows in silver 40, refused rows in quarantine 0.",
    ),
    "silver/fact_assess: class_of_student": (
        "UPDATE silver.fact_assess SET class_id = 'UNASSIGNED' WHERE assess_id = 'X02'",
        "1 record has another class than its student. Among them: X02.",
    ),
    "silver/fact_assess: recent_data": (
        "UPDATE silver.fact_assess SET assess_date = '2026-06-22'",
        "The newest record of silver.fact_assess is of 2026-06-22: 6 school days ago.",
    ),
    "silver/fact_assess: score_in_range": (
        "UPDATE silver.fact_assess SET score = 51 WHERE assess_id = 'X01';"
        "UPDATE silver.fact_assess SET score_pct = 12.34 WHERE assess_id = 'X02';"
        "UPDATE silver.fact_assess SET max_score = 0 WHERE assess_id = 'X03'",
        "3 assessments have a score out of range or a wrong percentage. Among them: X01, X02, X03.",
    ),
    # gold
    "gold/class_daily_performance: not_empty": _gone("gold.class_daily_performance"),
    "gold/class_daily_performance: schema": (
        "ALTER TABLE gold.class_daily_performance ALTER present_count TYPE INTEGER",
        "The columns of gold.class_daily_performance are not as declared: "
        "missing present_count BIGINT; unexpected present_count INTEGER.",
    ),
    "gold/class_daily_performance: row_count_kept": _dropped("gold.class_daily_performance"),
    "gold/class_daily_performance: key_unique": (
        "UPDATE gold.class_daily_performance SET class_id = NULL WHERE class_id = '5A'",
        "2 keys that are null or stand twice. "
        "Among them: null 2026-06-26 (1x), null 2026-06-29 (1x).",
    ),
    "gold/class_daily_performance: required_columns": (
        "UPDATE gold.class_daily_performance SET total_students = NULL WHERE class_id = '5A'",
        "required columns: total_students in 2 rows. Among them: 5A 2026-06-26, 5A 2026-06-29.",
    ),
    "gold/class_daily_performance: ranges": (
        "UPDATE gold.class_daily_performance SET attendance_rate = 1.0001, absent_count = -1 "
        "WHERE class_id = '5A' AND date = '2026-06-26'",
        "ranges: absent_count in 1 row, attendance_rate in 1 row. Among them: 5A 2026-06-26.",
    ),
    "gold/class_daily_performance: daily_equations": (
        "UPDATE gold.class_daily_performance SET present_count = present_count + 1 "
        "WHERE class_id = '5A' AND date = '2026-06-26';"
        "UPDATE gold.class_daily_performance SET attendance_coverage = NULL "
        "WHERE class_id = '5B' AND date = '2026-06-26';"
        "UPDATE gold.class_daily_performance SET avg_score = NULL "
        "WHERE class_id = '5B' AND date = '2026-06-29'",
        "3 class-days whose counts and rates don't agree. "
        "Among them: 5A on 2026-06-26, 5B on 2026-06-26, 5B on 2026-06-29.",
    ),
    "gold/class_daily_performance: daily_totals": (
        "DELETE FROM gold.class_daily_performance WHERE class_id = '5A' AND date = '2026-06-29'",
        "1 sum differs from silver. Among them: gold counts 52 present, 8 absent, "
        "20 assessments; silver 70, 10, 40.",
    ),
    "gold/class_daily_performance: no_class_day_missing": (
        "DELETE FROM gold.class_daily_performance WHERE class_id = '5A' AND date = '2026-06-29';"
        "UPDATE gold.class_daily_performance SET class_id = '9Z' "
        "WHERE class_id = '5B' AND date = '2026-06-29'",
        "3 class-days are missing or have no source. "
        "Among them: 5A on 2026-06-29, 5B on 2026-06-29, 9Z on 2026-06-29.",
    ),
    "gold/class_daily_performance: coverage_above_one": (
        "UPDATE gold.class_daily_performance SET total_students = 19 WHERE class_id = '5B'",
        "2 class-days with more students than the class has active ones (leavers' records). "
        "Among them: 5B on 2026-06-26, 5B on 2026-06-29.",
    ),
    "gold/student_performance_summary: not_empty": _gone("gold.student_performance_summary"),
    "gold/student_performance_summary: schema": (
        "ALTER TABLE gold.student_performance_summary DROP COLUMN min_score",
        "The columns of gold.student_performance_summary are not as declared: "
        "missing min_score DOUBLE; unexpected none.",
    ),
    "gold/student_performance_summary: row_count_kept": _dropped(
        "gold.student_performance_summary"
    ),
    "gold/student_performance_summary: key_unique": (
        "UPDATE gold.student_performance_summary SET student_id = 'S01' WHERE student_id = 'S02'",
        "1 key that is null or stands twice. Among them: S01 (2x).",
    ),
    "gold/student_performance_summary: required_columns": (
        "UPDATE gold.student_performance_summary SET is_chronically_absent = NULL "
        "WHERE student_id = 'S02'",
        "required columns: is_chronically_absent in 1 row. Among them: S02.",
    ),
    "gold/student_performance_summary: ranges": (
        "UPDATE gold.student_performance_summary SET late_days = -1 WHERE student_id = 'S02';"
        "UPDATE gold.student_performance_summary SET max_score = 101 WHERE student_id = 'S03'",
        "ranges: late_days in 1 row, max_score in 1 row. Among them: S02, S03.",
    ),
    "gold/student_performance_summary: foreign_keys": (
        "UPDATE gold.student_performance_summary SET student_id = 'S77' WHERE student_id = 'S02'",
        "foreign keys: student_id in 1 row. Among them: S77.",
    ),
    "gold/student_performance_summary: student_equations": (
        "UPDATE gold.student_performance_summary SET present_days = 9 WHERE student_id = 'S01';"
        "UPDATE gold.student_performance_summary SET attendance_rate = 0.5 "
        "WHERE student_id = 'S02';"
        "UPDATE gold.student_performance_summary SET is_chronically_absent = true "
        "WHERE student_id = 'S03';"
        "UPDATE gold.student_performance_summary SET avg_score = NULL WHERE student_id = 'S04'",
        "4 students whose counts and rates don't agree. Among them: S01, S02, S03, S04.",
    ),
    "gold/student_performance_summary: student_totals": (
        "UPDATE silver.fact_attend SET is_present = false WHERE attend_id = 'A2601'",
        "1 sum differs from silver. Among them: gold counts 70 days present, 10 absent, "
        "40 assessments; silver 69, 11, 40.",
    ),
    "gold/student_performance_summary: no_student_missing": (
        "DELETE FROM gold.student_performance_summary WHERE student_id = 'S02';"
        "DELETE FROM silver.dim_student WHERE student_id = 'S03';"
        "UPDATE gold.student_performance_summary SET class_id = '5B' WHERE student_id = 'S04';"
        "UPDATE gold.student_performance_summary SET is_active = false WHERE student_id = 'S05'",
        "4 students are missing, unknown or in another class. Among them: S02, S03, S04, S05.",
    ),
}
"""Check -> what breaks its rule behind the pipeline's back, and the sentence that it then says."""

WARNINGS = {
    "columns_known",
    "row_count_kept",
    "still_in_roster",
    "one_student_per_id",
    "quarantined_share",
    "recent_data",
    "coverage_above_one",
}
"""The checks that stop nothing."""


def test_every_check_has_its_case() -> None:
    assert sorted(CASES) == sorted(SPECS)


def test_every_check_passes_on_a_good_day(
    good_day: tuple[School, dg.ExecuteInProcessResult],
) -> None:
    _, result = good_day
    assert result.success
    assert passed_checks(result) == SPECS.keys() | OF_FILES


@pytest.mark.parametrize("name", CASES)
def test_a_check_fails_when_its_rule_is_broken(after: School, name: str) -> None:
    tampering, sentence = CASES[name]
    after.write(*tampering.split(";"))
    looked = look(after, name)
    found = looked.found[name]
    assert not found.passed
    assert found.description == sentence
    is_warning = SPECS[name].name in WARNINGS
    assert found.severity.value == ("WARN" if is_warning else "ERROR")
    assert SPECS[name].blocking is not is_warning
    assert looked.result.success is is_warning
    assert CANARY not in looked.events


def test_every_check_has_a_description_for_the_ui() -> None:
    assert [
        name for name, spec in SPECS.items() if not (spec.description or "").endswith(".")
    ] == []


MANY = {
    "silver/dim_student: required_columns": (
        "UPDATE silver.dim_student SET class_id = NULL WHERE student_id > 'S15'",
        "required columns: class_id in 25 rows. Among them: ",
        [f"S{number}" for number in range(16, 26)],
    ),
    "silver/fact_attend: key_unique": (
        "INSERT INTO silver.fact_attend FROM silver.fact_attend WHERE attend_date = '2026-06-26'",
        "40 keys that are null or stand twice. Among them: ",
        [f"A26{number:02} (2x)" for number in range(1, 11)],
    ),
    "gold/student_performance_summary: no_student_missing": (
        "DELETE FROM gold.student_performance_summary",
        "40 students are missing, unknown or in another class. Among them: ",
        [f"S{number:02}" for number in range(1, 11)],
    ),
    "bronze/students: still_in_roster": (
        "DELETE FROM ops.latest_roster",
        "40 students are not in the roster that was loaded last; they stay as they were. "
        "Among them: ",
        [f"S{number:02}" for number in range(1, 11)],
    ),
}


@pytest.mark.parametrize("name", MANY)
def test_a_failed_check_counts_all_and_names_ten(after: School, name: str) -> None:
    tampering, sentence, keys = MANY[name]
    after.write(tampering)
    found = look(after, name).found[name]
    assert found.description == f"{sentence}{', '.join(keys)}."
    assert found.metadata["keys"].value == keys


@pytest.mark.parametrize("number", [10, 11])
def test_ten_keys_are_all_there_are_or_the_first(after: School, number: int) -> None:
    name = "bronze/students: still_in_roster"
    after.write(f"DELETE FROM ops.latest_roster WHERE student_id <= 'S{number}'")
    found = look(after, name).found[name]
    assert found.description.startswith(f"{number} students are not in the roster")
    assert found.description.endswith(
        "Among them: S01, S02, S03, S04, S05, S06, S07, S08, S09, S10."
    )
    assert found.metadata["offenders"].value == number


def test_columns_in_another_order_are_not_as_declared(after: School) -> None:
    columns = "class_id, student_id, * EXCLUDE (class_id, student_id)"
    after.write(
        f"CREATE TABLE silver.other AS SELECT {columns} FROM silver.dim_student",
        "DROP TABLE silver.dim_student",
        "ALTER TABLE silver.other RENAME TO dim_student",
    )
    name = "silver/dim_student: schema"
    assert look(after, name).found[name].description == (
        "The columns of silver.dim_student are not as declared: "
        "missing none; unexpected none; the order differs."
    )


def test_a_table_that_can_not_be_queried_fails_its_checks_and_hides_no_others(
    after: School,
) -> None:
    mine = [name for name in SPECS if name.startswith("silver/fact_attend")]
    after.write("ALTER TABLE silver.fact_attend RENAME COLUMN status TO state")
    looked = look(after, *mine)
    assert set(looked.found) == set(mine)
    failed = failed_checks(looked.result)
    assert set(failed) == {
        f"silver/fact_attend: {name}"
        for name in ("schema", "required_columns", "accepted_values", "presence_follows_status")
    }
    assert failed["silver/fact_attend: accepted_values"].startswith(
        'silver.fact_attend can\'t be checked. Binder Error: Referenced column "status" not found'
    )
    after.write("DROP TABLE silver.fact_attend")
    looked = look(after, *mine)
    assert set(looked.found) == set(mine)
    assert not any(
        found.passed
        for name, found in looked.found.items()
        if not name.endswith("row_count_kept")  # of the run that wrote it
    )
    assert not looked.result.success


def test_a_null_key_is_named_too(after: School) -> None:
    after.write(
        "UPDATE silver.fact_attend SET student_id = NULL WHERE attend_id IN ('A2601', 'A2602')"
    )
    name = "silver/fact_attend: one_counted_record"
    assert look(after, name).found[name].description == (
        "1 student-day does not have exactly one record that counts. Among them: null."
    )


# --- bounds: just inside, just outside ------------------------------------------------------------


def test_the_table_that_lost_half_of_its_rows_is_fine_one_row_more_is_not(after: School) -> None:
    name = "silver/fact_attend: row_count_kept"
    for rows, before, passed in (
        (100, 200, True),
        (99, 200, False),
        (0, 0, True),
        (200, 100, True),
    ):
        after.write(f"UPDATE ops.table_state SET row_count = {rows}, previous_row_count = {before}")
        assert look(after, name).found[name].passed is passed, (rows, before)
    after.write("UPDATE ops.table_state SET row_count = 10, previous_row_count = NULL")
    assert look(after, name).found[name].passed
    after.write("UPDATE ops.table_state SET row_count = 89, previous_row_count = 100")
    assert look(after, name).found[name].passed
    assert not look(after, name, row_drop_warning_share=0.1).found[name].passed


def test_five_percent_in_quarantine_are_fine_more_are_not(after: School) -> None:
    name = "quarantine/attendance: quarantined_share"
    for kept, passed in ((19, True), (18, False)):  # and 1 refused
        after.write(f"DELETE FROM silver.fact_attend WHERE attend_id > 'A26{kept:02}'")
        assert look(after, name).found[name].passed is passed
    assert look(after, name, quarantine_warning_share=0.06).found[name].passed
    # Each reason is counted by itself.
    after.write(
        "INSERT INTO silver.fact_attend SELECT * FROM silver.fact_attend",
        "INSERT INTO quarantine.attendance "
        "SELECT * REPLACE ('invalid_date' AS reason) FROM quarantine.attendance",
    )
    assert look(after, name).found[name].passed  # 1 + 1 of 38
    after.write("DELETE FROM silver.fact_attend", "DELETE FROM quarantine.attendance")
    assert look(after, name).found[name].passed


@pytest.mark.parametrize("table", ["silver/fact_attend", "silver/fact_assess"])
def test_data_is_old_after_a_week_of_school(after: School, table: str) -> None:
    name = f"{table}: recent_data"
    newest = datetime(2026, 6, 29, 23, 59, tzinfo=timezone.utc)  # a Monday
    for days, passed, age in ((-3, True, 0), (7, True, 5), (8, False, 6)):
        found = look(after, name, now=newest + timedelta(days=days)).found[name]
        assert found.passed is passed
        assert found.metadata["newest"].value == "2026-06-29"
        assert found.metadata["school_days_old"].value == age
    later = newest + timedelta(days=8)
    assert look(after, name, now=later, expected_data_age_days=6).found[name].passed
    after.write(f"DELETE FROM {table.replace('/', '.')}")
    assert look(after, name, now=later).found[name].passed  # not_empty speaks of that


def test_weekends_and_holidays_do_not_make_data_old(after: School) -> None:
    name = "silver/fact_attend: recent_data"
    tuesday = datetime(2026, 7, 7, 6, tzinfo=timezone.utc)  # eight days after the newest record
    assert not look(after, name, now=tuesday).found[name].passed
    assert look(after, name, now=tuesday, holidays=["2026-07-03"]).found[name].passed
    summer = {"holidays": ["2026-07-01 to 2026-08-31"]}
    september = datetime(2026, 9, 1, 6, tzinfo=timezone.utc)
    assert look(after, name, now=september, **summer).found[name].passed
    few = {"school_days": ["Tue", "Thu"]}
    assert look(after, name, now=tuesday, **few).found[name].passed


def test_numbers_on_their_bounds_are_within_them(after: School) -> None:
    after.write(
        "UPDATE silver.dim_student SET grade_level = -1 WHERE student_id = 'S01'",
        "UPDATE silver.dim_student SET grade_level = 99 WHERE student_id = 'S02'",
        "UPDATE silver.dim_student SET grade_level = NULL WHERE student_id = 'S03'",
        "UPDATE silver.fact_assess SET score = 0, score_pct = 0 WHERE assess_id = 'X01'",
        "UPDATE silver.fact_assess SET score = 50, score_pct = 100 WHERE assess_id = 'X02'",
    )
    names = (
        "silver/dim_student: ranges",
        "silver/fact_assess: ranges",
        "silver/fact_assess: score_in_range",
    )
    assert look(after, *names).result.success


def test_who_is_not_in_the_latest_roster_is_named_until_back(after: School) -> None:
    name = "bronze/students: still_in_roster"
    sentence = (
        "1 student is not in the roster that was loaded last and stays as before. Among them: S02."
    )
    full = (after.landing / "students.csv").read_text()
    after.deliver("students.csv", full.replace(f"S02,{CANARY} 2,5A,5,active\n", ""))
    result = after.run()
    assert result.success
    assert warnings_of(result)[name] == sentence
    assert len(after.rows("silver.dim_student")) == STUDENTS
    after.deliver("attendance_2.csv", attendance("A3001,S01,2026-06-30,P,"))
    assert warnings_of(after.run())[name] == sentence  # without a new roster it stays so
    after.deliver("students.csv", full.replace("S02,", " S02 ,"))
    assert name in passed_checks(after.run())


def test_an_id_that_two_students_share_is_named(school: School) -> None:
    school.deliver("students.csv", roster("S1,Canary 1,5A,5,active", "S2,Canary 2,5A,5,active"))
    school.deliver("attendance.csv", attendance("A1,S1,2026-06-29,P,1", " A1 , S1 ,2026-06-29,A,2"))
    of_two = assessments("X1,S1,Math,1,50,2026-06-29", "X2,S1,Math,1,50,2026-06-29")
    school.deliver("assessments.csv", of_two)
    names = {f"bronze/{table}: one_student_per_id" for table in ("attendance", "assessments")}
    assert names <= passed_checks(school.run())
    school.deliver("attendance_2.csv", attendance("A1,S2,2026-06-29,A,3"))
    school.deliver("assessments_2.csv", assessments("X1,,Math,2,50,2026-06-29"))  # of nobody
    result = school.run()
    assert result.success
    assert {name: sentence for name, sentence in warnings_of(result).items() if name in names} == {
        "bronze/attendance: one_student_per_id": "1 id was delivered for different students; "
        "the latest version counts. Among them: A1."
    }


# --- files without a column -----------------------------------------------------------------------


def test_a_roster_whose_class_header_nobody_knows_is_warned_of(school: School) -> None:
    name = "bronze/students: columns_known"
    school.deliver("students.csv", "student_id,name,Home Group,status\nS1,Canary 1,5A,active\n")
    with dg.DagsterInstance.ephemeral() as instance:
        result = school.run(instance=instance)
        assert "Home Group" not in said_in(instance, result)  # a header may be a name
    assert warnings_of(result)[name] == (
        "1 file lacks columns that silver uses. students.csv: It lacks the columns class_id, grade. "
        f"It has headers that no column knows. {ADVICE}"
    )
    assert school.query("SELECT message FROM ops.source_files WHERE source = 'students'") == [
        ("It lacks the columns class_id, grade. Its headers that no column knows: 'Home Group'.",)
    ]
    assert school.query("SELECT class_id FROM silver.dim_student") == [("UNASSIGNED",)]
    assert name in warnings_of(school.run())  # while no other roster was loaded

    school.rules = {"header_aliases": {"students": {"class_id": ["Home Group"]}}}
    school.deliver("students.csv", "student_id,name,Home Group,status\nS1,Canary 1,5A,active\n\n")
    assert name in passed_checks(school.run())
    assert school.query("SELECT class_id FROM silver.dim_student") == [("5A",)]


# --- empty tables ---------------------------------------------------------------------------------


def empty(result: dg.ExecuteInProcessResult) -> tuple[dict[str, str], dict[str, str]]:
    """Table -> sentence of the failed `not_empty` checks: errors, warnings."""
    errors_, warnings = failed_checks(result), warnings_of(result)
    return (
        {name.split(":")[0]: errors_[name] for name in errors_ if name.endswith(": not_empty")},
        {name.split(":")[0]: warnings[name] for name in warnings if name.endswith(": not_empty")},
    )


@pytest.mark.parametrize("passed_over", [False, True], ids=["nothing", "passed over files"])
def test_no_source_file_and_no_student_is_an_error_that_says_what_was_looked_for(
    school: School, passed_over: bool
) -> None:
    if passed_over:
        school.deliver("students.csv.tmp", roster("S1,Canary 1,5A,5,active"))
        school.deliver(".attendance.csv", attendance("A1,S1,2026-06-29,P,"))
        school.deliver("pupils.csv", roster("S1,Canary 1,5A,5,active"))
    result = school.run()
    assert not result.success
    failed, _ = empty(result)
    sentence = failed.pop("bronze/students")
    assert failed == {}
    assert sentence.startswith(
        f"There is no source file in the landing folder {school.landing}, and no student in the "
        "warehouse. Looked for "
    )
    for source in ("students", "attendance", "assessments"):
        for pattern in (f"{source}.<ext>", f"{source}-*.<ext>", f"{source}/**/*.<ext>"):
            assert pattern in sentence
    assert "csv, tsv, json, jsonl, ndjson, parquet" in sentence
    assert not any(name.startswith(("silver", "gold")) for name in materialized(result))


def test_no_source_file_is_fine_once_there_are_students(after: School) -> None:
    for file in after.landing.iterdir():
        file.unlink()
    result = after.run()
    assert result.success
    assert passed_checks(result) == SPECS.keys() | OF_FILES


def test_a_school_without_a_roster_has_nothing_to_build_on(school: School) -> None:
    school.deliver("attendance.csv", attendance("A1,S1,2026-06-29,P,"))
    for content in (None, roster(), roster(",Canary 1,5A,5,active")):
        if content:
            school.deliver("students.csv", content)
        result = school.run()
        assert not result.success
        assert empty(result)[0] == {
            "silver/dim_student": "There is no student: nothing can be built without a roster."
        }
        assert not any(name.startswith("gold") for name in materialized(result))


def test_tables_that_never_had_a_row_warn_and_empty_quarantines_are_good_news(
    school: School,
) -> None:
    school.deliver("students.csv", roster("S1,Canary 1,5A,5,active"))
    for result in (school.run(), school.run()):
        assert result.success
        errors_, warnings = empty(result)
        assert errors_ == {}
        assert warnings == {
            table: f"{table.replace('/', '.')} has no rows yet."
            for table in (
                "bronze/attendance",
                "bronze/assessments",
                "silver/fact_attend",
                "silver/fact_assess",
                "gold/class_daily_performance",
            )
        }
        assert {name for name in warnings_of(result) if not name.endswith(": not_empty")} == set()
    assert school.rows("quarantine.students") == []


def test_mending_all_that_was_refused_warns_of_nothing(school: School) -> None:
    school.deliver("students.csv", roster("S1,Canary 1,5A,5,active"))
    school.deliver("attendance.csv", attendance(*(f"A{n},S9,2026-06-29,P," for n in range(5))))
    assert len(school.run().get_asset_check_evaluations()) == len(SPECS) + len(OF_FILES)
    assert len(school.rows("quarantine.attendance")) == 5
    school.deliver("students_2.csv", roster("S9,Canary 9,5A,5,active", "S1,Canary 1,5A,5,active"))
    result = school.run()
    assert result.success
    assert school.rows("quarantine.attendance") == []
    assert not [name for name in warnings_of(result) if name.startswith("quarantine")]


# --- what a failed check stops --------------------------------------------------------------------

GOLD = ("gold.class_daily_performance", "gold.student_performance_summary")


def test_an_error_on_silver_leaves_gold_as_it_was_until_it_is_mended(after: School) -> None:
    before = [after.rows(table) for table in GOLD]
    days = [f"A{day}{n:02},S{n:02},2026-06-{day}" for day in (26, 29) for n in range(1, 41)]
    after.deliver("attendance_2.csv", attendance(*(f"{row},?,2026-06-30" for row in days)))
    for attempt in (1, 2):  # an emptied table stays an error in the next run
        with dg.DagsterInstance.ephemeral() as instance:
            result = after.run(instance=instance)
            assert CANARY not in said_in(instance, result)
        assert not result.success
        assert failed_checks(result) == {
            "silver/fact_attend: not_empty": "silver.fact_attend had rows before and has none now."
        }
        assert warnings_of(result)["quarantine/attendance: quarantined_share"].endswith(
            "Among them: unknown_status: 80 of 81 rows."
        )
        assert ("silver/fact_attend: row_count_kept" in warnings_of(result)) is (attempt == 1)
        assert after.rows("silver.fact_attend") == []
        assert not any(name.startswith("gold") for name in materialized(result))
        assert [after.rows(table) for table in GOLD] == before
    after.deliver("attendance_3.csv", attendance(*(f"{row},P,2026-07-01" for row in days)))
    result = after.run()
    assert result.success
    assert failed_checks(result) == {}
    assert len(after.rows("silver.fact_attend")) == 80
    assert after.query("SELECT sum(absent_count) FROM gold.class_daily_performance") == [(0,)]


def test_an_error_on_bronze_stops_what_is_built_from_it_and_nothing_else(after: School) -> None:
    before = {name: after.rows(name) for name in ("silver.fact_attend", *GOLD)}
    after.deliver("attendance_2.csv", f"id,who\n1,{CANARY} 1\n")
    after.deliver("assessments_2.csv", assessments("X50,S01,Math,1,50,2026-06-30"))
    with dg.DagsterInstance.ephemeral() as instance:
        result = after.run(instance=instance)
        assert CANARY not in said_in(instance, result)
    assert not result.success
    assert set(failed_checks(result)) == {"bronze/attendance: files_readable"}
    sentence = failed_checks(result)["bronze/attendance: files_readable"]
    assert sentence.startswith("1 file was refused. attendance_2.csv: ")
    assert sentence.endswith("Mend or remove what was refused; everything else was loaded.")
    assert {name: after.rows(name) for name in before} == before
    assert len(after.rows("silver.fact_assess")) == 41  # the other branch went on
    (after.landing / "attendance_2.csv").unlink()
    result = after.run()
    assert result.success
    assert after.query("SELECT sum(assessment_count) FROM gold.class_daily_performance") == [(41,)]


def test_an_error_on_gold_fails_the_run(after: School, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in a gold SELECT, as it might be made one day."""
    written = values.sql.text

    def mistaken(path: str) -> str:
        text = written(path)
        if path == "gold/class_daily_performance.sql":
            return f"SELECT * REPLACE (present_count + 1 AS present_count) FROM ({text}) AS made"
        return text

    monkeypatch.setattr(values.sql, "text", mistaken)
    result = after.run()
    assert not result.success
    assert set(failed_checks(result)) == {
        "gold/class_daily_performance: daily_equations",
        "gold/class_daily_performance: daily_totals",
    }


def test_warnings_stop_nothing(after: School) -> None:
    leavers = ("S01,Canary 1,5A,5,left", "S41,Canary 41,5C,5,left")
    after.deliver("students_2.csv", roster(*leavers))
    refused = [f"B{n},S99,2026-06-29,P," for n in range(9)]
    other_student = "A2602,S40,2026-06-26,P,2026-06-26"
    leaver = "A3041,S41,2026-06-30,P,"
    after.deliver("attendance_2.csv", attendance(*refused, other_student, leaver))
    result = after.run(now=NOW + timedelta(days=30))
    assert result.success
    assert failed_checks(result) == {}
    assert {name.split(": ")[1] for name in warnings_of(result)} == {
        "still_in_roster",
        "one_student_per_id",
        "quarantined_share",
        "recent_data",
        "coverage_above_one",
    }
    # 19 of 19 are fine, 20 of 19 are not, and 1 of nobody is not.
    assert warnings_of(result)["gold/class_daily_performance: coverage_above_one"] == (
        "2 class-days with more students than the class has active ones (leavers' records). "
        "Among them: 5A on 2026-06-29, 5C on 2026-06-30."
    )
    assert {name for name in materialized(result) if name.startswith("gold")} == {
        "gold/class_daily_performance",
        "gold/student_performance_summary",
    }


# --- retries --------------------------------------------------------------------------------------


def test_checks_are_looked_at_again_after_an_error_that_can_pass(
    after: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "RETRIES", dg.RetryPolicy(max_retries=3, delay=0))
    name = "silver/fact_attend: recent_data"
    hiccups = [OSError("the disk hiccups"), duckdb.IOException("IO Error: it hiccups")]

    def now(self: LandingFolder) -> datetime:
        if hiccups:
            raise hiccups.pop()
        return NOW

    monkeypatch.setattr(LandingFolder, "now", now)
    looked = look(after, name)
    assert looked.result.success
    assert looked.found[name].passed
    assert hiccups == []


def test_a_bug_in_a_check_fails_the_run_at_once(
    after: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def now(self: LandingFolder) -> datetime:
        calls.append(self)
        raise ValueError("a bug")

    monkeypatch.setattr(LandingFolder, "now", now)
    looked = look(after, "silver/fact_attend: recent_data")
    assert not looked.result.success
    assert len(calls) == 1
    assert "a bug" in errors(looked.result)[0]


# --- names ----------------------------------------------------------------------------------------


def test_no_name_of_a_student_is_in_any_event_of_a_run_with_all_its_dirt(school: School) -> None:
    write_sample(school.landing, students=150, attendance=600, assessments=300, seed=7)
    school.deliver("students_2.csv", f"student_id,name\nS1,{CANARY} One,too,many\n" + "X,Y\n" * 20)
    school.deliver("attendance_2.csv", f'attend_id,student_id,date\n1,"{CANARY} Two')
    school.deliver("assessments_2.json", f'[{{"student": "{CANARY} Three"}}]')
    school.deliver("assessments_3.json", f'{{"name": "{CANARY} Four" oops')
    school.deliver("students_3.csv", f"{CANARY} Five,5A\n1,2\n")
    with dg.DagsterInstance.ephemeral() as instance:
        result = school.run(instance=instance)
        events = said_in(instance, result)
    assert not result.success
    assert len(failed_checks(result)) == 3  # a refused file for each source
    names = {name.strip() for (name,) in school.query("SELECT name FROM bronze.students") if name}
    names = {name for name in names if " " in name}
    assert len(names) > 50
    assert [name for name in (*names, CANARY) if name in events] == []
