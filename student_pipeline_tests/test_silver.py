"""Silver and quarantine: each rule and each reason of the contract's section 4, by real runs.

Most cases need one run only, and share it: `delivered` delivers the rows of all of them at once.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest

from student_pipeline_tests.pipeline import NOW, School, failed_checks

Fields = Mapping[str, Any]

UTC = timezone.utc


# --- building files -------------------------------------------------------------------------------


def csv_file(rows: Iterable[Fields]) -> str:
    """A CSV file of the rows, with every column that one of them has."""
    rows = list(rows)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def student(student_id: str | None, class_id: str = "7B", **fields: Any) -> Fields:
    """A roster row; a good one unless `fields` says otherwise."""
    return {
        "student_id": student_id,
        "name": "Ana",
        "class_id": class_id,
        "grade": "7",
        "status": "ACTIVE",
        "updated_at": "2026-01-01T00:00:00Z",
        **fields,
    }


def attended(attend_id: str | None, student_id: str | None = "S1", **fields: Any) -> Fields:
    """An attendance row; a good one unless `fields` says otherwise."""
    return {
        "attend_id": attend_id,
        "student_id": student_id,
        "date": "2026-05-04",
        "status": "P",
        "created_at": "2026-05-04T08:00:00Z",
        **fields,
    }


def assessed(assessment_id: str | None, student_id: str | None = "S1", **fields: Any) -> Fields:
    """An assessment row; a good one unless `fields` says otherwise."""
    return {
        "assessment_id": assessment_id,
        "student_id": student_id,
        "subject": "Math",
        "score": "45",
        "max_score": "50",
        "date": "2026-05-04",
        "created_at": "2026-05-04T08:00:00Z",
        **fields,
    }


def run(school: School, **how: Any) -> None:
    """A run that must end well."""
    result = school.run(**how)
    assert result.success, failed_checks(result)


def by(key: str, rows: Iterable[Fields]) -> dict[Any, Fields]:
    """The rows by a column that identifies them."""
    rows = list(rows)
    found = {row[key]: row for row in rows}
    assert len(found) == len(rows)
    return found


def columns(row: Fields, names: Iterable[str]) -> dict[str, Any]:
    return {name: row[name] for name in names}


# --- the cases of one run -------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """Versions of one record, and what becomes of them.

    Attributes:
        rows: in the order of the file.
        becomes: columns of the row in silver, or the reason in the quarantine.
        detail: the offending value, which the sentence in the quarantine names.
        later: versions in another file, which is loaded later.
    """

    name: str
    rows: Sequence[Fields]
    becomes: Fields | str
    detail: str = ""
    later: Sequence[Fields] = field(default=())

    def tagged(self, rows: Iterable[Fields]) -> list[Fields]:
        """The rows with the case's name in a column of its own, which lands in `_extra`."""
        return [{**row, "case": self.name} for row in rows]


def names(cases: Iterable[Case]) -> list[str]:
    found = [case.name for case in cases]
    assert len(set(found)) == len(found)
    return found


STATUS_WORDS = {
    "PRESENT": ("P", "PRESENT", "p", "Present", " present\u00a0", "\ufeffP"),
    "ABSENT": ("A", "ABSENT", "U", "UNEXCUSED", "a", "Absent", "u", "unexcused", "\tA"),
    "LATE": ("L", "LATE", "T", "TARDY", "l", "late", "t", "Tardy", "TARDY\u200b"),
    "EXCUSED": ("E", "EXCUSED", "e", "Excused", "  e  "),
}

UNKNOWN_STATUSES = (
    *("", "N/A", "-", "X", "PA", "P A", "P,A", "PRESENTS", "PRESEN", "UNKNOWN", "0", "1", "true"),
    *("Présent", "EXC", "P.", "'P'", "ABSENT (E)"),
)

STATUS_CASES = [
    *(
        Case(
            f"status {word!r}",
            [attended(f"st-{word.strip()}-{number}", status=word)],
            {"status": status, "is_present": status in ("PRESENT", "LATE")},
        )
        for status, words in STATUS_WORDS.items()
        for number, word in enumerate(words)
    ),
    *(
        Case(
            f"status {word!r}",
            [attended(f"us-{number}", status=word)],
            "unknown_status",
            detail=f"'{word}'" if word else "nothing",
        )
        for number, word in enumerate(UNKNOWN_STATUSES)
    ),
]

DATES = {
    "2026-05-04": date(2026, 5, 4),
    " 2026-05-04\u00a0": date(2026, 5, 4),
    "2026-05-04T23:30:00-05:00": date(2026, 5, 4),
    "2026/05/04": date(2026, 5, 4),
    "20260504": date(2026, 5, 4),
    "5/4/2026": date(2026, 5, 4),
    "12/31/2025": date(2025, 12, 31),
    "2024-02-29": date(2024, 2, 29),
    "2000-01-01": date(2000, 1, 1),
    "1/1/2000": date(2000, 1, 1),
    # The run is on 2026-06-30: the day after it is the last good one, as written.
    "2026-06-30": date(2026, 6, 30),
    "2026-07-01": date(2026, 7, 1),
    "2026-07-01T23:59:59-12:00": date(2026, 7, 1),
}
BAD_DATES = (
    *("", "N/A", "None", "-", "tomorrow", "2026-02-29", "2026-13-01", "31/12/2025", "5/4/26"),
    *("2026-5-4", "2026-05-04 morning", "2026-05-04T24:00", "46146", "0000-01-01", "4 May 2026"),
)
DATES_OUT_OF_RANGE = (
    *("1999-12-31", "12/31/1999", "19991231", "1999-12-31T23:59:59-12:00", "0001-01-01"),
    *("2026-07-02", "20260702", "2026-07-02T00:00:00+14:00", "2062-05-04", "9999-12-31"),
)


