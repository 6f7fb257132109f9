"""OSS Spark with a master and two workers: what only a real cluster can do. `make spark-test` runs it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

import pytest

from student_pipeline.spark import session
from student_pipeline_tests.command import Installation
from student_pipeline_tests.spark.parity import FIRST, Side
from student_pipeline_tests.spark.servers import Cluster, end, spark_cluster
from student_pipeline_tests.spark.test_failures import catalog, reasons, run
from student_pipeline_tests.test_cli import deliver_all

pytestmark = pytest.mark.skipif(
    not os.environ.get("STUDENT_PIPELINE_TEST_SPARK"), reason="needs Java 17: make spark-test"
)

TOKEN = "open-sesame"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with spark_cluster(tmp_path_factory.mktemp("spark"), token=TOKEN) as cluster:
        yield cluster


@pytest.fixture
def school(tmp_path: Path) -> Installation:
    school = Installation(tmp_path)
    deliver_all(school)
    return school


def test_a_wrong_token(school: Installation, cluster: Cluster) -> None:
    outcome = run(school, cluster.remote.replace(TOKEN, "guessed"))
    assert outcome.status == 1
    (reason,) = reasons(outcome)
    assert "refused us: the token is wrong or missing" in reason
    assert catalog(school) is None


def test_lost_workers(school: Installation, cluster: Cluster, tmp_path: Path) -> None:
    """Spark gives the work of one to the other; without any, a run says that nobody works."""
    with ThreadPoolExecutor(1) as beside:
        going = beside.submit(run, school, cluster.remote)
        while catalog(school) is None:
            assert not going.done(), going.result().out
            time.sleep(0.05)
        end(cluster.workers[0], signal.SIGKILL)
    assert going.result().status == 0
    end(cluster.workers[1], signal.SIGKILL)
    alone = Side(tmp_path / "alone", school.landing, cluster.remote)
    with patch.object(session, "WORKER_SECONDS", 10.0):
        result = alone.run(FIRST)
    assert not result.success
    failed = [event for event in result.all_events if event.is_step_failure]
    assert "for 10 seconds no worker took up the work." in str(failed[0].step_failure_data.error)


def other_python() -> str | None:
    """A Python of another minor version than this one, if there is any that starts."""
    for minor in range(10, 15):
        found = shutil.which(f"python3.{minor}")
        if found and minor != sys.version_info.minor:
            started = subprocess.run([found, "-c", ""], capture_output=True, check=False)
            if started.returncode == 0:
                return found
    return None


def test_another_python_on_the_workers(school: Installation, tmp_path: Path) -> None:
    other = os.environ.get("STUDENT_PIPELINE_OTHER_PYTHON") or other_python()
    if not other:
        pytest.skip("there is one version of Python on this machine")
    with spark_cluster(tmp_path / "spark", workers=1, worker_python=other) as cluster:
        outcome = run(school, cluster.remote)
    assert outcome.status == 1
    assert reasons(outcome)
    for reason in reasons(outcome):
        assert "The workers of the cluster run another Python than this one" in reason
        assert "PYSPARK_PYTHON on the workers" in reason
