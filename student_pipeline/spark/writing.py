"""How rows get written on a cluster: whole tables, or the parts that a change reaches.

The rules are those of `warehouse.strategies` and `warehouse.merge`: what a table holds afterwards, and
what is told of it, is the same. What differs is the means. A file is never changed: new folders take the
place of old ones, for the labels (months) that have rows to add or to remove.

Every function runs inside the caller's transaction.
"""

from __future__ import annotations

from typing import Any

from student_pipeline import tables
from student_pipeline.spark.connection import KEYS_CHANGED, ROWS, SparkConnection
from student_pipeline.tables import Table
from student_pipeline.warehouse import sql, state, strategies
from student_pipeline.warehouse.merge import MOST_CHANGED, Outcome
from student_pipeline.warehouse.strategies import Written, detail_of
from student_pipeline.warehouse.values import Select

REFUSED, MALFORMED = "refused", "malformed"
"""The parts of a quarantine: what silver refused, and the records that could not be read."""


def bring_up_to_date(
    connection: SparkConnection, table: Table, select: Select, *, full_refresh: bool
) -> Outcome:
    """Make the table hold what the SELECT yields, with as little work as that takes.

    Raises:
        SchemaMismatch: the SELECT's columns are not those of the declaration.
    """
    books: Any = connection
    made_by = state.made_by(table, select)
    positions = {read.full_name: state.position(books, read) for read in select.reads.values()}
    followed = state.watermarks(books, table.full_name)
    made = connection.is_made(table)
    why = _why_rebuild(connection, table, made_by)
    if why:
        require_columns(connection, table, select.sql)
    if full_refresh and not why:
        why = "it was asked for."
    if not why and positions == followed:
        return Outcome(Written(0), "unchanged", "Nothing new.", None, made_by)
    here = state.next_position(books)
    merged = None
    if not why:
        why = "much of what it is made of changed."
        silver = {name: where for name, where in followed.items() if name.startswith("silver.")}
        if not state.changed_wholly(books, silver):
            merge = _merge_judged if table.quarantine else _merge_groups
            merged = merge(connection, table, select, followed, here)
    written = merged if merged is not None else _rebuild(connection, table, select, here)
    state.follow(books, table.full_name, positions)
    if not made:
        return Outcome(written, "made", "Made anew.", here, made_by)
    if merged is None:
        return Outcome(written, "rebuilt", f"Rebuilt whole: {why}", here, made_by)
    return Outcome(written, "merged", "What changed was merged.", here, made_by)


def _why_rebuild(connection: SparkConnection, table: Table, made_by: str) -> str:
    """Why the stored table can't be built on; empty where it can."""
    books: Any = connection
    if not connection.is_made(table):
        return "it was not there yet."
    stored = strategies.stored_columns(books, table)
    if stored != [(column.name, column.type) for column in table.columns]:
        return "its columns are not as declared."
    if state.stored_made_by(books, table) != made_by:
        return "its SELECT, a rule, its declaration or the engine changed."
    return ""


def require_columns(connection: SparkConnection, table: Table, incoming: str) -> None:
    """Raise `SchemaMismatch` unless `incoming` yields the declared columns."""
    found = connection.column_names(incoming)
    strategies.require_same_columns(table, found)


def write(connection: SparkConnection, table: Table, incoming: str) -> Written:
    """Have the table hold what `incoming` yields.

    Raises:
        SchemaMismatch: `incoming` lacks a declared column or has one that is not declared, or the table
            is one that only deliveries add to.
    """
    if table.strategy != "merge":
        raise strategies.SchemaMismatch(
            f"On a cluster {table.full_name} takes deliveries alone; nothing was written."
        )
    require_columns(connection, table, incoming)
    if table.quarantine:
        return replace_judged(connection, table, table.quarantine, incoming)
    return replace(connection, table, incoming)


def replace(connection: SparkConnection, table: Table, incoming: str) -> Written:
    """The table holds what `incoming` yields."""
    before = _count(connection, table)
    _write_all(connection, table, incoming)
    return Written(added=_count(connection, table), removed=before)


def _count(connection: SparkConnection, table: Table) -> int:
    if not connection.parts(table):
        return 0
    return connection.number(f"SELECT count(*) FROM {table.full_name}")


def _label(table: Table, alias: str = "") -> str:
    """The SQL of the label under which a row is stored: in a quarantine why, else the month."""
    prefix = f"{alias}." if alias else ""
    if table.schema == "quarantine":
        return (
            f"CASE WHEN {prefix}reason = 'malformed_record' THEN '{MALFORMED}' ELSE '{REFUSED}' END"
        )
    if not table.date:
        return sql.literal(ROWS)
    column = f"{prefix}{table.date}"
    return f"substring(CAST({column} AS VARCHAR), 1, 7)"


