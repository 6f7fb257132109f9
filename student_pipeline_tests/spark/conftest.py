"""One Spark Connect server for all tests: Sail, which needs no Java and starts in a second."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from student_pipeline_tests.spark.servers import sail

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


# A process of pytest-xdist has no main file, which pyspark takes for a run of its own doctests.
if not hasattr(sys.modules["__main__"], "__file__"):
    sys.modules["__main__"].__file__ = __file__


@pytest.fixture(scope="session")
def spark_remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the server."""
    with sail(tmp_path_factory.mktemp("sail") / "sail.log") as remote:
        yield remote


@pytest.fixture(scope="session")
def spark(spark_remote: str) -> Iterator[SparkSession]:
    """A session on the server, in UTC."""
    from pyspark.sql import SparkSession

    session = SparkSession.builder.remote(spark_remote).getOrCreate()
    session.conf.set("spark.sql.session.timeZone", "UTC")
    yield session
    session.stop()
