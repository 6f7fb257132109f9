"""What `student-pipeline status` says: how runs, tables, quarantine and checks stand."""

from collections import Counter
from datetime import datetime, timezone, tzinfo
from zoneinfo import ZoneInfo

import dagster as dg
from tabulate import tabulate

from student_pipeline import engine, history, tables
from student_pipeline.checks import CHECKS
from student_pipeline.freshness import DEADLINE_HOUR, is_fresh
from student_pipeline.history import Checked, Made
from student_pipeline.progress import count, say
from student_pipeline.settings import load_rules
from student_pipeline.warehouse.connection import WarehouseBusy
from student_pipeline.warehouse.reading import WarehouseMissing

HEADERS = ("table", "rows", "made", "checks passed", "warnings", "failed")

STATUS_WORDS = {
    dg.DagsterRunStatus.SUCCESS: "succeeded",
    dg.DagsterRunStatus.FAILURE: "FAILED",
    dg.DagsterRunStatus.CANCELED: "was canceled",
    dg.DagsterRunStatus.CANCELING: "is being canceled",
    dg.DagsterRunStatus.STARTED: "is at work",
    dg.DagsterRunStatus.NOT_STARTED: "is starting",
    dg.DagsterRunStatus.STARTING: "is starting",
    dg.DagsterRunStatus.QUEUED: "waits in the queue",
}


def print_status(
    instance: dg.DagsterInstance, warehouse: str, now: datetime | None = None
) -> bool:
    """Print it; return whether all is well.

    All is well when the warehouse is there, the last run did not fail, no blocking check stands
    failed, and the gold tables are fresh.

    Args:
        now: an instant with a time zone; the present one by default.
    """
    time_zone = load_rules().schedule_time_zone
    zone = ZoneInfo(time_zone)
    made = history.last_made(instance)
    checked = history.last_checked(
        instance,
        [
            dg.AssetCheckKey(spec.asset_key, spec.name)
            for checks in CHECKS
            for spec in checks.check_specs
        ],
    )
    run_is_good = _say_last_run(instance, zone)
    fresh = _say_freshness(made, now or datetime.now(timezone.utc), time_zone)
    there, rows, reasons = _rows_and_reasons(warehouse, made)
    say()
    _say_tables(rows, made, checked, zone)
    _say_quarantine(reasons)
    failing = [found for found in checked if not found.passed]
    for found in sorted(failing, key=lambda found: found.warning):
        kind = "warning" if found.warning else "FAILED "
        say(f"{kind} {found.asset}: {found.name}: {found.sentence}")
    return there and run_is_good and fresh and all(found.warning for found in failing)


def _say_last_run(instance: dg.DagsterInstance, zone: tzinfo) -> bool:
    runs = history.last_runs(instance)
    if not runs:
        say("Last run:    there was none; `student-pipeline run` starts one.")
        return False
    run = runs[0]
    took = (
        f" after {(run.ended - run.started).total_seconds():.1f} s"
        if run.started and run.ended
        else ""
    )
    when = f", begun {_moment(run.started, zone)}" if run.started else ""
    say(
        f"Last run:    {STATUS_WORDS.get(run.status, run.status.value.lower())}{took}{when} ({run.id})"
    )
    if run.status == dg.DagsterRunStatus.SUCCESS:
        return True
    good = history.last_runs(instance, statuses=[dg.DagsterRunStatus.SUCCESS])
    if good and good[0].ended:
        say(f"Last good:   ended {_moment(good[0].ended, zone)} ({good[0].id})")
    return run.status != dg.DagsterRunStatus.FAILURE


def _say_freshness(made: dict[str, Made], now: datetime, time_zone: str) -> bool:
    gold = [table.full_name for table in tables.GOLD]
    overdue = [
        name for name in gold if name not in made or not is_fresh(made[name].when, now, time_zone)
    ]
    if overdue:
        say(f"Freshness:   overdue since {DEADLINE_HOUR}:00: {', '.join(overdue)}")
    else:
        say(f"Freshness:   the gold tables are fresh; due every day by {DEADLINE_HOUR}:00")
    return not overdue


def _rows_and_reasons(
    warehouse: str, made: dict[str, Made]
) -> tuple[bool, dict[str, int | None], dict[tuple[str, str], int]]:
    """Whether there is a warehouse, rows of each table, of each (source, reason) in the quarantine.

    From the warehouse; from the run history while a run holds it.
    """
    selects = {"state": f"SELECT table_name, row_count FROM {tables.TABLE_STATE.full_name}"} | {
        table.name: f"SELECT reason, count(*) AS number FROM {table.full_name} GROUP BY reason"
        for table in tables.QUARANTINE
    }
    try:
        with engine.copies(warehouse, selects) as copied:
            there = {
                name
                for (name,) in copied.execute("SELECT table_name FROM duckdb_tables()").fetchall()
            }
            rows = dict(copied.execute("FROM state").fetchall()) if "state" in there else {}
            reasons = {
                (table.name, reason): number
                for table in tables.QUARANTINE
                if table.name in there
                for reason, number in copied.execute(f'FROM "{table.name}"').fetchall()
            }
        say(f"Warehouse:   {engine.describe(warehouse)}")
        return True, rows, reasons
    except WarehouseMissing as error:
        say(f"Warehouse:   {error}")
        return False, {}, {}
    except WarehouseBusy as error:
        say(f"Warehouse:   {error} Below is what the run history knows.")
        return (
            True,
            {name: about.rows for name, about in made.items()},
            {
                (table.name, reason): number
                for table in tables.QUARANTINE
                if table.full_name in made
                for reason, number in made[table.full_name].by_reason.items()
            },
        )


def _say_tables(
    rows: dict[str, int | None], made: dict[str, Made], checked: list[Checked], zone: tzinfo
) -> None:
    passed, warned, failed = Counter[str](), Counter[str](), Counter[str]()
    for found in checked:
        kind = passed if found.passed else warned if found.warning else failed
        kind[found.asset.replace("/", ".")] += 1
    lines = [
        (
            name,
            _number(rows.get(name)),
            _moment(made[name].when, zone) if name in made else "",
            _number(passed[name] or None),
            _number(warned[name] or None),
            _number(failed[name] or None),
        )
        for name in tables.TABLES
    ]
    table = tabulate(
        lines, HEADERS, colalign=("left", "right", "left", *["right"] * 3), disable_numparse=True
    )
    for line in (*table.splitlines(), ""):
        say(line)


def _say_quarantine(reasons: dict[tuple[str, str], int]) -> None:
    say(f"{count(sum(reasons.values()), 'row')} in quarantine.")
    for (source, reason), number in sorted(reasons.items()):
        say(f"  {source}: {reason}: {number:,}")


def _number(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _moment(instant: datetime, zone: tzinfo) -> str:
    return instant.astimezone(zone).strftime("%Y-%m-%d %H:%M %Z")
