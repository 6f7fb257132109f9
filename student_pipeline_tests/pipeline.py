"""Running the real pipeline in a test, and looking at what it left."""

from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb

from student_pipeline.definitions import defs
from student_pipeline.jobs import JOB_NAME
from student_pipeline.tables import TABLES

NOW = datetime(2026, 6, 30, 6, 0, tzinfo=timezone.utc)
"""The time that runs take for now, unless a test says another."""


@dataclass
class School:
    """A landing folder and a warehouse of their own, in a temporary folder."""

    folder: Path
    rules: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.landing.mkdir(parents=True, exist_ok=True)

    @property
    def landing(self) -> Path:
        return self.folder / "landing"

    @property
    def warehouse(self) -> Path:
        return self.folder / "warehouse.duckdb"

    @property
    def published(self) -> Path:
        return self.folder / "published"

    def deliver(self, name: str, content: str | bytes) -> Path:
        """Put a file into the landing folder, replacing the one of that name."""
        path = self.landing / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def run(
        self,
        *,
        now: datetime = NOW,
        full_refresh: bool = False,
        url: str | None = None,
        instance: dg.DagsterInstance | None = None,
        **warehouse: Any,
    ) -> dg.ExecuteInProcessResult:
        """Run the job, as the schedule would; a failed run is returned, not raised."""
        return defs.resolve_job_def(JOB_NAME).execute_in_process(
            instance=instance,
            raise_on_error=False,
            run_config=self.run_config(now=now, full_refresh=full_refresh, url=url, **warehouse),
        )

    def run_config(
        self,
        *,
        now: datetime = NOW,
        full_refresh: bool = False,
        url: str | None = None,
        **warehouse: Any,
    ) -> dict[str, Any]:
        """The configuration of a run on this landing folder and warehouse."""
        return {
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            "resources": {
                "landing": {
                    "config": {"url": url or str(self.landing), "fixed_time": now.isoformat()}
                },
                "warehouse": {
                    "config": {
                        "database": str(self.warehouse),
                        "full_refresh": full_refresh,
                        "lock_timeout_seconds": 0,
                        **warehouse,
                    }
                },
                "publish": {"config": {"path": str(self.published)}},
                "rules": {"config": self.rules},
            },
        }

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """What a query on the warehouse returns."""
        with duckdb.connect(self.warehouse, read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return connection.execute(sql).fetchall()

    def rows(self, table: str) -> list[dict[str, Any]]:
        """The rows of a table, as dicts; sorted here, unless the table itself promises an order."""
        kept = table in TABLES and TABLES[table].order_by
        with duckdb.connect(self.warehouse, read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            cursor = connection.execute(f"SELECT * FROM {table}{'' if kept else ' ORDER BY ALL'}")
            names = [column[0] for column in cursor.description or []]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def write(self, *statements: str) -> None:
        """Change the warehouse behind the pipeline's back."""
        with duckdb.connect(self.warehouse) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            for statement in statements:
                connection.execute(statement)


def failed_checks(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """`schema/table: check` -> sentence of every check that failed with severity ERROR."""
    return _checks(result, dg.AssetCheckSeverity.ERROR)


def warnings_of(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """`schema/table: check` -> sentence of every check that warned."""
    return _checks(result, dg.AssetCheckSeverity.WARN)


def passed_checks(result: dg.ExecuteInProcessResult) -> set[str]:
    """`schema/table: check` of every check that passed."""
    return {
        f"{found.asset_key.to_user_string()}: {found.check_name}"
        for found in result.get_asset_check_evaluations()
        if found.passed
    }


def _checks(result: dg.ExecuteInProcessResult, severity: dg.AssetCheckSeverity) -> dict[str, str]:
    return {
        f"{found.asset_key.to_user_string()}: {found.check_name}": found.description or ""
        for found in result.get_asset_check_evaluations()
        if not found.passed and found.severity == severity
    }


def errors(result: dg.ExecuteInProcessResult) -> list[str]:
    """The messages of the steps that failed by an exception, innermost first cause."""
    messages = []
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            while error and error.cause:
                error = error.cause
            user = event.step_failure_data.user_failure_data
            messages.append(
                (user.description if user else None) or (error.message if error else "")
            )
    return messages
