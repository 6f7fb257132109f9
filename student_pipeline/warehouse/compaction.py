"""Giving back the space that rewritten rows left in the warehouse file.

DuckDB uses freed blocks again, but never makes a file smaller. Where they are a large part of it, a
copy takes its place. The file is never at risk: the copy is made beside it, whole and on the disk,
before it takes the name, and whoever opened the old file meanwhile notices (`connection._open`).
"""

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import duckdb

from student_pipeline.disk import to_disk
from student_pipeline.warehouse import sql

MOST_FREE = 0.30
"""A file of which more than this share is free gets compacted: it is then 1.4 times what it needs."""

SMALLEST_FILE = 2 << 20
"""Bytes of a file that is worth it."""


def compact_when_it_pays(
    connection: duckdb.DuckDBPyConnection, path: Path, tell: Callable[[str], object]
) -> None:
    """Put a compact copy in the file's place, if much of it is free; then close the connection.

    Where there is no room for a copy, the file stays as it is.

    Args:
        connection: the only one, with no transaction open.
        tell: is given a sentence where the file was compacted, or could not be.
    """
    path = path.resolve()  # the file that a link leads to, on its own disk
    before = path.stat().st_size
    try:
        if before >= SMALLEST_FILE and _much_is_free(connection):
            _remove_drafts(path)
            _replace(connection, path)
            tell(
                f"The warehouse was compacted from {before >> 20} to {path.stat().st_size >> 20} MiB."
            )
    except (OSError, duckdb.Error) as error:
        tell(f"The warehouse was not compacted and stays as it was: {str(error).splitlines()[0]}")
    finally:
        connection.close()


def _much_is_free(connection: duckdb.DuckDBPyConnection) -> bool:
    connection.execute("FORCE CHECKPOINT")
    row = connection.execute(
        "SELECT free_blocks > total_blocks * ? FROM pragma_database_size() "
        "WHERE database_name = current_database()",
        [MOST_FREE],
    ).fetchone()
    return bool(row and row[0])


def _replace(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Write the copy, give it the file's name, and let go of the old file, then of the new one.

    This process has the new file locked while the old one is still open: whoever waits for the
    warehouse can't begin to write before the old file's log is gone.
    """
    old = sql.identifier(connection.execute("SELECT current_database()").fetchall()[0][0])
    with tempfile.TemporaryDirectory(prefix=_prefix(path), dir=path.parent) as folder:
        draft = Path(folder) / path.name
        attach = f"ATTACH {sql.literal(str(draft))} AS compact_copy"
        connection.execute(attach)
        try:
            connection.execute(f"COPY FROM DATABASE {old} TO compact_copy")
        finally:
            connection.execute("DETACH compact_copy")
        shutil.copymode(path, draft)
        to_disk(draft)  # not while it is attached: closing it here would end DuckDB's lock on it
        connection.execute(attach)
        draft.replace(path)
        with suppress(OSError):  # the names come to the disk by themselves, a little later
            to_disk(path.parent)
        connection.execute("USE compact_copy")
        connection.execute(f"DETACH {old}")
        connection.close()


def _prefix(path: Path) -> str:
    return f".{path.name}.compact-"


def _remove_drafts(path: Path) -> None:
    """Remove what a process left that was killed while it compacted."""
    for left in path.parent.glob(f"{_prefix(path)}*"):
        shutil.rmtree(left, ignore_errors=True)
