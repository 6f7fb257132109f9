"""By when every table must have been made anew: apart from how old the data in it are."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

DEADLINE_HOUR = 7
"""The schedule starts at six; by seven, in the school's time zone, its run has ended."""


def freshness_policy(time_zone: str) -> dg.FreshnessPolicy:
    """Made anew between midnight and the deadline, every day: what the UI shows as fresh."""
    return dg.FreshnessPolicy.cron(
        deadline_cron=f"0 {DEADLINE_HOUR} * * *",
        lower_bound_delta=timedelta(hours=DEADLINE_HOUR),
        timezone=time_zone,
    )


def last_deadline(now: datetime, time_zone: str) -> datetime:
    """The latest deadline that has passed.

    Args:
        now: an instant with a time zone.
        time_zone: an IANA name.
    """
    local = now.astimezone(ZoneInfo(time_zone))
    deadline = local.replace(hour=DEADLINE_HOUR, minute=0, second=0, microsecond=0)
    return deadline if deadline <= local else deadline - timedelta(days=1)


def is_fresh(made: datetime, now: datetime, time_zone: str) -> bool:
    """Whether a table that was made then is fresh now, by the policy's rule."""
    deadline = last_deadline(now, time_zone)
    earliest = deadline.astimezone(ZoneInfo("UTC")) - timedelta(hours=DEADLINE_HOUR)
    return made >= earliest
