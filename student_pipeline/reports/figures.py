"""The numbers of the report page: read from the warehouse, summed up, and hidden where few.

What is hidden is left out here, so that it is nowhere in the page.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import duckdb

from student_pipeline import tables
from student_pipeline.reports.privacy import hidden
from student_pipeline.settings import Rules
from student_pipeline.warehouse import sql

DAYS_SHOWN = 400
"""The page looks back this many days from the newest class-day."""

MOST_CELLS = 40_000
"""The page holds up to this many pairs of a class and a period."""

MOST_SUBJECTS = 12
"""The page shows up to this many subjects, those with the most assessments."""

MOST_STUDENTS = 500
"""The page lists up to this many students, where it lists any."""

SCORE_BANDS = {
    50: "below 50",
    60: "50 to 59",
    70: "60 to 69",
    80: "70 to 79",
    90: "80 to 89",
    100: "90 to 100",
}
"""Band of `score_bands.sql` -> its name: percent of the maximum."""

ALL = ""
"""The subject of `score_quartiles.sql` that stands for all; no subject of silver is empty."""


@dataclass(frozen=True)
class _Cell:
    """The sums of a class and period; `students` and `assessed` are the sizes of its groups."""

    class_id: str
    period: int
    present: int
    recorded: int
    students: int
    assessments: int
    score_hundredths: int | None
    assessed: int


def figures(
    connection: duckdb.DuckDBPyConnection, rules: Rules, *, now: datetime, run_id: str
) -> dict[str, Any]:
    """Everything that the page shows, ready for JSON. `page.js` says how each part is read.

    Args:
        now: when the page is made.
        run_id: the Dagster run that makes it.
    """
    dates = _rows(connection, "school_dates")
    newest = dates[-1][0] if dates else None
    since = newest - timedelta(days=DAYS_SHOWN - 1) if newest else date.min
    shown = [row for row in dates if row[0] >= since]
    grain, periods = _periods(shown)
    cells = _cells(connection, periods)
    least = rules.report_min_students
    kept, classes_left_out = _classes_kept(cells, len(set(periods.values())))
    sizes = dict(_rows(connection, "class_sizes"))
    classes = sorted({*kept, *(() if classes_left_out else sizes)})
    return {
        "made": now.astimezone(ZoneInfo(rules.schedule_time_zone)).isoformat(timespec="minutes"),
        "time_zone": rules.schedule_time_zone,
        "run": run_id,
        "least": least,
        "grain": grain,
        "older_dates": len(dates) - len(shown),
        "periods": _period_rows(shown, periods),
        "classes": _class_rows(classes, sizes, least),
        "classes_left_out": classes_left_out,
        "active_students": _unless_few(sum(sizes.values()), least),
        "school": _school_rows(cells, periods, least),
        "cells": _cell_rows(cells, classes, least),
        "absence": _absence(connection, rules),
        "subjects": _subjects(connection, since, least),
        "quartiles": _quartiles(connection, since, classes, least),
        "quarantine": [
            {"source": source, "reason": reason, "means": tables.REASONS[reason], "records": number}
            for source, reason, number in _rows(connection, "quarantined")
        ],
        "freshness": _freshness(connection, dates),
        "students": _students(connection, rules),
    }


def _rows(connection: duckdb.DuckDBPyConnection, query: str, **values: object) -> list[Any]:
    """The rows of a query in `sql/report`; the tables it names are known."""
    names = {table.name: table.full_name for table in (*tables.SILVER, *tables.GOLD)}
    return connection.execute(sql.render(f"report/{query}.sql", **names, **values)).fetchall()


def _unless_few(number: int, least: int) -> int | None:
    return number if number == 0 or number >= least else None


# --- classes and periods --------------------------------------------------------------------------


def _periods(dates: list[Any]) -> tuple[str, dict[date, date]]:
    """The finest grain whose cells are not too many, and date -> first day of its period."""
    starts = {
        "day": {day: day for day, *_ in dates},
        "week": {day: day - timedelta(days=day.weekday()) for day, *_ in dates},
        "month": {day: day.replace(day=1) for day, *_ in dates},
    }
    for grain in ("day", "week"):
        most = defaultdict[date, int](int)  # classes on the busiest day of the period
        for day, _, _, classes in dates:
            start = starts[grain][day]
            most[start] = max(most[start], classes)
        if sum(most.values()) <= MOST_CELLS:
            return grain, starts[grain]
    return "month", starts["month"]


def _period_rows(dates: list[Any], periods: dict[date, date]) -> list[list[Any]]:
    """[first day, days on which anybody's attendance was recorded] of each period."""
    days = dict.fromkeys(periods.values(), 0)
    for day, has_attendance, *_ in dates:
        days[periods[day]] += bool(has_attendance)
    return [[start.isoformat(), number] for start, number in days.items()]


def _cells(connection: duckdb.DuckDBPyConnection, periods: dict[date, date]) -> list[_Cell]:
    if not periods:
        return []
    numbers = {start: number for number, start in enumerate(dict.fromkeys(periods.values()))}
    pairs = ", ".join(f"(DATE '{day}', {numbers[start]})" for day, start in periods.items())
    relation = f"(SELECT * FROM (VALUES {pairs}) AS v (date, period))"
    return [_Cell(*row) for row in _rows(connection, "class_periods", periods=relation)]


def _classes_kept(cells: list[_Cell], periods: int) -> tuple[set[str], int]:
    """The classes that the page has room for, those with the most students, and how many not."""
    most = defaultdict[str, int](int)
    for cell in cells:
        most[cell.class_id] = max(most[cell.class_id], cell.students, cell.assessed)
    ranked = sorted(most, key=lambda class_id: (-most[class_id], class_id))
    room = MOST_CELLS // max(periods, 1)
    return set(ranked[:room]), len(ranked[room:])


def _class_rows(classes: list[str], sizes: dict[str, int], least: int) -> list[list[Any]]:
    """[class, active students or null] of each class."""
    few = hidden(sizes, least)
    return [[name, None if name in few else sizes.get(name, 0)] for name in classes]


def _school_rows(
    cells: list[_Cell], periods: dict[date, date], least: int
) -> list[list[int | None]]:
    """[present, recorded, score hundredths, assessments] of all classes in each period; null: hidden."""
    count = len(set(periods.values()))
    sums = [[0, 0, 0, 0] for _ in range(count)]
    groups = [[0, 0] for _ in range(count)]
    for cell in cells:
        row, group = sums[cell.period], groups[cell.period]
        row[0] += cell.present
        row[1] += cell.recorded
        row[2] += cell.score_hundredths or 0
        row[3] += cell.assessments
        group[0] += cell.students
        group[1] += cell.assessed
    return [
        [
            *((present, recorded) if _shown(students, least) else (None, None)),
            *((total, number) if _shown(assessed, least) else (None, None)),
        ]
        for (present, recorded, total, number), (students, assessed) in zip(
            sums, groups, strict=True
        )
    ]


def _shown(size: int, least: int) -> bool:
    return size == 0 or size >= least


def _cell_rows(cells: list[_Cell], classes: list[str], least: int) -> list[list[int | None]]:
    """[class, period, present, recorded, score hundredths, assessments]; null: hidden.

    The classes are parts of the period's total, which the page shows as well.
    """
    by_period = defaultdict[int, list[_Cell]](list)
    for cell in cells:
        by_period[cell.period].append(cell)
    number_of = {name: number for number, name in enumerate(classes)}
    rows: list[list[int | None]] = []
    for period, here in sorted(by_period.items()):
        no_attendance = hidden({cell.class_id: cell.students for cell in here}, least)
        no_scores = hidden({cell.class_id: cell.assessed for cell in here}, least)
        for cell in here:
            if cell.class_id not in number_of:
                continue
            row: list[int | None] = [number_of[cell.class_id], period, None, None]
            if cell.class_id not in no_attendance:
                row[2:] = [cell.present, cell.recorded]
            if cell.class_id in no_scores:
                row += [None, None]
            else:
                row += [cell.score_hundredths or 0, cell.assessments]
            rows.append(row)
    return rows


# --- students by absence --------------------------------------------------------------------------


def _absence(connection: duckdb.DuckDBPyConnection, rules: Rules) -> dict[str, Any]:
    """Students by share of days absent; chronically absent ones in one or two bands.

    The finer of the two ways is taken if no band of it is too small.
    """
    percent, least = rules.chronic_absence_percent, rules.report_min_students
    counts = dict.fromkeys(range(5), 0) | dict(
        _rows(
            connection,
            "absence_bands",
            min_days=rules.chronic_absence_min_days,
            chronic_percent=percent,
        )
    )
    too_few = f"fewer than {rules.chronic_absence_min_days} days recorded"
    bands = {
        f"absent on less than {percent / 2:g}% of days": counts[1],
        f"{percent / 2:g} to under {percent}%": counts[2],
        f"{percent} to under {2 * percent}% (chronic)": counts[3],
        f"{2 * percent}% or more (chronic)": counts[4],
        too_few: counts[0],
    }
    chronic = counts[3] + counts[4]
    if 2 * percent > 100 or hidden(bands, least):
        together = f"{percent}% or more (chronic)"
        bands = {**dict(list(bands.items())[:2]), together: chronic, too_few: counts[0]}
        out = hidden(bands, least)
        chronic_is_shown = together not in out
    else:
        out, chronic_is_shown = set(), True
    total = sum(bands.values())
    if not _shown(total, least):
        out = set(bands)
    return {
        "bands": [
            {"band": band, "students": None if band in out else number}
            for band, number in bands.items()
        ],
        "students": _unless_few(total, least),
        "chronic": chronic if chronic_is_shown and _shown(total, least) else None,
        "percent": percent,
        "min_days": rules.chronic_absence_min_days,
    }


# --- scores ---------------------------------------------------------------------------------------


def _subjects(
    connection: duckdb.DuckDBPyConnection, since: date, least: int
) -> dict[str, list[Any] | int]:
    """Per subject [band, percent of the assessments]; what is hidden is one band, `hidden`."""
    found = defaultdict[str, dict[int, tuple[int, int]]](dict)
    for subject, band, number, students in _rows(connection, "score_bands", since=since):
        found[subject][band] = (number, students)
    totals = {subject: sum(n for n, _ in bands.values()) for subject, bands in found.items()}
    ranked = sorted(totals, key=lambda subject: (-totals[subject], subject))
    rows, few = [], 0
    for subject in ranked[:MOST_SUBJECTS]:
        bands = found[subject]
        out = _bands_hidden({band: students for band, (_, students) in bands.items()}, least)
        if len(out) == len(bands):
            few += 1
            continue
        rows += [
            [subject, SCORE_BANDS[band], _percent(bands[band][0], totals[subject])]
            for band in sorted(bands.keys() - out)
        ]
        if out:
            together = sum(bands[band][0] for band in out)
            rows.append([subject, "hidden", _percent(together, totals[subject])])
    return {"rows": rows, "few": few, "left_out": len(ranked[MOST_SUBJECTS:])}


def _bands_hidden(students: dict[int, int], least: int) -> set[int]:
    """The bands of a subject that are shown as one. A student may be in several of them.

    So many small bands may be about the same few students; one that is big enough makes it safe.
    """
    out = hidden(students, least)
    others = students.keys() - out
    if out and others and all(students[band] < least for band in out):
        out.add(min(others, key=lambda band: (students[band], band)))
    return out


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 1)