def date_cases(prefix: str, make: Any, column: str) -> list[Case]:
    """Dates good, unreadable and out of range, for either fact."""
    good = [
        Case(f"{prefix} date {text!r}", [make(f"{prefix}d-{text}", date=text)], {column: day})
        for text, day in DATES.items()
    ]
    refused = [
        Case(
            f"{prefix} date {text!r}",
            [make(f"{prefix}d-{text}", date=text)],
            reason,
            detail=f"'{text}'" if text else "nothing",
        )
        for reason, texts in (
            ("invalid_date", BAD_DATES),
            ("date_out_of_range", DATES_OUT_OF_RANGE),
        )
        for text in texts
    ]
    return good + refused


def id_cases(prefix: str, make: Any, key: str) -> list[Case]:
    """Ids of the record and of its student, for either fact."""
    return [
        Case(f"{prefix} leading zeros", [make("007", "0042")], {key: "007", "student_id": "0042"}),
        Case(
            f"{prefix} blanks around ids",
            [make(f"\u00a0{prefix} 1\t", "\u200b S1 ")],
            {key: f"{prefix} 1", "student_id": "S1"},
        ),
        Case(f"{prefix} id in capitals", [make(f"{prefix}-CASE")], {key: f"{prefix}-CASE"}),
        Case(f"{prefix} id in small letters", [make(f"{prefix}-case")], {key: f"{prefix}-case"}),
        Case(
            f"{prefix} the student's id in small letters is another",
            [make(f"{prefix}-s1", "s1")],
            "unknown_student",
            detail="'s1'",
        ),
        Case(
            f"{prefix} zeros make another student",
            [make(f"{prefix}-42", "42")],
            "unknown_student",
            detail="'42'",
        ),
        Case(
            f"{prefix} long student id",
            [make(f"{prefix}-long", "x" * 500)],
            "unknown_student",
            detail="'" + "x" * 200 + "…'",
        ),
        *(
            Case(f"{prefix} id {word!r}", [make(word)], "missing_id", detail=shown)
            for word, shown in (
                (None, "nothing"),
                ("N/A", "'N/A'"),
                (" - ", "' - '"),
                ("\u00a0\u200b", "'\u00a0\u200b'"),
            )
        ),
        *(
            Case(
                f"{prefix} student {word!r}",
                [make(f"{prefix}-no-student-{number}", word)],
                "missing_student_id",
                detail=shown,
            )
            for number, (word, shown) in enumerate(
                ((None, "nothing"), ("null", "'null'"), ("\u3000", "'\u3000'"))
            )
        ),
    ]


def version_cases(prefix: str, make: Any, column: str, good: Mapping[str, Any]) -> list[Case]:
    """Which of several versions counts, for either fact.

    Args:
        column: a source column whose values tell the versions apart.
        good: value of that column -> what silver makes of it, under the column's name there.
    """
    (first, first_column), (second, second_column) = good.items()

    def version(name: str, value: str, created_at: str | None, **fields: Any) -> Fields:
        return make(f"{prefix}v-{name}", **{column: value, "created_at": created_at, **fields})

    early, late = "2026-05-04T08:00:00Z", "2026-05-04T08:00:01Z"
    return [
        Case(
            f"{prefix} the later created_at counts, also where it stands first",
            [version("1", second, late), version("1", first, early)],
            second_column,
        ),
        Case(
            f"{prefix} the later created_at counts, also of an earlier load",
            [version("2", second, late)],
            second_column,
            later=[version("2", first, early)],
        ),
        Case(
            f"{prefix} no created_at is the oldest",
            [version("3", second, "2000-01-01"), version("3", first, None)],
            second_column,
            later=[version("3", first, "N/A")],
        ),
        Case(
            f"{prefix} an unreadable created_at is none",
            [version("4", second, early), version("4", first, "2026-13-04T08:00:00Z")],
            second_column,
        ),
        Case(
            f"{prefix} created_at is compared as an instant, not as text",
            [version("5", second, "2026-05-04T07:30:00-01:00"), version("5", first, early)],
            second_column,
        ),
        Case(
            f"{prefix} of equal created_at the later load counts",
            [version("6", first, early), version("6", first, early, note="x")],
            second_column,
            later=[version("6", second, "2026-05-04T10:00:00+02:00")],
        ),
        Case(
            f"{prefix} of equal created_at in one load the later row counts",
            [version("7", first, early), version("7", second, early)],
            second_column,
        ),
        Case(
            f"{prefix} without created_at the later load counts, then the later row",
            [version("8", first, None)],
            second_column,
            later=[version("8", first, None, note="x"), version("8", second, None)],
        ),
        Case(
            f"{prefix} blanks around the id don't make it another",
            [version("9", first, early), {**version("9 ", second, late)}],
            second_column,
        ),
        Case(
            f"{prefix} a good row that was corrected into a bad one is refused",
            [version("10", first, early), version("10", second, late, date="soon")],
            "invalid_date",
            detail="'soon'",
        ),
        Case(
            f"{prefix} a bad row that was corrected into a good one is accepted",
            [version("11", first, early, date="soon")],
            second_column,
            later=[version("11", second, late)],
        ),
        Case(
            f"{prefix} a bad row that is not the latest version is not judged",
            [version("12", second, late), version("12", first, early, student_id="nobody")],
            second_column,
        ),
        Case(
            f"{prefix} a correction to another student counts",
            [version("13", first, early), version("13", first, late, student_id="0042")],
            {**first_column, "student_id": "0042", "class_id": "8A"},
        ),
        Case(
            f"{prefix} an unknown student that was corrected is forgotten",
            [version("14", first, early, student_id="nobody"), version("14", second, late)],
            second_column,
        ),
        Case(
            f"{prefix} of many versions only the latest is judged",
            [version("15", first, f"2026-05-04T08:00:0{second_}Z") for second_ in range(9)],
            "missing_student_id",
            detail="nothing",
            later=[version("15", second, "2026-05-04T09:00:00Z", student_id=None)],
        ),
    ]


