"""A made-up school's source files: seeded, realistic, and dirty in every way the contract names.

`write_sample` writes `students.csv`, `attendance.csv` and `assessments.json` in the documented
formats. Everything follows from the seed and the sizes: no clock, no locale, no hash order. The
only thing taken from `random` is `Random.random()`, the one method whose sequence Python promises
to keep, so the same call gives the same bytes on every platform and Python version.

How it is made
    A clean stream of records per source (`_students`, `_attendance`, `_assessments`) passes
    through `_sow`, which spoils a few records on their way to the file. Which flaws there are,
    how often, and what each does to a record stands in three tables: `_student_flaws`,
    `_attendance_flaws`, `_assessment_flaws`. Records are written as they are made, so memory
    depends on the number of students, hardly on the number of facts.

What the flaws are called
    A flaw named like a quarantine reason of the contract (`invalid_date`, `unknown_student`, …)
    is refused for exactly that reason: a run over a fresh sample quarantines as many rows for it
    as `SampleSummary.dirt` counts. Every other flaw is one that the pipeline must cope with.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

Record = dict[str, Any]

# --- The school ---------------------------------------------------------------------------------

_GRADES = 13  # kindergarten (0) to grade 12
_CLASS_SIZE = 25  # students, on average
_LAST_SCHOOL_YEAR = 2025  # September 2025 to June 2026
_FIRST_SCHOOL_YEAR = 2000  # the contract refuses dates before 2000
_DAYS_PER_STUDENT = 25  # recorded, or a few less, as long as the rows suffice
_LEAVERS = 0.05  # share of students who are no longer active
_OFTEN_ABSENT = 0.1  # share of students who miss 12 to 42 % of their days; the others 1 to 7 %
_LATE = 0.03  # share of all attendance records

_FIRST_NAMES = (
    "Aaliyah", "Aiden", "Amélie", "Andre", "Anya", "Beatriz", "Benjamin", "Björn", "Brianna",
    "Caleb", "Camila", "Carlos", "Chloé", "Daniel", "DeShawn", "Diego", "Elena", "Elijah",
    "Emma", "Ethan", "Fatima", "Finn", "François", "Gabriel", "Grace", "Hannah", "Hiroshi",
    "Ingrid", "Isabella", "Jamal", "Jayden", "José", "Kavya", "Keisha", "Leilani", "Liam",
    "Łukasz", "Malik", "María", "Mason", "Mia", "Mohammed", "Naomi", "Noah", "Nuala", "Olivia",
    "Omar", "Priya", "Quentin", "Renée", "Samuel", "Siobhán", "Sofía", "Søren", "Tariq", "Thảo",
    "Uma", "Victoria", "Wei", "Xavier", "Yara", "Zoë",
)  # fmt: skip
_LAST_NAMES = (
    "Abdullah", "Adams", "Baker", "Begay", "Brown", "Castillo", "Chen", "D'Angelo", "Davis",
    "Díaz", "Evans", "Fitzgerald", "Flores", "García", "Goldberg", "Green", "Hall", "Harris",
    "Hernández", "Ito", "Jackson", "Johnson", "Jones", "Kaya", "Kim", "Kowalski", "Lee",
    "López", "Martin", "McDonald", "Miller", "Moore", "Müller", "Muñoz", "Nakamura", "N'Diaye",
    "Nguyễn", "Novák", "O'Brien", "O'Connor", "Okafor", "Olsen", "Ortiz", "Patel", "Peña",
    "Pérez", "Quinn", "Ramírez", "Rivera", "Rodríguez", "Schmidt", "Scott", "Singh", "Smith",
    "Smith-Jones", "Taylor", "Thomas", "Torres", "Tremblay", "Turner", "Walker", "White",
    "Williams", "Wilson", "Wójcik", "Yazzie", "Young",
)  # fmt: skip
_SUBJECTS = ("Math", "English", "Science", "History", "Art")
_MAX_SCORES = (100, 100, 100, 100, 100, None, None, 50, 50, 20)  # None: not given, so 100

_ACTIVE = ("ACTIVE", "ACTIVE", "ACTIVE", "ACTIVE", "Enrolled")
_INACTIVE = ("INACTIVE", "withdrawn", None, "Graduated", "ON LEAVE")

# Morning stamps, between 13:00 and 13:59 UTC (8 o'clock of a school five hours behind).
_PLAIN_STAMPS = ("{day}T13:{minute:02d}:00Z",)
_MIXED_STAMPS = (
    *_PLAIN_STAMPS,
    "{day}T08:{minute:02d}:00-05:00",
    "{day} 13:{minute:02d}:00",
    "{day} 13:{minute:02d}:00Z",
    "{day}T13:{minute:02d}",
    "{day}T13:{minute:02d}:30.250Z",
)


@dataclass(frozen=True)
class SampleSummary:
    """What `write_sample` wrote.

    `students` counts the distinct students of the roster. `rows` gives, per source, the records
    in its file (lines below the header, elements of the JSON array), the malformed included.
    `dirt` gives, per source and kind of flaw, the number of flawed records; for a flaw that takes
    two records (a duplicate, a correction) it counts such pairs.
    """

    students: int
    rows: dict[str, int]
    dirt: dict[str, dict[str, int]]


def write_sample(
    folder: Path,
    *,
    students: int = 1200,
    attendance: int = 5000,
    assessments: int = 3000,
    seed: int = 20250901,
    dirt: bool = True,
) -> SampleSummary:
    """Write `students.csv`, `attendance.csv` and `assessments.json` into `folder`.

    The folder is made where it is missing; files of these names are replaced, others are left
    alone. UTF-8 without BOM, LF.

    `attendance` and `assessments` are exact: so many records stand in the file, flawed and
    malformed ones included. `students` is the number of distinct students (2 or more: one active,
    one who left); with dirt, the roster has some 2 % more rows than that: repeated students, rows
    without an id, malformed lines, each beside an intact row of the student it was made from.

    With `dirt`, 3 to 4 % of a source's records are flawed, each kind at least once; a small file
    gets fewer kinds, so that never more than a quarter of it is flawed. Grades, statuses and
    timestamps then come in varied spellings, and the roster has a column that the contract does
    not know, `homeroom`. Without, every record is in order and plainly written: ids are unique, a
    student has one record a day, dates are YYYY-MM-DD, timestamps end in Z.

    Dates lie in the school year 2025-26, weekdays only. Attendance that is too much for one year
    (one record a student and day) goes back into earlier ones; a ValueError says when it does not
    fit the years since 2000 either, or a size is impossible.
    """
    if students < 2 or attendance < 0 or assessments < 0:
        raise ValueError(
            "A sample needs at least 2 students and no negative number of rows; asked for "
            f"students={students}, attendance={attendance}, assessments={assessments}."
        )
    school = _make_school(students, Random(f"{seed} school"), dirt)
    roster_dirt = _Dirt(_student_flaws() if dirt else {}, students)
    attendance_dirt = _Dirt(_attendance_flaws(school) if dirt else {}, attendance)
    assessment_dirt = _Dirt(_assessment_flaws(school) if dirt else {}, assessments)
    marks = attendance - attendance_dirt.added
    results = assessments - assessment_dirt.added
    attending = _attending(school, marks)
    days = _school_days(marks, len(attending))

    roster_records = roster_dirt.sow(_roster(school, dirt), students, Random(f"{seed} roster dirt"))
    attendance_records = attendance_dirt.sow(
        _attendance(attending, days, Random(f"{seed} attendance"), dirt),
        marks,
        Random(f"{seed} attendance dirt"),
    )
    assessment_records = assessment_dirt.sow(
        _assessments(school, days, results, Random(f"{seed} assessments"), dirt),
        results,
        Random(f"{seed} assessment dirt"),
    )

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    header = _ROSTER_HEADER + (("homeroom",) if dirt else ())
    _write_csv(folder / "students.csv", header, roster_records)
    _write_csv(folder / "attendance.csv", _ATTENDANCE_HEADER, attendance_records)
    _write_json(folder / "assessments.json", assessment_records)
    return SampleSummary(
        students=students,
        rows={
            "students": students + roster_dirt.added,
            "attendance": attendance,
            "assessments": assessments,
        },
        dirt={
            "students": roster_dirt.counts,
            "attendance": attendance_dirt.counts,
            "assessments": assessment_dirt.counts,
        },
    )


# --- Writing ------------------------------------------------------------------------------------

_ROSTER_HEADER = ("student_id", "name", "class_id", "grade", "status", "updated_at")
_ATTENDANCE_HEADER = ("attend_id", "student_id", "date", "status", "created_at")


def _write_csv(path: Path, header: Sequence[str], records: Iterable[Record]) -> None:
    """One line a record, its values in their own order: a malformed one has too many or few."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(record.values() for record in records)


