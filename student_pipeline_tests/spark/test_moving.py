"""A warehouse moves from DuckDB to Spark and back, and goes on where it stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from student_pipeline import tables, transfer
from student_pipeline.cli import main
from student_pipeline.spark.moving import SparkEngine
from student_pipeline.spark.moving import opened as on_spark
from student_pipeline.spark.store import Store
from student_pipeline.transfer import TransferFailed, compare, export_to, import_from, read_manifest
from student_pipeline.warehouse.moving import opened as on_duckdb
from student_pipeline_tests.command import Installation
from student_pipeline_tests.command import tables as rows_of
from student_pipeline_tests.pipeline import School
from student_pipeline_tests.test_cli import deliver_all


def quiet(sentence: str) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> School:
    """What a run on DuckDB left."""
    folder = tmp_path_factory.mktemp("school")
    deliver_all(Installation(folder))
    school = School(folder)
    assert school.run().success
    return school


@pytest.fixture(scope="module")
def exported(school: School) -> str:
    folder = str(school.folder / "export")
    with on_duckdb(school.warehouse, read_only=True) as engine:
        export_to(engine, folder, quiet)
    return folder


@pytest.fixture(scope="module")
def moved(exported: str, spark_remote: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The warehouse on Spark."""
    place = str(tmp_path_factory.mktemp("cluster") / "warehouse")
    with on_spark(place, spark_remote, read_only=False) as engine:
        import_from(engine, exported, quiet)
    return place


@pytest.fixture
def engine(moved: str, spark_remote: str) -> Iterator[SparkEngine]:
    with on_spark(moved, spark_remote, read_only=True) as engine:
        yield engine


def test_every_table_holds_on_spark_what_it_held_on_duckdb(
    engine: SparkEngine, exported: str
) -> None:
    found = transfer.fingerprints(engine)
    assert list(found) == list(tables.TABLES)
    assert compare(found, read_manifest(exported)) == []


def test_ids_have_the_hashes_of_the_cluster(engine: SparkEngine) -> None:
    for table in tables.SILVER:
        wrong = (
            f"SELECT count(*) FROM {table.full_name} "
            f"WHERE _id_hash IS DISTINCT FROM id_hash({table.key[0]})"
        )
        assert engine._connection.number(wrong) == 0


def test_it_comes_back_as_it_went(
    school: School, engine: SparkEngine, exported: str, tmp_path: Path
) -> None:
    export_to(engine, str(tmp_path / "export"), quiet)
    back = tmp_path / "back.duckdb"
    with on_duckdb(back, read_only=False) as of_file:
        import_from(of_file, str(tmp_path / "export"), quiet)
    assert rows_of(back, but=()) == rows_of(school.warehouse, but=())
    with duckdb.connect(back, read_only=True) as here:
        here.execute(f"ATTACH '{school.warehouse}' AS there (READ_ONLY)")
        for table in (*tables.OPS, tables.LATEST_ROSTER):
            for one, other in (("", "there."), ("there.", "")):
                name = table.full_name
                differ = f"(FROM {one}{name} EXCEPT ALL FROM {other}{name})"
                assert here.execute(differ).fetchall() == [], name