def _rebuild(connection: SparkConnection, table: Table, select: Select, here: int) -> Written:
    log_everything(connection, table, here)
    if table.quarantine:
        return replace_judged(connection, table, table.quarantine, select.sql)
    return replace(connection, table, select.sql)


def log_everything(connection: SparkConnection, table: Table, here: int) -> None:
    """Note that any row of the table may have changed."""
    state.log_everything(connection, table, here)  # type: ignore[arg-type]
    kept = {
        label: folders
        for label, folders in connection.parts(KEYS_CHANGED).items()
        if label.split("@")[0] != table.full_name
    }
    connection.set_parts(KEYS_CHANGED, kept)


# --- silver: rows of bronze, typed and judged -----------------------------------------------------


def replace_judged(
    connection: SparkConnection, table: Table, quarantine: Table, incoming: str
) -> Written:
    """The accepted rows become the table, the refused ones the quarantine, in one judgement.

    `incoming` yields the table's columns and `reason`, null for accepted rows.
    """
    before = _count(connection, table)
    judged = _judge(connection, table, incoming)
    refused = judged.pop(REFUSED, "")
    connection.set_parts(table, {label: (folder,) for label, folder in judged.items()})
    folder = _refuse(connection, table, quarantine, refused, f"bronze.{table.source}")
    parts = connection.parts(quarantine)
    connection.set_parts(quarantine, {**parts, REFUSED: (folder,) if folder else ()})
    return Written(added=_count(connection, table), removed=before)


def _judge(connection: SparkConnection, table: Table, incoming: str) -> dict[str, str]:
    """Write judged rows once: accepted ones by their label, the others under `refused`.

    All have the column `reason` beside the table's; who reads the table does not ask for it.
    """
    return connection.write(
        table,
        f"SELECT {connection.cast(table.columns)}, reason, "
        f"CASE WHEN reason IS NULL THEN {_label(table)} ELSE '{REFUSED}' END AS part "
        f"FROM ({incoming}) AS incoming",
        by_label=True,
    )


def _refuse(
    connection: SparkConnection, table: Table, quarantine: Table, refused: str, bronze: str
) -> str:
    """Write the refused rows as they came, with the reason; returns the folder, empty for no row.

    Args:
        refused: the folder of the judged rows.
        bronze: the relation that holds the rows of bronze that were judged.
    """
    if not refused:
        return ""
    judged = [*_came_from(table), tables.Column("reason", "VARCHAR", "")]
    connection.relation("refused_rows", judged, [refused])
    given = {"reason": "judged.reason", "detail": detail_of(quarantine), "_raw": "NULL"}
    columns = ", ".join(
        f"CAST({given.get(column.name) or f'bronze.{sql.identifier(column.name)}'} AS "
        f"{'VARCHAR' if column.type == 'JSON' else column.type}) AS {sql.identifier(column.name)}"
        for column in quarantine.columns
    )
    return connection.write(
        quarantine,
        f"SELECT {columns} FROM refused_rows AS judged INNER JOIN {bronze} AS bronze "
        "ON judged._load_id = bronze._load_id AND judged._source_row = bronze._source_row",
    ).get(ROWS, "")


def _came_from(table: Table) -> list[tables.Column]:
    return [column for column in table.columns if column.name in ("_load_id", "_source_row")]


def _merge_judged(
    connection: SparkConnection,
    table: Table,
    select: Select,
    followed: dict[str, int],
    here: int,
) -> Written | None:
    """Judge anew what may be judged differently now; None where that is too much.

    What that is stands in `warehouse.merge`. Only the months that lose or gain a row are written.
    """
    assert table.quarantine
    quarantine = table.quarantine
    bronze = tables.TABLES[f"bronze.{table.source}"]
    new = f"{bronze.full_name} WHERE _load_id > {followed[bronze.full_name]}"
    if connection.number(f"SELECT count(*) FROM {new}") > _limit(connection, bronze):
        return None
    _find_what_stands(connection, table, quarantine, new, followed)
    if connection.number("SELECT count(*) FROM removed") > _limit(connection, table):
        return None
    judged = _judge_again(connection, table, select, bronze, new)
    if table.rivals and _find_rivals(connection, table, judged):
        judged = _judge_again(connection, table, select, bronze, new)
    refused = judged.pop(REFUSED, "")
    connection.relation("accepted", table.columns, list(judged.values()))
    _log_changes(connection, table, here)
    _replace_parts(connection, table, judged)
    _replace_refused(connection, table, quarantine, refused)
    return Written(
        added=connection.number("SELECT count(*) FROM accepted"),
        removed=connection.number("SELECT count(*) FROM removed"),
    )


