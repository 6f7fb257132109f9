"""The real command on a real disk that is full: nothing changes, and with room again all goes on."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from student_pipeline.sample_data import write_sample
from student_pipeline_tests.command import Installation, tables

DISK_MB = 24


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(place)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("only root may mount a file system")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path, left: int) -> Path:
    """A file that leaves so many bytes."""
    ballast = disk / "ballast"
    space = os.statvfs(disk)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, space.f_bavail * space.f_frsize - left)
    return ballast


def content(warehouse: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All rows; which loads come in the run that fails decides their numbers.

    A quarantine is two: the load writes the malformed records, silver the others.
    """
    found = tables(warehouse, but=("_ingested_at", "_load_id"))
    for name in [name for name in found if name.startswith("quarantine.")]:
        rows = found.pop(name)
        found[f"{name}: malformed"] = [row for row in rows if "malformed_record" in row]
        found[f"{name}: judged"] = [row for row in rows if "malformed_record" not in row]
    return found


@pytest.mark.parametrize("left_kb", [0, 700])
def test_a_run_on_a_full_disk_changes_no_table_and_the_next_one_ends_as_if_nothing_was(
    tmp_path: Path, disk: Path, left_kb: int
) -> None:
    """Warehouse and published files are on the disk that is full; the history is on another."""
    full, undisturbed = Installation(tmp_path / "full"), Installation(tmp_path / "undisturbed")
    places = {
        "STUDENT_PIPELINE_WAREHOUSE": str(disk / "warehouse.duckdb"),
        "STUDENT_PIPELINE_PUBLISH": str(disk / "published"),
    }
    for seed, rows in ((1, 600), (2, 20_000)):
        for school in (full, undisturbed):
            made = school.folder / f"made_{seed}"
            write_sample(made, students=80, attendance=rows, assessments=rows // 2, seed=seed)
            for file in made.iterdir():
                school.deliver(f"{file.stem}_{seed}{file.suffix}", file.read_text(encoding="utf-8"))
        if seed == 1:
            assert full.command("run", **places).status == 0
            assert undisturbed.command("run").status == 0
            before = content(disk / "warehouse.duckdb")
    report = (disk / "published" / "report.html").read_bytes()

    ballast = fill(disk, left_kb << 10)
    failed = full.command("run", **places)
    assert failed.status == 1, failed.out
    assert "No space left on device" in failed.err + failed.out
    assert "Traceback" not in failed.err + failed.out
    assert (disk / "published" / "report.html").read_bytes() == report
    stands = content(disk / "warehouse.duckdb")

    ballast.unlink()
    assert full.command("run", **places).status == 0
    assert undisturbed.command("run").status == 0
    after = content(disk / "warehouse.duckdb")
    assert after == content(undisturbed.warehouse)
    for name, rows_there in stands.items():
        assert rows_there in (before[name], after[name]), f"{name} is half"