def created_at_cases(prefix: str, make: Any) -> list[Case]:
    expected = {
        "2026-05-04T08:00:00Z": datetime(2026, 5, 4, 8, tzinfo=UTC),
        "2026-05-04 08:00": datetime(2026, 5, 4, 8, tzinfo=UTC),
        "2026-05-04T08:00:00.25+02:00": datetime(2026, 5, 4, 6, 0, 0, 250_000, tzinfo=UTC),
        "2026-05-04": datetime(2026, 5, 4, tzinfo=UTC),
        " 2026-05-04T08:00:00Z\u00a0": datetime(2026, 5, 4, 8, tzinfo=UTC),
        "": None,
        "N/A": None,
        "5/4/2026": None,
        "yesterday": None,
        "0001-01-01T00:00:00+14:00": None,
        "9999-12-31T23:59:59-12:00": None,
    }
    return [
        Case(
            f"{prefix} created_at {text!r}",
            [make(f"{prefix}c-{number}", created_at=text)],
            {"created_at": moment},
        )
        for number, (text, moment) in enumerate(expected.items())
    ]


ATTENDANCE_CASES = [
    *STATUS_CASES,
    *date_cases("attend", attended, "attend_date"),
    *id_cases("attend", attended, "attend_id"),
    *version_cases(
        "attend", attended, "status", {"A": {"status": "ABSENT"}, "T": {"status": "LATE"}}
    ),
    *created_at_cases("attend", attended),
    # The first reason that applies, in the order of the columns.
    Case(
        "attend order: missing_id",
        [attended("-", None, date="soon", status="?")],
        "missing_id",
        detail="'-'",
    ),
    Case(
        "attend order: missing_student_id",
        [attended("ao-2", "N/A", date="soon", status="?")],
        "missing_student_id",
        detail="'N/A'",
    ),
    Case(
        "attend order: unknown_student",
        [attended("ao-3", "nobody", date="soon", status="?")],
        "unknown_student",
        detail="'nobody'",
    ),
    Case(
        "attend order: invalid_date",
        [attended("ao-4", date="soon", status="?")],
        "invalid_date",
        detail="'soon'",
    ),
    Case(
        "attend order: date_out_of_range",
        [attended("ao-5", date="1999-12-31", status="?")],
        "date_out_of_range",
        detail="'1999-12-31'",
    ),
    Case("attend order: unknown_status", [attended("ao-6", status="?")], "unknown_status", "'?'"),
]

BIG = "1" + "0" * 400

SCORES: dict[tuple[Any, Any], tuple[float, float, float]] = {
    ("45", "50"): (45, 50, 90),
    ("0", "50"): (0, 50, 0),
    ("-0", "50"): (0, 50, 0),
    ("50", "50"): (50, 50, 100),
    ("+5.", "1e1"): (5, 10, 50),
    (" 7.25 ", "10.0"): (7.25, 10, 72.5),
    ("1", "3"): (1, 3, 33.33),
    ("2", "3"): (2, 3, 66.67),
    ("1", "800"): (1, 800, 0.13),
    ("3", "800"): (3, 800, 0.38),
    ("0.5", None): (0.5, 100, 0.5),
    ("88", "N/A"): (88, 100, 88),
    ("100", " - "): (100, 100, 100),
    (17, 20): (17, 20, 85),
    (17.5, 20): (17.5, 20, 87.5),
    (1e2, 125): (100, 125, 80),
    ("1e308", "1e308"): (1e308, 1e308, 100),
    ("0.1", "0.1"): (0.1, 0.1, 100),
}
INVALID_SCORES = (
    *(None, "", "N/A", "absent", "A+", "95%", "9,5", ".5", "NaN", "inf", "0x10", "1_0", "5d"),
    *("45/50", BIG, "-1e999", True, "4 5"),
)
INVALID_MAX_SCORES = ("0", "-0.0", "-50", "0e5", "fifty", "NaN", "Infinity", BIG, "1e999", "5,0")
OUT_OF_RANGE = (
    *(("50.01", "50"), ("51", "50"), ("-1", "50"), ("-0.001", "50"), ("1e-3", "1e-4")),
    *(("101", None), ("100.5", "None"), (50.5, 50)),
)


def shown(value: Any) -> str:
    """A delivered value as a quarantine sentence quotes it."""
    if value in (None, ""):
        return "nothing"
    text = value if isinstance(value, str) else json.dumps(value)
    return f"'{text}'" if len(text) <= 200 else f"'{text[:200]}…'"


ASSESSMENT_CASES = [
    *(
        Case(
            f"score {score!r} of {maximum!r}",
            [assessed(f"sc-{number}", score=score, max_score=maximum)],
            {"score": points, "max_score": out_of, "score_pct": percent},
        )
        for number, ((score, maximum), (points, out_of, percent)) in enumerate(SCORES.items())
    ),
    *(
        Case(
            f"score {score!r:.20}",
            [assessed(f"is-{number}", score=score)],
            "invalid_score",
            detail=shown(score),
        )
        for number, score in enumerate(INVALID_SCORES)
    ),
    *(
        Case(
            f"max_score {maximum!r:.20}",
            [assessed(f"im-{number}", max_score=maximum)],
            "invalid_max_score",
            detail=shown(maximum),
        )
        for number, maximum in enumerate(INVALID_MAX_SCORES)
    ),
    *(
        Case(
            f"score {score!r} out of {maximum!r}",
            [assessed(f"or-{number}", score=score, max_score=maximum)],
            "score_out_of_range",
            detail=shown(score),
        )
        for number, (score, maximum) in enumerate(OUT_OF_RANGE)
    ),
    Case("subject", [assessed("su-1", subject="\u00a0Art & Design ")], {"subject": "Art & Design"}),
    Case("no subject", [assessed("su-2", subject=None)], {"subject": "Unknown"}),
    Case("subject n/a", [assessed("su-3", subject="n/a")], {"subject": "Unknown"}),
    # Only the id is the key: the same sitting twice under two ids is two assessments.
    Case("retake 1", [assessed("re-1", score="10")], {"score": 10.0}),
    Case("retake 2", [assessed("re-2", score="10")], {"score": 10.0}),
    *date_cases("assess", assessed, "assess_date"),
    *id_cases("assess", assessed, "assess_id"),
    *version_cases("assess", assessed, "score", {"10": {"score": 10.0}, "20": {"score": 20.0}}),
    *created_at_cases("assess", assessed),
    Case(
        "assess order: missing_id",
        [assessed(None, None, date="soon", score="?", max_score="0")],
        "missing_id",
        detail="nothing",
    ),
    Case(
        "assess order: missing_student_id",
        [assessed("eo-2", "-", date="soon", score="?", max_score="0")],
        "missing_student_id",
        detail="'-'",
    ),
    Case(
        "assess order: unknown_student",
        [assessed("eo-3", "nobody", date="soon", score="?", max_score="0")],
        "unknown_student",
        detail="'nobody'",
    ),
    Case(
        "assess order: invalid_date",
        [assessed("eo-4", date="soon", score="?", max_score="0")],
        "invalid_date",
        detail="'soon'",
    ),
    Case(
        "assess order: date_out_of_range",
        [assessed("eo-5", date="2026-07-02", score="?", max_score="0")],
        "date_out_of_range",
        detail="'2026-07-02'",
    ),
    Case(
        "assess order: invalid_score",
        [assessed("eo-6", score="?", max_score="0")],
        "invalid_score",
        detail="'?'",
    ),
    Case(
        "assess order: invalid_max_score",
        [assessed("eo-7", score="60", max_score="0")],
        "invalid_max_score",
        detail="'0'",
    ),
]


