"""The same tables, ledger and findings of checks on a cluster as in DuckDB."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from student_pipeline.settings import PROJECT_ROOT
from student_pipeline.spark.store import Store
from student_pipeline_tests.spark import deliveries, parity
from student_pipeline_tests.spark.parity import FIRST, Side

ROWS = 2_000


@pytest.fixture(scope="module")
def sample(
    tmp_path_factory: pytest.TempPathFactory, spark_remote: str
) -> tuple[Side, list[dg.ExecuteInProcessResult]]:
    """The shipped sample on the cluster, after two runs, and the results of these."""
    side = Side(tmp_path_factory.mktemp("sample"), PROJECT_ROOT / "data" / "raw", spark_remote)
    return side, [side.run(FIRST), side.run(FIRST + timedelta(days=1))]


def test_every_cell_is_equal(tmp_path: Path, spark_remote: str) -> None:
    """Dirty data: the first load, a day upon it, a full refresh."""
    landing = tmp_path / "landing"
    landing.mkdir()
    said: list[str] = []
    duck, spark = (
        Side(tmp_path / "duckdb", landing),
        Side(tmp_path / "spark", landing, spark_remote),
    )
    runs = parity.three_runs(landing, ROWS)
    assert parity.compare_runs(duck, spark, runs, said.append) == []
    assert [line for line in said if line.endswith("every cell is equal")] == [
        f"{name}: every cell is equal" for name, *_ in runs
    ]

    # The comparison itself: one cell that differs is found.
    (fact,) = (Path(path) for path in _some_file(spark, "silver.fact_attend"))
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE rows AS FROM '{fact}'")
        connection.execute(
            "UPDATE rows SET is_present = NOT is_present WHERE attend_id = (SELECT min(attend_id) FROM rows)"
        )
        connection.execute(f"COPY rows TO '{fact}' (FORMAT parquet)")
    found = parity.differences(duck, spark)
    assert len(found) == 2
    assert all(sentence.startswith("silver.fact_attend: 1 rows only on") for sentence in found)


def _some_file(side: Side, name: str) -> list[str]:
    catalog = Store(str(side.warehouse)).read()
    assert catalog
    folder = next(folder for folders in catalog.tables[name].values() for folder in folders)
    return [str(next((side.warehouse / folder).glob("*.parquet")))]


def test_the_sample_runs_with_every_check(
    sample: tuple[Side, list[dg.ExecuteInProcessResult]],
) -> None:
    _, (first, second) = sample
    assert first.success
    assert second.success
    told = parity.told(first)
    assert told["silver/fact_attend: dagster/row_count"] == 4_901
    assert told["quarantine/attendance: dagster/row_count"] == 56
    assert len([name for name in told if ": check " in name]) == 87
    again = parity.told(second)
    assert {name: again[name] for name in again if name.endswith(": rows_added")} == {
        name: 0 for name in again if name.endswith(": rows_added")
    }
    assert again["silver/fact_attend: how"] == "unchanged"


def test_old_versions_are_removed(
    sample: tuple[Side, list[dg.ExecuteInProcessResult]],
) -> None:
    """Each table that did not change lies there once; nothing is left of the work."""
    side, _ = sample
    for name in ("silver/fact_attend", "gold/class_daily_performance", "bronze/students"):
        assert len(list((side.warehouse / name).iterdir())) == 1, name
    assert not (side.warehouse / "scratch").exists()


def test_what_is_published_is_the_same(
    sample: tuple[Side, list[dg.ExecuteInProcessResult]], tmp_path: Path
) -> None:
    side, (first, _) = sample
    duck = Side(tmp_path, side.landing)
    result = duck.run(FIRST)
    assert result.success
    ours, theirs = pages(first), pages(result)
    assert len(ours) == 11
    assert set(ours["gold/student_performance_summary"]) == {"plot", "preview"}
    assert ours == theirs
    for name in ("class_daily_performance", "student_performance_summary"):
        ours, theirs = (
            _rows(folder / "published" / f"{name}.parquet") for folder in (side.folder, duck.folder)
        )
        assert ours == theirs
        csv = f"published/{name}.csv"
        assert (side.folder / csv).read_bytes() == (duck.folder / csv).read_bytes()
    assert (side.folder / "published" / "gold.duckdb").exists()
    assert (side.folder / "published" / "report.html").read_text().rstrip().endswith("</html>")


def pages(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """Table -> what its page in the UI shows beside numbers."""
    found = {}
    for event in result.all_events:
        if event.is_step_materialization and event.asset_key:
            metadata = event.step_materialization_data.materialization.metadata
            name = event.asset_key.to_user_string()
            if not name.startswith("published"):
                found[name] = {
                    key: metadata[key].value for key in ("plot", "preview") if key in metadata
                }
    return found


def _rows(file: Path) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        return connection.execute(f"SELECT * FROM '{file}'").fetchall()


def test_a_day_writes_the_months_of_its_records_only(
    sample: tuple[Side, list[dg.ExecuteInProcessResult]], tmp_path: Path
) -> None:
    side, _ = sample
    warehouse = tmp_path / "warehouse"
    shutil.copytree(side.warehouse, warehouse)
    landing = tmp_path / "landing"
    shutil.copytree(side.landing, landing)
    (landing / "attendance_more.csv").write_text(
        "attend_id,student_id,date,status,created_at\n"
        "M1,0000001,2026-03-02,P,2026-06-29T08:00:00Z\n"
        "M2,0000001,2026-04-01,P,2026-06-29T08:00:00Z\n"
    )
    before = Store(str(warehouse)).read()
    day = Side(tmp_path, landing, side.remote)
    assert day.warehouse == warehouse
    assert day.run(FIRST + timedelta(days=2)).success
    after = Store(str(warehouse)).read()
    assert before
    assert after
    for name in ("silver.fact_attend", "gold.class_daily_performance"):
        old, new = before.tables[name], after.tables[name]
        changed = {label for label in old.keys() | new.keys() if old.get(label) != new.get(label)}
        assert changed == {"2026-03", "2026-04"}, name
    assert before.tables["silver.fact_assess"] == after.tables["silver.fact_assess"]
    rows = parity.cluster_relations(warehouse)["silver.fact_attend"]
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT count(*) FROM {rows}").fetchall()
    assert found == [(4_903,)]


def test_a_refused_file_is_told_of_in_the_same_words(tmp_path: Path, spark_remote: str) -> None:
    """Several files of a source, some of them refused or passed over, and rosters that follow
    each other: as if they were loaded one by one."""
    landing = tmp_path / "landing"
    landing.mkdir()
    sides = [Side(tmp_path / "duckdb", landing), Side(tmp_path / "spark", landing, spark_remote)]
    header = "student_id,name,class_id,grade,status,updated_at\n"
    rosters = {
        "students_1.csv": "1,A,C1,1,ACTIVE,2026-01-01\n2,B,C1,1,ACTIVE,2026-01-01\n3,C,C1,1,ACTIVE,\n",
        "students_2.csv": "1,A,C2,1,ACTIVE,2025-01-01\n2,B,C2,1,ACTIVE,\n3,C,C1,1,ACTIVE,\n ,X,,,,\n",
        "students_3.csv": "1,A,C3,1,ACTIVE,2026-02-01\n2,B,C3,1,ACTIVE,2020-01-01\n1 ,A,C4,1,ACTIVE,"
        "2026-02-01\n",
        "students_4.csv": "1,A,C5,1,ACTIVE,2026-01-15\n2,B,C4,1,ACTIVE,2019-01-01\n ,X,,,,\n",
    }
    for name, rows in rosters.items():
        (landing / name).write_text(header + rows)
    (landing / "students_5.csv").write_text("name,class_id\nJohn Doe,C1\n")
    (landing / "students_6.csv").write_text(header + "1,A\n2\n3,C,C1,1,ACTIVE,2026-03-01\n")
    (landing / "students_7.csv").write_bytes(b"")
    (landing / "attendance.json").write_text('[{"attend_id": 1, "student_id": 1, "date": "2026-')
    (landing / ".attendance.csv").write_text("hidden")
    deliveries.pack(
        landing / "assessments.csv.gz",
        "assessment_id,student_id,date,score,Pen\n7,1,2026-05-04,5,x\n",
    )
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT 17.0 AS assessment_id, 1 AS student_id, DATE '2026-05-04' AS date, "
            f"7.25::DECIMAL(5, 2) AS score, TIMESTAMPTZ '2026-05-04 08:00:00+02' AS created_at) "
            f"TO '{landing}/assessments_2.parquet'"
        )
    results = [side.run(FIRST) for side in sides]
    assert parity.told_differently(*map(parity.told, results)) == []
    assert parity.differences(*sides) == []
    assert not results[1].success
    # Mended: what was refused is tried again, and the others are not.
    for name in ("students_5.csv", "students_6.csv", "students_7.csv", "attendance.json"):
        (landing / name).unlink()
    results = [side.run(FIRST + timedelta(days=1)) for side in sides]
    assert results[1].success
    assert parity.told_differently(*map(parity.told, results)) == []
    assert parity.differences(*sides) == []
