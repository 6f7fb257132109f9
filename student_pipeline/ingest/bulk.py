"""Reading big plain files in the engine, in parallel.

The readers of `csv_records` and `json_records` say what a file holds. Here DuckDB reads the same
from files that are so plain that there is no room for a different reading; where a file turns out
not to be, the caller reads it exactly. The tests compare the two on generated files.
"""

import json
from pathlib import Path

import duckdb

from student_pipeline.ingest.csv_records import CsvHeader
from student_pipeline.ingest.errors import FileRefused
from student_pipeline.ingest.json_records import Shape
from student_pipeline.ingest.layout import HeaderMatcher
from student_pipeline.ingest.records import MAX_RECORD_CHARS
from student_pipeline.warehouse import sql

MIN_BYTES = 1 << 20
"""Smaller files are read exactly at once: that takes no longer."""

_FIELD_COUNT_ERRORS = ("MISSING COLUMNS", "TOO MANY COLUMNS")

# What DuckDB's JSON reader would write differently or read differently: numbers that are not in
# their shortest form, nested values, NUL and half surrogate pairs.
_UNUSUAL_JSON = (
    r":\s*-?[0-9.]+[eE]|:\s*-?[0-9]+\.[0-9]+0\s*[,}]|:\s*-?[0-9.]{16,}|:\s*-0|:\s*0\.000"
    r"|:\s*-?[NI]|:\s*[\[{]|\\u(d[89a-fA-F]|D[89a-fA-F]|0000)"
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
    """Fill the staging tables from a file without quotes; False where it has to be read exactly."""
    width = len(header.layout.headers)
    if width < 2:
        return False
    fields = ", ".join(f"'f{number}': 'VARCHAR'" for number in range(width))
    columns = header.layout.columns
    picked = [f"f{columns[name]}" if name in columns else "NULL" for name in matcher.source.columns]
    extra = _extra_object((name, f"f{number}") for name, number in header.layout.extras.items())
    try:
        connection.execute(
            f"INSERT INTO {rows} SELECT {', '.join(picked)}, {extra} FROM read_csv(?, "
            f"columns = {{{fields}}}, auto_detect = false, header = false, skip = {header.lines}, "
            f"delim = {sql.literal(header.delimiter)}, quote = '', escape = '', nullstr = '', "
            "compression = 'none', store_rejects = true, rejects_table = 'csv_errors', "
            "rejects_scan = 'csv_scans')",
            [str(path)],
        )
        kinds = connection.execute("SELECT DISTINCT error_type::VARCHAR FROM csv_errors").fetchall()
        if any(kind not in _FIELD_COUNT_ERRORS for (kind,) in kinds):
            return False
        delimiters = f"length(raw) - length(replace(raw, {sql.literal(header.delimiter)}, ''))"
        connection.execute(
            f"INSERT INTO {malformed} SELECT line, format('Line {{}}: expected {width} fields, "
            f"found {{}}.', line, {delimiters} + 1), raw "
            "FROM (SELECT line, rtrim(first(csv_line), chr(13) || chr(10)) AS raw FROM csv_errors "
            "GROUP BY line) AS error ORDER BY line"
        )
    except duckdb.InvalidInputException:
        return False
    finally:
        connection.execute("DROP TABLE IF EXISTS csv_errors")
        connection.execute("DROP TABLE IF EXISTS csv_scans")
    return True


def stage_json(
    connection: duckdb.DuckDBPyConnection,
    rows: str,
    path: Path,
    shape: Shape,
    matcher: HeaderMatcher,
) -> bool:
    """Fill the staging table from flat records; False where the file has to be read exactly."""
    kind = "array" if shape == "array" else "newline_delimited"
    try:
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE incoming_json AS SELECT json::VARCHAR AS json "
            f"FROM read_json_objects(?, format = '{kind}', compression = 'none', "
            f"maximum_object_size = {MAX_RECORD_CHARS})",
            [str(path)],
        )
        unusual = connection.execute(
            "SELECT 1 FROM incoming_json WHERE json_type(json) <> 'OBJECT' "
            f"OR regexp_matches(json, {sql.literal(_UNUSUAL_JSON)}) LIMIT 1"
        ).fetchone()
        key_sets = connection.execute(
            f"SELECT DISTINCT json_keys(json) FROM incoming_json LIMIT {_MOST_KEY_SETS + 1}"
        ).fetchall()
        if unusual or len(key_sets) > _MOST_KEY_SETS:
            return False
        names = _one_meaning([keys for (keys,) in key_sets], matcher)
        if names is None:
            return False
        key_of, extras = names
        structure = json.dumps(dict.fromkeys((*key_of.values(), *extras), "VARCHAR"))
        picked = [
            f"nullif(v.{sql.identifier(key_of[name])}, '')" if name in key_of else "NULL"
            for name in matcher.source.columns
        ]
        extra = _extra_object(
            (name, f"nullif(json_extract(json, {sql.literal(_json_path(name))}), '\"\"')")
            for name in extras
        )
        connection.execute(
            f"INSERT INTO {rows} SELECT {', '.join(picked)}, {extra} FROM "
            f"(SELECT json, from_json(json, {sql.literal(structure)}) AS v FROM incoming_json) AS r"
        )
    except duckdb.InvalidInputException:
        return False
    finally:
        connection.execute("DROP TABLE IF EXISTS incoming_json")
    return True


def stage_parquet(
    connection: duckdb.DuckDBPyConnection, rows: str, path: Path, matcher: HeaderMatcher
) -> None:
    """Fill the staging table from a Parquet file; values become the text DuckDB writes for them.

    Raises:
        FileRefused: it is no Parquet file, or lacks a required column.
    """
    relation = f"read_parquet({sql.literal(str(path))}, binary_as_string = true)"
    try:
        described = connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
        headers = [name for name, *_ in described]
        nested = {
            name for name, kind, *_ in described if kind[-1] in ")]" and "DECIMAL" not in kind
        }
        layout = matcher.layout(headers)
        matcher.require_columns(set(layout.columns), headers)
        picked = []
        for name in matcher.source.columns:
            if name not in layout.columns:
                picked.append("NULL")
                continue
            header = headers[layout.columns[name]]
            field = sql.identifier(header)
            text = f"to_json({field})" if header in nested else field
            picked.append(f"nullif(cast({text} AS VARCHAR), '')")
        extra = _extra_object(
            (name, f"nullif(to_json({sql.identifier(headers[number])}), '\"\"')")
            for name, number in layout.extras.items()
        )
        connection.execute(
            f"INSERT INTO {rows} SELECT {', '.join(picked)}, {extra} FROM {relation}"
        )
    except (duckdb.InvalidInputException, duckdb.IOException, duckdb.ConversionException) as error:
        reason = str(error).splitlines()[0].replace(str(path), "it")
        raise FileRefused(
            f"Expected a whole Parquet file, found one that can't be read: {reason}"
        ) from error


def _extra_object(fields: "object") -> str:
    """The SQL of `_extra`: a JSON object of the fields that are not null; null where none is."""
    pairs = ", ".join(f"{sql.literal(name)}, {value}" for name, value in fields)  # type: ignore[attr-defined]
    if not pairs:
        return "NULL"
    return f"nullif(json_merge_patch('{{}}', json_object({pairs}))::VARCHAR, '{{}}')"


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
    if extras & set(key_of.values()):
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
