"""A failed run goes on from its failure, as the UI's button does it."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from student_pipeline.definitions import defs
from student_pipeline.jobs import JOB_NAME
from student_pipeline.warehouse import connection, merge
from student_pipeline_tests.pipeline import School
from student_pipeline_tests.test_checks import deliver_a_good_day


def the_job() -> dg.JobDefinition:
    """The job, by a name that another process could import."""
    return defs.resolve_job_def(JOB_NAME)


def test_a_run_that_broke_off_goes_on_where_it_failed(
    school: School, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver_a_good_day(school)
    monkeypatch.setattr(connection, "RETRIES", dg.RetryPolicy(max_retries=1, delay=0))
    job = dg.reconstructable(the_job)
    home = tmp_path / "home"
    home.mkdir()

    def broken(*arguments: Any, **named: Any) -> None:
        raise OSError(5, "Input/output error")

    with dg.DagsterInstance.local_temp(str(home)) as instance:
        with monkeypatch.context() as patch:
            patch.setattr(merge, "bring_up_to_date", broken)
            failed = dg.execute_job(job, instance, run_config=school.run_config())
        assert not failed.success
        assert {event.step_key for event in failed.all_events if event.is_step_failure} == {
            "silver_dim_student"
        }
        assert not school.query("SELECT * FROM duckdb_tables() WHERE schema_name = 'silver'")
        again = dg.execute_job(
            job,
            instance,
            run_config=school.run_config(),
            reexecution_options=dg.ReexecutionOptions.from_failure(failed.run_id, instance),
        )
        assert again.success
        done = {event.step_key for event in again.all_events if event.is_step_success}
    assert "silver_dim_student" in done
    assert "gold_class_daily_performance_checks" in done
    assert not any(step and step.startswith("bronze") for step in done)
    assert len(school.rows("gold.student_performance_summary")) == 40
