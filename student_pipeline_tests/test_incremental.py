"""A day costs a day: what a run rebuilds, merges and leaves alone, and what its checks look at.

That the merged tables are those of a rebuild is shown by `test_property`.
"""

import shutil
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from student_pipeline import checks, scope, tables
from student_pipeline.assets.published import published as PUBLISHED
from student_pipeline.definitions import defs
from student_pipeline.jobs import JOB_NAME
from student_pipeline.tables import Table
from student_pipeline.warehouse import merge, values
from student_pipeline_tests.pipeline import NOW, School, errors, failed_checks, warnings_of
from student_pipeline_tests.test_checks import (
    assessments,
    attendance,
    deliver_a_good_day,
    materialized,
    roster,
)

MERGED = [table.full_name for table in (*tables.SILVER, *tables.GOLD)]


@pytest.fixture(autouse=True)
def large_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows are treated as many: changes are merged, and checks look at them alone."""
    monkeypatch.setattr(merge, "MOST_CHANGED", 1000)
    monkeypatch.setattr(scope, "WHOLE_UP_TO", 0)


@pytest.fixture(scope="module")
def first_day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    school = School(tmp_path_factory.mktemp("first_day"))
    deliver_a_good_day(school)
    result = school.run()
    assert result.success, failed_checks(result)
    return school.folder


@pytest.fixture
def after(first_day: Path, school: School) -> School:
    """A school of 40 students after its first run; S01 to S20 are in 5A, the others in 5B."""
    shutil.copytree(first_day, school.folder, dirs_exist_ok=True)
    return school


def deliver_one_more_day(school: School) -> None:
    """A new day for S01 and S02, a correction, a student that moves, one that arrives late."""
    school.deliver(
        "students_2.csv", roster("S40,Canary 40,5C,5,active", "S99,Canary 99,5A,5,active")
    )
    school.deliver(
        "attendance_2.csv",
        attendance(
            "N1,S01,2026-06-30,P,2026-06-30T08:00:00Z",
            "N2,S02,2026-06-30,A,2026-06-30T08:00:00Z",
            "A2601,S01,2026-06-26,L,2026-06-30T08:00:00Z",
        ),
    )
    school.deliver("assessments_2.csv", assessments("Y1,S01,Math,10,50,2026-06-30"))


def how(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """Merged table -> how it was brought up to date."""
    assert result.success, (failed_checks(result), errors(result))
    ways = {}
    for event in result.get_asset_materialization_events():
        assert event.asset_key
        metadata = event.step_materialization_data.materialization.metadata
        if "how" in metadata:
            ways[".".join(event.asset_key.path)] = str(metadata["how"].value)
    return ways


def looked_at(
    monkeypatch: pytest.MonkeyPatch,
    tamper: Callable[[duckdb.DuckDBPyConnection, Table], object] = lambda connection, table: None,
) -> dict[str, str]:
    """Table -> what its checks look at (`whole`, ...), of the runs to come.

    Args:
        tamper: is called between a table's materialization and its checks.
    """
    ways: dict[str, str] = {}
    real = checks.scope_of

    def noted(connection: duckdb.DuckDBPyConnection, table: Table, run_id: str) -> scope.Scope:
        tamper(connection, table)
        found = real(connection, table, run_id)
        ways[table.full_name] = found.way
        return found

    monkeypatch.setattr(checks, "scope_of", noted)
    return ways


# --- what is done with a table --------------------------------------------------------------------


def test_the_first_run_makes_the_second_leaves_alone(school: School) -> None:
    deliver_a_good_day(school)
    assert how(school.run()) == dict.fromkeys(MERGED, "made")
    assert how(school.run()) == dict.fromkeys(MERGED, "unchanged")


def test_a_new_day_is_merged(after: School) -> None:
    deliver_one_more_day(after)
    result = after.run()
    assert how(result) == dict.fromkeys(MERGED, "merged")
    assert after.query("SELECT status FROM silver.fact_attend WHERE attend_id = 'A2601'") == [
        ("LATE",)
    ]
    assert after.query(
        "SELECT DISTINCT class_id FROM silver.fact_attend WHERE student_id = 'S40'"
    ) == [("5C",)]
    assert after.query("SELECT student_id FROM silver.fact_attend WHERE attend_id = 'A9999'") == [
        ("S99",)
    ]
    assert after.query("SELECT * FROM quarantine.attendance") == []


def test_what_is_not_read_from_is_left_alone(after: School) -> None:
    after.deliver("assessments_2.csv", assessments("Y1,S01,Math,10,50,2026-06-30"))
    ways = how(after.run())
    assert ways["silver.fact_assess"] == "merged"
    assert ways["silver.dim_student"] == ways["silver.fact_attend"] == "unchanged"
    assert ways["gold.class_daily_performance"] == "merged"


def test_a_name_that_changes_touches_neither_facts_nor_gold(after: School) -> None:
    after.deliver("students_2.csv", roster("S01,Canary One,5A,5,active"))
    result = after.run()
    assert how(result)["silver.dim_student"] == "merged"
    written = {
        event.asset_key.path[1]: event.step_materialization_data.materialization.metadata
        for event in result.get_asset_materialization_events()
        if event.asset_key and event.asset_key.path[0] in ("silver", "gold")
    }
    assert written["dim_student"]["rows_added"].value == 1
    for name in ("fact_attend", "fact_assess", "class_daily_performance"):
        assert written[name]["rows_added"].value == 0, name


def test_what_is_refused_again_stands_in_the_quarantine_once_where_others_compete(
    after: School,
) -> None:
    after.deliver("attendance_2.csv", attendance("Q1,S98,in June,P,"))
    assert how(after.run())["silver.fact_attend"] == "merged"
    refused = "SELECT attend_id, reason FROM quarantine.attendance WHERE student_id = 'S98'"
    assert after.query(refused) == [("Q1", "unknown_student")]
    after.deliver("students_2.csv", roster("S98,Canary 98,5A,5,active"))
    after.deliver("attendance_3.csv", attendance("R1,S01,2026-06-26,L,2026-06-30T08:00:00Z"))
    assert how(after.run())["silver.fact_attend"] == "merged"
    assert after.query(refused) == [("Q1", "invalid_date")]
    assert after.query(
        "SELECT attend_id FROM silver.fact_attend "
        "WHERE student_id = 'S01' AND attend_date = '2026-06-26' AND counts_for_day"
    ) == [("R1",)]


def test_so_much_that_a_rebuild_is_no_more_work(
    after: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "MOST_CHANGED", 0.25)
    deliver_one_more_day(after)
    assert how(after.run())["silver.fact_attend"] == "merged"  # 3 + 2 of 81 rows
    after.deliver(
        "attendance_3.csv",
        attendance(*(f"M{number},S01,2026-06-30,P," for number in range(40))),
    )
    assert how(after.run())["silver.fact_attend"] == "rebuilt"


def test_a_full_refresh_rebuilds_what_is_selected_and_what_is_made_of_it(after: School) -> None:
    before = {name: after.rows(name) for name in MERGED}
    assert how(after.run(full_refresh=True)) == dict.fromkeys(MERGED, "rebuilt")
    assert {name: sorted(map(str, after.rows(name))) for name in MERGED} == {
        name: sorted(map(str, rows)) for name, rows in before.items()
    }


def test_a_rule_that_changes_rebuilds_what_it_decides_and_says_so(after: School) -> None:
    after.rules = {"chronic_absence_min_days": 2}
    with dg.DagsterInstance.ephemeral() as instance:
        result = after.run(instance=instance)
        said = [entry.user_message for entry in instance.all_logs(result.run_id)]
    ways = how(result)
    assert ways.pop("gold.student_performance_summary") == "rebuilt"
    assert set(ways.values()) == {"unchanged"}
    assert (
        "gold.student_performance_summary: Rebuilt whole: its SELECT, a rule, its declaration or "
        "the engine changed." in said
    )
    chronic = "SELECT count(*) FROM gold.student_performance_summary WHERE is_chronically_absent"
    assert after.query(chronic) == [(5,)]
    assert set(how(after.run()).values()) == {"unchanged"}


def test_a_select_that_changes_rebuilds_its_table_and_what_reads_it(
    after: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = values.sql.text

    def changed(path: str) -> str:
        text = written(path)
        if path == "silver/fact_assess.sql":
            return f"SELECT * REPLACE ('Arts' AS subject) FROM ({text}) AS made"
        return text

    monkeypatch.setattr(values.sql, "text", changed)
    ways = how(after.run())
    assert ways["silver.fact_assess"] == "rebuilt"
    assert ways["gold.class_daily_performance"] == "rebuilt"
    assert ways["silver.fact_attend"] == "unchanged"
    assert after.query("SELECT DISTINCT subject FROM silver.fact_assess") == [("Arts",)]


def test_a_declaration_that_changes_rebuilds_the_table(after: School) -> None:
    after.write("ALTER TABLE silver.fact_assess ADD COLUMN note VARCHAR")
    assert how(after.run())["silver.fact_assess"] == "rebuilt"
    assert "note" not in after.rows("silver.fact_assess")[0]


def test_changes_are_forgotten_when_everybody_has_followed_them(after: School) -> None:
    deliver_one_more_day(after)
    assert after.run().success
    assert after.query("SELECT count(*) FROM ops.changes") == [(0,)]


def test_changes_wait_for_who_could_not_follow_yet(
    after: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that breaks off below silver: the next one, without news, brings gold up to date."""
    deliver_one_more_day(after)

    def broken(*arguments: object) -> None:
        raise RuntimeError("no more")

    with monkeypatch.context() as patch:
        patch.setattr(merge, "_merge_groups", broken)
        assert not after.run().success
    assert after.query("SELECT count(*) FROM ops.changes")[0][0] > 0
    ways = how(after.run())
    assert ways["silver.fact_attend"] == "unchanged"
    assert ways["gold.class_daily_performance"] == "merged"
    assert after.query(
        "SELECT present_count FROM gold.class_daily_performance WHERE date = '2026-06-30'"
    ) == [(1,)]


