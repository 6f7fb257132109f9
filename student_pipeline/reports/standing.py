"""Whether the published tables stand as they were written and checked, in files nobody touched.

Then they are not written again; the report alone is made anew, for it says when.
"""

import hashlib
from importlib.resources import files
from pathlib import Path

import duckdb

from student_pipeline import permissions, tables
from student_pipeline.settings import Rules
from student_pipeline.warehouse import state

WRITTEN, CHECKED = "the published tables", "the checks of the published tables"
"""Readers that note the positions of gold: when the files were written, and when they were compared."""

FILES = "the files"
"""Stands for a table among the positions: its position is a hash of how the files lie there."""

NAMES = (
    *(f"{table.name}.{ending}" for table in tables.GOLD for ending in ("parquet", "csv")),
    "gold.duckdb",
    "gold.duckdb.wal",  # what somebody wrote into the copy
)


def stands(connection: duckdb.DuckDBPyConnection, folder: Path, rules: Rules) -> bool:
    """Whether neither gold nor a file, nor the way to write one, changed since it was written.

    And whether the checks have passed on just these files.
    """
    now = _positions(connection, folder, rules)
    return all(state.watermarks(connection, reader) == now for reader in (WRITTEN, CHECKED))


def note_written(connection: duckdb.DuckDBPyConnection, folder: Path, rules: Rules) -> None:
    """Note that all files were just written from gold."""
    state.follow(connection, WRITTEN, _positions(connection, folder, rules))


def note_checked(connection: duckdb.DuckDBPyConnection, folder: Path, rules: Rules) -> None:
    """Note that all files passed their checks as they lie there."""
    state.follow(connection, CHECKED, _positions(connection, folder, rules))


def forget(connection: duckdb.DuckDBPyConnection) -> None:
    """Have all files written anew."""
    state.follow(connection, CHECKED, {})


def _positions(connection: duckdb.DuckDBPyConnection, folder: Path, rules: Rules) -> dict[str, int]:
    written_by = files("student_pipeline.reports").joinpath("files.py").read_bytes()
    seen: list[object] = [written_by, permissions.publish_mode(), rules.csv_guards_formulas]
    for name in NAMES:
        if (folder / name).exists():
            found = (folder / name).stat()
            seen.append(
                # Nobody can set the time of the last change, unlike that of the last write.
                (name, found.st_ino, found.st_size, found.st_ctime_ns, found.st_mode & 0o777)
            )
    return {
        **{table.full_name: state.position(connection, table) for table in tables.GOLD},
        FILES: int(hashlib.sha256(repr(seen).encode()).hexdigest()[:15], 16),
    }