def test_a_damaged_export_leaves_the_warehouse_on_spark_empty(
    exported: str, spark_remote: str, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    file = copy / "silver/dim_student/part-0.parquet"
    with duckdb.connect() as connection:
        connection.execute(
            f"CREATE TABLE t AS SELECT * REPLACE ('X' AS student_name) FROM '{file}'"
        )
        connection.execute(f"COPY t TO '{file}'")
    place = str(tmp_path / "warehouse")
    with (
        on_spark(place, spark_remote, read_only=False) as engine,
        pytest.raises(TransferFailed, match=r"silver\.dim_student differs in student_name\."),
    ):
        import_from(engine, str(copy), quiet)
    assert Store(place).read() is None
    (copy / "bronze/students/part-0.parquet").write_bytes(b"garbage" * 9)
    with (
        on_spark(place, spark_remote, read_only=False) as engine,
        pytest.raises(TransferFailed, match=r"expected the Parquet files of bronze\.students"),
    ):
        import_from(engine, str(copy), quiet)
    assert Store(place).read() is None


def test_what_a_broken_run_left_to_follow_is_moved_as_marks(
    school: School, spark_remote: str, tmp_path: Path
) -> None:
    """Whoever was behind rebuilds; the keys that tell what changed stay behind."""
    broken = School(tmp_path)
    shutil.copyfile(school.warehouse, broken.warehouse)
    broken.write(
        "INSERT INTO ops.changes VALUES "
        "('silver.fact_attend', 90, 'A1', 'S1', '5A', DATE '2026-05-04'), "
        "('silver.fact_attend', 91, 'A2', 'S1', '5A', DATE '2026-05-04'), "
        "('silver.dim_student', 92, NULL, NULL, NULL, NULL)"
    )
    marks = [("silver.dim_student", 92, None), ("silver.fact_attend", 91, None)]
    with on_duckdb(broken.warehouse, read_only=True) as of_file:
        export_to(of_file, str(tmp_path / "out"), quiet)
    place = str(tmp_path / "warehouse")
    with on_spark(place, spark_remote, read_only=False) as of_cluster:
        import_from(of_cluster, str(tmp_path / "out"), quiet)
        found = of_cluster._connection.books.execute(
            "SELECT table_name, position, id FROM ops.changes ORDER BY 1"
        ).fetchall()
        assert found == marks
        export_to(of_cluster, str(tmp_path / "again"), quiet)
    back = School(tmp_path / "back")
    with on_duckdb(back.warehouse, read_only=False) as of_file:
        import_from(of_file, str(tmp_path / "again"), quiet)
    assert back.query("SELECT table_name, position, id FROM ops.changes ORDER BY 1") == marks


# --- the commands ---------------------------------------------------------------------------------


@pytest.fixture
def home(moved: str, spark_remote: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The settings name the warehouse on Spark."""
    monkeypatch.setenv("STUDENT_PIPELINE_ENGINE", "spark")
    monkeypatch.setenv("STUDENT_PIPELINE_WAREHOUSE", moved)
    monkeypatch.setenv("SPARK_REMOTE", spark_remote)
    return moved


def test_the_commands_use_the_engine_of_the_settings(
    home: str, exported: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fingerprint", "--compare", exported]) == 0
    assert capsys.readouterr().out.endswith(f"Every table is as it was exported to {exported}.\n")
    assert main(["export", str(tmp_path / "export")]) == 0
    assert " rows of Spark " in capsys.readouterr().out
    assert json.loads((tmp_path / "export/manifest.json").read_text())["engine"].startswith("Spark")
    assert main(["import", exported]) == 2
    assert f"The warehouse {home} is not empty: it holds bronze.students" in capsys.readouterr().err


def test_the_quarantine_of_a_cluster_is_shown(
    home: str, school: School, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = {}
    for engine, place in (("spark", home), ("duckdb", str(school.warehouse))):
        monkeypatch.setenv("STUDENT_PIPELINE_ENGINE", engine)
        monkeypatch.setenv("STUDENT_PIPELINE_WAREHOUSE", place)
        assert main(["quarantine"]) == 0
        shown[engine] = capsys.readouterr().out
    assert shown["spark"] == shown["duckdb"]
    assert "in quarantine" in shown["spark"]


def test_what_keeps_a_transfer_on_spark_from_working_is_told(
    home: str,
    spark_remote: str,
    exported: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["export", "somewhere/here"]) == 2
    assert "somewhere/here is no absolute path" in capsys.readouterr().err
    monkeypatch.setattr("student_pipeline.spark.moving.WAIT_SECONDS", 0)
    with Store(home).lock(0, quiet):
        assert main(["export", str(tmp_path / "export")]) == 1
    assert f"The warehouse {home} is in use by process" in capsys.readouterr().err
    monkeypatch.setenv("SPARK_REMOTE", "sc://127.0.0.1:1")
    assert main(["fingerprint"]) == 1
    assert "there is no Spark Connect server on 127.0.0.1:1" in capsys.readouterr().err
    assert main(["quarantine"]) == 1
    assert "there is no Spark Connect server on 127.0.0.1:1" in capsys.readouterr().err
    monkeypatch.setenv("STUDENT_PIPELINE_WAREHOUSE", str(tmp_path / "none"))
    assert main(["fingerprint"]) == 2
    assert f"There is no warehouse {tmp_path}/none yet" in capsys.readouterr().err
    assert main(["quarantine"]) == 2
    assert f"There is no warehouse {tmp_path}/none yet" in capsys.readouterr().err


def test_a_run_on_spark_goes_on_after_an_import(
    moved: str,
    school: School,
    spark_remote: str,
    tmp_path: Path,
) -> None:
    """It finds nothing to load and nothing to rebuild; then a new file gives what it gives on DuckDB."""
    place = shutil.copytree(moved, tmp_path / "warehouse")
    home = Installation(tmp_path / "home")
    shutil.copytree(school.landing, home.landing)
    shutil.copy(school.warehouse, home.warehouse)
    cluster = {
        "STUDENT_PIPELINE_ENGINE": "spark",
        "STUDENT_PIPELINE_WAREHOUSE": str(place),
        "SPARK_REMOTE": spark_remote,
    }
    before = Store(str(place)).read()
    out = home.command("run", **cluster)
    assert out.status == 0, out.out + out.err
    assert "Nothing new: every file was loaded before." in out.out
    after = Store(str(place)).read()
    assert before
    assert after
    assert after.tables == before.tables

    home.deliver(
        "attendance_new.csv",
        "attend_id,student_id,date,status,created_at\n"
        "A5,S2,2024-09-03,ABSENT,2024-09-05T08:00:00Z\nB1,S3,2024-09-05,P,2024-09-05T08:00:00Z\n",
    )
    for engine in ({}, cluster):
        out = home.command("run", **engine)
        assert out.status == 0, out.out + out.err
    followed = (*tables.SILVER, *tables.GOLD)
    with on_duckdb(home.warehouse, read_only=True) as of_file:
        expected = transfer.fingerprints(of_file, followed)
    with on_spark(str(place), spark_remote, read_only=True) as of_cluster:
        found = transfer.fingerprints(of_cluster, followed)
    assert found == expected
    assert found["silver.fact_attend"].rows == 8
