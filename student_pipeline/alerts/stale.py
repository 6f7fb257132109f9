"""Tables that were not made anew by the deadline."""

from datetime import datetime, timezone

import dagster as dg

from student_pipeline import tables
from student_pipeline.alerts.message import Problem
from student_pipeline.alerts.problems import Seen
from student_pipeline.freshness import is_fresh, last_deadline

STALE = "stale"
"""The id of the problem that gold is not fresh."""


def stale_tables(instance: dg.DagsterInstance, now: datetime, time_zone: str) -> Seen:
    """The one problem that gold tables are overdue, or that it is over.

    A table that was never made is not overdue: nobody waits for it yet.
    """
    made = {table.full_name: last_made(instance, table) for table in tables.GOLD}
    overdue = [name for name, when in made.items() if when and not is_fresh(when, now, time_zone)]
    if not overdue:
        return Seen(now, passed={STALE} if any(made.values()) else set())
    deadline = last_deadline(now, time_zone)
    problem = Problem(
        id=STALE,
        warning=False,
        title="tables are not fresh",
        what=(
            f"They were to be made anew by {deadline:%Y-%m-%d %H:%M %Z}, and were not. "
            "What people read is what they read yesterday."
        ),
        where=", ".join(overdue),
        todo=(
            "See in the runs whether one failed, waits or was never started; "
            "then see whether the daemon and the schedule are on."
        ),
        page="/runs",
    )
    return Seen(now, [problem])


def last_made(instance: dg.DagsterInstance, table: tables.Table) -> datetime | None:
    """When a table was last made, as the run history tells."""
    event = instance.get_latest_materialization_event(dg.AssetKey(table.asset_key))
    return datetime.fromtimestamp(event.timestamp, timezone.utc) if event else None
