"""The sample, as somebody who opens its files sees it: parsed here with the standard library, and
once judged by the oracle, the contract in plain Python."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import date, datetime, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from student_pipeline.sample_data import SampleSummary, write_sample
from student_pipeline_tests.oracle import Oracle

FILES = ("assessments.json", "attendance.csv", "students.csv")
ROSTER = ["student_id", "name", "class_id", "grade", "status", "updated_at"]
ATTENDANCE = ["attend_id", "student_id", "date", "status", "created_at"]
ASSESSMENT = ["assessment_id", "student_id", "subject", "score", "max_score", "date", "created_at"]
LATER = datetime(2026, 11, 1, tzinfo=timezone.utc)  # a day after all the sample's good dates

# The contract's reasons for refusing a row.
REASONS = {
    "missing_id",
    "missing_student_id",
    "unknown_student",
    "invalid_date",
    "date_out_of_range",
    "unknown_status",
    "invalid_score",
    "invalid_max_score",
    "score_out_of_range",
    "malformed_record",
}

BLANKS = " \t\u00a0\u200b\u3000"

Row = dict[str, Any]


class Sample(NamedTuple):
    """The files of a folder: well-formed records by source, and the malformed ones as they are."""

    folder: Path
    summary: SampleSummary
    rows: dict[str, list[Row]]
    malformed: dict[str, list[Any]]

    def ids(self, source: str) -> Counter[str]:
        """How often each id that is one stands in the file."""
        field = {"students": "student_id", "attendance": "attend_id"}.get(source, "assessment_id")
        return Counter(row[field].strip() for row in self.rows[source] if not is_null(row[field]))


def read(folder: Path, summary: SampleSummary) -> Sample:
    rows: dict[str, list[Row]] = {}
    malformed: dict[str, list[Any]] = {}
    for source in ("students", "attendance"):
        with (folder / f"{source}.csv").open(encoding="utf-8", newline="") as file:
            header, *lines = csv.reader(file)
        rows[source] = [
            dict(zip(header, line, strict=True)) for line in lines if len(line) == len(header)
        ]
        malformed[source] = [line for line in lines if len(line) != len(header)]
    elements = json.loads((folder / "assessments.json").read_text(encoding="utf-8"))
    rows["assessments"] = [element for element in elements if isinstance(element, dict)]
    malformed["assessments"] = [element for element in elements if not isinstance(element, dict)]
    return Sample(folder, summary, rows, malformed)


def make(folder: Path, **sizes: Any) -> Sample:
    return read(folder, write_sample(folder, **sizes))


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return make(tmp_path_factory.mktemp("dirty"))


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return make(tmp_path_factory.mktemp("clean"), dirt=False)


def is_null(value: Any) -> bool:
    return value is None or (
        isinstance(value, str) and value.strip().upper() in ("", "N/A", "NA", "-", "NULL", "NONE")
    )


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_iso_date(text: Any) -> bool:
    try:
        return bool(date.fromisoformat(str(text).strip(BLANKS))) and "-" in text
    except ValueError:
        return False


# --- Counts and bytes ---------------------------------------------------------------------------


def test_writes_exactly_the_three_files_and_makes_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there" / "yet"
    write_sample(folder, students=30, attendance=50, assessments=40)
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)


def test_leaves_other_files_alone_and_replaces_its_own(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    write_sample(tmp_path, students=300, attendance=900, assessments=400)
    sample = make(tmp_path, students=30, attendance=50, assessments=40, dirt=False)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert {source: len(rows) for source, rows in sample.rows.items()} == {
        "students": 30,
        "attendance": 50,
        "assessments": 40,
    }


def test_default_size_is_exact(dirty: Sample) -> None:
    counted = {
        source: len(dirty.rows[source]) + len(dirty.malformed[source]) for source in dirty.rows
    }
    assert counted == dirty.summary.rows
    assert counted["attendance"] == 5000
    assert counted["assessments"] == 3000
    assert dirty.summary.students == len(dirty.ids("students")) == 1200
    assert 1200 < counted["students"] <= 1230  # repeated students, rows without an id


def test_headers_are_the_documented_ones_and_one_unknown(dirty: Sample) -> None:
    assert list(dirty.rows["students"][0]) == [*ROSTER, "homeroom"]
    assert list(dirty.rows["attendance"][0]) == ATTENDANCE
    fields = {name for row in dirty.rows["assessments"] for name in row}
    assert fields == {*ASSESSMENT, "comment"}


def test_files_are_utf8_without_bom_and_with_lf(dirty: Sample) -> None:
    for name in FILES:
        content = (dirty.folder / name).read_bytes()
        assert not content.startswith(b"\xef\xbb\xbf")
        assert b"\r" not in content
        assert content.endswith(b"\n")
        assert not content.decode("utf-8").isascii()


def digests(folder: Path) -> list[str]:
    return [hashlib.sha256((folder / name).read_bytes()).hexdigest()[:16] for name in FILES]


def test_same_seed_same_bytes_another_seed_other_bytes(tmp_path: Path) -> None:
    sizes = {"students": 200, "attendance": 1500, "assessments": 700}
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        write_sample(tmp_path / name, seed=seed, **sizes)
    assert digests(tmp_path / "first") == digests(tmp_path / "again")
    assert not set(digests(tmp_path / "first")) & set(digests(tmp_path / "other"))


def test_default_sample_is_the_same_everywhere(dirty: Sample) -> None:
    """On every platform and Python version. A wanted change of the generator changes these, and
    the sample in data/raw has to be made again."""
    assert digests(dirty.folder) == [
        "f3d13e8cc1bdade4",
        "59594633d0391077",
        "9e83d390207cfa05",
    ]


# --- A school that could be one -----------------------------------------------------------------


def test_roster_looks_like_a_school(dirty: Sample) -> None:
    rows = dirty.rows["students"]
    grades = {row["grade"].strip() for row in rows}
    assert {"K", "Kindergarten", "7", "07", "Grade 7", "grade7", "7th", "7.0", "10th"} <= grades
    assert {row["status"] for row in rows} >= {"ACTIVE", "Enrolled", "INACTIVE", "withdrawn", ""}
    names = [row["name"] for row in rows]
    for letter in ("é", "ñ", "'", ",", '"'):
        assert any(letter in name for name in names), letter
    sizes = Counter(
        row["class_id"] for row in rows if re.fullmatch(r"G\d\d-[A-Z]+", row["class_id"])
    )
    assert 20 <= sum(sizes.values()) / len(sizes) <= 30
    assert {class_id[:3] for class_id in sizes} == {f"G{grade:02d}" for grade in range(13)}


def test_ids_have_leading_zeros(dirty: Sample) -> None:
    assert all(re.fullmatch(r"0\d{6}", row["student_id"]) for row in dirty.rows["students"][:10])


def test_timestamps_come_in_iso_variants(dirty: Sample) -> None:
    for source, field in (
        ("students", "updated_at"),
        ("attendance", "created_at"),
        ("assessments", "created_at"),
    ):
        shapes = {re.sub(r"\d", "9", row[field] or "") for row in dirty.rows[source]}
        assert shapes >= {
            "9999-99-99T99:99:99Z",
            "9999-99-99 99:99:99",
            "9999-99-99 99:99:99Z",
            "9999-99-99T99:99",
            "9999-99-99T99:99:99.999Z",
            "9999-99-99T99:99:99-99:99",
        }


@pytest.mark.parametrize("source", ["attendance", "assessments"])
def test_days_are_weekdays_of_one_school_year(dirty: Sample, source: str) -> None:
    written = [row["date"] for row in dirty.rows[source] if is_iso_date(row["date"])]
    days = sorted(date.fromisoformat(text.strip(BLANKS)) for text in set(written))
    good = [day for day in days if date(2000, 1, 1) <= day < date(2099, 1, 1)]
    assert good[0] == date(2025, 9, 1)
    assert date(2026, 5, 15) <= good[-1] <= date(2026, 6, 30)
    assert all(day.weekday() < 5 for day in good)
    assert not any(date(2025, 12, 22) <= day <= date(2026, 1, 2) for day in good)


def test_attendance_is_mostly_present_and_some_are_chronically_absent(clean: Sample) -> None:
    statuses: dict[str, list[str]] = defaultdict(list)
    for row in clean.rows["attendance"]:
        statuses[row["student_id"]].append(row["status"])
    everything = Counter(status for each in statuses.values() for status in each)
    assert set(everything) == {"PRESENT", "LATE", "ABSENT", "EXCUSED"}
    assert 0.9 < (everything["PRESENT"] + everything["LATE"]) / 5000 < 0.96
    long_enough = [each for each in statuses.values() if len(each) >= 10]
    chronic = sum(
        10 * (each.count("ABSENT") + each.count("EXCUSED")) >= len(each) for each in long_enough
    )
    assert len(long_enough) > 100
    assert 0.05 < chronic / len(long_enough) < 0.35


def test_assessments_mix_subjects_and_maxima(clean: Sample) -> None:
    rows = clean.rows["assessments"]
    assert {row["subject"] for row in rows} == {"Math", "English", "Science", "History", "Art"}
    assert {row.get("max_score", "absent") for row in rows} == {100, 50, 20, None, "absent"}
    percentages = [100 * row["score"] / (row.get("max_score") or 100) for row in rows]
    assert 0 <= min(percentages) < 40
    assert 90 < max(percentages) <= 100
    assert 60 < sum(percentages) / len(percentages) < 80


def test_some_class_days_have_both_attendance_and_assessments(clean: Sample) -> None:
    class_of = {row["student_id"]: row["class_id"] for row in clean.rows["students"]}
    attended, assessed = (
        {(class_of[row["student_id"]], row["date"]) for row in clean.rows[source]}
        for source in ("attendance", "assessments")
    )
    assert len(attended & assessed) >= 10


# --- Without dirt -------------------------------------------------------------------------------


def test_clean_roster_is_clean(clean: Sample) -> None:
    rows = clean.rows["students"]
    assert list(rows[0]) == ROSTER
    assert len(rows) == len(clean.ids("students")) == 1200
    for row in rows:
        assert all(value and value == value.strip() for value in row.values())
        assert re.fullmatch(r"K|[1-9]|1[0-2]", row["grade"])
        assert row["status"] in ("ACTIVE", "INACTIVE")
        assert re.fullmatch(r"2025-08-\d\dT13:\d\d:00Z", row["updated_at"])


@pytest.mark.parametrize("source", ["attendance", "assessments"])
def test_clean_facts_are_clean(clean: Sample, source: str) -> None:
    rows = clean.rows[source]
    active = {row["student_id"] for row in clean.rows["students"] if row["status"] == "ACTIVE"}
    assert set(clean.ids(source).values()) == {1}
    assert clean.malformed[source] == []
    assert {row["student_id"] for row in rows} <= active
    for row in rows:
        assert is_iso_date(row["date"])
        assert row["created_at"][:11] == row["date"] + "T"
        assert re.fullmatch(r"T13:\d\d:00Z", row["created_at"][10:])
        if source == "assessments":
            assert is_number(row["score"])
            assert 0 <= row["score"] <= (row.get("max_score") or 100)
    if source == "attendance":
        assert len({(row["student_id"], row["date"]) for row in rows}) == len(rows) == 5000
    assert clean.summary.dirt[source] == {}


# --- With dirt: every kind is in the files as often as the summary says -------------------------

Finder = Callable[[Sample], int]


def having(source: str, field: str, test: Callable[[Any], Any]) -> Finder:
    """Counts the rows whose field passes the test."""
    return lambda sample: sum(bool(test(row.get(field))) for row in sample.rows[source])


def identical(source: str) -> Finder:
    def find(sample: Sample) -> int:
        texts = Counter(json.dumps(row) for row in sample.rows[source])
        return sum(count - 1 for count in texts.values())

    return find


def versions(source: str, id_field: str, test: Callable[[Row, Row], Any]) -> Finder:
    """Counts the ids that have two versions, plain (of the morning) and other, passing the test."""

    def find(sample: Sample) -> int:
        rows_of: dict[str, list[Row]] = defaultdict(list)
        for row in sample.rows[source]:
            if not is_null(row[id_field]):
                rows_of[row[id_field]].append(row)
        pairs = [each for each in rows_of.values() if len(each) == 2 and each[0] != each[1]]
        return sum(bool(test(a, b) or test(b, a)) for a, b in pairs)

    return find


def is_evening(text: Any) -> bool:
    return str(text).endswith("T20:30:00Z")


def is_other_date_format(text: Any) -> bool:
    return bool(
        re.fullmatch(
            r"2\d{3}/\d\d/\d\d|2\d{7}|\d\d?/\d\d?/2\d{3}|2\d{3}-\d\d-\d\dT08:00:00Z"
            r"|2\d{3}-\d\d-\d\d 23:30:00-05:00",
            str(text),
        )
    ) and not str(text).startswith("2/29/2026")


def is_unreadable_stamp(text: Any) -> bool:
    return text in ("yesterday", "09/15/2025 8:05 AM", "2025-13-01T08:00:00Z")


def is_invalid_date(text: Any) -> bool:
    return not is_iso_date(text) and not is_other_date_format(text)


def is_padded(row: Row) -> bool:
    texts = [value for value in row.values() if isinstance(value, str) and value.strip(BLANKS)]
    return all(text != text.strip(BLANKS) for text in texts)


def unknown_students(source: str) -> Finder:
    def find(sample: Sample) -> int:
        known = {row["student_id"].strip(BLANKS) for row in sample.rows["students"]}
        ids = (row["student_id"] for row in sample.rows[source] if not is_null(row["student_id"]))
        return sum(each.strip(BLANKS) not in known for each in ids)

    return find


def leaver_records(source: str, id_field: str) -> Finder:
    def find(sample: Sample) -> int:
        rows = [row for row in sample.rows[source] if str(row[id_field]).endswith("-L")]
        status_of = {row["student_id"]: row["status"] for row in sample.rows["students"]}
        assert all(status_of[row["student_id"]] not in ("ACTIVE", "Enrolled") for row in rows)
        return len(rows)

    return find


def out_of_range(sample: Sample) -> int:
    found = 0
    for row in sample.rows["assessments"]:
        maximum = row.get("max_score")
        maximum = 100 if is_null(maximum) else maximum
        if is_number(row["score"]) and is_number(maximum) and maximum > 0:
            found += not 0 <= row["score"] <= maximum
    return found


def same_day_twice(sample: Sample) -> int:
    """Two ids on one student-day, told by the second one's ending."""
    days = Counter((row["student_id"], row["date"]) for row in sample.rows["attendance"])
    second = [row for row in sample.rows["attendance"] if row["attend_id"].endswith("-2")]
    assert all(days[row["student_id"], row["date"]] == 2 for row in second)
    return len(second)


