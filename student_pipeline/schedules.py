"""When the job runs by itself."""

import dagster as dg

from student_pipeline.jobs import STUDENT_DATA_PIPELINE

EVERY_MORNING = "0 6 * * *"


def daily_schedule(time_zone: str) -> dg.ScheduleDefinition:
    """The job at six every morning in the given time zone (IANA name), on when deployed."""
    return dg.ScheduleDefinition(
        name="every_morning",
        job=STUDENT_DATA_PIPELINE,
        cron_schedule=EVERY_MORNING,
        execution_timezone=time_zone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Materializes everything, so that it is fresh when school starts.",
    )
