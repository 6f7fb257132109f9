"""From the landing folder to bronze: the workers read the files, this process decides about each.

The same rules as in `ingest.delivery`, which loads one file after the other. Here all files of a source
are read at once and stored in one go; what each load would have added, had they come one by one, is
worked out by windows over the order of the loads.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg

from student_pipeline import tables
from student_pipeline.ingest import snapshot
from student_pipeline.ingest.delivery import Delivery
from student_pipeline.ingest.discovery import FoundFile
from student_pipeline.ingest.errors import FileRefused, SourceChanged
from student_pipeline.ingest.ledger import Entry, Ledger, Loaded
from student_pipeline.sources import STUDENTS
from student_pipeline.spark import shipping, worker
from student_pipeline.spark.connection import ROWS, SparkConnection
from student_pipeline.spark.session import told_as_ours
from student_pipeline.tables import Column, Table
from student_pipeline.warehouse import sql
from student_pipeline.warehouse.strategies import Written

MOST_TASKS = 2_000
"""So many tasks read files at most; each then reads several."""


@dataclass(frozen=True)
class _Asked:
    """A file that the workers are asked to read.

    Attributes:
        entry: what the ledger will say if nothing comes of it.
    """

    file: FoundFile
    entry: Entry
    loaded: Loaded | None
    signature: str | None


def load(
    connection: SparkConnection, table: Table, delivery: Delivery, run_id: str
) -> dict[str, Any]:
    """Load every file whose content is not the one loaded last; record each in the ledger.

    Returns: counts of files and rows, for the UI.

    Raises:
        Failure: a file changed while it was read, or the workers can't read it; nothing is kept.
    """
    books: Any = connection  # the ledger needs `execute` alone
    ledger = Ledger(books)
    if not connection.is_made(table):
        connection.set_parts(table, {})
    entries, asked = _look_at(delivery, ledger, run_id)
    abouts = _have_read(connection, delivery, asked) if asked else {}
    accepted: dict[int, Entry] = {}
    for number, about in sorted(abouts.items()):
        one = asked[number]
        entry = _judge(delivery, one, about)
        if entry is None:
            assert one.loaded
            ledger.sign(one.loaded.load_id, one.signature)
        elif entry.status == "loaded":
            accepted[number] = entry
        else:
            entries[one.file.path] = entry
    first_load = ledger.next_load_id()
    for load_id, number in enumerate(accepted, first_load):
        accepted[number] = replace(accepted[number], load_id=load_id)
        ledger.sign(load_id, asked[number].signature)
    written = Written(0)
    if accepted:
        added, written = _store(connection, table, delivery, accepted)
        for entry in accepted.values():
            assert entry.load_id
            entries[entry.path] = replace(entry, rows_appended=added.get(entry.load_id, 0))
        _keep_malformed(connection, delivery, accepted)
        if delivery.source is STUDENTS:
            _keep_roster(connection, max(accepted))
    for entry in (entries[file.path] for file in delivery.files if file.path in entries):
        ledger.record(entry)
    done = [entry for entry in entries.values() if entry.status == "loaded"]
    return {
        "files_found": len(delivery.files),
        "files_loaded": len(done),
        "files_refused": sum(entry.status == "refused" for entry in entries.values()),
        "rows_read": sum(entry.rows_read or 0 for entry in done),
        "rows_added": written.added,
        "rows_removed": written.removed,
        "rows_malformed": sum(entry.rows_rejected or 0 for entry in done),
        "bytes_read": sum(entry.size_bytes or 0 for entry in done),
    }


def _look_at(
    delivery: Delivery, ledger: Ledger, run_id: str
) -> tuple[dict[str, Entry], list[_Asked]]:
    """(path -> entry of what shows without reading, the files that have to be read)."""
    loaded = ledger.loaded(delivery.source.name)
    entries, asked = {}, []
    for file in delivery.files:
        entry = Entry(delivery.source.name, file.path, "refused", run_id, delivery.now)
        if file.passed_over:
            entries[file.path] = replace(entry, status="passed_over", message=file.passed_over)
            continue
        before = loaded.get(file.path)
        try:
            signature = snapshot.signature(file)
        except FileRefused as error:
            entries[file.path] = replace(entry, message=str(error))
            continue
        except SourceChanged as error:
            raise _changed(str(error)) from error
        if not (before and signature and signature == before.signature):
            asked.append(_Asked(file, entry, before, signature))
    return entries, asked


def _changed(sentence: str) -> dg.Failure:
    return dg.Failure(f"{sentence} Nothing was loaded; the next try reads it anew.")


def _have_read(
    connection: SparkConnection, delivery: Delivery, asked: Sequence[_Asked]
) -> dict[int, dict[str, Any]]:
    """Have the workers read the files, into the views `answer_…`; return what they say of each."""
    import pyarrow as pa

    source, limits = delivery.source, delivery.matcher.limits
    remote = any(one.file.filesystem for one in asked)
    read = shipping.reader(
        {
            "source": source.name,
            "aliases": {name: list(names) for name, names in delivery.matcher.aliases.items()},
            "limits": {
                "file_megabytes": limits.file_megabytes,
                "unpacking_ratio": limits.unpacking_ratio,
                "columns": limits.columns,
                "records": limits.records,
            },
            "landing": delivery.landing if remote else "",
        }
    )
    files = pa.Table.from_pylist(
        [
            {
                "file": number,
                "path": one.file.path,
                "location": one.file.location,
                "format": one.file.format,
                "gzipped": one.file.gzipped,
                "loaded_sha256": one.loaded.sha256 if one.loaded else None,
            }
            for number, one in enumerate(asked)
        ],
        schema=pa.schema(
            {
                "file": pa.int64(),
                "path": pa.string(),
                "location": pa.string(),
                "format": pa.string(),
                "gzipped": pa.bool_(),
                "loaded_sha256": pa.string(),
            }
        ),
    )
    schema = ", ".join(
        f"`{name}` {kind}"
        for name, kind in (*worker.COLUMNS, *((name, "string") for name in source.columns))
    )
    texts = [Column(name, "VARCHAR", "") for name in source.columns]
    number, line = Column("_file", "BIGINT", ""), Column("line", "BIGINT", "")
    text = {name: Column(name, "VARCHAR", "") for name in ("_extra", "detail", "raw", "about")}
    with told_as_ours():
        answer = (
            connection.session.createDataFrame(files)
            .repartition(min(len(asked), MOST_TASKS))
            .mapInArrow(read, schema)
        )
        folders = connection.write_scratch("answer", answer, by="part")
    connection.relation(
        "answer_rows",
        [number, Column("_source_row", "BIGINT", ""), *texts, text["_extra"]],
        folders.get(worker.ROW, ()),
    )
    connection.relation(
        "answer_malformed",
        [number, line, text["detail"], text["raw"]],
        folders.get(worker.MALFORMED, ()),
    )
    connection.relation("answer_abouts", [number, text["about"]], folders.get(worker.ABOUT, ()))
    return {
        file: json.loads(about)
        for file, about in connection.rows("SELECT _file, about FROM answer_abouts")
    }


def _judge(delivery: Delivery, asked: _Asked, about: dict[str, Any]) -> Entry | None:
    """What the ledger shall say of a file that was read; None where its content was loaded before.

    Raises:
        Failure: it changed meanwhile, or the workers can't read it.
    """
    path, status = asked.file.path, about["status"]
    if status == worker.SAME:
        return None
    if status == worker.UNSEEN and Path(asked.file.location).exists():
        raise dg.Failure(
            f"The workers of the cluster don't see the landing folder: {asked.file.location} is "
            f"there, but not on {about['host']}. It must have the same path on every worker.",
            allow_retries=False,
        )
    if status in (worker.CHANGED, worker.UNSEEN):
        raise _changed(about["message"])
    if status == worker.UNREADABLE:
        raise dg.Failure(
            f"{path} can't be read on the worker {about['host']}: its Python lacks "
            f"{about['message']}, which reads Parquet files. Install it there.",
            allow_retries=False,
        )
    entry = replace(asked.entry, size_bytes=about.get("size_bytes"), sha256=about.get("sha256"))
    if status == worker.REFUSED:
        return replace(entry, message=about["message"])
    rows, malformed = about["rows"], about["malformed"]
    entry = replace(entry, encoding=about["encoding"], rows_read=rows, rows_rejected=malformed)
    try:
        delivery.matcher.limits.require_records(rows + malformed)
        delivery.require_mostly_readable(rows, malformed, lambda: str(about["first"]))
    except FileRefused as error:
        return replace(entry, message=str(error))
    return replace(entry, status="loaded", message=about["note"])


# --- storing --------------------------------------------------------------------------------------


def _store(
    connection: SparkConnection, table: Table, delivery: Delivery, accepted: dict[int, Entry]
) -> tuple[dict[int, int], Written]:
    """Store the rows of the accepted files by the table's strategy; (load -> rows added, sum)."""
    import pyarrow as pa

    connection.load(
        "loads",
        pa.table(
            {
                "_file": pa.array(list(accepted), pa.int64()),
                "_load_id": pa.array([one.load_id for one in accepted.values()], pa.int64()),
                "_source_file": pa.array([one.path for one in accepted.values()], pa.string()),
            }
        ),
    )
    columns = sql.names((*delivery.source.columns, "_extra"), "answer")
    incoming = (
        f"SELECT {columns}, CAST({sql.literal(_utc(delivery))} AS TIMESTAMPTZ) AS _ingested_at, "
        "loads._source_file, answer._source_row, loads._load_id "
        "FROM answer_rows AS answer INNER JOIN loads ON answer._file = loads._file"
    )
    if table.strategy == "upsert":
        return _upsert(connection, table, incoming)
    return _append(connection, table, incoming, delivery.now)


