"""Which files belong to a source: names, folders, links, and the order in which they are read."""

import os
from pathlib import Path

import pytest

from student_pipeline.ingest import discovery
from student_pipeline.sources import SOURCES, STUDENTS
from student_pipeline_tests.pipeline import School, errors, failed_checks
from student_pipeline_tests.test_delivery import load

ROSTER = "student_id,name\n1,Ann\n"
FORMATS = ("csv", "tsv", "json", "jsonl", "ndjson")


def found(folder: Path, source: str = "students") -> dict[str, str | None]:
    """Path -> why it is passed over, in the order in which files are read."""
    files = discovery.find_files(str(folder), SOURCES[source])
    return {file.path: file.passed_over for file in files}


def touch(folder: Path, *names: str) -> None:
    """Make empty files."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *(f"students.{format_}" for format_ in FORMATS),
        *(f"students.{format_}.gz" for format_ in FORMATS),
        "students.parquet",
        "students-2026.csv",
        "students_2026.csv",
        "students-.csv",
        "students_.csv.gz",
        "students-a.b.c.csv",
        "students_x.json.csv",
        "STUDENTS.CSV",
        "Students_North.Csv.GZ",
        "students/a.csv",
        "students/attendance.csv",
        "students/2026/09/01/any name at all.ndjson.gz",
        "Students/A.CSV",
        "students/students.csv/inside.csv",
        "students/x.tmp/inside.csv",
    ],
)
def test_names_of_a_source(tmp_path: Path, name: str) -> None:
    touch(tmp_path, name)
    assert found(tmp_path) == {name: None}
    assert found(tmp_path, "attendance") == found(tmp_path, "assessments") == {}


@pytest.mark.parametrize(
    "name",
    [
        "students",
        "students.txt",
        "students.csv.zip",
        "students.parquet.gz",
        "students.gz",
        "students.csv.gz.gz",
        "students2.csv",
        "students 2.csv",
        "students.2.csv",
        "student.csv",
        "my_students.csv",
        "students.csv~x",
        "old/students.csv",
        "old/students/a.csv",
        ".students/a.csv",
        "students-2026/a.csv",
        "students/notes.txt",
        "students/csv",
        "ſtudents.csv",
        "students.cſv",
        "~students.csv",
    ],
)
def test_names_of_no_source(tmp_path: Path, name: str) -> None:
    touch(tmp_path, name)
    assert [found(tmp_path, source) for source in SOURCES] == [{}, {}, {}]


@pytest.mark.parametrize(
    ("name", "format_", "gzipped"),
    [
        ("students.csv", "csv", False),
        ("students.TSV", "tsv", False),
        ("students.Json.gZ", "json", True),
        ("students_a.csv.jsonl", "jsonl", False),
        ("students/x.NDJSON.gz", "ndjson", True),
        ("students-1.PARQUET", "parquet", False),
    ],
)
def test_the_format_is_the_ending(tmp_path: Path, name: str, format_: str, gzipped: bool) -> None:
    touch(tmp_path, name)
    (file,) = discovery.find_files(str(tmp_path), STUDENTS)
    assert (file.format, file.gzipped) == (format_, gzipped)


def test_every_file_has_one_source(tmp_path: Path) -> None:
    names = ["students-attendance.csv", "attendance_students.csv", "assessments/attendance.csv"]
    touch(tmp_path, *names)
    assert [list(found(tmp_path, source)) for source in SOURCES] == [[name] for name in names]


def test_files_are_read_in_the_order_of_code_points(tmp_path: Path) -> None:
    names = [
        "STUDENTS.csv",
        "Students/b.csv",
        "students-1.csv",
        "students-10.csv",
        "students-2.csv",
        "students.csv",
        "students/B.csv",
        "students/a.csv",
        "students/a/z.csv",
        "students/é.csv",
        "students/z.csv",
        "students/\ufb01.csv",
        "students/\U0001f600.csv",
        "students_1.csv",
    ]
    touch(tmp_path, *names)
    assert list(found(tmp_path)) == sorted(names)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("students.csv~", "Passed over: names that end in ~ are temporary."),
        ("students.csv.tmp", "Passed over: names that end in .tmp are temporary."),
        ("students.csv.TMP", "Passed over: names that end in .tmp are temporary."),
        ("students_1.csv.gz.part", "Passed over: names that end in .part are temporary."),
        ("students/a.json.part", "Passed over: names that end in .part are temporary."),
        (".students.csv", "Passed over: it is hidden."),
        ("students/.a.csv", "Passed over: it is hidden."),
        ("students/.later/a.csv", "Passed over: it is hidden."),
        ("students/.later/a.csv~", "Passed over: it is hidden."),
    ],
)
def test_hidden_and_temporary_files_are_passed_over(tmp_path: Path, name: str, reason: str) -> None:
    touch(tmp_path, name, "students.txt~", ".students", "students.tmp", ".git/students.csv")
    assert found(tmp_path) == {name: reason}


def test_folders_are_no_files(tmp_path: Path) -> None:
    for name in ("students.csv", "students-1.json", "students/a.csv", "students/.b.csv"):
        (tmp_path / name).mkdir(parents=True)
    assert found(tmp_path) == {}


HOSTILE = [
    "students_'quoted'.csv",
    'students_"double".csv',
    "students_'; DROP TABLE bronze.students; --.csv",
    "students_$1 ? %s {x} \\.csv",
    "students_line\nbreak.csv",
    "students_*?[a-c].csv",
    "students_ é漢😀.csv",
    "students/**/x=1/*.csv",
    "students/-rf.csv",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_names(tmp_path: Path, name: str) -> None:
    touch(tmp_path, name)
    assert found(tmp_path) == {name: None}


# --- links ----------------------------------------------------------------------------------------

OUTSIDE = "Passed over: it is a link that points out of the landing folder."


def link(at: Path, to: Path | str) -> None:
    """Make a link, and the folder in which it stands."""
    at.parent.mkdir(parents=True, exist_ok=True)
    at.symlink_to(to)


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    """A landing folder with something outside of it."""
    touch(tmp_path, "outside/a.csv", "landing-too/a.csv")
    (tmp_path / "landing").mkdir()
    return tmp_path / "landing"


def test_links_that_stay_inside_are_followed(landing: Path) -> None:
    touch(landing, "store/real.csv", "store/deep/b.csv")
    link(landing / "students.csv", "store/real.csv")
    link(landing / "students_abs.csv", landing / "store" / "real.csv")
    link(landing / "students" / "store", "../store")
    assert found(landing) == dict.fromkeys(
        ["students.csv", "students/store/deep/b.csv", "students/store/real.csv", "students_abs.csv"]
    )


@pytest.mark.parametrize(
    "name", ["students.csv", "students_1.json", "students/a.csv", "students/more", "students"]
)
@pytest.mark.parametrize(
    "target", ["{outside}/a.csv", "{outside}", "{outside}/nothing", "{outside}/../landing-too"]
)
def test_links_that_lead_out_are_passed_over(landing: Path, name: str, target: str) -> None:
    link(landing / name, target.format(outside=landing.parent / "outside"))
    assert found(landing) == {name: OUTSIDE}


def test_a_link_to_a_link_counts_by_its_end(landing: Path) -> None:
    touch(landing, "store/real.csv")
    link(landing.parent / "outside" / "back.csv", landing / "store" / "real.csv")
    link(landing / "students_back.csv", "../outside/back.csv")
    link(landing / "hop", "../outside/a.csv")
    link(landing / "students_hop.csv", "hop")
    assert found(landing) == {"students_back.csv": None, "students_hop.csv": OUTSIDE}


def test_links_of_no_source_are_nobodys_business(landing: Path) -> None:
    link(landing / "other.csv", landing.parent / "outside" / "a.csv")
    link(landing / "old", landing.parent / "outside")
    assert [found(landing, source) for source in SOURCES] == [{}, {}, {}]


def test_links_in_a_circle_end(landing: Path) -> None:
    touch(landing, "students/a/1.csv", "students/b/2.csv")
    link(landing / "students" / "self", ".")
    link(landing / "students" / "up", "..")
    link(landing / "students" / "a" / "to_b", "../b")
    link(landing / "students" / "b" / "to_a", "../a")
    assert found(landing) == dict.fromkeys(
        [
            "students/a/1.csv",
            "students/a/to_b/2.csv",
            "students/b/2.csv",
            "students/b/to_a/1.csv",
        ]
    )


def test_the_landing_folder_may_be_a_link(landing: Path) -> None:
    touch(landing, "students.csv")
    link(landing.parent / "here", "landing")
    assert found(landing.parent / "here") == {"students.csv": None}
    assert discovery.find_files(f"file://{landing}", STUDENTS)[0].path == "students.csv"


# --- the landing folder ---------------------------------------------------------------------------


def test_a_landing_folder_that_is_not_there(school: School) -> None:
    gone = school.folder / "gone"
    result = school.run(url=str(gone))
    assert not result.success
    assert set(errors(result)) == {f"The landing folder {gone} does not exist."}
    assert not any(event.is_step_up_for_retry for event in result.all_events)


def test_a_landing_folder_that_is_a_file(tmp_path: Path) -> None:
    touch(tmp_path, "file")
    with pytest.raises(discovery.LandingError, match=r"file is not a folder\.$"):
        found(tmp_path / "file")


def test_a_folder_that_cannot_be_listed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run as root may list everything, so the refusal is played."""
    touch(tmp_path, "students/secret/a.csv")
    real = os.scandir

    def scandir(path: Path) -> object:
        if os.fspath(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(discovery.LandingError) as caught:
        found(tmp_path)
    assert str(caught.value) == (
        f"The folder {tmp_path}/students/secret can't be listed: Permission denied."
    )
    assert caught.value.may_pass


def test_no_source_file_at_all(school: School) -> None:
    school.deliver("readme.txt", "nothing here")
    result = school.run()
    assert not result.success
    sentence = failed_checks(result)["bronze/students: not_empty"]
    assert f"no source file in the landing folder {school.landing}" in sentence
    for pattern in ("students.<ext>", "attendance-*.<ext>", "assessments/**/*.<ext>"):
        assert pattern in sentence


# --- end to end -----------------------------------------------------------------------------------


NOTE = "It lacks the columns class_id, status."
"""What the ledger says of the rosters of these tests."""


def ledger(school: School) -> dict[str, tuple[str, str | None]]:
    """Path -> status and message."""
    rows = school.query("SELECT path, status, message FROM ops.source_files")
    assert len(rows) == len({path for path, *_ in rows})
    return {path: (status, message) for path, status, message in rows}


def test_hostile_names_are_loaded_and_told_apart(school: School) -> None:
    for number, name in enumerate(HOSTILE):
        school.deliver(name, f"student_id,name\n{number},Ann\n")
    undecodable = b"students_\xff\xfe.csv"
    path = os.path.join(os.fsencode(school.landing), undecodable)
    with open(path, "wb") as file:
        file.write(b"student_id,name\nx,Ann\n")
    load(school)
    expected = {name: str(number) for number, name in enumerate(HOSTILE)}
    expected["students_\\xff\\xfe.csv"] = "x"
    assert dict(school.query("SELECT _source_file, student_id FROM bronze.students")) == expected
    assert ledger(school) == dict.fromkeys(expected, ("loaded", NOTE))
    assert load(school)["files_loaded"] == 0  # they are all known again
    assert school.query("SELECT count(*), max(_load_id) FROM ops.source_files") == [(10, 10)]


def test_hostile_names_of_packed_and_parquet_files_are_refused_by_name(school: School) -> None:
    school.deliver("students.csv", ROSTER)
    school.deliver("students_'*[x].parquet", b"PAR1")
    school.deliver("students_\n;.csv.gz", b"no gzip")
    assert load(school)["files_refused"] == 2
    messages = {path: message or "" for path, (_, message) in ledger(school).items()}
    assert messages["students_'*[x].parquet"].startswith("Expected a whole Parquet file")
    assert messages["students_\n;.csv.gz"].startswith("Expected a gzip file")


def test_what_is_passed_over_stands_in_the_ledger(school: School) -> None:
    school.deliver("students.csv", ROSTER)
    school.deliver("students.csv~", "student_id\nold\n")
    school.deliver("attendance/.new.csv", "attend_id\n")
    link(school.landing / "students_link.csv", "/etc/hostname")
    link(school.landing / "assessments", "/nowhere/at/all")
    for _ in range(2):
        for source in SOURCES.values():
            load(school, source)
        assert ledger(school) == {
            "students.csv": ("loaded", NOTE),
            "students.csv~": (
                "passed_over",
                "Passed over: names that end in ~ are temporary.",
            ),
            "attendance/.new.csv": ("passed_over", "Passed over: it is hidden."),
            "students_link.csv": ("passed_over", OUTSIDE),
            "assessments": ("passed_over", OUTSIDE),
        }
    assert school.query("SELECT student_id FROM bronze.students") == [("1",)]
    untouched = "SELECT count(*) FROM ops.source_files WHERE status = 'passed_over' AND "
    assert school.query(
        untouched
        + "sha256 IS NULL AND rows_read IS NULL AND rows_appended = 0 AND _load_id IS NULL"
    ) == [(4,)]


def test_what_is_no_regular_file_is_refused(school: School) -> None:
    school.deliver("students.csv", ROSTER)
    os.mkfifo(school.landing / "students_pipe.csv")
    link(school.landing / "students_dangling.csv", "not there.csv")
    link(school.landing / "students_self.csv", "students_self.csv")
    load(school)
    readable = ledger(school)
    assert readable["students.csv"] == ("loaded", NOTE)
    assert readable["students_pipe.csv"] == (
        "refused",
        "Expected a regular file, found a pipe, socket or device.",
    )
    assert readable["students_dangling.csv"] == (
        "refused",
        "The file can't be read: it is a link to nothing.",
    )
    status, message = readable["students_self.csv"]
    assert status == "refused"
    assert message == "The file can't be read: Too many levels of symbolic links."
    assert school.query("SELECT student_id FROM bronze.students") == [("1",)]


def test_each_source_reads_its_own_files(school: School) -> None:
    school.deliver("Students/north.CSV", ROSTER)
    school.deliver("attendance_a.csv", "attend_id,student_id,date,status\nA1,1,2026-01-05,P\n")
    school.deliver(
        "assessments/x/y.json", '{"assess_id": 7, "student_id": 1, "date": "2026-01-05"}'
    )
    school.deliver("other.csv", "student_id\n9\n")
    assert school.run().success
    assert dict(school.query("SELECT source, path FROM ops.source_files")) == {
        "students": "Students/north.CSV",
        "attendance": "attendance_a.csv",
        "assessments": "assessments/x/y.json",
    }