def _write_json(path: Path, records: Iterable[Any]) -> None:
    """One array, a line an element."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write("[")
        separator = "\n"
        for record in records:
            file.write(separator + json.dumps(record, ensure_ascii=False))
            separator = ",\n"
        file.write("\n]\n")


# --- Clean records ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Student:
    """A student as the facts need them, and the roster's record of them."""

    student_id: str
    class_id: str
    is_active: bool
    absence: float  # probability of missing a school day
    ability: float  # expected score, as a share of the maximum
    record: Record


@dataclass(frozen=True)
class _School:
    students: list[_Student]
    classes: dict[str, list[_Student]]  # active students by class_id, in the order of class_id
    leavers: list[str]  # ids of the students who are no longer active


def _make_school(students: int, random: Random, varied: bool) -> _School:
    """Students with ids 0000001, 0000002, … dealt to grades and classes at random.

    The first is always active and the last never, so that the smallest school has both.
    """
    classes_per_grade = max(1, int(students / _GRADES / _CLASS_SIZE + 0.5))
    stamps = _MIXED_STAMPS if varied else _PLAIN_STAMPS
    everyone = []
    for number in range(1, students + 1):
        grade = int(random.random() * _GRADES)
        class_number = int(random.random() * classes_per_grade)
        has_left = random.random() < _LEAVERS
        is_active = number == 1 or (number < students and not has_left)
        often_absent = random.random() < _OFTEN_ABSENT
        absence = 0.12 + 0.3 * random.random() if often_absent else 0.01 + 0.06 * random.random()
        ability = 0.45 + 0.45 * random.random()
        words = _ACTIVE if is_active else _INACTIVE
        updated_on = date(_LAST_SCHOOL_YEAR, 8, 1) + timedelta(days=int(random.random() * 31))
        student_id = f"{number:07d}"
        class_id = f"G{grade:02d}-{_letters(class_number)}"
        record = {
            "student_id": student_id,
            "name": _name(random),
            "class_id": class_id,
            "grade": _pick(random, _grade_spellings(grade)) if varied else _plain_grade(grade),
            "status": _pick(random, words) if varied else words[0],
            "updated_at": _pick(random, stamps).format(
                day=updated_on, minute=int(random.random() * 60)
            ),
        }
        everyone.append(_Student(student_id, class_id, is_active, absence, ability, record))

    classes: dict[str, list[_Student]] = {}
    for student in sorted(everyone, key=lambda each: each.class_id):
        if student.is_active:
            classes.setdefault(student.class_id, []).append(student)
    leavers = [student.student_id for student in everyone if not student.is_active]
    return _School(everyone, classes, leavers)