def _utc(delivery: Delivery) -> str:
    """The time of loading, in the one form that every engine reads."""
    return delivery.now.strftime("%Y-%m-%d %H:%M:%S.%f") + "+00:00"


def _identity(table: Table) -> list[str]:
    """The columns that make two delivered rows the same: all that the file held."""
    return [name for name in table.column_names if name == "_extra" or name[0] != "_"]


def _append(
    connection: SparkConnection, table: Table, incoming: str, month: datetime
) -> tuple[dict[int, int], Written]:
    """Add the rows that are not there yet, identical ones once: the first by load and row.

    Args:
        month: in which they are loaded; each month of loading is a part of its own.
    """
    identity = _identity(table)
    first = sql.identifier(identity[0])
    query = (
        f"WITH incoming AS ({incoming}), counted AS (SELECT *, row_number() OVER (PARTITION BY "
        f"{sql.names(identity)} ORDER BY _load_id, _source_row) AS copy FROM incoming) "
        f"SELECT {connection.cast(table.columns, 'fresh')} FROM counted AS fresh "
    )
    if connection.parts(table):
        same = " AND ".join(
            f"stored.{name} IS NOT DISTINCT FROM fresh.{name}"
            for name in map(sql.identifier, identity[1:])
        )
        query += (
            # Only the stored rows of these ids take part: a day must not move the whole history.
            f"LEFT JOIN (SELECT {sql.names(identity)}, true AS _there FROM {table.full_name} "
            f"WHERE coalesce({first}, '') IN (SELECT coalesce({first}, '') FROM incoming)"
            f") AS stored ON coalesce(stored.{first}, '') = "
            f"coalesce(fresh.{first}, '') AND {same} "
            "WHERE fresh.copy = 1 AND stored._there IS NULL"
        )
    else:
        query += "WHERE fresh.copy = 1"
    folder = connection.write(table, query).get(ROWS)
    if not folder:
        return {}, Written(0)
    parts = connection.parts(table)
    label = f"{month:%Y-%m}"
    connection.relation("added", table.columns, [folder])
    added = dict(connection.rows("SELECT _load_id, count(*) AS rows FROM added GROUP BY _load_id"))
    if added:
        more = {**parts, label: (*parts.get(label, ()), folder)}
        connection.set_parts(table, connection.gathered(table, more))
    return added, Written(sum(added.values()))


