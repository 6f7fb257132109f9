"""The SQLite files of the run history, kept at hand while a run writes to them.

Dagster opens and closes a file for every event. When nobody else has it open, SQLite then copies its
write-ahead log into the file, waits for the disk, and deletes the log; and with its usual setting it
waits for the disk at every commit. A run has about a thousand events. Here every file with such a
log stays open from its first use on, and the disk is waited for when the log is copied.

A process that is killed loses no event. A power cut may lose the last ones, never a file's order:
that is what SQLite promises of `synchronous = NORMAL` with a write-ahead log.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.pool import Pool


@contextmanager
def kept_open() -> Iterator[None]:
    """Within: as the module says, for the SQLite files that this process opens with SQLAlchemy."""
    held: dict[str, sqlite3.Connection] = {}

    def hold(opened: Any, _: Any) -> None:
        if not isinstance(opened, sqlite3.Connection):
            return
        if opened.execute("PRAGMA journal_mode").fetchone() != ("wal",):  # it is being made
            return
        opened.execute("PRAGMA synchronous = NORMAL")
        _, _, path = opened.execute("PRAGMA database_list").fetchone()
        if path not in held:
            held[path] = sqlite3.connect(path, check_same_thread=False)
            held[path].execute("SELECT count(*) FROM sqlite_master").fetchall()  # opens the log

    event.listen(Pool, "connect", hold)
    try:
        yield
    finally:
        event.remove(Pool, "connect", hold)
        for connection in held.values():
            connection.close()