def fact_finders(source: str, id_field: str) -> dict[str, Finder]:
    return {
        "exact_duplicate": identical(source),
        "missing_id": having(source, id_field, is_null),
        "missing_student_id": having(source, "student_id", is_null),
        "unknown_student": unknown_students(source),
        "invalid_date": having(source, "date", is_invalid_date),
        "date_out_of_range": having(source, "date", lambda v: v in ("1999-12-31", "2099-01-01")),
        "date_format": having(source, "date", is_other_date_format),
        "null_word_for_created_at": having(source, "created_at", lambda v: v and is_null(v)),
        "unreadable_timestamp": having(source, "created_at", is_unreadable_stamp),
        "surrounding_blanks": lambda sample: sum(map(is_padded, sample.rows[source])),
        "leaver_record": leaver_records(source, id_field),
        "id_of_two_students": versions(
            source, id_field, lambda a, b: a["student_id"] < b["student_id"]
        ),
        "malformed_record": lambda sample: len(sample.malformed[source]),
    }


def roster_version(test: Callable[[Row, Row], Any]) -> Finder:
    """Counts the students with a second row, in another class, that passes the test."""
    return versions(
        "students",
        "student_id",
        lambda a, b: a["class_id"] != b["class_id"] and test(a, b),
    )


FINDERS: dict[str, dict[str, Finder]] = {
    "students": {
        "exact_duplicate": identical("students"),
        "repeated_newer": roster_version(lambda a, b: b["updated_at"] == "2026-01-12T14:00:00Z"),
        "repeated_older": roster_version(lambda a, b: b["updated_at"] == "2025-06-15 09:00:00"),
        "repeated_undated": roster_version(lambda a, b: b["updated_at"] == ""),
        "repeated_same_time": roster_version(lambda a, b: a["updated_at"] == b["updated_at"]),
        "missing_student_id": having("students", "student_id", is_null),
        "missing_name": having("students", "name", is_null),
        "missing_class": having("students", "class_id", is_null),
        "unreadable_grade": having(
            "students", "grade", lambda v: v in ("Freshman", "", "7-8", "100", "ungraded")
        ),
        "missing_updated_at": lambda sample: (
            having("students", "updated_at", is_null)(sample)
            - sample.summary.dirt["students"]["repeated_undated"]
        ),
        "unreadable_timestamp": having("students", "updated_at", is_unreadable_stamp),
        "surrounding_blanks": lambda sample: sum(map(is_padded, sample.rows["students"])),
        "malformed_record": lambda sample: len(sample.malformed["students"]),
    },
    "attendance": {
        **fact_finders("attendance", "attend_id"),
        "correction": versions(
            "attendance",
            "attend_id",
            lambda a, b: (
                is_evening(b["created_at"])
                and a["status"] != b["status"]
                and a["student_id"] == b["student_id"]
            ),
        ),
        "correction_undated": versions(
            "attendance",
            "attend_id",
            lambda a, b: b["created_at"] == "" and a["status"] != b["status"],
        ),
        "same_day_twice": same_day_twice,
        "status_spelling": having(
            "attendance",
            "status",
            lambda v: (
                re.fullmatch(
                    "present|p|absent|a|u|unexcused|late|l|t|tardy|excused|e", v, re.IGNORECASE
                )
                and v not in ("PRESENT", "LATE", "ABSENT", "EXCUSED")
            ),
        ),
        "unknown_status": having(
            "attendance", "status", lambda v: is_null(v) or v in ("REMOTE", "?", "half day", "X")
        ),
    },
    "assessments": {
        **fact_finders("assessments", "assessment_id"),
        "correction": versions(
            "assessments",
            "assessment_id",
            lambda a, b: is_evening(b["created_at"]) and b["score"] == a["score"] / 2,
        ),
        "correction_undated": versions(
            "assessments",
            "assessment_id",
            lambda a, b: b["created_at"] is None and b["score"] == a["score"] / 2,
        ),
        "missing_subject": having("assessments", "subject", is_null),
        "score_as_text": having(
            "assessments",
            "score",
            lambda v: isinstance(v, str) and re.fullmatch(r" ?\+?\d+\.\d(e0)?", v),
        ),
        "invalid_score": having(
            "assessments",
            "score",
            lambda v: is_null(v) or v is True or v in ("absent", "NaN", "87,5", "1e999"),
        ),
        "score_out_of_range": out_of_range,
        "null_word_for_max_score": having(
            "assessments", "max_score", lambda v: v is not None and is_null(v)
        ),
        "invalid_max_score": having(
            "assessments", "max_score", lambda v: v in (0, -20, "full", "1e999")
        ),
        "unknown_field": having("assessments", "comment", bool),
    },
}


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        pytest.param(source, kind, id=f"{source}-{kind}")
        for source, finders in FINDERS.items()
        for kind in finders
    ],
)
def test_kind_of_dirt_is_in_the_file(dirty: Sample, source: str, kind: str) -> None:
    found = FINDERS[source][kind](dirty)
    assert found > 0
    assert found == dirty.summary.dirt[source][kind]