# --- what the checks look at ----------------------------------------------------------------------


def test_checks_look_at_all_then_at_what_changed_then_at_nothing(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver_a_good_day(school)
    ways = looked_at(monkeypatch)
    school.run()
    assert set(ways.values()) == {"whole"}
    deliver_one_more_day(school)
    assert school.run().success
    assert set(ways.values()) == {"changes"}
    assert school.run().success
    assert set(ways.values()) == {"unchanged"}


def test_tables_that_are_not_large_are_looked_at_whole(
    after: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scope, "WHOLE_UP_TO", 1_000_000)
    ways = looked_at(monkeypatch)
    deliver_one_more_day(after)
    assert after.run().success
    assert set(ways.values()) == {"whole"}


def test_a_warning_about_rows_that_did_not_change_is_told_again(after: School) -> None:
    after.deliver("attendance_2.csv", attendance("A2601,S02,2026-06-26,P,2026-06-30T08:00:00Z"))
    name = "bronze/attendance: one_student_per_id"
    sentence = (
        "1 id was delivered for different students; the latest version counts. Among them: A2601."
    )
    for _ in range(2):
        assert warnings_of(after.run())[name] == sentence


# Check -> what is done to the new day's rows before it looks, and what it then says.
TAMPERED = {
    "silver/fact_attend: key_unique": (
        "INSERT INTO silver.fact_attend FROM silver.fact_attend WHERE attend_id = 'N1'",
        "N1 (2x)",
    ),
    "silver/fact_attend: required_columns": (
        "UPDATE silver.fact_attend SET is_present = NULL WHERE attend_id = 'N1'",
        "N1",
    ),
    "silver/fact_attend: accepted_values": (
        "UPDATE silver.fact_attend SET status = 'HERE' WHERE attend_id = 'N1'",
        "N1",
    ),
    "silver/fact_attend: foreign_keys": (
        "UPDATE silver.fact_attend SET student_id = 'S77' WHERE attend_id = 'N1'",
        "N1",
    ),
    "silver/fact_attend: nothing_is_lost": (
        "DELETE FROM silver.fact_attend WHERE attend_id = 'N1'",
        "N1",
    ),
    "silver/fact_attend: class_of_student": (
        "UPDATE silver.fact_attend SET class_id = '5B' WHERE attend_id = 'A2640'",
        "A2640",  # of the student that moved
    ),
    "silver/fact_attend: one_counted_record": (
        "UPDATE silver.fact_attend SET counts_for_day = false WHERE attend_id = 'N1'",
        "S01 on 2026-06-30",
    ),
    "silver/fact_attend: presence_follows_status": (
        "UPDATE silver.fact_attend SET is_present = false WHERE attend_id = 'A2601'",
        "A2601",
    ),
    "silver/fact_assess: score_in_range": (
        "UPDATE silver.fact_assess SET score_pct = 21 WHERE assess_id = 'Y1'",
        "Y1",
    ),
    "silver/fact_assess: ranges": (
        "UPDATE silver.fact_assess SET score = -1 WHERE assess_id = 'Y1'",
        "Y1",
    ),
    "bronze/attendance: required_columns": (
        "UPDATE bronze.attendance SET _ingested_at = NULL WHERE attend_id = 'N2'",
        "attendance_2.csv 2",
    ),
    "gold/class_daily_performance: no_class_day_missing": (
        "DELETE FROM gold.class_daily_performance WHERE date = '2026-06-30'",
        "5A on 2026-06-30",
    ),
    "gold/class_daily_performance: daily_totals": (
        "UPDATE gold.class_daily_performance SET present_count = present_count + 1 "
        "WHERE date = '2026-06-30'",
        "gold counts",
    ),
    "gold/student_performance_summary: student_equations": (
        "UPDATE gold.student_performance_summary SET absent_days = 7 WHERE student_id = 'S01'",
        "S01",
    ),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_check_of_what_changed_fails_when_it_should(
    after: School, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    statement, key = TAMPERED[name]
    table_name = name.partition(":")[0].replace("/", ".")

    def tamper(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
        if table.full_name == table_name:
            connection.execute(statement)

    ways = looked_at(monkeypatch, tamper)
    deliver_one_more_day(after)
    result = after.run()
    assert ways[table_name] == "changes"
    assert not result.success
    assert key in failed_checks(result)[name]


def test_what_failed_is_looked_at_whole_the_next_time(
    after: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    statement, _ = TAMPERED["silver/fact_attend: accepted_values"]

    def tamper(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
        if table is tables.FACT_ATTEND:
            connection.execute(statement)

    with monkeypatch.context() as patch:
        looked_at(patch, tamper)
        deliver_one_more_day(after)
        assert not after.run().success
    ways = looked_at(monkeypatch)
    assert not after.run().success  # nothing new, and still wrong
    assert ways["silver.fact_attend"] == "whole"
    assert ways["silver.fact_assess"] == "unchanged"


def test_rows_without_an_id_are_counted_among_what_changed(
    after: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tamper(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
        if table is tables.FACT_ATTEND:
            connection.execute("DELETE FROM quarantine.attendance WHERE reason = 'missing_id'")

    looked_at(monkeypatch, tamper)
    after.deliver("attendance_2.csv", attendance(",S01,2026-06-30,P,"))
    said = failed_checks(after.run())["silver/fact_attend: nothing_is_lost"]
    assert "rows without an id: 1" in said


def test_a_failed_check_of_silver_keeps_what_changed_for_gold(
    after: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tamper(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
        if table is tables.FACT_ATTEND:
            connection.execute("UPDATE silver.fact_attend SET status = 'X' WHERE attend_id = 'N1'")

    with monkeypatch.context() as patch:
        looked_at(patch, tamper)
        deliver_one_more_day(after)
        result = after.run()
        assert not any(name.startswith("gold") for name in materialized(result))
    assert after.run(full_refresh=True).success
    assert after.query(
        "SELECT present_count, absent_count FROM gold.class_daily_performance "
        "WHERE date = '2026-06-30'"
    ) == [(1, 1)]


def test_facts_that_a_merge_forgot_to_write_are_missed(
    after: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake of the merge itself: the facts of a student that moved are taken away, not judged."""
    monkeypatch.setattr(merge, "_fetch_what_stands", lambda *arguments: None)
    after.deliver("students_2.csv", roster("S40,Canary 40,5C,5,active"))
    said = failed_checks(after.run())["silver/fact_attend: nothing_is_lost"]
    assert "Among them: A2640, A2940." in said


def test_a_warning_of_a_large_table_stays_while_other_rows_come(after: School) -> None:
    name = "bronze/attendance: one_student_per_id"
    after.deliver("attendance_2.csv", attendance("A2601,S02,2026-06-26,P,2026-06-30T08:00:00Z"))
    assert "A2601" in warnings_of(after.run())[name]
    after.deliver("attendance_3.csv", attendance("N7,S07,2026-06-30,P,"))
    assert "A2601" in warnings_of(after.run())[name]


def test_a_small_table_is_looked_at_in_every_run(
    after: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scope, "WHOLE_UP_TO", 1_000_000)
    assert after.run().success
    after.write("DELETE FROM silver.fact_assess WHERE assess_id = 'X07'")
    assert "silver/fact_assess: nothing_is_lost" in failed_checks(after.run())


def test_a_check_that_changes_looks_at_all_rows(
    after: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scope, "_hash_of_checks", lambda: 1)
    ways = looked_at(monkeypatch)
    assert after.run().success
    assert set(ways.values()) == {"whole"}


def test_a_rebuilt_gold_table_is_looked_at_whole(
    after: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = looked_at(monkeypatch)
    after.rules = {"chronic_absence_min_days": 2}
    assert after.run().success
    assert ways["gold.student_performance_summary"] == "whole"
    assert ways["gold.class_daily_performance"] == "unchanged"


def test_gold_that_failed_its_checks_is_not_published_alone(
    after: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tamper(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
        if table is tables.CLASS_DAILY_PERFORMANCE:
            connection.execute("UPDATE gold.class_daily_performance SET present_count = 99")

    deliver_one_more_day(after)
    with monkeypatch.context() as patch:
        looked_at(patch, tamper)
        assert not after.run().success
    before = {path.name: path.read_bytes() for path in after.published.iterdir()}
    published = sorted(PUBLISHED.keys)
    result = defs.resolve_job_def(JOB_NAME).execute_in_process(
        run_config=after.run_config(), raise_on_error=False, asset_selection=published
    )
    assert errors(result) == [
        "The checks of gold.class_daily_performance have not passed on the rows that are there now. "
        "What was published before stays. Run the whole job, or the table with its checks."
    ]
    assert {path.name: path.read_bytes() for path in after.published.iterdir()} == before


# --- clocks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "instants",
    [
        (NOW, NOW - timedelta(days=40)),
        (
            datetime(2026, 6, 30, 23, 59, 59, tzinfo=timezone.utc),
            datetime(2026, 7, 1, 0, 0, 1, tzinfo=timezone.utc),
        ),
        # The hour that daylight-saving time repeats in Chicago, and the one that it leaves out.
        (
            datetime(2026, 11, 1, 1, 30, tzinfo=timezone(timedelta(hours=-5))),
            datetime(2026, 11, 1, 1, 30, tzinfo=timezone(timedelta(hours=-6))),
        ),
        (
            datetime(2027, 3, 14, 1, 59, tzinfo=timezone(timedelta(hours=-6))),
            datetime(2027, 3, 14, 3, 0, tzinfo=timezone(timedelta(hours=-5))),
        ),
        (
            datetime(2028, 2, 29, 12, 0, tzinfo=timezone.utc),
            datetime(2028, 3, 1, 12, 0, tzinfo=timezone.utc),
        ),
    ],
    ids=["backwards", "midnight", "repeated hour", "missing hour", "leap day"],
)
def test_what_is_new_does_not_depend_on_the_clock(
    school: School, instants: tuple[datetime, datetime]
) -> None:
    first, second = instants
    day = f"{min(instants).astimezone(timezone.utc):%Y-%m-%d}"
    school.deliver("students.csv", roster("S1,A,5A,5,active"))
    school.deliver("attendance.csv", attendance(f"A1,S1,{day},P,"))
    assert school.run(now=first).success
    school.deliver("attendance_2.csv", attendance(f"A1,S1,{day},A,", f"A2,S1,{day},L,"))
    result = school.run(now=second)
    assert how(result)["silver.fact_attend"] == "merged"
    assert school.query("SELECT attend_id, status FROM silver.fact_attend ORDER BY 1") == [
        ("A1", "ABSENT"),
        ("A2", "LATE"),
    ]
    before = school.rows("silver.fact_attend")
    assert school.run(now=first, full_refresh=True).success
    assert school.rows("silver.fact_attend") == before


def test_february_29_exists_in_leap_years_only(school: School) -> None:
    school.deliver("students.csv", roster("S1,A,5A,5,active"))
    school.deliver(
        "attendance.csv",
        attendance("A1,S1,2024-02-29,P,", "A2,S1,2/29/2024,P,", "A3,S1,2025-02-29,P,"),
    )
    assert school.run().success
    assert school.query("SELECT attend_id FROM silver.fact_attend ORDER BY 1") == [("A1",), ("A2",)]