@dataclass(frozen=True)
class Day:
    """Records of one student on one day, by id, and the one that counts.

    Attributes:
        records: (attend_id, created_at, status), in the order of the file.
        later: records in another file, which is loaded later.
    """

    name: str
    counts: str
    records: Sequence[tuple[str, str | None, str]]
    later: Sequence[tuple[str, str | None, str]] = ()


EIGHT, NINE = "2026-05-04T08:00:00Z", "2026-05-04T09:00:00Z"

DAYS = [
    Day("the only one", "a", [("a", None, "A")]),
    Day("the latest, absent or not", "a", [("a", NINE, "A"), ("b", EIGHT, "P")]),
    Day("the latest, wherever it stands", "a", [("b", EIGHT, "P"), ("a", NINE, "E")]),
    Day("the latest, whenever it was loaded", "a", [("a", NINE, "A")], [("b", EIGHT, "P")]),
    Day("any time before none", "a", [("a", "2000-01-01", "A"), ("b", None, "P")]),
    Day("an unreadable time is none", "a", [("a", EIGHT, "A"), ("b", "9 o'clock", "P")]),
    Day("none at all: present before absent", "a", [("a", None, "P"), ("b", None, "A")]),
    Day("a tie: present before absent", "a", [("a", EIGHT, "P"), ("b", EIGHT, "A")]),
    Day("a tie: late before excused", "a", [("b", EIGHT, "E"), ("a", EIGHT, "L")]),
    Day(
        "a tie: present before absent in a later load",
        "a",
        [("a", EIGHT, "P")],
        [("b", EIGHT, "A")],
    ),
    Day("a tie of present ones: the greatest id", "b", [("b", EIGHT, "L"), ("a", EIGHT, "P")]),
    Day("a tie of absent ones: the greatest id", "b", [("b", EIGHT, "A"), ("a", EIGHT, "E")]),
    Day("the greatest id as text", "9", [("10", EIGHT, "P"), ("9", EIGHT, "P"), ("1", EIGHT, "P")]),
    Day(
        "the greatest id by code point",
        "é",
        [("Z", EIGHT, "P"), ("é", EIGHT, "P"), ("z", EIGHT, "P")],
    ),
    Day(
        "the same instant in another zone is a tie",
        "a",
        [("b", EIGHT, "A"), ("a", "2026-05-04T10:00+02:00", "P")],
    ),
    Day(
        "a fraction of a second decides",
        "a",
        [("b", EIGHT, "P"), ("a", "2026-05-04T08:00:00.000001Z", "A")],
    ),
    Day("a refused one does not count", "a", [("a", EIGHT, "A"), ("b", NINE, "?")]),
    Day(
        "a superseded version does not count",
        "b",
        [("a", EIGHT, "P"), ("b", EIGHT, "A")],
        [("a", EIGHT, "A")],
    ),
    Day("three", "b", [("a", EIGHT, "P"), ("b", NINE, "P"), ("c", NINE, "U")]),
]


def day_rows(number: int, records: Iterable[tuple[str, str | None, str]]) -> list[Fields]:
    """The records of a day, with a student and ids of their own."""
    return [
        attended(f"day{number}-{key}", f"D{number}", created_at=created_at, status=status)
        for key, created_at, status in records
    ]


