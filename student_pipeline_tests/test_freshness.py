"""Run freshness: the deadline, in the school's time zone, and the rule that Dagster's daemon uses."""

from datetime import datetime, timedelta, timezone

import dagster as dg
import pytest

from student_pipeline import tables
from student_pipeline.alerts.stale import STALE, stale_tables
from student_pipeline.definitions import defs
from student_pipeline.freshness import freshness_policy, is_fresh, last_deadline
from student_pipeline_tests.pipeline import School

CHICAGO = "America/Chicago"


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=timezone.utc)  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("now", "zone", "deadline"),
    [
        (utc(2026, 11, 25, 7, 0), "UTC", utc(2026, 11, 25, 7)),
        (utc(2026, 11, 25, 6, 59), "UTC", utc(2026, 11, 24, 7)),
        (utc(2026, 11, 25, 13, 0), CHICAGO, utc(2026, 11, 25, 13)),
        (utc(2026, 11, 25, 12, 59), CHICAGO, utc(2026, 11, 24, 13)),
        (utc(2026, 7, 1, 12, 0), CHICAGO, utc(2026, 7, 1, 12)),  # daylight saving time
    ],
)
def test_the_deadline_is_at_seven_at_school(now: datetime, zone: str, deadline: datetime) -> None:
    assert last_deadline(now, zone) == deadline


@pytest.mark.parametrize("zone", ["UTC", CHICAGO])
def test_a_table_is_fresh_when_it_was_made_between_midnight_and_the_deadline_or_later(
    zone: str,
) -> None:
    now = utc(2026, 11, 25, 20)
    midnight = last_deadline(now, zone) - timedelta(hours=7)
    assert not is_fresh(midnight - timedelta(seconds=1), now, zone)
    assert is_fresh(midnight, now, zone)
    assert is_fresh(now, now, zone)


def test_the_policy_is_the_same_rule() -> None:
    policy = freshness_policy(CHICAGO)
    assert isinstance(policy, dg.FreshnessPolicy)
    assert policy.deadline_cron == "0 7 * * *"
    assert policy.lower_bound_delta == timedelta(hours=7)
    assert policy.timezone == CHICAGO


def test_every_table_has_the_policy_and_what_others_deliver_has_none() -> None:
    for spec in defs.resolve_all_asset_specs():
        expected = None if spec.key.path[0] == "landing" else freshness_policy("UTC")
        assert spec.freshness_policy == expected, spec.key


def test_gold_that_was_not_made_by_the_deadline_is_one_problem(school: School) -> None:
    school.deliver("students.csv", "student_id,name\nS1,Ann\n")
    with dg.DagsterInstance.ephemeral() as instance:
        never = stale_tables(instance, utc(2026, 11, 25, 8), "UTC")
        assert (never.problems, never.passed) == ([], set())
        assert school.run(instance=instance).success
        made = instance.get_latest_materialization_event(
            dg.AssetKey(tables.CLASS_DAILY_PERFORMANCE.asset_key)
        )
        assert made
        now = datetime.fromtimestamp(made.timestamp, timezone.utc)
        fresh = stale_tables(instance, now, "UTC")
        assert (fresh.problems, fresh.passed) == ([], {STALE})
        (problem,) = stale_tables(instance, now + timedelta(days=2), "UTC").problems
    assert problem.where == "gold.class_daily_performance, gold.student_performance_summary"
    deadline = last_deadline(now + timedelta(days=2), "UTC")
    assert f"{deadline:%Y-%m-%d} 07:00 UTC" in problem.what