def test_no_other_kinds_are_claimed(dirty: Sample) -> None:
    claimed = {source: set(kinds) for source, kinds in dirty.summary.dirt.items()}
    assert claimed == {source: set(kinds) for source, kinds in FINDERS.items()}


@pytest.mark.parametrize("source", sorted(FINDERS))
def test_dirt_is_a_realistic_share(dirty: Sample, source: str) -> None:
    rows, kinds = dirty.summary.rows[source], dirty.summary.dirt[source]
    assert 0.03 <= sum(kinds.values()) / rows <= 0.04
    assert max(kinds.values()) / rows < 0.01


def test_variants_of_dirt_all_occur(dirty: Sample) -> None:
    attendance, assessments = dirty.rows["attendance"], dirty.rows["assessments"]
    dates = {row["date"] for row in attendance}
    assert {"2025-02-30", "Monday", "", "31.12.2025", "1999-12-31", "2099-01-01"} <= dates
    shapes = {re.sub(r"\d", "9", text) for text in dates}
    assert {"9999/99/99", "99999999", "9999-99-99T99:99:99Z"} <= shapes
    assert shapes & {"9/9/9999", "9/99/9999", "99/9/9999", "99/99/9999"}
    statuses = {row["status"] for row in attendance}
    assert {"p", "P", "a", "U", "L", "t", "e", "Tardy", "unexcused", "REMOTE", ""} <= statuses
    assert {"N/A", "-", "NULL", "na", "None"} <= {row["created_at"] for row in attendance}
    texts = [str(value) for row in attendance for value in row.values()]
    for blank in (" ", "\u00a0", "\t", "\u200b", "\u3000"):
        assert any(text.startswith(blank) or text.endswith(blank) for text in texts), blank
    assert {len(line) for line in dirty.malformed["attendance"]} == {3, 6}
    assert {type(element) for element in dirty.malformed["assessments"]} == {
        str,
        list,
        int,
        type(None),
    }
    scores = [row["score"] for row in assessments]
    assert None in scores
    assert any(is_number(score) and score < 0 for score in scores)
    assert any(is_number(score) and score > 100 for score in scores)


