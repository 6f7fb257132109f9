"""`student-pipeline export`, `import` and `fingerprint`: a warehouse goes out and comes in, unchanged."""

import json
import shutil
import stat
from pathlib import Path

import duckdb
import pytest

from student_pipeline import tables, transfer
from student_pipeline.cli import main
from student_pipeline.transfer import TransferFailed, compare, export_to, import_from, read_manifest
from student_pipeline.warehouse import moving
from student_pipeline.warehouse.moving import opened
from student_pipeline_tests.command import Installation
from student_pipeline_tests.command import tables as rows_of
from student_pipeline_tests.pipeline import School, failed_checks
from student_pipeline_tests.test_cli import deliver_all
from student_pipeline_tests.test_connection import held


def quiet(sentence: str) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> School:
    """What a run of the three usual files left."""
    folder = tmp_path_factory.mktemp("school")
    deliver_all(Installation(folder))
    school = School(folder)
    assert school.run().success
    return school


@pytest.fixture(scope="module")
def exported(school: School) -> Path:
    folder = school.folder / "deep" / "export"
    with opened(school.warehouse, read_only=True) as engine:
        export_to(engine, str(folder), quiet)
    return folder


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    """An export that a test may damage."""
    return Path(shutil.copytree(exported, tmp_path / "copy"))


def import_into(warehouse: Path, folder: Path) -> None:
    with opened(warehouse, read_only=False) as engine:
        import_from(engine, str(folder), quiet)


def differences(warehouse: Path, folder: Path) -> list[str]:
    with opened(warehouse, read_only=True) as engine:
        found = transfer.fingerprints(engine)
    return [str(each) for each in compare(found, read_manifest(str(folder)))]


# --- there and back -------------------------------------------------------------------------------


def test_an_imported_warehouse_holds_the_same_rows(
    school: School, exported: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved.duckdb"
    import_into(moved, exported)
    assert rows_of(moved, but=()) == rows_of(school.warehouse, but=())
    with duckdb.connect(moved, read_only=True) as here:
        here.execute(f"ATTACH '{school.warehouse}' AS there (READ_ONLY)")
        for table in (*tables.OPS, tables.LATEST_ROSTER):
            name = table.full_name
            both = f"(FROM {name} EXCEPT ALL FROM there.{name})"
            assert here.execute(both).fetchall() == [], name
    assert differences(moved, exported) == []


def test_the_pipeline_goes_on_in_an_imported_warehouse(
    school: School, exported: Path, tmp_path: Path
) -> None:
    """It knows the files that were loaded, and brings up to date what a new one concerns."""
    other = School(tmp_path)
    shutil.copytree(school.landing, other.landing, dirs_exist_ok=True)
    import_into(other.warehouse, exported)
    late = "attend_id,student_id,date,status\nLATE1,S1,2026-06-28,T\n"
    other.deliver("attendance_late.csv", late)
    again = School(tmp_path / "again")
    shutil.copytree(other.landing, again.landing, dirs_exist_ok=True)
    shutil.copyfile(school.warehouse, again.warehouse)
    for one in (again, other):
        result = one.run()
        assert result.success
        assert failed_checks(result) == {}
    assert other.query("SELECT path FROM ops.source_files ORDER BY _load_id DESC") == [
        ("attendance_late.csv",),
        *school.query("SELECT path FROM ops.source_files ORDER BY _load_id DESC"),
    ]
    assert ("LATE1",) in other.query("SELECT attend_id FROM silver.fact_attend")
    assert rows_of(other.warehouse, but=()) == rows_of(again.warehouse, but=())


def test_an_export_is_for_its_user_alone(exported: Path) -> None:
    """It holds the names of students."""
    for path in exported.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_parquet_files_have_types_that_other_engines_know(exported: Path) -> None:
    with duckdb.connect() as connection:
        kinds = connection.execute(
            f"SELECT DISTINCT column_type FROM (DESCRIBE FROM '{exported}/bronze/students/*.parquet')"
        ).fetchall()
    assert {kind for (kind,) in kinds} == {"VARCHAR", "BIGINT", "TIMESTAMP WITH TIME ZONE"}


def test_hashes_of_ids_are_those_of_the_engine_that_imports(copy: Path, tmp_path: Path) -> None:
    file = copy / "silver/fact_attend/part-0.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE facts AS SELECT * REPLACE (-1 AS _id_hash) FROM '{file}'")
        connection.execute(f"COPY facts TO '{file}'")
    import_into(tmp_path / "moved.duckdb", copy)
    with opened(tmp_path / "moved.duckdb", read_only=True) as engine:
        wrong = engine._connection.execute(
            "SELECT count(*) FROM silver.fact_attend WHERE _id_hash <> id_hash(attend_id)"
        ).fetchall()
    assert wrong == [(0,)]


