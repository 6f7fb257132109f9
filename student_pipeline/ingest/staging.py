"""A file's records in the engine, before it is known whether they will be kept."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from student_pipeline.ingest import bulk, csv_records, json_records
from student_pipeline.ingest.errors import FileRefused
from student_pipeline.ingest.layout import HeaderMatcher
from student_pipeline.ingest.records import Malformed, Record
from student_pipeline.ingest.snapshot import Snapshot, survey
from student_pipeline.warehouse import sql
from student_pipeline.warehouse.strategies import scalar

ROWS = "incoming_rows"
"""Temporary table: canonical columns and `_extra`, in the file's order (`rowid` grows by one)."""

MALFORMED = "incoming_malformed"
"""Temporary table: (line, detail, raw) of the malformed records."""

BATCH_RECORDS = 20_000
BATCH_CHARS = 32 << 20
"""Records go to the engine in batches of at most about this size."""


@dataclass(frozen=True)
class Staged:
    """What of a file is in the two temporary tables.

    Attributes:
        note: which columns it lacks, where somebody should know that (see `HeaderMatcher`).
    """

    encoding: str | None
    rows: int
    malformed: int
    note: str | None


def first_malformed(connection: duckdb.DuckDBPyConnection) -> str:
    """What is wrong with the first malformed record of the staged file."""
    first = connection.execute(f"SELECT detail FROM {MALFORMED} ORDER BY line LIMIT 1").fetchone()
    return first[0] if first else ""


def stage(
    connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, matcher: HeaderMatcher, spool: Path
) -> Staged:
    """Read the file into the temporary tables, replacing what they held.

    Args:
        spool: a folder of the caller's, for a link to the file.

    Raises:
        FileRefused: the file can't be read, or lacks a required column.
    """
    _create_tables(connection, matcher)
    matcher.note = None
    format_ = snapshot.file.format
    if snapshot.unpacked_bytes == 0 and format_ not in ("jsonl", "ndjson"):
        raise FileRefused("Expected records, found an empty file of 0 bytes.")
    encoding = None
    if format_ == "parquet":
        bulk.stage_parquet(connection, ROWS, _link(snapshot, spool), matcher)
    else:
        encoding = _stage_text(connection, snapshot, matcher, spool)
    rows = scalar(connection, f"SELECT count(*) FROM {ROWS}")
    return Staged(
        encoding,
        rows,
        malformed=scalar(connection, f"SELECT count(*) FROM {MALFORMED}"),
        note=matcher.note if rows else None,
    )


def _stage_text(
    connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, matcher: HeaderMatcher, spool: Path
) -> str:
    """Stage a text file, in bulk where it is big and plain, else record by record."""
    path = snapshot.path
    text = survey(path)
    big = snapshot.unpacked_bytes >= bulk.MIN_BYTES
    if snapshot.file.format in ("csv", "tsv"):
        header = csv_records.read_header(path, text, matcher)
        if not (
            big
            and text.even
            and bulk.stage_csv(connection, ROWS, MALFORMED, _link(snapshot, spool), header, matcher)
        ):
            _create_tables(connection, matcher)
            records = csv_records.read_records(path, text, header, matcher)
            _insert(connection, records, len(matcher.source.columns) + 1)
        return text.encoding
    shape = json_records.shape(path, text, snapshot.file.format, matcher.source)
    if shape == "nothing":
        raise FileRefused("Expected JSON, found only blanks.")
    if not (
        big
        and text.plain
        and shape in ("array", "lines")
        and bulk.stage_json(connection, ROWS, _link(snapshot, spool), shape, matcher)
    ):
        _create_tables(connection, matcher)
        records = json_records.read_records(path, text, shape, matcher)
        _insert(connection, records, len(matcher.source.columns) + 1)
    return text.encoding


def _link(snapshot: Snapshot, spool: Path) -> Path:
    """A link to the file under a name that DuckDB takes for no pattern and no compression."""
    link = spool / "incoming"
    link.unlink(missing_ok=True)
    link.symlink_to(snapshot.path)
    return link


def _create_tables(connection: duckdb.DuckDBPyConnection, matcher: HeaderMatcher) -> None:
    columns = ", ".join(f"{sql.identifier(name)} VARCHAR" for name in matcher.source.columns)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {ROWS} ({columns}, _extra VARCHAR)")
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {MALFORMED} (line BIGINT, detail VARCHAR, raw VARCHAR)"
    )


def _insert(
    connection: duckdb.DuckDBPyConnection, records: Iterable[Record | Malformed], width: int
) -> None:
    rows: list[Record] = []
    malformed: list[Malformed] = []
    chars = 0
    for record in records:
        if isinstance(record, Malformed):
            malformed.append(record)
            chars += len(record.raw)
        else:
            rows.append(record)
            chars += sum(map(len, filter(None, record)))
        if len(rows) + len(malformed) >= BATCH_RECORDS or chars >= BATCH_CHARS:
            _flush(connection, rows, malformed, width)
            chars = 0
    _flush(connection, rows, malformed, width)


def _flush(
    connection: duckdb.DuckDBPyConnection,
    rows: list[Record],
    malformed: list[Malformed],
    width: int,
) -> None:
    if rows:
        columns = ", ".join(f"unnest(${number + 1}::VARCHAR[])" for number in range(width))
        connection.execute(
            f"INSERT INTO {ROWS} SELECT {columns}",
            [list(column) for column in zip(*rows, strict=True)],
        )
        rows.clear()
    if malformed:
        connection.execute(
            f"INSERT INTO {MALFORMED} "
            "SELECT unnest($1::BIGINT[]), unnest($2::VARCHAR[]), unnest($3::VARCHAR[])",
            [
                [item.line for item in malformed],
                [item.detail for item in malformed],
                [item.raw for item in malformed],
            ],
        )
        malformed.clear()
