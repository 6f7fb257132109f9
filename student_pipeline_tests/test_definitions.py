"""What Dagster shows: the graph, its documentation, the job and its schedule."""

from datetime import datetime, timezone
from pathlib import Path

import dagster as dg
import pytest

from student_pipeline import tables
from student_pipeline.definitions import defs
from student_pipeline.jobs import JOB_NAME
from student_pipeline.settings import Rules
from student_pipeline.sources import SOURCES
from student_pipeline_tests.command import Installation
from student_pipeline_tests.test_cli import ASSETS, ROWS, deliver_all

SPECS = {
    spec.key.to_user_string(): spec
    for spec in sorted(defs.resolve_all_asset_specs(), key=lambda spec: spec.key)
}
MADE = [name for name in SPECS if not name.startswith("landing/")]
STORED = [name for name in MADE if not name.startswith("published/")]
CHECKS = [spec for checks in defs.asset_checks or () for spec in checks.check_specs]
JOB = defs.resolve_job_def(JOB_NAME)
SCHEDULE = defs.resolve_schedule_def("every_morning")

GRAPH = """
bronze/assessments <- landing/assessments
bronze/attendance <- landing/attendance
bronze/students <- landing/students
gold/class_daily_performance <- silver/dim_student, silver/fact_assess, silver/fact_attend
gold/student_performance_summary <- silver/dim_student, silver/fact_assess, silver/fact_attend
landing/assessments <-
landing/attendance <-
landing/students <-
published/class_daily_performance <- gold/class_daily_performance, gold/student_performance_summary
published/gold_duckdb <- gold/class_daily_performance, gold/student_performance_summary
published/report <- gold/class_daily_performance, gold/student_performance_summary
published/student_performance_summary <- gold/class_daily_performance, gold/student_performance_summary
quarantine/assessments <- bronze/assessments, silver/dim_student
quarantine/attendance <- bronze/attendance, silver/dim_student
quarantine/students <- bronze/students
silver/dim_student <- bronze/students
silver/fact_assess <- bronze/assessments, silver/dim_student
silver/fact_attend <- bronze/attendance, silver/dim_student
"""
"""Asset <- what it is made from."""

OWNERS_AND_KINDS = {
    "landing": ("team:registrar", [{"file", "csv"}, {"file", "json"}]),
    "bronze": ("team:data-engineering", [{"duckdb", "table"}]),
    "silver": ("team:data-engineering", [{"duckdb", "sql"}]),
    "quarantine": ("team:registrar", [{"duckdb", "table"}]),
    "gold": ("team:school-analytics", [{"duckdb", "sql"}]),
    "published": (
        "team:school-analytics",
        [{"parquet", "csv"}, {"duckdb", "file"}, {"html"}],
    ),
}
"""Group -> owner, and the kinds that its assets may have."""

WARNINGS = {
    "columns_known",
    "row_count_kept",
    "still_in_roster",
    "one_student_per_id",
    "quarantined_share",
    "recent_data",
    "coverage_above_one",
}
"""The checks that stop nothing."""


# --- the graph ------------------------------------------------------------------------------------


def test_the_definitions_can_be_loaded() -> None:
    dg.Definitions.validate_loadable(defs)


def test_each_asset_is_made_from_what_the_graph_says() -> None:
    graph = {
        name: sorted(dep.asset_key.to_user_string() for dep in spec.deps)
        for name, spec in SPECS.items()
    }
    lines = [f"{name} <- {', '.join(graph[name])}".rstrip() for name in sorted(graph)]
    assert "\n".join(lines) == GRAPH.strip()


def test_every_declared_table_is_an_asset() -> None:
    declared = {
        "/".join(table.asset_key) for table in tables.TABLES.values() if table.schema != "ops"
    }
    assert set(STORED) == declared


@pytest.mark.parametrize("name", SPECS)
def test_an_asset_tells_group_owner_and_kinds(name: str) -> None:
    group = name.partition("/")[0]
    owner, kinds = OWNERS_AND_KINDS[group]
    assert SPECS[name].group_name == group
    assert list(SPECS[name].owners) == [owner]
    assert SPECS[name].kinds in kinds


@pytest.mark.parametrize("name", SPECS)
def test_an_asset_has_a_description_for_people(name: str) -> None:
    assert len((SPECS[name].description or "").split()) >= 5


@pytest.mark.parametrize("name", STORED)
def test_a_table_shows_every_column_with_its_meaning(name: str) -> None:
    table = tables.TABLES[name.replace("/", ".")]
    schema = SPECS[name].metadata["dagster/column_schema"]
    assert [column.name for column in schema.columns] == list(table.column_names)
    for column, declared in zip(schema.columns, table.columns, strict=True):
        assert column.type == declared.type
        assert column.description, column.name
        assert column.constraints.nullable is not declared.required
    assert SPECS[name].metadata["dagster/table_name"] == table.full_name