STUDENTS: dict[str, tuple[Fields, Fields]] = {
    "all there": (
        student("T1", " 7B\u00a0", name="\ufeff Ana  Maria\t", grade="Grade 10", status="active"),
        {
            "student_id": "T1",
            "student_name": "Ana  Maria",
            "class_id": "7B",
            "grade_level": 10,
            "is_active": True,
            "enrollment_status": "ACTIVE",
            "updated_at": datetime(2026, 1, 1, tzinfo=UTC),
        },
    ),
    "nothing there": (
        {"student_id": "T2"},
        {
            "student_id": "T2",
            "student_name": "Unknown",
            "class_id": "UNASSIGNED",
            "grade_level": None,
            "is_active": False,
            "enrollment_status": "UNKNOWN",
            "updated_at": None,
        },
    ),
    "words for nothing": (
        student("T3", "N/A", name="None", grade="-", status="null", updated_at="NA"),
        {
            "student_name": "Unknown",
            "class_id": "UNASSIGNED",
            "grade_level": None,
            "is_active": False,
            "enrollment_status": "UNKNOWN",
            "updated_at": None,
        },
    ),
    "enrolled": (
        student("T4", status=" Enrolled "),
        {"is_active": True, "enrollment_status": "ENROLLED"},
    ),
    "ENROLLED": (
        student("T5", status="ENROLLED"),
        {"is_active": True, "enrollment_status": "ENROLLED"},
    ),
    "withdrawn": (
        student("T6", status="Withdrawn"),
        {"is_active": False, "enrollment_status": "WITHDRAWN"},
    ),
    "inactive": (
        student("T7", status="inactive"),
        {"is_active": False, "enrollment_status": "INACTIVE"},
    ),
    "active, nearly": (
        student("T8", status="active?"),
        {"is_active": False, "enrollment_status": "ACTIVE?"},
    ),
    "a status with an accent": (
        student("T9", status="diplômé"),
        {"is_active": False, "enrollment_status": "DIPLÔMÉ"},
    ),
    "kindergarten": (student("T10", grade="Kindergarten"), {"grade_level": 0}),
    "pre-kindergarten": (student("T11", grade="pre-k"), {"grade_level": -1}),
    "a grade with zeros": (student("T12", grade="09.0"), {"grade_level": 9}),
    "no grade": (student("T13", grade="Freshman"), {"grade_level": None}),
    "a blank grade": (student("T14", grade=" \u00a0"), {"grade_level": None}),
    "an unreadable time": (student("T15", updated_at="last week"), {"updated_at": None}),
    "a time with an offset": (
        student("T16", updated_at="2026-01-01T01:00:00+01:00"),
        {"updated_at": datetime(2026, 1, 1, tzinfo=UTC)},
    ),
    "blanks around the id": (student("\u3000T 17 "), {"student_id": "T 17"}),
    "zeros in the id": (student("000"), {"student_id": "000"}),
    "class unassigned by name": (student("T18", "unassigned"), {"class_id": "unassigned"}),
    "hostile text": (
        student("T19'; --", '7B"); DROP', name="Robert'); DROP TABLE students;--"),
        {"student_id": "T19'; --", "student_name": "Robert'); DROP TABLE students;--"},
    ),
}

UNNAMED_STUDENTS = [
    student(None, name="Nobody"),
    student("N/A"),
    student(" - "),
    student("\u00a0\u200b", "8A"),
]


@dataclass(frozen=True)
class Delivered:
    """What one run made of all cases."""

    school: School
    silver: Mapping[str, Mapping[Any, Fields]]
    quarantine: Mapping[str, Sequence[Fields]]

    def refused(self, source: str, case: str) -> list[Fields]:
        """The quarantined rows of a case."""
        return [
            row
            for row in self.quarantine[source]
            if row["_extra"] and json.loads(row["_extra"]).get("case") == case
        ]


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Delivered:
    """The rows of all cases, run once."""
    school = School(tmp_path_factory.mktemp("silver"))
    school.deliver(
        "students.csv",
        csv_file(
            [
                student("S1"),
                student("0042", "8A"),
                *(student(f"D{number}") for number in range(len(DAYS))),
                *(row for row, _ in STUDENTS.values()),
                *UNNAMED_STUDENTS,
            ]
        ),
    )
    for number in (1, 2):
        later = number == 2
        attendance = [
            row
            for case in ATTENDANCE_CASES
            for row in case.tagged(case.later if later else case.rows)
        ]
        for place, day in enumerate(DAYS):
            attendance += day_rows(place, day.later if later else day.records)
        school.deliver(f"attendance_{number}.csv", csv_file(attendance))
        assessments = [
            row
            for case in ASSESSMENT_CASES
            for row in case.tagged(case.later if later else case.rows)
        ]
        school.deliver(f"assessments_{number}.json", json.dumps(assessments))
    run(school)
    return Delivered(
        school,
        {
            "students": by("student_id", school.rows("silver.dim_student")),
            "attendance": by("attend_id", school.rows("silver.fact_attend")),
            "assessments": by("assess_id", school.rows("silver.fact_assess")),
        },
        {
            name: school.rows(f"quarantine.{name}")
            for name in ("students", "attendance", "assessments")
        },
    )


def assert_becomes(delivered: Delivered, source: str, key: str, case: Case) -> None:
    latest = (*case.rows, *case.later)[-1]
    accepted = delivered.silver[source].get((latest[key] or "").strip(" \t\u00a0"))
    refused = delivered.refused(source, case.name)
    if not isinstance(case.becomes, str):
        assert accepted is not None, refused
        assert columns(accepted, case.becomes) == case.becomes
        assert refused == []
        return
    assert accepted is None
    assert [row["reason"] for row in refused] == [case.becomes]
    assert case.detail in refused[0]["detail"]


@pytest.mark.parametrize("case", ATTENDANCE_CASES, ids=names(ATTENDANCE_CASES))
def test_attendance(delivered: Delivered, case: Case) -> None:
    assert_becomes(delivered, "attendance", "attend_id", case)


@pytest.mark.parametrize("case", ASSESSMENT_CASES, ids=names(ASSESSMENT_CASES))
def test_assessments(delivered: Delivered, case: Case) -> None:
    assert_becomes(delivered, "assessments", "assessment_id", case)


@pytest.mark.parametrize("number", range(len(DAYS)), ids=[day.name for day in DAYS])
def test_the_record_that_counts_for_a_day(delivered: Delivered, number: int) -> None:
    counting = [
        row["attend_id"]
        for row in delivered.silver["attendance"].values()
        if row["student_id"] == f"D{number}" and row["counts_for_day"]
    ]
    assert counting == [f"day{number}-{DAYS[number].counts}"]


def test_one_record_counts_for_every_student_and_day(delivered: Delivered) -> None:
    facts = delivered.silver["attendance"].values()
    days = {(row["student_id"], row["attend_date"]) for row in facts}
    counted = [(r["student_id"], r["attend_date"]) for r in facts if r["counts_for_day"]]
    assert sorted(counted) == sorted(days)


@pytest.mark.parametrize("name", STUDENTS)
def test_students(delivered: Delivered, name: str) -> None:
    raw, expected = STUDENTS[name]
    key = raw["student_id"].strip(" \u3000")
    assert columns(delivered.silver["students"][key], expected) == expected


