"""The UI with the Spark engine: the same graph, launched as the button does."""

from __future__ import annotations

from pathlib import Path

from student_pipeline.jobs import JOB_NAME
from student_pipeline.spark.store import Store
from student_pipeline_tests.command import Installation
from student_pipeline_tests.test_cli import deliver_all
from student_pipeline_tests.test_dev import copy_checkout, dagster_dev


def test_a_run_that_the_ui_starts(tmp_path: Path, spark_remote: str) -> None:
    copy_checkout(tmp_path)
    deliver_all(Installation(tmp_path))
    warehouse = tmp_path / "warehouse"
    with dagster_dev(
        tmp_path,
        STUDENT_PIPELINE_ENGINE="spark",
        SPARK_REMOTE=spark_remote,
        STUDENT_PIPELINE_SOURCE=str(tmp_path / "landing"),
        STUDENT_PIPELINE_WAREHOUSE=str(warehouse),
    ) as dev:
        (run_id,) = dev.launch(JOB_NAME)
        assert dev.ends(run_id) == "SUCCESS", (tmp_path / "dev.log").read_text()[-3000:]
    catalog = Store(str(warehouse)).read()
    assert catalog
    assert set(catalog.tables) >= {"silver.fact_attend", "gold.class_daily_performance"}
    assert (tmp_path / "data" / "published" / "report.html").exists()