def _quartiles(
    connection: duckdb.DuckDBPyConnection, since: date, classes: list[str], least: int
) -> list[list[Any]]:
    """[class, subject, lower quartile, median, upper quartile]; subject `ALL` is all of them."""
    number_of = {name: number for number, name in enumerate(classes)}
    found = _rows(connection, "score_quartiles", since=since, min_group=least)
    by_subject = defaultdict[str, int](int)
    for _, subject, *_ in found:
        by_subject[subject] += 1
    shown = {
        ALL,
        *sorted(by_subject, key=lambda subject: (-by_subject[subject], subject))[
            : MOST_SUBJECTS + 1
        ],
    }
    rows = [
        [number_of[class_id], subject, *quartiles]
        for class_id, subject, *quartiles in found
        if class_id in number_of and subject in shown
    ]
    if len(rows) > MOST_CELLS // 4:  # a district: classes as a whole only
        rows = [row for row in rows if row[1] == ALL]
    return rows


# --- the rest -------------------------------------------------------------------------------------


def _freshness(connection: duckdb.DuckDBPyConnection, dates: list[Any]) -> dict[str, Any]:
    (loaded_at, files, refused) = connection.execute(
        "SELECT max(loaded_at) FILTER (WHERE status = 'loaded'), "
        "count(DISTINCT source || '/' || path) FILTER (WHERE status = 'loaded'), "
        "count(*) FILTER (WHERE status = 'refused' AND run_id IN (SELECT run_id "
        "FROM ops.table_state WHERE starts_with(table_name, 'bronze.'))) "
        f"FROM {tables.SOURCE_FILES.full_name}"
    ).fetchall()[0]
    return {
        "newest_attendance": _newest(row[0] for row in dates if row[1]),
        "newest_assessment": _newest(row[0] for row in dates if row[2]),
        "last_load": loaded_at.isoformat(timespec="minutes") if loaded_at else None,
        "files": files,
        "refused": refused,
    }


def _newest(days: Iterable[date]) -> str | None:
    newest = max(days, default=None)
    return newest.isoformat() if newest else None


def _students(connection: duckdb.DuckDBPyConnection, rules: Rules) -> list[list[Any]] | None:
    """[id, name or null, class, days absent, days recorded, average score], where allowed."""
    if rules.report_students == "none":
        return None
    return [
        [student_id, name if rules.report_students == "names" else None, *rest]
        for student_id, name, *rest in _rows(connection, "chronically_absent")[:MOST_STUDENTS]
    ]
