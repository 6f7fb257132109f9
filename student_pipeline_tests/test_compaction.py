"""The warehouse file gives back its free space, and is never at risk meanwhile."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from student_pipeline.warehouse import compaction
from student_pipeline.warehouse.connection import connect

ROWS = "SELECT range AS number, md5(range::VARCHAR) AS text FROM range({})"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A warehouse of 30 MB of which two thirds are free, with a view and an index of somebody's."""
    path = tmp_path / "ware.house.duckdb"
    with connect(path) as connection:
        connection.execute(f"CREATE TABLE gold.much AS {ROWS.format(900_000)}")
        connection.execute("CHECKPOINT")
        connection.execute(f"CREATE OR REPLACE TABLE gold.much AS {ROWS.format(300_000)}")
        connection.execute("CREATE VIEW gold.how_many AS SELECT count(*) AS rows FROM gold.much")
    return path


def compacted(path: Path) -> list[str]:
    said: list[str] = []
    compaction.compact_when_it_pays(connect(path), path, said.append)
    return said


def how_many(path: Path) -> int:
    with duckdb.connect(path, read_only=True) as connection:
        (row,) = connection.execute("FROM gold.how_many").fetchall()
        return int(row[0])


def test_the_file_gets_small_and_holds_the_same(path: Path) -> None:
    path.chmod(0o640)
    before = path.stat().st_size
    (sentence,) = compacted(path)
    assert sentence.startswith("The warehouse was compacted from ")
    assert path.stat().st_size < before / 2
    assert how_many(path) == 300_000
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(path.parent) == [path.name]
    with connect(path) as connection:  # and can be written
        connection.execute("DELETE FROM gold.much WHERE number = 0")
    assert how_many(path) == 299_999


def test_a_file_without_much_free_space_stays(path: Path) -> None:
    compacted(path)
    inode = path.stat().st_ino
    assert compacted(path) == []
    assert path.stat().st_ino == inode


def test_a_small_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "small.duckdb"
    with connect(path) as connection:
        connection.execute(f"CREATE TABLE gold.much AS {ROWS.format(90_000)}")
        connection.execute("CHECKPOINT")
        connection.execute("DROP TABLE gold.much")
    assert compacted(path) == []


def test_without_room_for_a_copy_the_file_stays_and_that_is_said(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compaction, "to_disk", full)
    before = path.stat().st_ino
    (sentence,) = compacted(path)
    assert sentence == (
        "The warehouse was not compacted and stays as it was: [Errno 28] No space left on device"
    )
    assert path.stat().st_ino == before
    assert how_many(path) == 300_000
    assert os.listdir(path.parent) == [path.name]


def test_what_a_killed_compaction_left_is_removed(path: Path) -> None:
    left = path.parent / f".{path.name}.compact-abc"
    left.mkdir()
    (left / path.name).write_bytes(b"half")
    compacted(path)
    assert os.listdir(path.parent) == [path.name]


def test_the_new_file_is_held_until_the_old_one_is_let_go(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the instant after the rename nobody else can open the file."""
    answers: list[str] = []
    sync = compaction.to_disk

    def asked(what: Path) -> None:
        sync(what)
        if what == path.parent:
            answers.append(_asked_by_another_process(path))

    monkeypatch.setattr(compaction, "to_disk", asked)
    compacted(path)
    assert len(answers) == 1
    assert "Could not set lock" in answers[0]
    assert _asked_by_another_process(path) == "300000"


def _asked_by_another_process(path: Path) -> str:
    code = (
        "import duckdb\n"
        f"print(duckdb.connect({str(path)!r}).execute('FROM gold.how_many').fetchall()[0][0])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip()


def test_who_opened_the_old_file_at_the_last_moment_gets_the_new_one(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy takes the name between the opening of the old file and its lock."""
    copy = tmp_path / "copy.duckdb"
    shutil.copyfile(path, copy)
    with duckdb.connect(copy) as other:
        other.execute("DELETE FROM gold.much")
    opened = duckdb.connect
    calls: list[Path] = []

    def replaced_meanwhile(name: Path, **options: Any) -> duckdb.DuckDBPyConnection:
        connection = opened(name, **options)
        if not calls:
            copy.replace(path)
        calls.append(name)
        return connection

    monkeypatch.setattr(duckdb, "connect", replaced_meanwhile)
    with connect(path) as connection:
        assert connection.execute("FROM gold.how_many").fetchall() == [(0,)]
    assert len(calls) == 2


def test_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "warehouse.duckdb"
    link.parent.mkdir()
    link.symlink_to(path)
    before = path.stat().st_size
    compacted(link)
    assert link.is_symlink()
    assert path.stat().st_size < before / 2
    assert how_many(link) == 300_000