def test_students_without_an_id_are_quarantined(delivered: Delivered) -> None:
    refused = delivered.quarantine["students"]
    expected = [(row["student_id"], row["name"], row["class_id"]) for row in UNNAMED_STUDENTS]
    refused = sorted(refused, key=lambda row: row["_source_row"])
    assert [(r["student_id"], r["name"], r["class_id"]) for r in refused] == expected
    assert {row["reason"] for row in refused} == {"missing_student_id"}
    assert ["nothing" in refused[0]["detail"], "'N/A'" in refused[1]["detail"]] == [True, True]


@pytest.mark.parametrize(
    ("source", "cases"), [("attendance", ATTENDANCE_CASES), ("assessments", ASSESSMENT_CASES)]
)
def test_every_record_is_in_silver_or_in_the_quarantine_once(
    delivered: Delivered, source: str, cases: Sequence[Case]
) -> None:
    extra = len(delivered.silver[source]) + len(delivered.quarantine[source]) - len(cases)
    days = sum(len({key for key, _, _ in (*day.records, *day.later)}) for day in DAYS)
    assert extra == (days if source == "attendance" else 0)


def test_facts_have_the_class_of_their_student(delivered: Delivered) -> None:
    students = delivered.silver["students"]
    for source in ("attendance", "assessments"):
        for row in delivered.silver[source].values():
            assert row["class_id"] == students[row["student_id"]]["class_id"]
    assert delivered.silver["attendance"]["007"]["class_id"] == "8A"


def test_a_refused_row_is_kept_as_it_came(delivered: Delivered) -> None:
    (row,) = delivered.refused("attendance", "attend student '\\u3000'")
    assert columns(row, ("attend_id", "student_id", "date", "status", "created_at")) == {
        "attend_id": "attend-no-student-2",
        "student_id": "\u3000",
        "date": "2026-05-04",
        "status": "P",
        "created_at": "2026-05-04T08:00:00Z",
    }
    (line,) = (
        number
        for number, case in enumerate(ATTENDANCE_CASES, 1)
        if case.name == "attend student '\\u3000'"
    )
    before = sum(len(case.rows) for case in ATTENDANCE_CASES[: line - 1])
    assert (row["_source_file"], row["_source_row"]) == ("attendance_1.csv", before + 1)
    (load_id,) = delivered.school.query(
        "SELECT _load_id FROM ops.source_files WHERE path = 'attendance_1.csv'"
    )
    assert (row["_load_id"], row["_raw"]) == (*load_id, None)


def test_a_refused_json_value_is_kept_as_its_text(delivered: Delivered) -> None:
    (row,) = delivered.refused("assessments", "score True")
    assert row["score"] == "true"
    (row,) = delivered.refused("assessments", "score 50.5 out of 50")
    assert (row["score"], row["max_score"]) == ("50.5", "50")


def test_a_score_out_of_range_is_named_with_the_maximum_it_exceeds(delivered: Delivered) -> None:
    (row,) = delivered.refused("assessments", "score '51' out of '50'")
    assert "'50'" in row["detail"]
    (row,) = delivered.refused("assessments", "score '101' out of None")
    assert "100" in row["detail"].replace("'101'", "")


def test_details_are_sentences(delivered: Delivered) -> None:
    for rows in delivered.quarantine.values():
        for row in rows:
            assert row["detail"][0].isupper()
            assert row["detail"].endswith(".")


# --- from run to run ------------------------------------------------------------------------------


def reasons(school: School, source: str, key: str) -> dict[str, str]:
    """Id -> reason of every quarantined row of a source."""
    return {row[key]: row["reason"] for row in school.rows(f"quarantine.{source}")}


def ids(school: School, table: str) -> list[str]:
    """The sorted ids of a fact table."""
    key = "attend_id" if table.endswith("attend") else "assess_id"
    return sorted(row[key] for row in school.rows(table))


def counted(school: School) -> set[tuple[str, str, int]]:
    """(id, student, day of the month) of every attendance record that counts."""
    return {
        (row["attend_id"], row["student_id"], row["attend_date"].day)
        for row in school.rows("silver.fact_attend")
        if row["counts_for_day"]
    }


def test_an_orphan_enters_silver_when_its_student_arrives(school: School) -> None:
    school.deliver("students.csv", csv_file([student("S1")]))
    school.deliver("attendance.csv", csv_file([attended("a1"), attended("a2", "S2")]))
    school.deliver("assessments.json", json.dumps([assessed("e1"), assessed("e2", " S2 ")]))
    run(school)
    assert reasons(school, "attendance", "attend_id") == {"a2": "unknown_student"}
    assert reasons(school, "assessments", "assessment_id") == {"e2": "unknown_student"}
    assert ids(school, "silver.fact_attend") == ["a1"]
    assert ids(school, "silver.fact_assess") == ["e1"]

    school.deliver("students_late.csv", csv_file([student("S2", "9C")]))
    run(school)
    assert reasons(school, "attendance", "attend_id") == {}
    assert reasons(school, "assessments", "assessment_id") == {}
    facts = by("attend_id", school.rows("silver.fact_attend"))
    assert facts["a2"]["class_id"] == "9C"
    assert ids(school, "silver.fact_assess") == ["e1", "e2"]


def test_an_orphan_whose_student_arrives_is_still_judged_by_the_next_rules(school: School) -> None:
    school.deliver("students.csv", csv_file([student("S1")]))
    school.deliver("attendance.csv", csv_file([attended("a1"), attended("a2", "S2", status="?")]))
    run(school)
    assert reasons(school, "attendance", "attend_id") == {"a2": "unknown_student"}
    school.deliver("students_late.csv", csv_file([student("S2")]))
    run(school)
    assert reasons(school, "attendance", "attend_id") == {"a2": "unknown_status"}


def test_a_student_who_moves_takes_all_records_along(school: School) -> None:
    school.deliver("students.csv", csv_file([student("S1", "7A"), student("S2", "7A")]))
    rows = [attended("a1"), attended("a2", date="2001-09-03"), attended("a3", "S2")]
    school.deliver("attendance.csv", csv_file(rows))
    school.deliver("assessments.json", json.dumps([assessed("e1")]))
    run(school)
    moved = student("S1", "7B", updated_at="2026-02-01")
    school.deliver("students_2.csv", csv_file([moved]))
    run(school)
    classes = {r["attend_id"]: r["class_id"] for r in school.rows("silver.fact_attend")}
    assert classes == {"a1": "7B", "a2": "7B", "a3": "7A"}
    assert [row["class_id"] for row in school.rows("silver.fact_assess")] == ["7B"]