def _find_what_stands(
    connection: SparkConnection,
    table: Table,
    quarantine: Table,
    new: str,
    followed: dict[str, int],
) -> None:
    """Make `removed` and `readmitted`: the stored rows that have to be judged again."""
    raw_id, dim = quarantine.columns[0].name, tables.DIM_STUDENT.full_name
    key = table.key[0]
    connection.keep(
        "fresh_ids",
        f"SELECT DISTINCT clean({raw_id}) AS id FROM {new} AND clean({raw_id}) IS NOT NULL",
    )
    stands = f"SELECT * FROM {table.full_name} WHERE {key} IN (SELECT id FROM fresh_ids)"
    again = (
        "SELECT _load_id, _source_row FROM {from_} WHERE reason <> 'malformed_record' AND {where}"
    )
    once_more = again.format(
        from_=quarantine.full_name, where=f"clean({raw_id}) IN (SELECT id FROM fresh_ids)"
    )
    if dim in followed:
        moved = state.moved_students(followed[dim], KEYS_CHANGED.full_name)
        connection.keep("moved", moved)
        stands += (
            f" UNION SELECT * FROM {table.full_name} "
            "WHERE student_id IN (SELECT student_id FROM moved)"
        )
        arrived = again.format(
            from_=quarantine.full_name,
            where=f"reason = 'unknown_student' AND clean(student_id) IN "
            f"(SELECT student_id FROM {dim})",
        )
        once_more += f" UNION {arrived}"
    connection.keep("removed", stands)
    connection.keep("readmitted", once_more)


def _judge_again(
    connection: SparkConnection, table: Table, select: Select, bronze: Table, new: str
) -> dict[str, str]:
    """Judge the new rows of bronze and those of what stood; label -> folder of judged rows."""
    names = sql.names(bronze.column_names, "stored")
    connection.keep(
        "incoming",
        f"SELECT {sql.names(bronze.column_names)} FROM {new} UNION ALL "
        f"SELECT {names} FROM {bronze.full_name} AS stored INNER JOIN ("
        "SELECT _load_id, _source_row FROM removed UNION "
        "SELECT _load_id, _source_row FROM readmitted) AS stood "
        "ON stored._load_id = stood._load_id AND stored._source_row = stood._source_row "
        f"WHERE NOT stored._load_id > {new.rpartition(' ')[2]}",
    )
    return _judge(connection, table, select.reading(**{bronze.name: "incoming"}))


def _find_rivals(connection: SparkConnection, table: Table, judged: dict[str, str]) -> bool:
    """Add to `removed` the rows that compete with what came or went; whether there are any."""
    names = sql.names(table.rivals)
    same = " AND ".join(f"fact.{name} = affected.{name}" for name in table.rivals)
    every = sql.names(table.column_names, "fact")
    accepted = [folder for label, folder in judged.items() if label != REFUSED]
    connection.relation("judged_rows", table.columns, accepted)
    connection.keep(
        "rivals",
        f"WITH affected AS (SELECT {names} FROM removed UNION SELECT {names} FROM judged_rows) "
        f"SELECT {every} FROM {table.full_name} AS fact "
        f"INNER JOIN affected ON {same} LEFT JOIN removed ON "
        "fact._load_id = removed._load_id AND fact._source_row = removed._source_row "
        "WHERE removed._load_id IS NULL",
    )
    if not connection.number("SELECT count(*) FROM rivals"):
        return False
    connection.keep("removed", "SELECT * FROM removed UNION ALL SELECT * FROM rivals")
    return True


def _log_changes(connection: SparkConnection, table: Table, here: int) -> None:
    """Note the keys of the rows that `removed` and `accepted` tell apart."""
    names = sql.names(table.followed or (column.name for column in table.contract))
    gone, come = f"SELECT {names} FROM removed", f"SELECT {names} FROM accepted"
    columns = (
        f"CAST({sql.literal(table.full_name)} AS VARCHAR) AS table_name, "
        f"CAST({here} AS BIGINT) AS position, {table.key[0]} AS id, student_id, class_id, "
        f"CAST({table.date or 'NULL'} AS DATE) AS date"
    )
    folder = connection.write(
        KEYS_CHANGED,
        f"SELECT DISTINCT {columns} FROM (SELECT {names} FROM ({gone} EXCEPT {come}) AS less "
        f"UNION ALL SELECT {names} FROM ({come} EXCEPT {gone}) AS more) AS change",
    )
    parts = connection.parts(KEYS_CHANGED)
    connection.set_parts(
        KEYS_CHANGED, {**parts, f"{table.full_name}@{here}": tuple(folder.values())}
    )


