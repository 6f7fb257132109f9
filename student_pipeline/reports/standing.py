"""Whether the published tables stand as the checks found them: gold's rows, in files nobody touched.

Then they are not written again; the report alone is made anew, for it says when.
"""

import hashlib
from importlib.resources import files
from pathlib import Path

import duckdb

from student_pipeline import permissions, tables
from student_pipeline.settings import Rules
from student_pipeline.warehouse import state

READER = "the published tables"
"""Notes the positions of gold, as of the time when the files were compared with it."""

FILES = "the files"
"""Stands for a table among the positions: its position is a hash of how the files lie there."""

NAMES = (
    *(f"{table.name}.{ending}" for table in tables.GOLD for ending in ("parquet", "csv")),
    "gold.duckdb",
)


def stands(connection: duckdb.DuckDBPyConnection, folder: Path, rules: Rules) -> bool:
    """Whether neither gold nor a file, nor the way to write one, has changed since `note`."""
    return state.watermarks(connection, READER) == _positions(connection, folder, rules)


def note(connection: duckdb.DuckDBPyConnection, folder: Path, rules: Rules) -> None:
    """Note that all files hold what gold holds now."""
    state.follow(connection, READER, _positions(connection, folder, rules))


def _positions(connection: duckdb.DuckDBPyConnection, folder: Path, rules: Rules) -> dict[str, int]:
    written_by = files("student_pipeline.reports").joinpath("files.py").read_bytes()
    seen: list[object] = [written_by, permissions.publish_mode(), rules.csv_guards_formulas]
    for name in NAMES:
        if (folder / name).exists():
            found = (folder / name).stat()
            seen.append(
                (name, found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode & 0o777)
            )
    return {
        **{table.full_name: state.position(connection, table) for table in tables.GOLD},
        FILES: int(hashlib.sha256(repr(seen).encode()).hexdigest()[:15], 16),
    }