def test_what_changed_since_the_export_is_named(
    school: School, exported: Path, tmp_path: Path
) -> None:
    moved = School(tmp_path)
    shutil.copyfile(school.warehouse, moved.warehouse)
    assert differences(moved.warehouse, exported) == []
    moved.write(
        "UPDATE gold.student_performance_summary SET attendance_rate = 0.1234 "
        "WHERE student_id = 'S1'",
        "DELETE FROM quarantine.students",
        "DROP TABLE silver.fact_assess",
    )
    assert sorted(differences(moved.warehouse, exported)) == [
        "gold.student_performance_summary differs in attendance_rate.",
        "quarantine.students has 0 rows, in the export 1 row.",
        "silver.fact_assess is in the export only.",
    ]


# --- what keeps it from working -------------------------------------------------------------------


def test_a_cell_that_changed_on_the_way_is_found_and_nothing_is_kept(
    copy: Path, tmp_path: Path
) -> None:
    file = copy / "bronze/students/part-0.parquet"
    with duckdb.connect() as connection:
        connection.execute(
            f"CREATE TABLE t AS SELECT * REPLACE (name || ' ' AS name) FROM '{file}'"
        )
        connection.execute(f"COPY t TO '{file}'")
    with pytest.raises(TransferFailed) as told:
        import_into(tmp_path / "moved.duckdb", copy)
    assert str(told.value) == (
        f"What was read from {copy} is not what was exported; the warehouse stays empty. "
        "bronze.students differs in name."
    )
    with opened(tmp_path / "moved.duckdb", read_only=True) as engine:
        assert transfer.fingerprints(engine) == {}
    shutil.rmtree(copy)


@pytest.mark.parametrize("damage", ["gone", "garbage", "other columns"])
def test_a_damaged_export_leaves_the_warehouse_empty(
    copy: Path, tmp_path: Path, damage: str
) -> None:
    file = copy / "bronze/students/part-0.parquet"
    if damage == "gone":
        file.unlink()
    elif damage == "garbage":
        file.write_bytes(b"garbage" * 9)
    else:
        shutil.copyfile(copy / "gold/class_daily_performance/part-0.parquet", file)
    with pytest.raises(TransferFailed, match=r"expected the Parquet files of bronze\.students"):
        import_into(tmp_path / "moved.duckdb", copy)
    with opened(tmp_path / "moved.duckdb", read_only=True) as engine:
        assert transfer.fingerprints(engine) == {}


def test_a_table_of_other_columns_is_not_exported(school: School, tmp_path: Path) -> None:
    other = School(tmp_path)
    shutil.copyfile(school.warehouse, other.warehouse)
    other.write("ALTER TABLE bronze.students DROP COLUMN grade")
    with (
        opened(other.warehouse, read_only=True) as engine,
        pytest.raises(TransferFailed, match=r"columns of bronze\.students are not those"),
    ):
        export_to(engine, str(tmp_path / "export"), quiet)
    assert not (tmp_path / "export" / "manifest.json").exists()