def _replace_parts(connection: SparkConnection, table: Table, judged: dict[str, str]) -> None:
    """Write anew the months that lose rows; those that only gain some get a folder more."""
    parts = connection.parts(table)
    losing = [
        label
        for (label,) in connection.rows(f"SELECT DISTINCT {_label(table)} AS part FROM removed")
    ]
    for label, folder in judged.items():
        if label not in losing:
            parts[label] = (*parts.get(label, ()), folder)
    if losing:
        stood = [folder for label in losing for folder in parts[label]]
        connection.relation("stood", table.columns, stood)
        connection.relation(
            "come", table.columns, [judged[label] for label in losing if label in judged]
        )
        names = sql.names(table.column_names, "stood")
        kept = connection.write(
            table,
            f"SELECT {names}, {_label(table, 'stood')} AS part FROM stood "
            "LEFT JOIN removed ON stood._load_id = removed._load_id "
            "AND stood._source_row = removed._source_row WHERE removed._load_id IS NULL "
            f"UNION ALL SELECT {sql.names(table.column_names)}, {_label(table)} AS part FROM come",
            by_label=True,
        )
        for label in losing:
            parts[label] = (kept[label],) if label in kept else ()
    connection.set_parts(table, connection.gathered(table, parts))


def _replace_refused(
    connection: SparkConnection, table: Table, quarantine: Table, refused: str
) -> None:
    """Take what is judged again out of the quarantine, and put in what was refused now."""
    parts = connection.parts(quarantine)
    stood = parts.get(REFUSED, ())
    if connection.number("SELECT count(*) FROM readmitted"):
        connection.relation("stood", quarantine.columns, stood)
        names = sql.names(quarantine.column_names, "stood")
        kept = connection.write(
            quarantine,
            f"SELECT {names} FROM stood LEFT JOIN readmitted "
            "ON stood._load_id = readmitted._load_id "
            "AND stood._source_row = readmitted._source_row WHERE readmitted._load_id IS NULL",
        )
        stood = tuple(kept.values())
    folder = _refuse(connection, table, quarantine, refused, "incoming")
    parts[REFUSED] = (*stood, *([folder] if folder else ()))
    connection.set_parts(quarantine, connection.gathered(quarantine, parts))


# --- gold: groups of silver rows ------------------------------------------------------------------


def _merge_groups(
    connection: SparkConnection,
    table: Table,
    select: Select,
    followed: dict[str, int],
    here: int,
) -> Written | None:
    """Compute anew the groups whose key a change names; None where that is too much.

    Of a table with dates the months of these groups are computed, whole, from the facts of these
    months; of another one everything is, for its groups have rows in all months.
    """
    key = sql.names(table.key)
    connection.keep("changed", state.changes(followed, KEYS_CHANGED.full_name))
    if table.date:
        same = " AND ".join(f"stored.{name} = affected.{name}" for name in table.key)
        affected = (
            f"SELECT {key} FROM changed WHERE date IS NOT NULL UNION SELECT {key} "
            f"FROM {table.full_name} WHERE class_id IN "
            "(SELECT class_id FROM changed WHERE date IS NULL)"
        )
    else:
        same = f"stored.{table.key[0]} = affected.{table.key[0]}"
        affected = f"SELECT DISTINCT {key} FROM changed"
    connection.keep("affected", affected)
    if connection.number("SELECT count(*) FROM affected") > _limit(connection, table):
        return None
    semi = f"FROM {{rows}} AS stored INNER JOIN affected ON {same}"
    count = "SELECT count(*) " + semi
    removed = connection.number(count.format(rows=table.full_name))
    if not table.date:
        _write_all(connection, table, select.sql)
    else:
        months = [
            label
            for (label,) in connection.rows(
                f"SELECT DISTINCT {_label(table)} AS part FROM affected"
            )
        ]
        restricted = {
            name: connection.relation(
                f"{name}_of_months",
                tables.TABLES[f"silver.{name}"].columns,
                [
                    folder
                    for month in months
                    for folder in connection.parts(tables.TABLES[f"silver.{name}"]).get(month, ())
                ],
            )
            for name in table.read_by
        }
        written = connection.write(
            table,
            f"SELECT {connection.cast(table.columns)}, {_label(table)} AS part "
            f"FROM ({select.reading(**restricted)}) AS incoming",
            by_label=True,
        )
        parts = connection.parts(table)
        for month in months:
            parts[month] = (written[month],) if month in written else ()
        connection.set_parts(table, parts)
    added = connection.number(count.format(rows=table.full_name))
    return Written(added=added, removed=removed)


def _write_all(connection: SparkConnection, table: Table, incoming: str) -> None:
    folders = connection.write(
        table,
        f"SELECT {connection.cast(table.columns)}, {_label(table)} AS part "
        f"FROM ({incoming}) AS incoming",
        by_label=True,
    )
    connection.set_parts(table, {label: (folder,) for label, folder in folders.items()})


def _limit(connection: SparkConnection, table: Table) -> float:
    """How many rows of the table may change before a rebuild is no more work."""
    return MOST_CHANGED * _count(connection, table)
