"""What an asset's page shows of its data after a run: a plot and a small table of sums.

One cheap aggregate of a table at most: of the facts one scan of a date column, the rest from the
small tables. Nothing here names a student, and groups of fewer than ten students are not shown.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import dagster as dg
import duckdb

from student_pipeline import plots, tables
from student_pipeline.tables import Table

SMALLEST_GROUP = 10
"""Groups of fewer students are not shown: one could tell who they are."""

MOST_LINES = 20
"""A table on the page has so many lines, and fewer where they are long."""

Page = dict[str, Any]


def page_metadata(connection: duckdb.DuckDBPyConnection, table: Table) -> Page:
    """The plot and the table of a page, and numbers for the UI to plot; nothing for an empty table."""
    draw = _PAGES.get(table.full_name)
    return draw(connection, table) if draw else {}


def _loads(connection: duckdb.DuckDBPyConnection, table: Table) -> Page:
    """Bronze: what the ledger says, so that its rows need not be read."""
    days = connection.execute(
        "SELECT strftime(loaded_at, '%Y-%m-%d') AS day, sum(rows_appended)::BIGINT "
        "FROM ops.source_files WHERE source = ? AND status = 'loaded' GROUP BY day ORDER BY day",
        [table.source],
    ).fetchall()
    if not days:
        return {}
    files = connection.execute(
        "SELECT path, status, rows_read, rows_appended, rows_rejected, "
        "strftime(loaded_at, '%Y-%m-%d %H:%M') FROM ops.source_files WHERE source = ? "
        f"ORDER BY loaded_at DESC, _load_id DESC NULLS FIRST, path LIMIT {MOST_LINES}",
        [table.source],
    ).fetchall()
    return {
        "plot": _markdown(plots.bars("Rows added, by day of loading", _summed(days))),
        "preview": _table(("file", "status", "rows", "added", "malformed", "last (UTC)"), files),
    }


def _students(connection: duckdb.DuckDBPyConnection, table: Table) -> Page:
    grades = connection.execute(
        "SELECT grade_level, count(*), count(*) FILTER (WHERE is_active) "
        f"FROM {table.full_name} GROUP BY grade_level ORDER BY grade_level NULLS LAST"
    ).fetchall()
    if not grades:
        return {}
    named = [("none" if grade is None else str(grade), *counts) for grade, *counts in grades]
    page: Page = {
        "preview": _table(
            ("grade", "students", "active"),
            [(grade, _or_few(n), _or_few(active)) for grade, n, active in named],
        )
    }
    points = [(grade, _large(n)) for grade, n, _ in named if grade != "none"]
    if points:
        page["plot"] = _markdown(plots.bars("Students by grade", points[: plots.MOST_POINTS]))
    return page


def _fact(date: str) -> Callable[[duckdb.DuckDBPyConnection, Table], Page]:
    """A fact: how many records there are of each day."""

    def page(connection: duckdb.DuckDBPyConnection, table: Table) -> Page:
        days = connection.execute(
            f"SELECT CAST(day AS VARCHAR), number FROM (SELECT {date} AS day, count(*) AS number "
            f"FROM {table.full_name} GROUP BY day) AS days ORDER BY day"
        ).fetchall()
        if not days:
            return {}
        months: dict[str, list[int]] = defaultdict(list)
        for day, number in days:
            months[day[:7]].append(number)
        latest = sorted(months.items(), reverse=True)[:MOST_LINES]
        return {
            "plot": _markdown(plots.bars(f"Records by {date}", _summed(days))),
            "preview": _table(
                ("month", "days with records", "records"),
                [(month, len(numbers), sum(numbers)) for month, numbers in latest],
            ),
        }

    return page


def _reasons(connection: duckdb.DuckDBPyConnection, table: Table) -> Page:
    reasons = connection.execute(
        f"SELECT reason, count(*) AS number FROM {table.full_name} "
        "GROUP BY reason ORDER BY number DESC, reason"
    ).fetchall()
    if not reasons:
        return {}
    most = reasons[0][1]
    return {
        "preview": _table(
            ("reason", "rows", ""),
            [
                (reason, number, "█" * max(1, round(12 * number / most)))
                for reason, number in reasons
            ],
        )
    }


def _class_days(connection: duckdb.DuckDBPyConnection, table: Table) -> Page:
    days = connection.execute(
        "SELECT CAST(date AS VARCHAR), sum(present_count)::BIGINT, "
        f"sum(students_with_attendance)::BIGINT FROM {table.full_name} GROUP BY date ORDER BY date"
    ).fetchall()
    if not days:
        return {}
    classes = connection.execute(
        "SELECT class_id, max(total_students), count(*), sum(present_count)::BIGINT, "
        f"sum(students_with_attendance)::BIGINT FROM {table.full_name} "
        f"GROUP BY class_id ORDER BY class_id LIMIT {MOST_LINES}"
    ).fetchall()
    present, recorded = (sum(day[place] for day in days) for place in (1, 2))
    page: Page = {
        "plot": _markdown(
            plots.rate_line(
                "Attendance rate of the school, by day",
                [
                    (label, present / of if of >= SMALLEST_GROUP else None)
                    for label, present, of in _put_together(days)
                ],
            )
        ),
        "preview": _table(
            ("class", "active students", "days", "attendance rate"),
            [
                (
                    name,
                    _or_few(students),
                    number,
                    _percent(there, of, students),
                )
                for name, students, number, there, of in classes
            ],
        ),
    }
    if recorded >= SMALLEST_GROUP:
        page["attendance_rate"] = round(present / recorded, 4)
    return page


def _student_summary(connection: duckdb.DuckDBPyConnection, table: Table) -> Page:
    bands = connection.execute(
        "SELECT band, active, chronic FROM (SELECT CASE WHEN attendance_rate IS NULL THEN 'no record' "
        "WHEN attendance_rate < 0.8 THEN 'below 80 %' WHEN attendance_rate < 0.9 THEN '80 to 90 %' "
        "WHEN attendance_rate < 0.95 THEN '90 to 95 %' ELSE '95 % and more' END AS band, "
        "count(*) AS active, count(*) FILTER (WHERE is_chronically_absent) AS chronic, "
        f"min(attendance_rate) AS least FROM {table.full_name} WHERE is_active GROUP BY band) AS bands "
        "ORDER BY least NULLS LAST"
    ).fetchall()
    if not bands:
        return {}
    return {
        "plot": _markdown(
            plots.bars(
                "Active students by attendance rate",
                [(band, _large(n)) for band, n, _ in bands],
            )
        ),
        "preview": _table(
            ("attendance rate", "active students", "chronically absent"),
            [(band, _or_few(n), _or_few(chronic)) for band, n, chronic in bands],
        ),
    }


_PAGES: dict[str, Callable[[duckdb.DuckDBPyConnection, Table], Page]] = {
    **{table.full_name: _loads for table in tables.BRONZE},
    **{table.full_name: _reasons for table in tables.QUARANTINE},
    tables.DIM_STUDENT.full_name: _students,
    tables.FACT_ATTEND.full_name: _fact("attend_date"),
    tables.FACT_ASSESS.full_name: _fact("assess_date"),
    tables.CLASS_DAILY_PERFORMANCE.full_name: _class_days,
    tables.STUDENT_PERFORMANCE_SUMMARY.full_name: _student_summary,
}


def _put_together(days: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """(day, numbers ...) of neighboring days summed, where there are too many for a plot."""
    size = -(-len(days) // plots.MOST_POINTS)
    groups = [days[start : start + size] for start in range(0, len(days), size)]
    return [
        (
            group[-1][0] if group[-1] is days[-1] else group[0][0],
            *(sum(day[place] for day in group) for place in range(1, len(group[0]))),
        )
        for group in groups
    ]


def _summed(days: Sequence[tuple[Any, ...]]) -> list[plots.Point]:
    return [(label, number) for label, number in _put_together(days)]


def _large(number: int) -> int | None:
    return number if number >= SMALLEST_GROUP else None


def _or_few(number: int) -> int | str:
    return number if number >= SMALLEST_GROUP else f"fewer than {SMALLEST_GROUP}"


def _percent(part: int, whole: int, students: int) -> str:
    if not whole:
        return "no record"
    if min(whole, students) < SMALLEST_GROUP:
        return "not shown"
    return f"{100 * part / whole:.1f} %"


def _markdown(text: str) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(text)


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> dg.MarkdownMetadataValue:
    """A Markdown table, cut where the UI would hide it."""
    text = _line(header) + _line(["---"] * len(header), escape=False)
    for row in rows:
        line = _line(row)
        if len(text) + len(line) > plots.MOST_CHARACTERS:
            break
        text += line
    return _markdown(text.rstrip("\n"))


def _line(cells: Sequence[object], *, escape: bool = True) -> str:
    return "| " + " | ".join(_cell(cell) if escape else str(cell) for cell in cells) + " |\n"


def _cell(value: object) -> str:
    """A value as one cell of a Markdown table, whatever a class or a file is called."""
    if value is None:
        return ""
    text = f"{value:,}" if isinstance(value, int) else " ".join(str(value).split())
    for character in "\\|<>[]*_`&":
        text = text.replace(character, f"\\{character}")
    return text
