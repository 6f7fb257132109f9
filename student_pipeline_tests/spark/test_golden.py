"""The Spark SQL of every file below `student_pipeline/sql/`, as golden files, and whether Spark takes it.

`python -m student_pipeline_tests.spark.test_golden` writes the golden files anew.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from student_pipeline import tables
from student_pipeline.spark.dialect import to_spark
from student_pipeline_tests.test_portable_sql import SELECTS, rendered

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FOLDER = Path(__file__).with_name("golden")
ANEW = "python -m student_pipeline_tests.spark.test_golden"

TYPES = {
    "VARCHAR": "STRING",
    "JSON": "STRING",
    "INTEGER": "INT",
    "TIMESTAMPTZ": "TIMESTAMP",
}
"""Types that Spark names otherwise."""


def golden(path: str) -> Path:
    """The golden file of a file below `student_pipeline/sql/`."""
    return FOLDER / path.replace("/", ".")


def translated(path: str) -> str:
    return to_spark(rendered(path)) + "\n"


@pytest.mark.parametrize("path", SELECTS)
def test_the_spark_sql_is_as_it_was(path: str) -> None:
    file = golden(path)
    stored = file.read_text(encoding="utf-8") if file.exists() else ""
    difference = "".join(
        difflib.unified_diff(
            stored.splitlines(keepends=True),
            translated(path).splitlines(keepends=True),
            f"golden/{file.name}",
            "translated now",
        )
    )
    assert not difference, f"If this is meant, run {ANEW}\n{difference}"


def test_every_golden_file_is_of_a_file() -> None:
    assert {file.name for file in FOLDER.iterdir()} == {golden(path).name for path in SELECTS}


@pytest.fixture(scope="module")
def empty_tables(spark: SparkSession) -> SparkSession:
    """A server with every table, as declared and without rows."""
    every = (*tables.TABLES.values(), tables.LATEST_ROSTER, *tables.OPS)
    for schema in sorted({table.schema for table in every}):
        spark.sql(f"CREATE DATABASE IF NOT EXISTS {schema}").collect()
    for table in every:
        columns = ", ".join(
            f"{column.name} {TYPES.get(column.type, column.type)}" for column in table.columns
        )
        spark.sql(f"CREATE TABLE {table.full_name} ({columns}) USING parquet").collect()
    return spark


@pytest.mark.parametrize("path", SELECTS)
def test_spark_takes_the_golden_sql(empty_tables: SparkSession, path: str) -> None:
    """It runs, on empty tables, and gives the columns that the text names."""
    query = golden(path).read_text(encoding="utf-8")
    found = empty_tables.sql(query).toArrow()
    table = tables.TABLES.get(path.removesuffix(".sql").replace("/", "."))
    if table:
        expected = [*table.column_names, *(["reason"] if table.quarantine else [])]
        assert found.column_names == expected
    elif path.startswith("checks/"):
        assert found.column_names == ["key"]
    assert found.num_rows == 0


def write_anew() -> None:
    """Write every golden file as its SELECT is translated now, and remove those of no file."""
    FOLDER.mkdir(exist_ok=True)
    for file in FOLDER.iterdir():
        file.unlink()
    for path in SELECTS:
        golden(path).write_text(translated(path), encoding="utf-8")


if __name__ == "__main__":
    write_anew()
