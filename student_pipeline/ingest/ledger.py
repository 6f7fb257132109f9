"""The ledger `ops.source_files`: what was done with every file version."""

from dataclasses import dataclass
from datetime import datetime

import duckdb

from student_pipeline.warehouse.strategies import scalar


@dataclass(frozen=True)
class Entry:
    """One row of the ledger; its columns are described in `tables.SOURCE_FILES`."""

    source: str
    path: str
    status: str
    run_id: str
    loaded_at: datetime
    size_bytes: int | None = None
    sha256: str | None = None
    encoding: str | None = None
    rows_read: int | None = None
    rows_appended: int = 0
    rows_rejected: int | None = None
    message: str | None = None
    load_id: int | None = None


@dataclass(frozen=True)
class Loaded:
    """The version of a path that was loaded last."""

    load_id: int
    sha256: str
    signature: str | None


class Ledger:
    """Reads and writes the ledger inside the caller's transaction."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def next_load_id(self) -> int:
        """A number above every load so far."""
        return scalar(
            self._connection, "SELECT coalesce(max(_load_id), 0) + 1 FROM ops.source_files"
        )

    def loaded(self, source: str) -> dict[str, Loaded]:
        """Path -> its last loaded version, for the paths of a source."""
        rows = self._connection.execute(
            "SELECT path, _load_id, sha256, signature FROM ("
            "SELECT path, max(_load_id) AS _load_id, arg_max(sha256, _load_id) AS sha256 "
            "FROM ops.source_files WHERE source = ? AND status = 'loaded' GROUP BY path) AS loaded "
            "LEFT JOIN ops.signatures USING (_load_id)",
            [source],
        ).fetchall()
        return {path: Loaded(*version) for path, *version in rows}

    def sign(self, load_id: int, signature: str | None) -> None:
        """Note what tells the version of this load from others without reading it."""
        self._connection.execute("DELETE FROM ops.signatures WHERE _load_id = ?", [load_id])
        if signature:
            self._connection.execute(
                "INSERT INTO ops.signatures VALUES (?, ?)", [load_id, signature]
            )

    def record(self, entry: Entry) -> None:
        """Add a load; of a version that is refused or passed over again, keep the last attempt."""
        if entry.status != "loaded":
            self._connection.execute(
                "DELETE FROM ops.source_files WHERE source = ? AND path = ? AND status = ? "
                "AND sha256 IS NOT DISTINCT FROM ?",
                [entry.source, entry.path, entry.status, entry.sha256],
            )
        self._connection.execute(
            "INSERT INTO ops.source_files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                entry.source,
                entry.path,
                entry.size_bytes,
                entry.sha256,
                entry.encoding,
                entry.rows_read,
                entry.rows_appended,
                entry.rows_rejected,
                entry.status,
                entry.message,
                entry.load_id,
                entry.run_id,
                entry.loaded_at,
            ],
        )
