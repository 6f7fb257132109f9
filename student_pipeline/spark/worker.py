"""What a worker of the cluster does with source files: hash and read them as any run does.

This module, and what it imports from `student_pipeline`, is sent to the workers as source text (see
`shipping`); so it imports nothing that workers may lack: the standard library and pyarrow, which
Spark's own Python functions need as well; DuckDB only where a Parquet file comes.
"""

from __future__ import annotations

import csv
import json
import os
import socket
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from student_pipeline.ingest import csv_records, json_records
from student_pipeline.ingest.discovery import FoundFile
from student_pipeline.ingest.errors import FileRefused, SourceChanged
from student_pipeline.ingest.layout import HeaderMatcher
from student_pipeline.ingest.limits import Limits
from student_pipeline.ingest.records import MAX_RECORD_CHARS, Malformed, Record
from student_pipeline.ingest.snapshot import Snapshot, survey, take
from student_pipeline.sources import SOURCES

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_RECORDS = 20_000
BATCH_CHARS = 32 << 20
"""Records leave the worker in batches of at most about this size."""

ROW, MALFORMED, ABOUT = "row", "malformed", "about"
"""What a line of the answer is: a record, a malformed record, or what there is to say of a file."""

COLUMNS = (
    ("part", "string"),
    ("_file", "bigint"),
    ("_source_row", "bigint"),
    ("_extra", "string"),
    ("line", "bigint"),
    ("detail", "string"),
    ("raw", "string"),
    ("about", "string"),
)
"""The columns of the answer, before those of the source: name and Spark type."""

READ, SAME, REFUSED, CHANGED, UNSEEN, UNREADABLE = (
    "read",
    "same",
    "refused",
    "changed",
    "unseen",
    "unreadable",
)
"""What became of a file."""


def read_files(
    batches: Iterable[pa.RecordBatch], settings: Mapping[str, Any]
) -> Iterator[pa.RecordBatch]:
    """Read every file that the batches name; yield its records, then what there is to say of it.

    Args:
        batches: with the columns file, path, location, format, gzipped, loaded_sha256.
        settings: `source`, `aliases`, `limits`, and the `landing` URL where that is remote.
    """
    csv.field_size_limit(MAX_RECORD_CHARS)
    source = SOURCES[settings["source"]]
    for batch in batches:
        for asked in batch.to_pylist():
            matcher = HeaderMatcher(source, settings["aliases"], Limits(**settings["limits"]))
            answer = _Answer(asked["file"], tuple(source.columns))
            with tempfile.TemporaryDirectory(prefix="student_pipeline_") as folder:
                about: dict[str, Any] = {}
                try:
                    yield from _read(asked, settings, matcher, Path(folder), answer, about)
                except FileRefused as error:
                    about |= {"status": REFUSED, "message": str(error)}
                except SourceChanged as error:
                    seen = settings["landing"] or os.path.lexists(asked["location"])
                    about |= {"status": CHANGED if seen else UNSEEN, "message": str(error)}
                about["host"] = socket.gethostname()
                yield answer.batch([], [], about)


def _read(
    asked: Mapping[str, Any],
    settings: Mapping[str, Any],
    matcher: HeaderMatcher,
    spool: Path,
    answer: _Answer,
    about: dict[str, Any],
) -> Iterator[pa.RecordBatch]:
    """The records of one file; what is known of it so far stands in `about`."""
    file = FoundFile(
        asked["path"],
        asked["location"],
        asked["format"],
        asked["gzipped"],
        filesystem=_filesystem(settings["landing"]),
    )
    taken = take(file, spool, matcher.limits)
    about |= {"size_bytes": taken.size_bytes, "sha256": taken.sha256}
    if taken.sha256 == asked["loaded_sha256"]:
        taken.require_unchanged()
        about["status"] = SAME
        return
    if taken.unpacked_bytes == 0 and file.format not in ("jsonl", "ndjson"):
        raise FileRefused("Expected records, found an empty file of 0 bytes.")
    counts = {"rows": 0, "malformed": 0}
    first = ""
    try:
        if file.format == "parquet":
            about["encoding"] = None
            try:
                import duckdb  # noqa: F401 - whether it is there
            except ImportError:
                about |= {"status": UNREADABLE, "message": "the package duckdb"}
                return
            for rows in _parquet(taken, matcher, spool):
                start = counts["rows"]
                counts["rows"] += len(rows)
                yield answer.batch(rows, [], number=start)
        else:
            text = survey(taken.path)
            records = _records(taken, text, matcher)
            for rows, malformed in _portions(records):
                if malformed and not first:
                    first = malformed[0].detail
                start = counts["rows"]
                counts["rows"] += len(rows)
                counts["malformed"] += len(malformed)
                yield answer.batch(rows, malformed, number=start)
            about["encoding"] = text.encoding
    except Exception as error:
        taken.require_unchanged()  # what looked broken was perhaps only half there
        if isinstance(error, OSError):
            raise SourceChanged(f"{file.path} can't be read: {error.strerror or error}.") from error
        raise
    taken.require_unchanged()
    about |= {
        "status": READ,
        **counts,
        "first": first,
        "note": matcher.note if counts["rows"] else None,
    }


