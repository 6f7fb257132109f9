"""One Spark Connect server for all tests: Sail, which needs no Java and starts in a second."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from student_pipeline.spark.session import connect, end, name_main
from student_pipeline_tests.spark.servers import sail

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession

name_main()  # a process of pytest-xdist is another one without a file


@pytest.fixture(scope="session")
def spark_remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the server."""
    with sail(tmp_path_factory.mktemp("sail") / "sail.log") as remote:
        yield remote


@pytest.fixture(scope="session")
def spark(spark_remote: str) -> Iterator[SparkSession]:
    """A session on the server."""
    session = connect(spark_remote)
    yield session
    end(session)