def _upsert(
    connection: SparkConnection, table: Table, incoming: str
) -> tuple[dict[int, int], Written]:
    """One row per student id, the roster's rule: an incoming row replaces the stored one.

    Unless it is older by `updated_at`, or identical. Rows without an id are kept, identical ones
    once. All files at once: the stored row of an id and the best of each file stand in a line, in
    the order of the loads. A row without a readable time wins whatever stood there, and whatever
    follows wins over it; so it begins a new stretch of the line, within which a row must not be
    older than the newest before it.
    """
    identity = _identity(table)
    names = sql.names(table.column_names)
    unchanged = " AND ".join(
        f"lag({name}) OVER (PARTITION BY _id ORDER BY _turn) IS NOT DISTINCT FROM {name}"
        for name in map(sql.identifier, identity)
    )
    # In a step of its own: what is cleaned is named often below, and would be cleaned as often.
    connection.keep(
        "typed",
        f"""
        WITH incoming AS ({incoming}),
        every AS (
            SELECT {names}, _load_id AS _turn FROM incoming
            UNION ALL
            SELECT {names}, 0 AS _turn FROM {table.full_name}
        ),
        cleaned AS (
            SELECT {names}, _turn, clean(student_id) AS _id, clean(updated_at) AS _updated
            FROM every
        )
        SELECT {names}, _turn, _id, instant(_updated) AS _version FROM cleaned
        """,
    )
    connection.keep(
        "line",
        f"""
        WITH ranked AS (
            SELECT *, row_number() OVER (
                PARTITION BY _id, _turn ORDER BY _version DESC NULLS LAST, _source_row DESC
            ) AS place
            FROM typed
            WHERE _id IS NOT NULL
        ),
        stretched AS (
            SELECT *, count(CASE WHEN _version IS NULL THEN 1 END) OVER (
                PARTITION BY _id ORDER BY _turn
            ) AS stretch
            FROM ranked
            WHERE place = 1
        ),
        compared AS (
            SELECT *, max(_version) OVER (
                PARTITION BY _id, stretch ORDER BY _turn
            ) AS newest
            FROM stretched
        ),
        accepted AS (
            SELECT * FROM compared
            WHERE _version IS NULL OR _version = newest
        ),
        changing AS (
            SELECT {names}, _id, _turn,
                lag(_turn) OVER (PARTITION BY _id ORDER BY _turn) AS _before,
                {unchanged} AS _same
            FROM accepted
        ),
        in_turn AS (
            SELECT {names}, _turn, _before, row_number() OVER (
                PARTITION BY _id ORDER BY _turn DESC
            ) AS _place
            FROM changing
            WHERE _before IS NULL OR NOT _same
        ),
        nameless AS (
            SELECT {names}, _turn, row_number() OVER (
                PARTITION BY {sql.names(identity)} ORDER BY _turn, _source_row
            ) AS _place
            FROM typed
            WHERE _id IS NULL
        )
        SELECT {names}, _turn, _before IS NOT NULL AS _replaces, _place FROM in_turn
        UNION ALL
        SELECT {names}, _turn, false AS _replaces, _place FROM nameless WHERE _place = 1
        """,
    )
    counts = connection.rows(
        "SELECT _turn, count(*) AS rows, count(CASE WHEN _replaces THEN 1 END) AS replaced "
        "FROM line WHERE _turn > 0 GROUP BY _turn"
    )
    if not counts:
        return {}, Written(0)
    folder = connection.write(
        table, f"SELECT {connection.cast(table.columns)} FROM line WHERE _place = 1"
    )
    connection.set_parts(table, {ROWS: tuple(folder.values())})
    return (
        {turn: rows for turn, rows, _ in counts},
        Written(sum(rows for _, rows, _ in counts), sum(replaced for _, _, replaced in counts)),
    )