def _filesystem(landing: str) -> Any:
    if not landing:
        return None
    from fsspec.core import url_to_fs

    return url_to_fs(landing, use_listings_cache=False)[0]


def _records(taken: Snapshot, text: Any, matcher: HeaderMatcher) -> Iterator[Record | Malformed]:
    if taken.file.format in ("csv", "tsv"):
        header = csv_records.read_header(taken.path, text, matcher)
        return csv_records.read_records(taken.path, text, header, matcher)
    shape = json_records.shape(taken.path, text, taken.file.format, matcher.source)
    if shape == "nothing":
        raise FileRefused("Expected JSON, found only blanks.")
    return json_records.read_records(taken.path, text, shape, matcher)


def _portions(
    records: Iterable[Record | Malformed],
) -> Iterator[tuple[list[Record], list[Malformed]]]:
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
            yield rows, malformed
            rows, malformed, chars = [], [], 0
    if rows or malformed:
        yield rows, malformed


def _parquet(taken: Snapshot, matcher: HeaderMatcher, spool: Path) -> Iterator[list[Record]]:
    """The records of a Parquet file: its values as the text that DuckDB writes for them."""
    import duckdb

    from student_pipeline.ingest import bulk
    from student_pipeline.warehouse import sql

    link = spool / "incoming"  # a name that DuckDB takes for no pattern and no compression
    link.symlink_to(taken.path)
    with duckdb.connect(str(spool / "rows.duckdb")) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET autoinstall_known_extensions = false")
        columns = ", ".join(f"{sql.identifier(name)} VARCHAR" for name in matcher.source.columns)
        connection.execute(f"CREATE TABLE incoming ({columns}, _extra VARCHAR)")
        bulk.stage_parquet(connection, "incoming", link, matcher)
        found = connection.execute("SELECT * FROM incoming ORDER BY rowid")
        while rows := found.fetchmany(BATCH_RECORDS):
            yield [list(row) for row in rows]


class _Answer:
    """Makes the batches of one file."""

    def __init__(self, file: int, columns: tuple[str, ...]) -> None:
        self._file = file
        self._columns = columns

    def batch(
        self,
        rows: list[Record],
        malformed: list[Malformed],
        about: Mapping[str, Any] | None = None,
        *,
        number: int = 0,
    ) -> pa.RecordBatch:
        """A batch of records, malformed records, and what there is to say of the file.

        Args:
            number: how many records of the file came before.
        """
        import pyarrow as pa

        said = [json.dumps(about)] if about is not None else []
        n, m, a = len(rows), len(malformed), len(said)
        fields = list(zip(*rows, strict=True)) if rows else [()] * (len(self._columns) + 1)
        text, whole = pa.string(), pa.int64()

        def of_rows(values: Any) -> pa.Array:
            return pa.array([*values, *[None] * (m + a)], text)

        def of_malformed(values: list[Any], kind: Any) -> pa.Array:
            return pa.array([*[None] * n, *values, *[None] * a], kind)

        return pa.RecordBatch.from_pydict(
            {
                "part": pa.array([ROW] * n + [MALFORMED] * m + [ABOUT] * a, text),
                "_file": pa.array([self._file] * (n + m + a), whole),
                "_source_row": pa.array(
                    [*range(number + 1, number + n + 1), *[None] * (m + a)], whole
                ),
                "_extra": of_rows(fields[-1]),
                "line": of_malformed([item.line for item in malformed], whole),
                "detail": of_malformed([item.detail for item in malformed], text),
                "raw": of_malformed([item.raw for item in malformed], text),
                "about": pa.array([*[None] * (n + m), *said], text),
                **{
                    name: of_rows(values)
                    for name, values in zip(self._columns, fields[:-1], strict=True)
                },
            }
        )