@pytest.mark.parametrize("name", [name for name in STORED if name.startswith(("silver", "gold"))])
def test_a_made_table_shows_its_select(name: str) -> None:
    folder = Path(tables.__file__).parent / "sql"
    select = SPECS[name].metadata["select"].value
    assert select.startswith("```sql\n")
    assert (folder / f"{name}.sql").read_text(encoding="utf-8") in select


def test_a_source_shows_where_its_files_are_looked_for() -> None:
    for source in SOURCES.values():
        metadata = SPECS[f"landing/{source.name}"].metadata
        assert metadata["columns"] == ", ".join(source.columns)
        assert f"{source.name}_*.<ext>" in metadata["files"]
        assert metadata["landing folder"]


# --- checks ---------------------------------------------------------------------------------------


def test_every_table_has_checks_and_every_check_says_what_it_proves() -> None:
    checked = {spec.asset_key.to_user_string() for spec in CHECKS}
    assert checked == set(MADE)
    for spec in CHECKS:
        assert len((spec.description or "").split()) >= 4, spec


def test_errors_stop_what_comes_after_and_warnings_do_not() -> None:
    assert {spec.name for spec in CHECKS if not spec.blocking} == WARNINGS
    assert not {spec.name for spec in CHECKS if spec.blocking} & WARNINGS


# --- how it runs ----------------------------------------------------------------------------------


def test_every_step_is_in_the_pool_of_the_warehouse() -> None:
    # Every table has a step and a step of checks, except that a quarantine shares its table's;
    # what is published has one of each.
    steps = 2 * len([name for name in STORED if not name.startswith("quarantine/")]) + 2
    pools = [
        node.definition.pool for node in JOB.nodes if isinstance(node.definition, dg.OpDefinition)
    ]
    assert pools == ["duckdb"] * steps


def test_all_runs_in_one_process() -> None:
    # DuckDB lets one process write: the job's executor, and that of "Materialize all".
    assert JOB.executor_def is dg.in_process_executor
    assert defs.executor is dg.in_process_executor


def test_the_job_makes_and_checks_everything() -> None:
    assert JOB.name == "student_data_pipeline"
    assert len((JOB.description or "").split()) > 10
    assert (
        {key.to_user_string() for key in JOB.asset_layer.executable_asset_keys}
        == set(MADE)
        == ASSETS
    )
    keys = {(spec.asset_key, spec.name) for spec in CHECKS}
    assert {
        (key.asset_key, key.name) for key in JOB.asset_layer.asset_graph.asset_check_keys
    } == keys


def test_the_schedule_is_on_at_six_every_morning() -> None:
    assert SCHEDULE.cron_schedule == "0 6 * * *"
    assert SCHEDULE.execution_timezone == Rules().schedule_time_zone == "UTC"
    assert SCHEDULE.default_status == dg.DefaultScheduleStatus.RUNNING
    assert SCHEDULE.job_name == JOB_NAME


def test_the_schedule_keeps_the_school_s_time_zone() -> None:
    from student_pipeline.schedules import daily_schedule

    assert daily_schedule("America/Chicago").execution_timezone == "America/Chicago"


def test_a_tick_of_the_schedule_runs_the_job_as_the_command_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_command, by_schedule = Installation(tmp_path / "a"), Installation(tmp_path / "b")
    for school in (by_command, by_schedule):
        deliver_all(school)
    outcome = by_command.command("run")
    assert outcome.status == 0

    for name, value in by_schedule.environment().items():
        monkeypatch.setenv(name, value)
    by_schedule.home.mkdir()
    with dg.DagsterInstance.get() as instance:
        six = datetime(2024, 9, 9, 6, tzinfo=timezone.utc)
        tick = SCHEDULE.evaluate_tick(
            dg.build_schedule_context(
                instance=instance,
                scheduled_execution_time=six,
                repository_def=defs.get_repository_def(),
            )
        )
        assert len(tick.run_requests or ()) == 1
        request = (tick.run_requests or ())[0]
        result = JOB.execute_in_process(
            instance=instance,
            run_config=request.run_config,
            tags=dict(request.tags),
            raise_on_error=False,
        )
        assert result.success
        assert [run.tags["dagster/schedule_name"] for run in instance.get_runs()] == [
            "every_morning"
        ]
    left = by_schedule.tables()
    assert {name.replace(".", "/"): len(rows) for name, rows in left.items()} == ROWS
    assert left == by_command.tables()
