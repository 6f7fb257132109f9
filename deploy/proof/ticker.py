"""A job that does nothing, every minute from when its schedule is switched on."""

import dagster as dg


@dg.op
def nothing() -> None:
    """Do nothing."""


@dg.job
def tick() -> None:
    """One step."""
    nothing()


defs = dg.Definitions(
    schedules=[dg.ScheduleDefinition(job=tick, cron_schedule="* * * * *")],
)
