"""The benchmark: its figures can be trusted only if data, measuring, comparing and report can be."""

import re
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from benchmarks.comparing import Differing, require_same_gold
from benchmarks.contestants import CONTESTANTS, DBT, PIPELINE, Command
from benchmarks.data import history, write_day
from benchmarks.limit import NoLimit, memory_limit
from benchmarks.measuring import CommandFailed, Cost, OutOfMemory, measure
from benchmarks.plots import specification
from benchmarks.report import TITLES, markdown, write_report
from benchmarks.results import Measured, load, save
from benchmarks.run import main
from student_pipeline.settings import PROJECT_ROOT

ROWS = 2_000
BARE = next(contestant for contestant in CONTESTANTS if contestant.name == "bare_duckdb")
RESULTS = PROJECT_ROOT / "benchmarks" / "results"


def cost(wall: float, **others: float) -> Cost:
    return replace(Cost(wall, cpu=2 * wall, peak_mb=100, disk_mb=10), **others)


def measured(attendance: int, contest: str = "build", **costs: list[Cost]) -> Measured:
    return Measured(contest, attendance, 0, "a machine", "2026-06-30", {"polars": "2.1.0"}, costs)


# --- the whole of it, with who runs in this environment -------------------------------------------


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `benchmarks.run` measured the pipeline, and the bare script ran, too."""
    folder = tmp_path_factory.mktemp("bench")
    words = "--contests build --contestants student_pipeline --rounds 1 --scales"
    places = ["--folder", str(folder), "--results", str(folder / "results")]
    assert main([*words.split(), str(ROWS), *places]) == 0
    output = folder / "outputs" / "bare_duckdb"
    output.mkdir()
    command = BARE.start(Path(sys.executable), folder / "files" / str(ROWS), output)
    measure(command, output, folder / "bare.log")
    return folder


def test_one_command_measures_and_reports(bench: Path) -> None:
    (stored,) = load(bench / "results" / "measured.json")
    (run,) = stored.costs["student_pipeline"]
    assert stored.attendance == ROWS
    assert run.cpu > 0
    assert 1 < run.wall < 300
    assert 100 < run.peak_mb < 2_000
    assert 1 < run.disk_mb < 100
    page = (bench / "results" / "README.md").read_text(encoding="utf-8")
    assert f"| {ROWS:,} | student-pipeline on DuckDB {duckdb.__version__} | {run.wall:.3}" in page
    assert "student-pipeline" in (bench / "results" / "time.svg").read_text(encoding="utf-8")


def test_the_bare_script_builds_the_same_gold(bench: Path) -> None:
    require_same_gold(bench / "outputs" / "student_pipeline", bench / "outputs" / "bare_duckdb")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            "UPDATE gold.class_daily_performance SET present_count = present_count + 1 "
            "WHERE rowid = 3",
            r"class_daily_performance in .* differs in present_count \(1 rows\), such as G\d\d-",
        ),
        (
            "UPDATE gold.student_performance_summary SET attendance_rate = NULL "
            "WHERE student_id = '0000003'",
            r"differs in attendance_rate \(1 rows\), such as 0000003\.",
        ),
        (
            "UPDATE gold.student_performance_summary SET avg_score = avg_score + 0.02 "
            "WHERE student_id = '0000003'",
            r"differs in avg_score \(1 rows\), such as 0000003\.",
        ),
        (
            "DELETE FROM gold.student_performance_summary WHERE student_id = '0000003'",
            r"has 9 rows, expected 10; 1 have no counterpart, such as 0000003\.",
        ),
        (
            "INSERT INTO gold.student_performance_summary "
            "FROM gold.student_performance_summary WHERE student_id = '0000003'",
            r"has 11 rows, expected 10; some stand twice\.",
        ),
        (
            "ALTER TABLE gold.student_performance_summary DROP COLUMN late_days",
            r"has no column late_days\.",
        ),
    ],
)
def test_gold_that_differs_is_told(bench: Path, tmp_path: Path, change: str, sentence: str) -> None:
    shutil.copyfile(
        bench / "outputs" / "bare_duckdb" / "warehouse.duckdb", tmp_path / "warehouse.duckdb"
    )
    with duckdb.connect(tmp_path / "warehouse.duckdb") as connection:
        connection.execute(change)
    with pytest.raises(Differing, match=sentence):
        require_same_gold(bench / "outputs" / "student_pipeline", tmp_path)


def test_gold_in_parquet_files_is_compared_too(bench: Path, tmp_path: Path) -> None:
    (tmp_path / "gold").mkdir()
    ours = bench / "outputs" / "student_pipeline"
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{ours / 'warehouse.duckdb'}' AS ours (READ_ONLY)")
        for table in ("class_daily_performance", "student_performance_summary"):
            file = tmp_path / "gold" / f"{table}.parquet"
            connection.execute(f"COPY ours.gold.{table} TO '{file}'")
        require_same_gold(ours, tmp_path)
        connection.execute(
            "COPY (FROM ours.gold.student_performance_summary WHERE student_id <> '0000003') "
            f"TO '{file}'"
        )
    with pytest.raises(Differing, match="such as 0000003"):
        require_same_gold(ours, tmp_path)
    shutil.rmtree(tmp_path / "gold")
    with pytest.raises(Differing, match="There is no gold table in"):
        require_same_gold(ours, tmp_path)


# --- data -----------------------------------------------------------------------------------------


def test_the_same_files_are_made_each_time(tmp_path: Path) -> None:
    contents = []
    for name in ("first", "second"):
        files = history(tmp_path / name, 20_000)
        write_day(files, tmp_path / f"{name}_day", years=1)
        both = sorted([*files.iterdir(), *(tmp_path / f"{name}_day").iterdir()])
        contents.append({file.name: file.read_bytes() for file in both})
    assert contents[0] == contents[1]
    assert set(contents[0]) == {
        "students.csv", "attendance.csv", "assessments.json",
        "students_day.csv", "attendance_day.csv", "assessments_day.json",
    }  # fmt: skip


def test_files_that_are_there_are_not_made_again(tmp_path: Path) -> None:
    history(tmp_path, 100)
    (tmp_path / "attendance.csv").write_text("mine")
    history(tmp_path, 100)
    assert (tmp_path / "attendance.csv").read_text() == "mine"


def test_a_day_is_a_small_share_with_corrections_and_class_moves(tmp_path: Path) -> None:
    files = history(tmp_path / "history", 200_000)
    write_day(files, tmp_path / "day", years=1)
    with duckdb.connect() as connection:
        for kind in ("history", "day"):
            for source in ("students", "attendance"):
                connection.execute(
                    f"CREATE VIEW {source}_{kind} AS FROM "
                    f"read_csv('{tmp_path}/{kind}/{source}*.csv', all_varchar = true)"
                )
        rows, corrections = connection.execute(
            "SELECT count(*), count(*) FILTER (attend_id IN (SELECT attend_id "
            "FROM attendance_history)) FROM attendance_day"
        ).fetchall()[0]
        (moved,) = connection.execute(
            "SELECT count(*) FROM students_day AS a JOIN students_history AS b USING (student_id) "
            "WHERE a.class_id <> b.class_id"
        ).fetchall()[0]
    assert corrections == 200_000 // 180 // 100
    assert corrections < rows <= 200_000 // 180
    assert moved == 1  # of 1,000 students


# --- measuring ------------------------------------------------------------------------------------


def python(code: str) -> Command:
    return Command([sys.executable, "-c", code])


def test_time_memory_and_disk_are_those_of_the_command(tmp_path: Path) -> None:
    ballast = bytearray(300_000_000)  # what this process holds must not count
    ballast[::4096] = b"x" * len(ballast[::4096])
    output = tmp_path / "output"
    output.mkdir()
    run = measure(
        python(
            "import sys, time; a = bytearray(60_000_000); a[::4096] = b'x' * len(a[::4096]); "
            f"open({str(output / 'file')!r}, 'wb').write(a[:5_000_000]); time.sleep(0.5)"
        ),
        output,
        tmp_path / "log",
    )
    assert len(ballast) == 300_000_000
    assert 0.5 < run.wall < 60
    assert run.cpu < run.wall
    assert 60 < run.peak_mb < 150
    assert run.disk_mb == 5


def test_a_command_that_fails_is_told_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"ended with 3:\nno luck") as failed:
        measure(
            python("import sys; print('no luck', flush=True); sys.exit(3)"),
            tmp_path,
            tmp_path / "log",
        )
    assert not isinstance(failed.value, OutOfMemory)


def test_a_command_gets_no_more_memory_than_the_limit(tmp_path: Path) -> None:
    def want(megabytes: int) -> Command:
        take = f"a = bytearray({megabytes}_000_000); a[::4096] = b'x' * len(a[::4096])"
        return python(take)

    try:
        with memory_limit(100) as words:
            little, much = (
                replace(command, words=[*words, *command.words])
                for command in (want(20), want(200))
            )
            assert measure(little, tmp_path / "none", tmp_path / "log").peak_mb > 20
            with pytest.raises(OutOfMemory):
                measure(much, tmp_path / "none", tmp_path / "log")
    except NoLimit as reason:
        pytest.skip(str(reason))
    with memory_limit(0) as words:
        assert words == []


def test_a_command_that_was_killed_is_out_of_memory(tmp_path: Path) -> None:
    kill = python(f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})")
    with pytest.raises(OutOfMemory):
        measure(kill, tmp_path, tmp_path / "log")


# --- results and report ---------------------------------------------------------------------------


def test_results_of_several_invocations_are_kept_side_by_side(tmp_path: Path) -> None:
    file = tmp_path / "results" / "measured.json"
    large = measured(1_000_000, student_pipeline=[cost(3.0)])
    small = measured(1_000, student_pipeline=[cost(2.0)], polars=[cost(0.5), cost(0.25)])
    day = measured(1_000, "day", **{"student_pipeline: one more day": [cost(1.0)]})
    save(file, large)
    save(file, day)
    save(file, measured(1_000, student_pipeline=[cost(9.0)]))
    assert save(file, small) == load(file) == [small, large, day]


def test_the_report_tells_medians_and_pairs(tmp_path: Path) -> None:
    builds = [
        measured(
            1_000_000,
            student_pipeline=[cost(10.0), cost(20.0), cost(30.0)],
            polars=[cost(20.0, peak_mb=1_500), cost(20.0), cost(15.0)],
            pandas=[],
        ),
    ]
    page = markdown(builds)
    assert "| 1,000,000 | student-pipeline | 20.0 | 40.0 | 100 | 10 |  |" in page
    # Pair by pair 2, 1 and a half, of which the median is 1; the medians have 20 / 20, too, but
    # not the means.
    assert "| 1,000,000 | Polars 2.1.0 | 20.0 | 40.0 | 100 | 10 | 1.00 |" in page
    assert re.search(r"^\| 1,000,000 \| pandas \| out of memory \|( *\|){4}$", page, re.MULTILINE)
    assert "| build | 1,000,000 | 3 | 2026-06-30 | a machine |" in page
    assert "One more day" not in page


def test_builds_with_little_memory_have_a_table_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "measured.json"
    free = measured(50_000_000, student_pipeline=[cost(100.0)])
    limited = replace(free, memory_limit_mb=2_000, costs={"student_pipeline": [cost(150.0)]})
    save(file, limited)
    page = markdown(save(file, free))
    before, _, after = page.partition("## A whole first build with little memory")
    assert "| 50,000,000 | student-pipeline | 100.0 |" in before
    assert "With 2,000 MB of memory" in after
    assert "| 50,000,000 | student-pipeline | 150.0 |" in after
    assert "| build, 2,000 MB | 50,000,000 | 1 |" in after


def test_a_limit_of_memory_is_for_builds(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--memory-limit", "2000"])
    assert "--memory-limit goes with --contests build alone." in capsys.readouterr().err


def test_the_report_tells_what_a_day_costs() -> None:
    def day(attendance: int, ours: float) -> Measured:
        return measured(
            attendance,
            "day",
            **{
                f"{PIPELINE.name}: nothing new": [cost(4.0)],
                f"{PIPELINE.name}: one more day": [cost(ours)],
                f"{DBT.name}: one more day": [cost(50.0)],
            },
        )

    build = measured(10_000_000, student_pipeline=[cost(44.0)])
    page = markdown([build, day(10_000_000, 5.0), day(50_000_000, 6.0)])
    assert "| 10,000,000 | dbt-duckdb, one more day | 50.0 | 100.0 | 100 | 10 | 10.00 |" in page
    assert "our day takes 2.5% of the time of the whole build" in page
    assert "With 5 times the history (from 10,000,000 rows to 50,000,000)" in page
    assert "takes 1.20 times as long" in page
    page = markdown([build, day(10_000_000, 4.0)])
    assert "On 10,000,000 rows our day takes no longer than a run with nothing new." in page


def test_the_pictures_have_a_line_for_everybody(tmp_path: Path) -> None:
    builds = [
        measured(rows, student_pipeline=[cost(rows / 100)], polars=[cost(rows / 200)], pandas=[])
        for rows in (1_000, 10_000)
    ]
    drawn = specification(builds, TITLES, "wall", "seconds")
    assert drawn["encoding"]["x"]["scale"]["type"] == "log"
    assert drawn["encoding"]["y"]["scale"]["type"] == "log"
    assert [row["value"] for row in drawn["data"]["values"]] == [10, 5, 100, 50]
    write_report(builds, tmp_path)
    for name in ("time.svg", "memory.svg"):
        picture = (tmp_path / name).read_text(encoding="utf-8")
        assert 'fill="white"' in picture
        assert {"student-pipeline", "Polars"} <= set(re.findall(r">([\w -]+)</text>", picture))
        assert "pandas" not in picture


def test_the_stored_page_is_made_from_the_stored_figures() -> None:
    stored = load(RESULTS / "measured.json")
    assert {one.contest for one in stored} == {"build", "day", "sample"}
    assert markdown(stored) == (RESULTS / "README.md").read_text(encoding="utf-8")


# --- contestants ----------------------------------------------------------------------------------


def test_every_version_is_pinned() -> None:
    for contestant in CONTESTANTS:
        if contestant is PIPELINE:
            assert not contestant.requirements.exists()
            continue
        assert contestant.version
        for line in contestant.requirements.read_text().splitlines():
            assert line.startswith("#") or re.fullmatch(r"[\w.-]+==[\w.]+", line), line


def test_the_bare_script_runs_on_our_duckdb() -> None:
    pins = (PROJECT_ROOT / "constraints.txt").read_text()
    assert f'duckdb=={BARE.version}; python_version >= "3.11"' in pins