def test_corrections_stand_on_either_side_of_what_they_correct(dirty: Sample) -> None:
    for source, field in (("attendance", "attend_id"), ("assessments", "assessment_id")):
        rows = dirty.rows[source]
        evening_first = {
            is_evening(a["created_at"])
            for a, b in pairwise(rows)
            if a[field] == b[field]
            and is_evening(a["created_at"]) != is_evening(b["created_at"])
            and a["student_id"] == b["student_id"]
            and b["created_at"]
        }
        assert evening_first == {True, False}


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"seed": 7},
        {"dirt": False},
        {"students": 300, "attendance": 9000, "assessments": 2000},
        {"students": 15, "attendance": 60, "assessments": 60},
    ],
    ids=str,
)
def test_the_contract_refuses_what_the_summary_says(tmp_path: Path, sizes: dict[str, Any]) -> None:
    summary = write_sample(tmp_path, **sizes)
    oracle = Oracle()
    oracle.run(tmp_path, LATER)
    for source, kinds in summary.dirt.items():
        refused = Counter(row["reason"] for row in oracle.quarantine[source])
        assert refused == {kind: count for kind, count in kinds.items() if kind in REASONS}
    assert len(oracle.silver["dim_student"]) == summary.students


# --- Other sizes --------------------------------------------------------------------------------