def test_a_correction_mends_a_row_and_another_breaks_one(school: School) -> None:
    school.deliver("students.csv", csv_file([student("S1")]))
    school.deliver("attendance_1.csv", csv_file([attended("a1", status="?"), attended("a2")]))
    school.deliver("assessments_1.json", json.dumps([assessed("e1", score="x"), assessed("e2")]))
    run(school)
    assert reasons(school, "attendance", "attend_id") == {"a1": "unknown_status"}
    assert reasons(school, "assessments", "assessment_id") == {"e1": "invalid_score"}

    later = {"created_at": "2026-05-05"}
    school.deliver(
        "attendance_2.csv",
        csv_file([attended("a1", status="E", **later), attended("a2", date="-", **later)]),
    )
    school.deliver(
        "assessments_2.json",
        json.dumps([assessed("e1", score="5", **later), assessed("e2", score="51", **later)]),
    )
    run(school)
    assert reasons(school, "attendance", "attend_id") == {"a2": "invalid_date"}
    assert reasons(school, "assessments", "assessment_id") == {"e2": "score_out_of_range"}
    assert ids(school, "silver.fact_attend") == ["a1"]
    assert ids(school, "silver.fact_assess") == ["e1"]


def test_a_correction_in_the_same_file_mends_a_row(school: School) -> None:
    school.deliver("students.csv", csv_file([student("S1")]))
    school.deliver("attendance.csv", csv_file([attended("a1", status="?"), attended("a2")]))
    run(school)
    school.deliver("attendance.csv", csv_file([attended("a1", status="A"), attended("a2")]))
    run(school)
    assert reasons(school, "attendance", "attend_id") == {}
    statuses = {row["attend_id"]: row["status"] for row in school.rows("silver.fact_attend")}
    assert statuses == {"a1": "ABSENT", "a2": "PRESENT"}


def test_a_late_correction_with_an_older_time_changes_nothing(school: School) -> None:
    school.deliver("students.csv", csv_file([student("S1")]))
    school.deliver("attendance.csv", csv_file([attended("a1", status="A")]))
    run(school)
    older = attended("a1", status="?", created_at="2026-05-03")
    school.deliver("attendance_2.csv", csv_file([older]))
    run(school)
    assert reasons(school, "attendance", "attend_id") == {}
    assert [row["status"] for row in school.rows("silver.fact_attend")] == ["ABSENT"]
    assert school.query("SELECT count(*) FROM bronze.attendance") == [(2,)]


def test_a_correction_to_another_student_or_day_hands_the_old_day_over(school: School) -> None:
    """The day that a corrected record leaves falls to the record it had stood before."""
    school.deliver("students.csv", csv_file([student("S1"), student("S2")]))
    first = [
        attended("a1", date="2026-05-04", created_at="2026-05-04T08:00:00Z"),
        attended("a2", date="2026-05-04", created_at="2026-05-04T09:00:00Z"),
        attended("a3", date="2026-05-05", created_at="2026-05-04T08:00:00Z"),
        attended("a4", date="2026-05-05", created_at="2026-05-04T09:00:00Z"),
        attended("a5", "S2", date="2026-05-04", created_at="2026-05-04T08:00:00Z"),
    ]
    school.deliver("attendance.csv", csv_file(first))
    run(school)
    assert counted(school) == {("a2", "S1", 4), ("a4", "S1", 5), ("a5", "S2", 4)}

    to_other_student = attended("a2", "S2", date="2026-05-04", created_at="2026-05-06")
    to_other_day = attended("a4", date="2026-05-06", created_at="2026-05-06")
    school.deliver("attendance_2.csv", csv_file([to_other_student, to_other_day]))
    run(school)
    assert counted(school) == {
        ("a1", "S1", 4),
        ("a2", "S2", 4),  # later than a5, which no longer counts
        ("a3", "S1", 5),
        ("a4", "S1", 6),
    }


def test_a_day_goes_to_the_next_record_when_its_record_goes_bad_and_back(school: School) -> None:
    school.deliver("students.csv", csv_file([student("S1")]))
    rows = [attended("a1", status="A"), attended("a2", created_at="2026-05-04T09:00:00Z")]
    school.deliver("attendance_1.csv", csv_file(rows))
    run(school)
    assert counted(school) == {("a2", "S1", 4)}
    school.deliver("attendance_2.csv", csv_file([attended("a2", status="?", created_at=NINE)]))
    run(school)
    assert counted(school) == {("a1", "S1", 4)}
    school.deliver("attendance_3.csv", csv_file([attended("a2", status="L", created_at=NINE)]))
    run(school)
    assert counted(school) == {("a2", "S1", 4)}


@pytest.mark.parametrize(
    ("now", "last_good_day"),
    [
        (datetime(2026, 6, 30, 0, 0, tzinfo=UTC), date(2026, 7, 1)),
        (datetime(2026, 6, 30, 23, 59, 59, tzinfo=UTC), date(2026, 7, 1)),
        # The day is that of UTC, wherever the pipeline runs.
        (datetime(2026, 6, 30, 20, 0, tzinfo=timezone(timedelta(hours=-5))), date(2026, 7, 2)),
        (datetime(2026, 7, 1, 5, 0, tzinfo=timezone(timedelta(hours=14))), date(2026, 7, 1)),
        (datetime(2026, 12, 31, 12, 0, tzinfo=UTC), date(2027, 1, 1)),
        (datetime(2028, 2, 28, 12, 0, tzinfo=UTC), date(2028, 2, 29)),
    ],
    ids=str,
)
def test_the_last_good_day_is_the_one_after_the_load(
    school: School, now: datetime, last_good_day: date
) -> None:
    days = [last_good_day + timedelta(days=days) for days in (-1, 0, 1)]
    school.deliver("students.csv", csv_file([student("S1")]))
    rows = [attended(str(day), date=str(day)) for day in days]
    school.deliver("attendance.csv", csv_file(rows))
    school.deliver(
        "assessments.json", json.dumps([assessed(str(day), date=str(day)) for day in days])
    )
    run(school, now=now)
    assert ids(school, "silver.fact_attend") == [str(day) for day in days[:2]]
    assert ids(school, "silver.fact_assess") == [str(day) for day in days[:2]]
    assert reasons(school, "attendance", "attend_id") == {str(days[2]): "date_out_of_range"}
    assert reasons(school, "assessments", "assessment_id") == {str(days[2]): "date_out_of_range"}


