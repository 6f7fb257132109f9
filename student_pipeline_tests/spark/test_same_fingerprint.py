"""Spark gives every table the fingerprint that DuckDB gives it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from student_pipeline.fingerprint import expressions, fingerprint
from student_pipeline.spark.moving import WORDS
from student_pipeline_tests.test_fingerprint import ODD, fill, taken

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_odd_values_have_the_same_fingerprint(spark: SparkSession, tmp_path: Path) -> None:
    file = tmp_path / "things.parquet"
    with duckdb.connect() as connection:
        fill(connection)
        there = taken(connection)
        connection.execute(
            f"COPY (SELECT * REPLACE (CAST(extra AS VARCHAR) AS extra) FROM odd.things) TO '{file}'"
        )
    (row,) = spark.read.parquet(str(file)).selectExpr(*expressions(ODD, WORDS)).collect()
    here = fingerprint(ODD, tuple(row))
    assert here.differences(there) == []
    assert here == there