def test_large_size(tmp_path: Path) -> None:
    sample = make(tmp_path, students=4000, attendance=100_000, assessments=20_000)
    assert sample.summary.rows["attendance"] == 100_000
    assert len(sample.rows["attendance"]) + len(sample.malformed["attendance"]) == 100_000
    assert len(sample.rows["assessments"]) + len(sample.malformed["assessments"]) == 20_000
    assert len(sample.ids("students")) == 4000
    for source, kinds in sample.summary.dirt.items():
        assert kinds.keys() == FINDERS[source].keys()
        for kind, count in kinds.items():
            assert FINDERS[source][kind](sample) == count, (source, kind)


@pytest.mark.parametrize("dirt", [True, False])
@pytest.mark.parametrize(("students", "facts"), [(2, 0), (2, 1), (3, 7), (40, 150)])
def test_small_sizes(tmp_path: Path, students: int, facts: int, dirt: bool) -> None:
    sample = make(tmp_path, students=students, attendance=facts, assessments=facts, dirt=dirt)
    for source in ("attendance", "assessments"):
        assert len(sample.rows[source]) + len(sample.malformed[source]) == facts
        assert 4 * sum(sample.summary.dirt[source].values()) <= facts
    assert len(sample.ids("students")) == students


def test_attendance_too_much_for_a_year_goes_back_into_earlier_ones(tmp_path: Path) -> None:
    sample = make(tmp_path, students=20, attendance=9000, assessments=10, dirt=False)
    rows = sample.rows["attendance"]
    assert len({(row["student_id"], row["date"]) for row in rows}) == 9000
    assert min(row["date"] for row in rows) < "2024-10"
    assert "2026-05" < max(row["date"] for row in rows) < "2026-07"


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"students": 1}, "at least 2 students"),
        ({"attendance": -1}, "attendance=-1"),
        ({"assessments": -1}, "assessments=-1"),
        ({"students": 2, "attendance": 100_000}, "Ask for more students or less attendance"),
    ],
)
def test_impossible_sizes_are_refused_in_a_sentence(
    tmp_path: Path, sizes: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_sample(tmp_path / "none", **sizes)
    assert not (tmp_path / "none").exists()
