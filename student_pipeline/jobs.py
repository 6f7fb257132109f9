"""The one job: the whole graph, from the files to what is published, with every check."""

import dagster as dg

JOB_NAME = "student_data_pipeline"

STUDENT_DATA_PIPELINE = dg.define_asset_job(
    JOB_NAME,
    selection=dg.AssetSelection.all(),
    description=(
        "Loads what is new in the landing folder, rebuilds silver, quarantine and gold, checks every "
        "table, and publishes gold. Set `full_refresh` of the resource `warehouse` to rebuild from bronze."
    ),
    # One process: DuckDB is parallel inside, and lets one process write.
    executor_def=dg.in_process_executor,
    # Begun again after a kill, a run does all of its work: its checks, too, and what came meanwhile.
    tags={"dagster/max_runtime": "14400", "dagster/retry_strategy": "ALL_STEPS"},
)


def full_refresh_config() -> dict[str, object]:
    """The run configuration that rebuilds silver, quarantine and gold from bronze."""
    return {"resources": {"warehouse": {"config": {"full_refresh": True}}}}
