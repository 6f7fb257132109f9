"""The whole pipeline against `oracle.py`, a reference in plain Python written from the contract."""

import json
from pathlib import Path
from typing import Any

from student_pipeline.sample_data import write_sample
from student_pipeline_tests.oracle import Oracle
from student_pipeline_tests.pipeline import NOW, School, failed_checks

SILVER = ("dim_student", "fact_attend", "fact_assess")
GOLD = ("class_daily_performance", "student_performance_summary")
SOURCES = ("students", "attendance", "assessments")


def assert_same_tables(school: School, oracle: Oracle) -> None:
    """Every table holds the oracle's rows, cell by cell."""
    for name in SOURCES:
        assert_same_rows(f"bronze.{name}", school.rows(f"bronze.{name}"), oracle.bronze[name])
        assert_same_rows(
            f"quarantine.{name}", school.rows(f"quarantine.{name}"), oracle.quarantine[name]
        )
    for name in SILVER:
        ours = [_contract(row) for row in school.rows(f"silver.{name}")]
        assert_same_rows(f"silver.{name}", ours, oracle.silver[name])
    for name in GOLD:
        assert_same_rows(f"gold.{name}", school.rows(f"gold.{name}"), oracle.gold[name])


def assert_same_rows(table: str, ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    left, right = sorted(map(_comparable, ours)), sorted(map(_comparable, theirs))
    only_ours = [row for row in left if row not in set(right)]
    only_theirs = [row for row in right if row not in set(left)]
    assert only_ours + only_theirs == [], (
        f"{table}: only here {only_ours[:3]}, only in the oracle {only_theirs[:3]}"
    )
    assert len(left) == len(right), table


def _contract(row: dict[str, Any]) -> dict[str, Any]:
    """A row without what the pipeline keeps for itself."""
    return {name: value for name, value in row.items() if not name.startswith("_")}


def _comparable(row: dict[str, Any]) -> str:
    """A row as text; load ids and the wording for people are left out."""
    kept = {
        key: value
        for key, value in row.items()
        if key not in ("_load_id", "detail", "_raw", "_ingested_at")
    }
    if kept.get("_extra") is not None:
        extra = kept["_extra"]
        kept["_extra"] = json.loads(extra) if isinstance(extra, str) else extra
    return json.dumps({key: _text(value) for key, value in sorted(kept.items())}, sort_keys=True)


def _text(value: Any) -> Any:
    if hasattr(value, "astimezone"):
        return value.timestamp()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value


def test_the_sample_with_all_its_dirt(school: School) -> None:
    write_sample(school.landing)
    oracle = Oracle(wait_by_lineage=True)
    for _ in range(2):
        result = school.run()
        oracle.run(school.landing, NOW)
        assert result.success, failed_checks(result)
        assert_same_tables(school, oracle)


def test_a_landing_folder_that_grows(school: School, tmp_path: Path) -> None:
    oracle = Oracle(wait_by_lineage=True)
    for step, seed in enumerate((1, 2, 3)):
        folder = tmp_path / str(seed)
        write_sample(folder, students=60, attendance=400, assessments=200, seed=seed)
        for file in folder.iterdir():
            name = f"{file.stem}_{step}{file.suffix}" if step < 2 else file.name
            school.deliver(name, file.read_bytes())
        school.run()
        oracle.run(school.landing, NOW)
        assert_same_tables(school, oracle)