def test_a_date_is_judged_by_the_day_its_row_was_loaded(school: School) -> None:
    """It stays refused when the day has come, until the record is delivered anew."""
    school.deliver("students.csv", csv_file([student("S1")]))
    school.deliver("attendance.csv", csv_file([attended("a1", date="2026-07-02")]))
    school.deliver("assessments.json", json.dumps([assessed("e1", date="2026-07-02")]))
    run(school, now=NOW)
    run(school, now=NOW + timedelta(days=3))
    assert reasons(school, "attendance", "attend_id") == {"a1": "date_out_of_range"}
    run(school, now=NOW + timedelta(days=3), full_refresh=True)
    assert reasons(school, "attendance", "attend_id") == {"a1": "date_out_of_range"}
    assert reasons(school, "assessments", "assessment_id") == {"e1": "date_out_of_range"}

    anew = attended("a1", date="2026-07-02", created_at="2026-07-02T08:00:00Z")
    school.deliver("attendance_2.csv", csv_file([anew]))
    run(school, now=NOW + timedelta(days=3))
    assert reasons(school, "attendance", "attend_id") == {}
    assert ids(school, "silver.fact_attend") == ["a1"]


def test_a_school_s_own_words_for_the_statuses(school: School) -> None:
    school.rules = {
        "attendance_statuses": {
            "PRESENT": ["Here", "1", "à l'heure"],
            "ABSENT": ["gone fishing", "0"],
            "EXCUSED": ["P"],  # what means PRESENT elsewhere
        }
    }
    words = {
        "here": "PRESENT",
        " HERE ": "PRESENT",
        "1": "PRESENT",
        "À L'HEURE": "PRESENT",
        "Gone Fishing": "ABSENT",
        "0": "ABSENT",
        "p": "EXCUSED",
        "PRESENT": None,
        "A": None,
        "LATE": None,
        "gone": None,
    }
    school.deliver("students.csv", csv_file([student("S1")]))
    rows = [attended(word, status=word) for word in words]
    school.deliver("attendance.csv", csv_file(rows))
    run(school)
    known = {word.strip(): status for word, status in words.items() if status}
    found = {row["attend_id"]: row["status"] for row in school.rows("silver.fact_attend")}
    assert found == known
    unknown = {word: "unknown_status" for word, status in words.items() if not status}
    assert reasons(school, "attendance", "attend_id") == unknown


def test_one_word_written_in_several_ways_is_one_word(school: School) -> None:
    school.rules = {"attendance_statuses": {"PRESENT": ["P", "p", "Present", "PRESENT"]}}
    school.deliver("students.csv", csv_file([student("S1")]))
    school.deliver("attendance.csv", csv_file([attended("a1"), attended("a2", status="present")]))
    run(school)
    assert ids(school, "silver.fact_attend") == ["a1", "a2"]


def test_new_words_are_a_new_judgement_of_old_rows(school: School) -> None:
    school.deliver("students.csv", csv_file([student("S1")]))
    school.deliver("attendance.csv", csv_file([attended("a1", status="V"), attended("a2")]))
    run(school)
    assert reasons(school, "attendance", "attend_id") == {"a1": "unknown_status"}
    school.rules = {"attendance_statuses": {"PRESENT": ["V"]}}
    run(school)
    assert reasons(school, "attendance", "attend_id") == {"a2": "unknown_status"}
    assert ids(school, "silver.fact_attend") == ["a1"]


def test_a_student_without_an_id_leaves_nothing_behind_when_mended(school: School) -> None:
    """Bronze keeps rows without an id: each is refused on its own, identical ones once."""
    school.deliver("students.csv", csv_file([student("S1"), student(None), student(None)]))
    run(school)
    assert [row["reason"] for row in school.rows("quarantine.students")] == ["missing_student_id"]
    school.deliver("students.csv", csv_file([student("S1"), student("S2")]))
    run(school)
    assert [row["student_id"] for row in school.rows("silver.dim_student")] == ["S1", "S2"]
    assert [row["reason"] for row in school.rows("quarantine.students")] == ["missing_student_id"]


def test_facts_without_an_id_are_refused_one_by_one(school: School) -> None:
    school.deliver("students.csv", csv_file([student("S1")]))
    rows = [attended(None), attended("N/A"), attended(None, status="A"), attended(None)]
    school.deliver("attendance.csv", csv_file([attended("a1"), *rows]))
    run(school)
    refused = sorted(school.rows("quarantine.attendance"), key=lambda row: row["_source_row"])
    assert [(row["attend_id"], row["status"], row["_source_row"]) for row in refused] == [
        (None, "P", 2),
        ("N/A", "P", 3),
        (None, "A", 4),
    ]
    assert {row["reason"] for row in refused} == {"missing_id"}


def test_broken_records_stand_beside_refused_rows(school: School) -> None:
    school.deliver("students.csv", csv_file([student("S1")]))
    text = csv_file([attended(f"a{n}", status="?" if n == 1 else "P") for n in range(9)])
    school.deliver("attendance.csv", text + "one,field,too,many,here,!\n")
    run(school)
    found = [(row["reason"], row["attend_id"]) for row in school.rows("quarantine.attendance")]
    assert sorted(found, key=str) == [("malformed_record", None), ("unknown_status", "a1")]
    run(school, full_refresh=True)
    again = [(row["reason"], row["attend_id"]) for row in school.rows("quarantine.attendance")]
    assert sorted(again, key=str) == sorted(found, key=str)