@pytest.fixture
def home(school: School, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """The school's warehouse, where the settings name it."""
    home = Installation(tmp_path / "home")
    home.folder.mkdir(exist_ok=True)
    shutil.copyfile(school.warehouse, home.warehouse)
    for name, value in home.environment().items():
        if name.startswith("STUDENT_PIPELINE_"):
            monkeypatch.setenv(name, value)
    return home


def test_the_commands_from_a_shell(home: Installation, tmp_path: Path) -> None:
    folder = str(tmp_path / "export")
    out = home.command("export", folder)
    assert out.status == 0, out.err
    assert out.out.splitlines()[-1] == (
        f"Exported to {folder}: {rows_in(Path(folder)):,} rows of DuckDB {duckdb.__version__}."
    )
    other = str(tmp_path / "other.duckdb")
    into = home.command("import", folder, STUDENT_PIPELINE_WAREHOUSE=other)
    assert into.status == 0, into.err
    assert into.out.splitlines()[-1].startswith("Every table holds in DuckDB ")
    there = home.command("fingerprint", "--compare", folder, STUDENT_PIPELINE_WAREHOUSE=other)
    assert there.status == 0, there.err
    assert len(there.out.splitlines()) == len(tables.TABLES) + 1
    assert there.out.splitlines()[-1] == f"Every table is as it was exported to {folder}."


def rows_in(folder: Path) -> int:
    return sum(found.rows for found in read_manifest(str(folder)).fingerprints.values())


def test_tables_that_differ_end_the_comparison_with_1(
    home: Installation, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with duckdb.connect(home.warehouse) as connection:
        connection.execute("DELETE FROM gold.class_daily_performance")
    assert main(["fingerprint", "--compare", str(exported)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == (
        "gold.class_daily_performance has 0 rows, in the export 7 rows."
    )


def test_a_transfer_waits_for_a_run(
    home: Installation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(moving, "WAIT_SECONDS", 0.1)
    with held(home.warehouse) as holder:
        assert main(["export", str(tmp_path / "export")]) == 1
    assert f"is in use by {holder.name}" in capsys.readouterr().err
    assert not (tmp_path / "export").exists()


def test_without_a_warehouse_there_is_nothing_to_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STUDENT_PIPELINE_WAREHOUSE", str(tmp_path / "none.duckdb"))
    for command in (["export", str(tmp_path / "x")], ["fingerprint"]):
        assert main(command) == 2
        assert "There is no warehouse" in capsys.readouterr().err
    assert not (tmp_path / "none.duckdb").exists()


def complaint(arguments: list[str], capsys: pytest.CaptureFixture[str], status: int = 2) -> str:
    assert main(arguments) == status
    return capsys.readouterr().err


def test_wrong_folders_are_told(
    home: Installation, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "blocked").mkdir()
    said = complaint(["export", str(exported)], capsys)
    assert f"{exported} is not empty; an export needs an empty or a new folder." in said
    assert "is not empty" in complaint(["export", str(tmp_path / "file")], capsys)
    assert "can't be written: Not a directory." in complaint(
        ["export", str(tmp_path / "file" / "below")], capsys
    )
    said = complaint(["export", "s3://bucket/export"], capsys)
    assert "Expected a folder of this machine, found s3://bucket/export" in said
    for folder in ("empty", "file", "nowhere"):
        said = complaint(["fingerprint", "--compare", str(tmp_path / folder)], capsys)
        assert f"{tmp_path / folder} holds no export" in said


def test_an_import_wants_an_empty_warehouse(
    home: Installation, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = complaint(["import", str(exported)], capsys)
    assert (
        f"The warehouse {home.warehouse} is not empty: it holds bronze.students with 4 rows."
        in said
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": 2}, "expected an export of format 1, found format 2."),
        ({"tables": []}, "expected the manifest of an export, found something else."),
        ({"tables": {"bronze.students": {}}}, "expected the manifest of an export, found"),
    ],
)
def test_a_manifest_of_something_else_is_told(
    home: Installation,
    copy: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, object],
    sentence: str,
) -> None:
    manifest = copy / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | change))
    home.warehouse.unlink()
    assert sentence in complaint(["import", str(copy)], capsys)
    manifest.write_text("{")
    assert "found something else" in complaint(["import", str(copy)], capsys)


def test_an_export_of_another_version_is_told(
    home: Installation, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = copy / "manifest.json"
    told = json.loads(manifest.read_text())
    del told["tables"]["gold.class_daily_performance"]["columns"]["avg_score"]
    manifest.write_text(json.dumps(told))
    home.warehouse.unlink()
    said = complaint(["import", str(copy)], capsys)
    assert "the columns of gold.class_daily_performance are not those of this one" in said


def test_a_file_that_is_no_warehouse_is_told(
    home: Installation, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home.warehouse.write_bytes(b"no DuckDB file, but as long as one would be" * 100)
    for arguments in (["export", str(tmp_path / "x")], ["import", str(exported)], ["fingerprint"]):
        assert f"The warehouse {home.warehouse} can't be opened" in complaint(arguments, capsys)
