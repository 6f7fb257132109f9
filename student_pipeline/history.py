"""What Dagster's run history knows: the last run, what it made, what its checks found.

It can be read while a run holds the warehouse.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import dagster as dg

from student_pipeline.tables import TABLES, Table


@dataclass(frozen=True)
class Made:
    """The last materialization of a table: when, and the plain values that it noted."""

    when: datetime
    metadata: Mapping[str, Any]

    @property
    def rows(self) -> int | None:
        """The rows that it left."""
        return self.metadata.get("dagster/row_count")

    @property
    def by_reason(self) -> dict[str, int]:
        """Of a quarantine: reason -> rows."""
        prefix = "quarantined/"
        return {
            name.removeprefix(prefix): number
            for name, number in self.metadata.items()
            if name.startswith(prefix)
        }


@dataclass(frozen=True)
class Checked:
    """What a check found last. A failure that is a warning stops nothing."""

    asset: str
    name: str
    passed: bool
    warning: bool
    sentence: str


@dataclass(frozen=True)
class Run:
    """A run of the whole graph or of a part. Times are None where it did not begin or end."""

    id: str
    status: dg.DagsterRunStatus
    started: datetime | None
    ended: datetime | None


def last_made(instance: dg.DagsterInstance) -> dict[str, Made]:
    """`schema.table` -> its last materialization, of those that were ever made."""
    made = {}
    for table in TABLES.values():
        event = instance.get_latest_materialization_event(key_of(table))
        if event and event.asset_materialization:
            metadata = event.asset_materialization.metadata
            made[table.full_name] = Made(
                _moment(event.timestamp), {name: value.value for name, value in metadata.items()}
            )
    return made


def last_checked(instance: dg.DagsterInstance, checks: Iterable[dg.AssetCheckKey]) -> list[Checked]:
    """The last finding of each check that was ever made."""
    found = []
    for key in checks:
        record = instance.get_latest_asset_check_evaluation_record(key)
        event = record.event.dagster_event if record and record.event else None
        if event and event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            told = event.asset_check_evaluation_data
            found.append(
                Checked(
                    key.asset_key.to_user_string(),
                    key.name,
                    told.passed,
                    told.severity == dg.AssetCheckSeverity.WARN,
                    told.description or "",
                )
            )
    return found


def last_runs(instance: dg.DagsterInstance, number: int = 1, **which: Any) -> list[Run]:
    """The newest runs; `which` are filters of `dagster.RunsFilter`."""
    records = instance.get_run_records(dg.RunsFilter(**which), limit=number)
    return [
        Run(
            record.dagster_run.run_id,
            record.dagster_run.status,
            _moment(record.start_time) if record.start_time else None,
            _moment(record.end_time) if record.end_time else None,
        )
        for record in records
    ]


def key_of(table: Table) -> dg.AssetKey:
    """The asset of a table."""
    return dg.AssetKey(table.asset_key)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)