def _roster(school: _School, with_homeroom: bool) -> Iterator[Record]:
    """The students' records, with the room of the class in a column of its own if asked for."""
    rooms = {class_id: f"R{number}" for number, class_id in enumerate(school.classes, start=101)}
    for student in school.students:
        if with_homeroom:
            yield {**student.record, "homeroom": rooms.get(student.class_id)}
        else:
            yield student.record


def _attending(school: _School, records: int) -> list[_Student]:
    """The students who get attendance records, class by class.

    All active ones if there are records enough for `_DAYS_PER_STUDENT` days; else those of as many
    whole classes as they suffice for, taken evenly from all grades.
    """
    classes = list(school.classes.values())
    active = sum(len(members) for members in classes)
    wanted = records * len(classes) // (_DAYS_PER_STUDENT * active)
    wanted = min(max(wanted, 1), len(classes))
    chosen = [classes[number * len(classes) // wanted] for number in range(wanted)]
    return [student for members in chosen for student in members]


def _school_days(records: int, students: int) -> list[str]:
    """The days of the sample, YYYY-MM-DD: as many as it takes to give every student one record a
    day, spread evenly over the school year; over several years where one is too short."""
    wanted = max(1, -(-records // students))
    first_year = _LAST_SCHOOL_YEAR
    calendar = _school_year(first_year)
    while len(calendar) < wanted and first_year > _FIRST_SCHOOL_YEAR:
        first_year -= 1
        calendar = _school_year(first_year) + calendar
    if len(calendar) < wanted:
        raise ValueError(
            f"{records} attendance records are too many for {students} active students: one a "
            f"student and school day since {_FIRST_SCHOOL_YEAR} makes {len(calendar) * students}. "
            "Ask for more students or less attendance."
        )
    return [calendar[number * len(calendar) // wanted] for number in range(wanted)]


def _school_year(year: int) -> list[str]:
    """The weekdays from 1 September to 30 June, without those from 22 December to 2 January."""
    first, last = date(year, 9, 1), date(year + 1, 6, 30)
    holidays = (date(year, 12, 22), date(year + 1, 1, 2))
    days = (first + timedelta(days=number) for number in range((last - first).days + 1))
    return [
        day.isoformat()
        for day in days
        if day.weekday() < 5 and not holidays[0] <= day <= holidays[1]
    ]


def _attendance(
    attending: Sequence[_Student], days: Sequence[str], random: Random, varied: bool
) -> Iterator[Record]:
    """Day by day, one record for each attending student. Absences are half excused, half not."""
    number = 0
    for day in days:
        stamps = _stamps_of_day(day, varied)
        for student in attending:
            number += 1
            chance = random.random()
            if chance < student.absence:
                status = "ABSENT" if chance < student.absence / 2 else "EXCUSED"
            else:
                status = "LATE" if chance > 1 - _LATE else "PRESENT"
            yield {
                "attend_id": f"A{number:08d}",
                "student_id": student.student_id,
                "date": day,
                "status": status,
                "created_at": _pick(random, stamps),
            }


def _assessments(
    school: _School, days: Sequence[str], records: int, random: Random, varied: bool
) -> Iterator[Record]:
    """Test by test, one record for each active student of the class that sits it.

    The classes take turns; the tests are spread over the sample's days. The maximum belongs to
    the test: 100, 50 or 20 points, or not given (null in one test, no such field in the next).
    Scores are multiples of half a point. Yields `records` records, then as many as the last test
    has left.
    """
    classes = list(school.classes.values())
    number = test = 0
    while number < records:
        members = classes[test % len(classes)]
        day = days[number * len(days) // records]
        stamps = _stamps_of_day(day, varied)
        subject = _pick(random, _SUBJECTS)
        maximum = _pick(random, _MAX_SCORES)
        test += 1
        for student in members:
            number += 1
            luck = 0.3 * (random.random() + random.random() - 1)
            share = min(max(student.ability + luck, 0.0), 1.0)
            record = {
                "assessment_id": f"T{number:07d}",
                "student_id": student.student_id,
                "subject": subject,
                "score": int(share * 2 * (maximum or 100) + 0.5) / 2,
                "max_score": maximum,
                "date": day,
                "created_at": _pick(random, stamps),
            }
            if maximum is None and test % 2:
                del record["max_score"]
            yield record


def _stamps_of_day(day: str, varied: bool) -> list[str]:
    """Every timestamp that a record of this day may bear."""
    forms = _MIXED_STAMPS if varied else _PLAIN_STAMPS
    return [form.format(day=day, minute=minute) for form in forms for minute in range(60)]


def _name(random: Random) -> str:
    """Most are `First Last`; some have a comma or quotes, which CSV must quote."""
    first, last = _pick(random, _FIRST_NAMES), _pick(random, _LAST_NAMES)
    form = random.random()
    if form < 0.08:
        return f"{last}, {first}"
    if form < 0.10:
        return f'{first} "{first[:2]}" {last}'
    if form < 0.12:
        return f"{first} {last}, Jr."
    return f"{first} {last}"


def _plain_grade(grade: int) -> str:
    return str(grade) if grade else "K"


def _grade_spellings(grade: int) -> Sequence[str]:
    """Spellings of a grade that the contract accepts."""
    if grade == 0:
        return ("K", "KG", "Kindergarten", "Grade K", "k")
    ending = {1: "st", 2: "nd", 3: "rd"}.get(grade, "th")
    return (
        f"{grade}",
        f"{grade:02d}",
        f"Grade {grade}",
        f"grade{grade}",
        f"{grade}{ending}",
        f"{grade}.0",
    )


def _letters(number: int) -> str:
    """A, B, …, Z, AA, AB, … for 0, 1, 2, …"""
    text = ""
    number += 1
    while number:
        number, letter = divmod(number - 1, 26)
        text = chr(ord("A") + letter) + text
    return text


def _pick(random: Random, choices: Sequence[Any]) -> Any:
    return choices[int(random.random() * len(choices))]


# --- Dirt ---------------------------------------------------------------------------------------

# Takes a clean record and how many times the flaw was planted before (to take turns between its
# variants); gives what goes to the file instead.
Spoil = Callable[[Record, int], list[Any]]


class _Flaw(NamedTuple):
    per_thousand: float  # share of the source's records
    spoil: Spoil
    records: int = 1  # how many records `spoil` makes of one


class _Dirt:
    """How often each flaw occurs in a source of so many rows, and the planting of them."""

    def __init__(self, flaws: Mapping[str, _Flaw], rows: int) -> None:
        """Each flaw once at least, in the order given, until a quarter of the rows is flawed."""
        self.flaws = flaws
        self.counts: dict[str, int] = {}
        room = rows // 4
        for kind, flaw in flaws.items():
            count = min(max(1, int(rows * flaw.per_thousand / 1000 + 0.5)), room // flaw.records)
            if count:
                self.counts[kind] = count
                room -= count * flaw.records

    @property
    def added(self) -> int:
        """How many records the flaws add to the clean ones."""
        return sum(count * (self.flaws[kind].records - 1) for kind, count in self.counts.items())

    def sow(self, clean: Iterator[Record], length: int, random: Random) -> Iterator[Any]:
        """Pass on `length` clean records, flaws planted in them, evenly spread in random order.

        Two flawed records never stem from the same clean one.
        """
        kinds = [kind for kind, count in self.counts.items() for _ in range(count)]
        kinds.sort(key=lambda _: random.random())
        planted: Counter[str] = Counter()
        position = 0
        for number, kind in enumerate(kinds):
            place = int((number + 0.25 + random.random() / 2) * length / len(kinds))
            yield from islice(clean, place - position)
            yield from self.flaws[kind].spoil(next(clean), planted[kind])
            planted[kind] += 1
            position = place + 1
        yield from islice(clean, length - position)


_NULL_WORDS = ("N/A", "-", "NULL", "na", "None")
_INVALID_DATES = ("2025-02-30", "Monday", None, "31.12.2025", "2026-02", "2/29/2026", "n/a")
_DATES_OUT_OF_RANGE = ("1999-12-31", "2099-01-01")
_STATUS_SPELLINGS = (
    "present", "P", "p", "Absent", "a", "U", "unexcused", "late", "L", "t", "Tardy", "Excused", "e",
)  # fmt: skip
_UNKNOWN_STATUSES = ("REMOTE", "?", None, "N/A", "half day", "X")
_UNREADABLE_STAMPS = ("yesterday", "09/15/2025 8:05 AM", "2025-13-01T08:00:00Z")
# Around a text: blanks, a no-break space, a tab, a zero-width space, an ideographic space.
_BLANKS = (("  ", " "), ("\u00a0", "\u00a0"), ("", "\t"), ("\u200b", ""), ("\u3000", " "))


def _student_flaws() -> dict[str, _Flaw]:
    """Flaws of the roster.

    A student may lose a name, a class or a grade, and stays a student. What would cost the
    student's existence (no id, a malformed line) or gives a second version of them comes as a row
    of its own, after the intact one.
    """
    return {
        "exact_duplicate": _Flaw(3, _twice, 2),
        "repeated_newer": _Flaw(
            3, lambda row, _: [row, _moved(row, updated_at="2026-01-12T14:00:00Z")], 2
        ),
        "repeated_older": _Flaw(
            3,
            lambda row, _: [
                row,
                _moved(row, status="INACTIVE", updated_at="2025-06-15 09:00:00"),
            ],
            2,
        ),
        "repeated_undated": _Flaw(
            1, lambda row, _: [row, _moved(row, status="INACTIVE", updated_at=None)], 2
        ),
        "repeated_same_time": _Flaw(1, lambda row, _: [row, _moved(row)], 2),
        "missing_student_id": _Flaw(
            2,
            lambda row, nth: [
                row,
                {**row, "student_id": (None, *_NULL_WORDS)[nth % 6], "name": f"Newcomer {nth + 1}"},
            ],
            2,
        ),
        "missing_name": _Flaw(3, _put("name", None, *_NULL_WORDS)),
        "missing_class": _Flaw(3, _put("class_id", None, "-", " ")),
        "unreadable_grade": _Flaw(4, _put("grade", "Freshman", None, "7-8", "100", "ungraded")),
        "missing_updated_at": _Flaw(1, _put("updated_at", None, "NULL")),
        "unreadable_timestamp": _Flaw(1, _put("updated_at", *_UNREADABLE_STAMPS)),
        "surrounding_blanks": _Flaw(4, _pad),
        "malformed_record": _Flaw(2, lambda row, nth: [row, *_miscount(row, nth)], 2),
    }


def _attendance_flaws(school: _School) -> dict[str, _Flaw]:
    """Flaws of the attendance file; those of `_fact_flaws`, and of the status."""
    return {
        **_fact_flaws("attend_id", school),
        "correction": _Flaw(4, lambda row, nth: _corrected(row, nth, status=_other_status(row)), 2),
        "correction_undated": _Flaw(
            1, lambda row, _: [row, {**row, "status": _other_status(row), "created_at": None}], 2
        ),
        # Two records of one student and day: the later one, with an id of its own, counts.
        "same_day_twice": _Flaw(
            2,
            lambda row, _: [
                row,
                {
                    **row,
                    "attend_id": row["attend_id"] + "-2",
                    "status": _other_status(row),
                    "created_at": f"{row['date']}T19:00:00Z",
                },
            ],
            2,
        ),
        "status_spelling": _Flaw(5, _put("status", *_STATUS_SPELLINGS)),
        "unknown_status": _Flaw(2, _put("status", *_UNKNOWN_STATUSES)),
        "malformed_record": _Flaw(0.5, _miscount),
    }


def _assessment_flaws(school: _School) -> dict[str, _Flaw]:
    """Flaws of the assessments file; those of `_fact_flaws`, and of subject and score."""
    return {
        **_fact_flaws("assessment_id", school),
        "correction": _Flaw(4, lambda row, nth: _corrected(row, nth, score=row["score"] / 2), 2),
        "correction_undated": _Flaw(
            1, lambda row, _: [row, {**row, "score": row["score"] / 2, "created_at": None}], 2
        ),
        "missing_subject": _Flaw(1, _put("subject", None, "", "N/A")),
        "score_as_text": _Flaw(2, _score_as_text),
        "invalid_score": _Flaw(
            3, _put("score", None, "absent", "N/A", "NaN", True, "87,5", "1e999", "")
        ),
        "score_out_of_range": _Flaw(2, _score_out_of_range),
        "null_word_for_max_score": _Flaw(1, _put("max_score", *_NULL_WORDS)),
        "invalid_max_score": _Flaw(1.5, _put("max_score", 0, "full", -20, "1e999")),
        "unknown_field": _Flaw(2, _put("comment", "retake", "teacher's estimate")),
        "malformed_record": _Flaw(1.5, _no_object),
    }


def _fact_flaws(id_field: str, school: _School) -> dict[str, _Flaw]:
    """Flaws that both attendance and assessments have."""
    return {
        "exact_duplicate": _Flaw(3, _twice, 2),
        "missing_id": _Flaw(1, _put(id_field, None, "N/A", "  ")),
        "missing_student_id": _Flaw(1, _put("student_id", None, "NULL", "-")),
        "unknown_student": _Flaw(
            3, lambda row, nth: [{**row, "student_id": f"X{nth // 2 + 1:06d}"}]
        ),
        "invalid_date": _Flaw(2.5, _put("date", *_INVALID_DATES)),
        "date_out_of_range": _Flaw(1, _put("date", *_DATES_OUT_OF_RANGE)),
        "date_format": _Flaw(3, _other_date_format),
        "null_word_for_created_at": _Flaw(1, _put("created_at", *_NULL_WORDS)),
        "unreadable_timestamp": _Flaw(1, _put("created_at", *_UNREADABLE_STAMPS)),
        "surrounding_blanks": _Flaw(2, _pad),
        "leaver_record": _Flaw(0.5, _leaver_record(id_field, school), 2),
        # One id, two students: the later version counts, and a check warns.
        "id_of_two_students": _Flaw(
            0.5,
            lambda row, nth: [
                row,
                {
                    **row,
                    "student_id": school.leavers[nth % len(school.leavers)],
                    "created_at": f"{row['date']}T20:30:00Z",
                },
            ],
            2,
        ),
    }


def _leaver_record(id_field: str, school: _School) -> Spoil:
    """A spoiler that adds the like for somebody of the class who is no longer active (where there
    is none, for a leaver of another class). It counts, and may lift the coverage above 1."""
    class_of = {student.student_id: student.class_id for student in school.students}
    leaver_of_class = {class_of[leaver]: leaver for leaver in school.leavers}

    def spoil(row: Record, nth: int) -> list[Any]:
        leaver = leaver_of_class.get(class_of[row["student_id"]], school.leavers[0])
        return [row, {**row, id_field: f"{row[id_field]}-L", "student_id": leaver}]

    return spoil


def _put(field: str, *values: Any) -> Spoil:
    """A spoiler that sets one field, to one value after the other."""
    return lambda row, nth: [{**row, field: values[nth % len(values)]}]


def _twice(row: Record, nth: int) -> list[Any]:
    return [row, row]


def _moved(row: Record, **changes: Any) -> Record:
    """The roster row of a student in another class of the same grade."""
    grade, _, letter = row["class_id"].partition("-")
    return {**row, "class_id": f"{grade}-{'B' if letter == 'A' else 'A'}", **changes}


def _corrected(row: Record, nth: int, **changes: Any) -> list[Any]:
    """A record and its correction of the same evening; every other time the correction is first,
    so that `created_at` decides and not the place in the file."""
    correction = {**row, **changes, "created_at": f"{row['date']}T20:30:00Z"}
    return [correction, row] if nth % 2 else [row, correction]


def _other_status(row: Record) -> str:
    return "PRESENT" if row["status"] == "EXCUSED" else "EXCUSED"


def _other_date_format(row: Record, nth: int) -> list[Any]:
    """The same day in another format that the contract accepts. The last one would be the next
    day in UTC; the date counts as written."""
    year, month, day = row["date"].split("-")
    formats = (
        f"{year}/{month}/{day}",
        f"{year}{month}{day}",
        f"{int(month)}/{int(day)}/{year}",
        f"{year}-{month}-{day}T08:00:00Z",
        f"{year}-{month}-{day} 23:30:00-05:00",
    )
    return [{**row, "date": formats[nth % len(formats)]}]


def _pad(row: Record, nth: int) -> list[Any]:
    """Blanks of one kind around every text."""
    left, right = _BLANKS[nth % len(_BLANKS)]
    return [
        {
            name: left + value + right if isinstance(value, str) else value
            for name, value in row.items()
        }
    ]


def _score_as_text(row: Record, nth: int) -> list[Any]:
    """The same number, as a text that the contract reads."""
    score = row["score"]
    texts = (f"{score}", f"+{score}", f" {score}", f"{score}e0")
    return [{**row, "score": texts[nth % len(texts)]}]


def _score_out_of_range(row: Record, nth: int) -> list[Any]:
    maximum = row.get("max_score") or 100
    scores = (-5, maximum + 0.5, maximum * 10, -0.5)
    return [{**row, "score": scores[nth % len(scores)]}]


def _miscount(row: Record, nth: int) -> list[Any]:
    """A CSV record with a field too many, or two too few."""
    if nth % 2:
        return [dict(islice(row.items(), len(row) - 2))]
    return [{**row, "surplus": "see note"}]


def _no_object(row: Record, nth: int) -> list[Any]:
    """An element of the JSON array that is no object."""
    elements = ("see paper file", list(row.values()), 42, None)
    return [elements[nth % len(elements)]]
