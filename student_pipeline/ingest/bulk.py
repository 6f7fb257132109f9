"""Reading big plain files in the engine, in parallel.

The readers of `csv_records` and `json_records` say what a file holds. Here DuckDB reads the same
from files that are so plain that there is no room for a different reading; where a file turns out
not to be, the caller reads it exactly. The tests compare the two on generated files.

An error in the engine would abort the caller's transaction, and every file of the delivery with it.
So what may fail is tried first on a cursor, which has a transaction of its own.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path

import duckdb

from student_pipeline.ingest.csv_records import CsvHeader
from student_pipeline.ingest.errors import FileRefused
from student_pipeline.ingest.json_records import Shape
from student_pipeline.ingest.layout import HeaderMatcher
from student_pipeline.ingest.records import MAX_RECORD_CHARS
from student_pipeline.ingest.snapshot import CHUNK_BYTES
from student_pipeline.warehouse import sql
from student_pipeline.warehouse.sql import scalar

MIN_BYTES = 1 << 16
"""Smaller files are read exactly at once: that takes no longer."""

_FIELD_COUNT_ERRORS = ("MISSING COLUMNS", "TOO MANY COLUMNS")
_LONGEST_REJECT = 9_990
"""Of a rejected line that is longer DuckDB keeps the first 10,000 bytes only."""

# What DuckDB's JSON reader reads or writes differently: numbers that are not in their shortest form
# or have more digits than a double, NaN and infinity in any case, nested values, commas before a
# closing brace; escaped control characters (it writes their code in capitals) and surrogates.
_UNUSUAL_JSON = (
    r":\s*-?[0-9.]+[eE]|:\s*-?[0-9]+\.[0-9]+0\s*[,}]|:\s*-?[0-9]{8,}\.|:\s*-?[0-9]+\.[0-9]{8,}"
    r"|:\s*-0|:\s*0\.000|:\s*-?(?i:nan|inf)|:\s*[\[{]|,\s*[}]|\\u00[01]|\\u[dD][89a-fA-F]"
)
_MOST_KEY_SETS = 100


def stage_csv(
    connection: duckdb.DuckDBPyConnection,
    rows: str,
    malformed: str,
    path: Path,
    header: CsvHeader,
    matcher: HeaderMatcher,
) -> bool:
    """Fill the staging tables from an `even` file; False where it has to be read exactly."""
    width = len(header.layout.headers)
    delimiters_below = _delimiters_below(path, header)
    # DuckDB passes over one line too many where a header spans several.
    if width < 2 or delimiters_below is None or not header.one_line:
        return False
    fields = ", ".join(f"'f{number}': 'VARCHAR'" for number in range(width))
    columns = header.layout.columns
    picked = [f"f{columns[name]}" if name in columns else "NULL" for name in matcher.source.columns]
    extra = _extra_object(
        (name, f"to_json(f{number})::VARCHAR") for name, number in header.layout.extras.items()
    )
    # Lines with fields too many or too few are stored; files like this have no other errors.
    connection.execute(
        f"INSERT INTO {rows} SELECT {', '.join(picked)}, {extra} FROM read_csv(?, "
        f"columns = {{{fields}}}, auto_detect = false, header = false, skip = {header.lines}, "
        f"delim = {sql.literal(header.delimiter)}, quote = '\"', escape = '\"', nullstr = '', "
        f"max_line_size = {2 * CHUNK_BYTES}, compression = 'none', hive_partitioning = false, "
        "store_rejects = true, rejects_table = 'csv_errors', rejects_scan = 'csv_scans')",
        [str(path)],
    )
    kinds = connection.execute("SELECT DISTINCT error_type::VARCHAR FROM csv_errors").fetchall()
    unquoted = "regexp_replace(raw, '\"([^\"]|\"\")*\"', '', 'g')"
    delimiters = (
        f"length({unquoted}) - length(replace({unquoted}, {sql.literal(header.delimiter)}, ''))"
    )
    connection.execute(
        f"INSERT INTO {malformed} SELECT line, format('Line {{}}: expected {width} fields, "
        f"found {{}}.', line, {delimiters} + 1), raw "
        "FROM (SELECT line, trim(first(csv_line), chr(13) || chr(10)) AS raw FROM csv_errors "
        "GROUP BY line) AS error ORDER BY line"
    )
    connection.execute("DROP TABLE csv_errors")
    connection.execute("DROP TABLE csv_scans")
    longest = scalar(connection, f"SELECT coalesce(max(strlen(raw)), 0) FROM {malformed}")
    # DuckDB passes over a delimiter too many at the end of a line: then their number tells.
    read = scalar(
        connection,
        f"SELECT (SELECT count(*) FROM {rows}) * {width - 1} "
        f"+ (SELECT coalesce(sum({delimiters}), 0) FROM {malformed})",
    )
    return (
        all(kind in _FIELD_COUNT_ERRORS for (kind,) in kinds)
        and longest < _LONGEST_REJECT
        and read == delimiters_below
    )


def _delimiters_below(path: Path, header: CsvHeader) -> int | None:
    """How many delimiters stand below the header and between fields.

    None unless every quote is part of a field that begins and ends with one, on one line.
    """
    delimiter = header.delimiter.encode()
    quoted = re.compile(
        rb'(?<![^%b\n])"[^"\n]*(?:""[^"\n]*)*"(?=[%b\r\n]|\Z)' % (delimiter, delimiter)
    )
    number = 0
    with path.open("rb") as stream:
        for _ in range(header.lines):
            stream.readline()
        while lines := stream.read(CHUNK_BYTES) + stream.readline():
            if b'"' in lines:
                lines = quoted.sub(b"", lines)
                if b'"' in lines:
                    return None
            number += lines.count(delimiter)
    return number


def stage_json(
    connection: duckdb.DuckDBPyConnection,
    rows: str,
    path: Path,
    shape: Shape,
    matcher: HeaderMatcher,
) -> bool:
    """Fill the staging table from flat records; False where the file has to be read exactly."""
    kind = "array" if shape == "array" else "newline_delimited"
    records = (
        f"read_json_objects({sql.literal(str(path))}, format = '{kind}', compression = 'none', "
        f"hive_partitioning = false, maximum_object_size = {MAX_RECORD_CHARS})"
    )
    try:
        with connection.cursor() as cursor:
            looked_at = records
            if shape == "array":  # which one core reads, while all cores look at a table
                cursor.execute(f"CREATE TEMP TABLE objects AS SELECT json FROM {records}")
                looked_at = "objects"
            key_sets = cursor.execute(
                "SELECT DISTINCT json_keys(json), json_type(json) <> 'OBJECT' "
                f"OR regexp_matches(json::VARCHAR, {sql.literal(_UNUSUAL_JSON)}) "
                f"FROM {looked_at} LIMIT {_MOST_KEY_SETS + 1}"
            ).fetchall()
    except (duckdb.Error, UnicodeDecodeError):  # the second: of its message
        return False
    if len(key_sets) > _MOST_KEY_SETS or any(unusual for _, unusual in key_sets):
        return False
    names = _one_meaning([keys for keys, _ in key_sets], matcher)
    if names is None:
        return False
    key_of, extras = names
    structure = json.dumps(dict.fromkeys((*key_of.values(), *extras), "VARCHAR"))
    picked = [
        f"nullif(v.{sql.identifier(key_of[name])}, '')" if name in key_of else "NULL"
        for name in matcher.source.columns
    ]
    extra = _extra_object(
        (name, f"json_extract(json, {sql.literal(_json_path(name))})::VARCHAR") for name in extras
    )
    connection.execute(
        f"INSERT INTO {rows} SELECT {', '.join(picked)}, {extra} FROM "
        f"(SELECT json, from_json(json, {sql.literal(structure)}) AS v FROM {records}) AS r"
    )
    return True


def stage_parquet(
    connection: duckdb.DuckDBPyConnection, rows: str, path: Path, matcher: HeaderMatcher
) -> None:
    """Fill the staging table from a Parquet file; values become the text DuckDB writes for them.

    Whole numbers of floating-point columns become `17`, not `17.0`: tools that know no missing
    whole numbers write ids so.

    Raises:
        FileRefused: it is no Parquet file, is damaged, lacks a required column, or has more records
            or columns than the limits allow.
    """
    file = sql.literal(str(path))
    relation = f"read_parquet({file}, hive_partitioning = false)"
    try:
        with connection.cursor() as cursor:
            described = cursor.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
            schema = cursor.execute(
                f"SELECT name, coalesce(num_children, 0) FROM parquet_schema({file})"
            ).fetchall()
            columns = [(name, kind) for name, kind, *_ in described]
            select = _parquet_select(relation, columns, _top_names(schema), matcher)
            # Equal values take no room in such a file: a few bytes can hold billions of records.
            records = scalar(cursor, f"SELECT sum(num_rows) FROM parquet_file_metadata({file})")
            matcher.limits.require_records(records)
            # Reads all of it, so that what is damaged shows before anything is kept.
            cursor.execute(f"SELECT bit_xor(hash(r)) FROM ({select}) AS r").fetchall()
    except duckdb.OutOfMemoryException as error:
        raise FileRefused(
            "Expected values that the run's memory can hold, found larger ones (memory_limit)."
        ) from error
    except (duckdb.Error, UnicodeDecodeError) as error:  # the second: of its message
        # The engine's message may quote values of the file; those are not for the event log.
        raise FileRefused(
            "Expected a whole Parquet file, found one that is damaged or incomplete, or no Parquet."
        ) from error
    connection.execute(f"INSERT INTO {rows} {select}")


def _top_names(schema: list[tuple[str, int]]) -> list[str]:
    """The column names of a Parquet file as written, from its (name, number of children).

    DuckDB renames those that differ in case alone.
    """
    names = []
    below = [schema[0][1]]  # columns that are still to come on each level; the first is the root
    for name, children in schema[1:]:
        if len(below) == 1:
            names.append(name)
        below[-1] -= 1
        below.append(children)
        while len(below) > 1 and not below[-1]:
            below.pop()
    return names


def _parquet_select(
    relation: str, columns: list[tuple[str, str]], headers: list[str], matcher: HeaderMatcher
) -> str:
    """The SELECT of a Parquet file's records.

    Args:
        columns: (name, type) as DuckDB has them.
        headers: the names as written.
    """
    layout = matcher.layout(headers)
    matcher.require_columns(set(layout.columns), headers)
    picked = [
        f"nullif({_text(*columns[layout.columns[name]])}, '')" if name in layout.columns else "NULL"
        for name in matcher.source.columns
    ]
    extra = _extra_object(
        (name, _json_text(*columns[number])) for name, number in layout.extras.items()
    )
    return f"SELECT {', '.join(picked)}, {extra} FROM {relation}"


def _text(name: str, kind: str) -> str:
    """The SQL of a Parquet column as text."""
    field = sql.identifier(name)
    if kind.endswith("]") or kind.startswith(("STRUCT(", "MAP(")):
        return f"to_json({field})::VARCHAR"
    if kind in ("DOUBLE", "FLOAT"):
        whole = f"{field} = trunc({field}) AND abs({field}) < 1e15"
        number = f"CASE WHEN {whole} THEN try_cast({field} AS BIGINT)::VARCHAR END"
        return f"coalesce({number}, {field}::VARCHAR)"  # NaN may pass for whole: statistics lie
    if kind == "BLOB":  # text of writers that don't mark it as text; else its bytes as `\\xNN`
        return f"coalesce(try(decode({field})), {field}::VARCHAR)"
    return f"{field}::VARCHAR"


def _json_text(name: str, kind: str) -> str:
    """The SQL of a Parquet column as JSON text."""
    field = sql.identifier(name)
    if kind.startswith("DECIMAL("):
        return f"{field}::VARCHAR"
    return f"to_json({_text(name, kind) if kind == 'BLOB' else field})::VARCHAR"


def _extra_object(fields: Iterable[tuple[str, str]]) -> str:
    """The SQL of `_extra`: a JSON object of the fields that hold something; null where none does.

    Args:
        fields: (name in the object, SQL of its value as JSON text).
    """
    members = [
        f"{sql.literal(json.dumps(name, ensure_ascii=False) + ':')} "
        f"|| nullif(nullif({value}, '\"\"'), 'null')"
        for name, value in fields
    ]
    if not members:
        return "NULL"
    return f"nullif('{{' || concat_ws(',', {', '.join(members)}) || '}}', '{{}}')"


def _one_meaning(
    key_sets: list[list[str]], matcher: HeaderMatcher
) -> tuple[dict[str, str], list[str]] | None:
    """(column -> key, other keys) where every record's keys mean the same; else None."""
    key_of: dict[str, str] = {}
    extras: set[str] = set()
    for keys in key_sets:
        if len(set(keys)) < len(keys):
            return None
        layout = matcher.layout(keys)
        for column, number in layout.columns.items():
            if key_of.setdefault(column, keys[number]) != keys[number]:
                return None
        extras.update(keys[number] for number in layout.extras.values())
    if extras & set(key_of.values()) or not key_of or "" in extras:
        return None
    folded = [key.casefold() for key in (*key_of.values(), *extras)]
    if len(set(folded)) < len(folded):  # DuckDB's structs don't tell Note from note
        return None
    if key_sets:
        matcher.require_columns(set(key_of), [*key_of.values(), *sorted(extras)])
    return key_of, sorted(extras)


def _json_path(key: str) -> str:
    """The JSON pointer of a key."""
    return "/" + key.replace("~", "~0").replace("/", "~1")
