"""A Dagster job of the pipeline's shape that does nothing: what Dagster itself costs.

As many assets, check steps and checks as `student_data_pipeline` has, in one process, recorded in
the instance of DAGSTER_HOME.

Usage: python benchmarks/empty_job.py
"""

import sys
from collections.abc import Iterator
from typing import Any

import dagster as dg

STEPS: dict[str, tuple[list[str], dict[str, int]]] = {
    # table: (tables it reads, {asset of the step: number of its checks})
    "bronze/students": ([], {"bronze/students": 6}),
    "bronze/attendance": ([], {"bronze/attendance": 6}),
    "bronze/assessments": ([], {"bronze/assessments": 6}),
    "silver/dim_student": (
        ["bronze/students"],
        {"silver/dim_student": 7, "quarantine/students": 5},
    ),
    "silver/fact_attend": (
        ["bronze/attendance", "silver/dim_student"],
        {"silver/fact_attend": 12, "quarantine/attendance": 5},
    ),
    "silver/fact_assess": (
        ["bronze/assessments", "silver/dim_student"],
        {"silver/fact_assess": 11, "quarantine/assessments": 5},
    ),
    "gold/class_daily_performance": (
        ["silver/dim_student", "silver/fact_attend", "silver/fact_assess"],
        {"gold/class_daily_performance": 10},
    ),
    "gold/student_performance_summary": (
        ["silver/dim_student", "silver/fact_attend", "silver/fact_assess"],
        {"gold/student_performance_summary": 10},
    ),
    "published": (
        ["gold/class_daily_performance", "gold/student_performance_summary"],
        {
            "published/class_daily_performance": 1,
            "published/student_performance_summary": 1,
            "published/gold_duckdb": 1,
            "published/report": 1,
        },
    ),
}


def key(name: str) -> dg.AssetKey:
    """The asset key of `schema/table`."""
    return dg.AssetKey(name.split("/"))


def empty_assets(name: str) -> list[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """The asset step and the check step of a table, doing nothing."""
    reads, assets = STEPS[name]
    op_name = name.replace("/", "_")

    @dg.multi_asset(
        name=op_name, specs=[dg.AssetSpec(key(asset), deps=map(key, reads)) for asset in assets]
    )
    def materialize() -> Iterator[dg.MaterializeResult[Any]]:
        for asset in assets:
            yield dg.MaterializeResult(asset_key=key(asset), metadata={"dagster/row_count": 0})

    specs = [
        dg.AssetCheckSpec(f"check_{number}", asset=key(asset), blocking=True)
        for asset, count in assets.items()
        for number in range(count)
    ]

    @dg.multi_asset_check(name=f"{op_name}_checks", specs=specs)
    def check() -> Iterator[dg.AssetCheckResult]:
        for spec in specs:
            yield dg.AssetCheckResult(
                passed=True, asset_key=spec.asset_key, check_name=spec.name, description="Good."
            )

    return [materialize, check]


def main() -> int:
    """Run the job; 0 when it succeeded."""
    made = [definition for name in STEPS for definition in empty_assets(name)]
    defs = dg.Definitions(
        assets=[item for item in made if not isinstance(item, dg.AssetChecksDefinition)],
        asset_checks=[item for item in made if isinstance(item, dg.AssetChecksDefinition)],
        jobs=[dg.define_asset_job("empty", selection=dg.AssetSelection.all())],
        executor=dg.in_process_executor,
    )
    with dg.DagsterInstance.get() as instance:
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        result = defs.resolve_job_def("empty").execute_in_process(
            instance=instance, run_config=quiet
        )
    return 0 if result.success else 1


if __name__ == "__main__":
    sys.exit(main())