def _keep_malformed(
    connection: SparkConnection, delivery: Delivery, accepted: dict[int, Entry]
) -> None:
    """Put the malformed records into the quarantine, in place of those of the last versions."""
    quarantine = tables.TABLES[f"quarantine.{delivery.source.name}"]
    parts = connection.parts(quarantine)
    if not connection.is_made(quarantine):
        connection.set_parts(quarantine, parts)
    stood = parts.get(worker.MALFORMED, ())
    if not stood and not any(entry.rows_rejected for entry in accepted.values()):
        return
    connection.relation("stood_malformed", quarantine.columns, stood)
    given = {
        "_source_file": "loads._source_file",
        "_load_id": "loads._load_id",
        "reason": "'malformed_record'",
        "detail": "answer.detail",
        "_raw": "answer.raw",
    }
    fresh = ", ".join(
        f"CAST({given.get(column.name, 'NULL')} AS "
        f"{'VARCHAR' if column.type == 'JSON' else column.type}) AS {sql.identifier(column.name)}"
        for column in quarantine.columns
    )
    names = sql.names(quarantine.column_names, "stood")
    folder = connection.write(
        quarantine,
        f"SELECT {names} FROM stood_malformed AS stood LEFT JOIN loads "
        "ON stood._source_file = loads._source_file WHERE loads._source_file IS NULL "
        f"UNION ALL SELECT {fresh} FROM answer_malformed AS answer "
        "INNER JOIN loads ON answer._file = loads._file",
    )
    connection.set_parts(quarantine, {**parts, worker.MALFORMED: tuple(folder.values())})


def _keep_roster(connection: SparkConnection, number: int) -> None:
    """Remember who is in the last of these rosters, for the check that looks for who no longer is."""
    roster = tables.LATEST_ROSTER
    folder = connection.write(
        roster,
        "SELECT DISTINCT clean(student_id) AS student_id FROM answer_rows "
        f"WHERE _file = {number} AND clean(student_id) IS NOT NULL",
    )
    connection.set_parts(roster, {ROWS: tuple(folder.values())})
