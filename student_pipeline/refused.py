"""What `student-pipeline quarantine` shows: the refused rows, for whoever mends the source."""

import csv
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
from tabulate import tabulate

from student_pipeline import engine
from student_pipeline.progress import count, say
from student_pipeline.reports.files import GUARDED
from student_pipeline.settings import SettingsError
from student_pipeline.sources import SOURCES
from student_pipeline.tables import QUARANTINE, REASONS
from student_pipeline.warehouse import sql
from student_pipeline.warehouse.reading import WarehouseMissing

if TYPE_CHECKING:
    from dagster import DagsterInstance

MOST_LINES = 100
"""So many rows are shown; a CSV file holds all."""

HEADERS = ("source", "file", "row", "id", "student", "reason", "detail")

_RAW = tuple(dict.fromkeys(column for source in SOURCES.values() for column in source.columns))
CSV_COLUMNS = ("source", "_source_file", "_source_row", "reason", "detail", *_RAW, "_extra", "_raw")
"""The header of the CSV file: columns of all sources, empty where a source has no such column."""


def report_quarantine(
    warehouse: str, *, source: str | None, reason: str | None, csv_file: Path | None
) -> None:
    """Print the refused rows without names, or write them whole to a CSV file.

    Args:
        source, reason: only these; None: all.
        csv_file: where to write; None: print.

    Raises:
        SettingsError: there is no such source or reason, no warehouse, or the file can't be written.
        WarehouseBusy: a run holds the warehouse.
    """
    _require_one_of("source", source, list(SOURCES))
    _require_one_of("reason", reason, list(REASONS))
    if csv_file and csv_file.suffix.lower() != ".csv":
        raise SettingsError(f"--csv: expected a file whose name ends in .csv, found {csv_file}.")
    landing = Path(os.environ.get("STUDENT_PIPELINE_SOURCE", "").removeprefix("file://"))
    if csv_file and csv_file.resolve().is_relative_to(landing.resolve()) and landing.name:
        raise SettingsError(
            f"--csv: {csv_file} lies in the landing folder, whose files belong to who delivers them."
        )
    wanted = [table for table in QUARANTINE if source in (None, table.name)]
    where = f"WHERE reason = {sql.literal(reason)}" if reason else ""
    selects = {table.name: f"SELECT * FROM {table.full_name} {where}" for table in wanted}
    try:
        with engine.copies(warehouse, selects) as copied:
            there = {
                name
                for (name,) in copied.execute("SELECT table_name FROM duckdb_tables()").fetchall()
            }
            names = [table.name for table in wanted if table.name in there]
            if csv_file:
                written = _write_csv(csv_file, _rows(copied, names, CSV_COLUMNS))
                say(f"{count(written, 'row')} written to {csv_file}. It holds names: keep it safe.")
            else:
                _print(copied, names)
    except WarehouseMissing as error:
        raise SettingsError(f"STUDENT_PIPELINE_WAREHOUSE: {error}") from error


def _require_one_of(option: str, value: str | None, known: Sequence[str]) -> None:
    if value is not None and value not in known:
        raise SettingsError(f"--{option}: '{value}' is none of {', '.join(known)}.")


def _rows(
    copied: duckdb.DuckDBPyConnection, names: Iterable[str], columns: Sequence[str]
) -> Iterable[tuple[Any, ...]]:
    for name in names:
        stored = {row[0] for row in copied.execute(f"DESCRIBE {sql.identifier(name)}").fetchall()}
        picked = ", ".join(
            sql.literal(name)
            if column == "source"
            else sql.identifier(column)
            if column in stored
            else "NULL"
            for column in columns
        )
        copied.execute(
            f"SELECT {picked} FROM {sql.identifier(name)} "
            "ORDER BY _source_file, _source_row NULLS LAST, detail"
        )
        while portion := copied.fetchmany(10_000):
            yield from portion


def _print(copied: duckdb.DuckDBPyConnection, names: list[str]) -> None:
    total = 0
    lines: list[tuple[Any, ...]] = []
    for name in names:
        first = next(iter(SOURCES[name].columns))
        columns = (
            "source", "_source_file", "_source_row", first, "student_id", "reason", "detail"
        )  # fmt: skip
        for row in _rows(copied, [name], columns):
            total += 1
            if total <= MOST_LINES:
                lines.append(tuple("" if cell is None else _one_line(cell) for cell in row))
    if lines:
        for line in tabulate(lines, HEADERS, disable_numparse=True).splitlines():
            say(line)
        say()
    say(f"{count(total, 'row')} in quarantine.")
    if total > len(lines):
        say(f"The first {len(lines)} are shown; `--csv FILE` writes all, with all columns.")


def _one_line(cell: object) -> str:
    return " ".join(str(cell).split())


def _write_csv(path: Path, rows: Iterable[tuple[Any, ...]]) -> int:
    """Write the file beside and rename it: for its owner only, as it holds names. Returns its rows."""
    written = 0
    try:
        handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.absolute().parent)
        try:
            # With a byte-order mark, without which spreadsheets don't take it for UTF-8.
            with os.fdopen(handle, "w", encoding="utf-8-sig", newline="") as file:
                writer = csv.writer(file)  # RFC 4180: commas, doubled quotes, CRLF
                writer.writerow(CSV_COLUMNS)
                for row in rows:
                    writer.writerow([_harmless(cell) for cell in row])
                    written += 1
            os.replace(draft, path)
        except BaseException:
            os.unlink(draft)
            raise
    except OSError as error:
        raise SettingsError(f"--csv: {path} can't be written: {error.strerror}.") from error
    return written


def _harmless(cell: object) -> object:
    """A text that a spreadsheet would take for a formula, as the text that it is."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(tuple(GUARDED)) else cell


def known_from_history(instance: "DagsterInstance") -> str:
    """What the run history says of the quarantine, for when a run holds the warehouse."""
    from student_pipeline.history import last_made

    made = last_made(instance)
    counts = [
        f"{table.name} {made[table.full_name].rows or 0:,}"
        for table in QUARANTINE
        if table.full_name in made
    ]
    return f"Rows that the last run left in it: {', '.join(counts)}." if counts else ""
