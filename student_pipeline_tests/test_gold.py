"""Gold: every column of both tables by hand-made days, through real runs.

Most tests look at one school year, which is delivered and run once: see `year`.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import pytest

from student_pipeline_tests.pipeline import School, warnings_of
from student_pipeline_tests.test_silver import Fields, assessed, attended, csv_file, run, student

DAILY = "gold.class_daily_performance"
SUMMARY = "gold.student_performance_summary"

CLASS_COLUMNS = (
    "class_id",
    "date",
    "total_students",
    "students_with_attendance",
    "present_count",
    "absent_count",
    "attendance_rate",
    "students_with_assessment",
    "assessment_count",
    "avg_score",
    "attendance_coverage",
)
CLASS_COUNTS = (
    "total_students",
    "students_with_attendance",
    "present_count",
    "absent_count",
    "students_with_assessment",
    "assessment_count",
)
STUDENT_COUNTS = (
    "total_attendance_days",
    "present_days",
    "absent_days",
    "late_days",
    "excused_days",
    "total_assessments",
)


class Records:
    """Facts with ids that nobody has to make up."""

    def __init__(self) -> None:
        self.students: list[Fields] = []
        self.attendance: list[Fields] = []
        self.assessments: list[Fields] = []

    def student(self, student_id: str, class_id: str = "7B", **fields: Any) -> None:
        self.students.append(student(student_id, class_id, **fields))

    def attend(self, student_id: str, day: date | str, status: str = "P", **fields: Any) -> None:
        number = f"a{len(self.attendance):06}"
        self.attendance.append(attended(number, student_id, date=str(day), status=status, **fields))

    def attend_days(self, student_id: str, statuses: str, first: date = date(2025, 9, 1)) -> None:
        """One record a day, a letter for each."""
        for number, status in enumerate(statuses):
            self.attend(student_id, first + timedelta(days=number), status)

    def assess(self, student_id: str, day: date | str, score: float, out_of: float = 100) -> None:
        number = f"e{len(self.assessments):06}"
        self.assessments.append(
            assessed(number, student_id, date=str(day), score=str(score), max_score=str(out_of))
        )

    def deliver(self, school: School) -> None:
        school.deliver("students.csv", csv_file(self.students))
        if self.attendance:
            school.deliver("attendance.csv", csv_file(self.attendance))
        if self.assessments:
            school.deliver("assessments.json", json.dumps(self.assessments))


# Days of the classes below, each with its expected row.
DAY = "2026-03-02"

CHRONIC = {
    # letters of the days recorded: chronically absent?
    "A" + "P" * 9: True,  # 1 of 10: the threshold itself
    "P" * 10: False,
    "A" * 9: False,  # fewer than 10 days recorded, however absent
    "A" * 10: True,
    "A" + "P" * 10: False,  # 1 of 11
    "AA" + "P" * 18: True,  # 2 of 20
    "AA" + "P" * 19: False,  # 2 of 21
    "AAA" + "P" * 27: True,
    "AAA" + "P" * 28: False,
    "E" + "P" * 9: True,  # an excused absence is an absence
    "L" * 10: False,  # late is present
    "AL" + "P" * 8: True,
    "LE" + "P" * 9: False,  # 1 of 11
}

ALMOST = "A" * 200 + "P" * 1801
"""Absent on 9.995 % of 2001 days: the rate, rounded, is 0.9, yet it is no chronic absence."""


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> School:
    """A year of small classes, one for each thing to see."""
    records = Records()

    # 7B: five active students and a leaver; two of them recorded, one of these with duplicates.
    for number in range(1, 6):
        records.student(f"B{number}")
    records.student("B6", status="Withdrawn")
    records.attend("B1", DAY, "A", created_at="2026-03-02T08:00:00Z")
    records.attend("B1", DAY, "P", created_at="2026-03-02T09:00:00Z")
    records.attend("B1", DAY, "P", created_at="2026-03-02T08:30:00Z")
    records.attend("B2", DAY, "E")
    records.attend("B3", DAY, "?")  # no known word: not in the denominator either
    records.assess("B1", DAY, 45, 50)
    records.assess("B1", DAY, 8, 10)
    records.assess("B4", DAY, 0)
    records.assess("B5", DAY, 101)  # out of range: refused, not capped

    # ASSESSED: an assessment and no attendance; ATTENDED: the other way round.
    records.student("C1", "ASSESSED")
    records.assess("C1", DAY, 70)
    records.student("C2", "ATTENDED")
    records.attend("C2", DAY, "L")

    # ABSENT: everybody is. LEFT: nobody is active. EMPTY: no record at all.
    records.student("C3", "ABSENT")
    records.attend("C3", DAY, "U")
    records.student("C4", "LEFT", status="Graduated")
    records.attend("C4", DAY, "P")
    records.student("C5", "EMPTY")

    # LIFTED: a leaver's record lifts coverage above 1. None: no class.
    records.student("C6", "LIFTED")
    records.student("C7", "LIFTED", status="Withdrawn")
    records.attend("C6", DAY, "P")
    records.attend("C7", DAY, "A")
    records.student("C8", "")
    records.attend("C8", DAY, "P")

    # ROUND32 and ROUND160: rates that end in a half.
    for number in range(32):
        records.student(f"R{number:02}", "ROUND32")
        records.attend(f"R{number:02}", DAY, "P" if number == 0 else "A")
    records.attend("R00", "2026-03-03", "P")
    for number in range(160):
        records.student(f"Q{number:03}", "ROUND160")
    records.attend("Q000", DAY, "P")

    # MEAN: averages that end in a half; the mean of percentages, not of points.
    records.student("M1", "MEAN")
    records.assess("M1", DAY, 50.01)
    records.assess("M1", DAY, 50.02)
    records.assess("M1", "2026-03-03", 0.01)
    records.assess("M1", "2026-03-03", 0.02)
    records.assess("M1", "2026-03-04", 1, 3)
    records.assess("M1", "2026-03-04", 1, 3)
    records.assess("M1", "2026-03-04", 2, 3)
    records.assess("M1", "2026-03-05", 10, 10)
    records.assess("M1", "2026-03-05", 0, 1000)

    for number, letters in enumerate(CHRONIC):
        records.student(f"X{number:02}", "CHRONIC")
        records.attend_days(f"X{number:02}", letters)
    records.student("X99", "CHRONIC", status="Withdrawn")
    records.attend_days("X99", "A" + "P" * 9)
    records.student("ALMOST", "CHRONIC")
    records.attend_days("ALMOST", ALMOST, first=date(2000, 1, 1))

    school = School(tmp_path_factory.mktemp("gold"))
    records.deliver(school)
    run(school)
    return school


def class_day(school: School, class_id: str, day: str = DAY) -> dict[str, Any]:
    """The row of a class and day, without its key."""
    (row,) = [
        row for row in school.rows(DAILY) if (row["class_id"], str(row["date"])) == (class_id, day)
    ]
    assert list(row) == list(CLASS_COLUMNS)
    return {name: value for name, value in row.items() if name not in ("class_id", "date")}


def summary(school: School, student_id: str) -> dict[str, Any]:
    """The row of a student."""
    (row,) = [row for row in school.rows(SUMMARY) if row["student_id"] == student_id]
    return row


def picked(row: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in expected}


# --- class_daily_performance ----------------------------------------------------------------------


def test_every_column_of_a_class_day(year: School) -> None:
    assert class_day(year, "7B") == {
        "total_students": 5,  # the leaver is none of them
        "students_with_attendance": 2,
        "present_count": 1,
        "absent_count": 1,
        "attendance_rate": 0.5,
        "students_with_assessment": 2,
        "assessment_count": 3,
        "avg_score": 56.67,
        "attendance_coverage": 0.4,
    }


def test_a_day_of_assessments_only_has_counts_of_0_and_no_rate(year: School) -> None:
    assert class_day(year, "ASSESSED") == {
        "total_students": 1,
        "students_with_attendance": 0,
        "present_count": 0,
        "absent_count": 0,
        "attendance_rate": None,
        "students_with_assessment": 1,
        "assessment_count": 1,
        "avg_score": 70.0,
        "attendance_coverage": 0.0,
    }


def test_a_day_of_attendance_only_has_counts_of_0_and_no_average(year: School) -> None:
    assert class_day(year, "ATTENDED") == {
        "total_students": 1,
        "students_with_attendance": 1,
        "present_count": 1,
        "absent_count": 0,
        "attendance_rate": 1.0,
        "students_with_assessment": 0,
        "assessment_count": 0,
        "avg_score": None,
        "attendance_coverage": 1.0,
    }


def test_a_day_with_everybody_absent_has_a_rate_of_0(year: School) -> None:
    expected = {"present_count": 0, "absent_count": 1, "attendance_rate": 0.0}
    assert picked(class_day(year, "ABSENT"), expected) == expected


def test_a_class_without_active_students_has_no_coverage(year: School) -> None:
    expected = {
        "total_students": 0,
        "students_with_attendance": 1,
        "present_count": 1,
        "attendance_rate": 1.0,
        "attendance_coverage": None,
    }
    assert picked(class_day(year, "LEFT"), expected) == expected


def test_a_leaver_s_record_lifts_coverage_above_1_but_no_rate(year: School) -> None:
    expected = {
        "total_students": 1,
        "students_with_attendance": 2,
        "attendance_rate": 0.5,
        "attendance_coverage": 2.0,
    }
    assert picked(class_day(year, "LIFTED"), expected) == expected


def test_students_without_a_class_are_a_class(year: School) -> None:
    expected = {"total_students": 1, "students_with_attendance": 1, "attendance_coverage": 1.0}
    assert picked(class_day(year, "UNASSIGNED"), expected) == expected


def test_a_class_without_records_has_no_row(year: School) -> None:
    assert "EMPTY" not in {row["class_id"] for row in year.rows(DAILY)}


@pytest.mark.parametrize(
    ("class_id", "day", "column", "expected"),
    [
        ("ROUND32", DAY, "attendance_rate", 0.0313),  # 1 of 32 is 0.03125
        ("ROUND32", DAY, "attendance_coverage", 1.0),
        ("ROUND32", "2026-03-03", "attendance_coverage", 0.0313),
        ("ROUND160", DAY, "attendance_coverage", 0.0063),  # 1 of 160 is 0.00625
        ("MEAN", DAY, "avg_score", 50.02),  # of 50.01 and 50.02
        ("MEAN", "2026-03-03", "avg_score", 0.02),  # of 0.01 and 0.02
        ("MEAN", "2026-03-04", "avg_score", 44.44),  # of 33.33, 33.33 and 66.67
        ("MEAN", "2026-03-05", "avg_score", 50.0),  # of 100 % and 0 %, not 10 of 1010 points
    ],
)
def test_halves_are_rounded_up(
    year: School, class_id: str, day: str, column: str, expected: float
) -> None:
    assert class_day(year, class_id, day)[column] == expected


def test_a_duplicate_record_can_t_push_a_rate_over_1(school: School) -> None:
    records = Records()
    records.student("S1")
    for hour in range(5):
        records.attend("S1", DAY, "P", created_at=f"2026-03-02T0{hour}:00:00Z")
    records.deliver(school)
    run(school)
    expected = {
        "students_with_attendance": 1,
        "present_count": 1,
        "absent_count": 0,
        "attendance_rate": 1.0,
        "attendance_coverage": 1.0,
    }
    assert picked(class_day(school, "7B"), expected) == expected
    expected = {"total_attendance_days": 1, "present_days": 1, "attendance_rate": 1.0}
    assert picked(summary(school, "S1"), expected) == expected


def test_all_class_days_are_there_once_and_sorted(year: School) -> None:
    stored = year.query(f"SELECT class_id, date FROM {DAILY}")
    assert stored == sorted(set(stored))
    expected = set(
        year.query(
            "SELECT class_id, attend_date FROM silver.fact_attend "
            "UNION SELECT class_id, assess_date FROM silver.fact_assess"
        )
    )
    assert set(stored) == expected
    assert len(stored) > 2000


def test_class_counts_are_never_null_and_add_up(year: School) -> None:
    for row in year.rows(DAILY):
        assert None not in [row[name] for name in CLASS_COUNTS]
        assert row["present_count"] + row["absent_count"] == row["students_with_attendance"]
        assert row["students_with_attendance"] + row["assessment_count"] > 0
        assert row["attendance_rate"] is None or 0 <= row["attendance_rate"] <= 1


# --- student_performance_summary ------------------------------------------------------------------


def test_every_column_of_a_student(year: School) -> None:
    assert summary(year, "B1") == {
        "student_id": "B1",
        "class_id": "7B",
        "is_active": True,
        "total_attendance_days": 1,
        "present_days": 1,
        "absent_days": 0,
        "late_days": 0,
        "excused_days": 0,
        "attendance_rate": 1.0,
        "is_chronically_absent": False,
        "total_assessments": 2,
        "avg_score": 85.0,
        "min_score": 80.0,
        "max_score": 90.0,
    }


def test_a_student_without_records_has_zeros_and_nulls(year: School) -> None:
    """Neither 0 % nor 100 %: what is not recorded is unknown."""
    assert summary(year, "C5") == {
        "student_id": "C5",
        "class_id": "EMPTY",
        "is_active": True,
        **dict.fromkeys(STUDENT_COUNTS, 0),
        "attendance_rate": None,
        "is_chronically_absent": False,
        "avg_score": None,
        "min_score": None,
        "max_score": None,
    }


def test_refused_records_leave_no_trace(year: School) -> None:
    for student_id in ("B3", "B5"):
        row = summary(year, student_id)
        assert [row[name] for name in STUDENT_COUNTS] == [0] * len(STUDENT_COUNTS)
        assert (row["attendance_rate"], row["avg_score"]) == (None, None)


def test_a_score_of_0_is_a_score(year: School) -> None:
    expected = {"total_assessments": 1, "avg_score": 0.0, "min_score": 0.0, "max_score": 0.0}
    assert picked(summary(year, "B4"), expected) == expected


def test_days_by_status(school: School) -> None:
    records = Records()
    records.student("S1")
    records.attend_days("S1", "PPPPLLAAAEEEEE"[::-1])
    records.deliver(school)
    run(school)
    expected = {
        "total_attendance_days": 14,
        "present_days": 6,
        "absent_days": 8,
        "late_days": 2,
        "excused_days": 5,
        "attendance_rate": 0.4286,
        "is_chronically_absent": True,
    }
    assert picked(summary(school, "S1"), expected) == expected


@pytest.mark.parametrize(
    ("number", "letters", "chronic"),
    [(number, letters, chronic) for number, (letters, chronic) in enumerate(CHRONIC.items())],
    ids=CHRONIC,
)
def test_chronic_absence(year: School, number: int, letters: str, chronic: bool) -> None:
    row = summary(year, f"X{number:02}")
    assert row["total_attendance_days"] == len(letters)
    assert row["is_chronically_absent"] is chronic


def test_chronic_absence_is_not_judged_by_the_rounded_rate(year: School) -> None:
    expected = {
        "total_attendance_days": 2001,
        "absent_days": 200,
        "attendance_rate": 0.9,
        "is_chronically_absent": False,
    }
    assert picked(summary(year, "ALMOST"), expected) == expected


def test_a_leaver_stays_in_with_all_days(year: School) -> None:
    expected = {"is_active": False, "total_attendance_days": 10, "is_chronically_absent": True}
    assert picked(summary(year, "X99"), expected) == expected


def test_a_rate_of_a_student_is_rounded_half_up(school: School) -> None:
    records = Records()
    records.student("S1")
    records.attend_days("S1", "P" + "A" * 31)
    records.deliver(school)
    run(school)
    assert summary(school, "S1")["attendance_rate"] == 0.0313


def test_scores_of_a_student(year: School) -> None:
    expected = {
        "total_assessments": 9,
        "avg_score": 37.04,  # 33339 hundredths by 9 are 3704.33
        "min_score": 0.0,
        "max_score": 100.0,
    }
    assert picked(summary(year, "M1"), expected) == expected


def test_every_student_has_one_row_sorted_by_id(year: School) -> None:
    stored = [row[0] for row in year.query(f"SELECT student_id FROM {SUMMARY}")]
    students = [row[0] for row in year.query("SELECT student_id FROM silver.dim_student")]
    assert stored == sorted(students)


def test_student_counts_are_never_null_and_add_up(year: School) -> None:
    for row in year.rows(SUMMARY):
        assert None not in [row[name] for name in STUDENT_COUNTS]
        assert row["present_days"] + row["absent_days"] == row["total_attendance_days"]
        assert row["late_days"] <= row["present_days"]
        assert row["excused_days"] <= row["absent_days"]


def test_both_tables_and_silver_agree_on_totals(year: School) -> None:
    (classes,) = year.query(
        f"SELECT sum(present_count), sum(absent_count), sum(assessment_count) FROM {DAILY}"
    )
    (students,) = year.query(
        f"SELECT sum(present_days), sum(absent_days), sum(total_assessments) FROM {SUMMARY}"
    )
    (silver,) = year.query(
        "SELECT count(*) FILTER (WHERE is_present), count(*) FILTER (WHERE NOT is_present), "
        "(SELECT count(*) FROM silver.fact_assess) FROM silver.fact_attend WHERE counts_for_day"
    )
    assert classes == students == silver


def test_types_of_gold(year: School) -> None:
    types = dict(
        year.query(
            "SELECT table_name || '.' || column_name, data_type FROM duckdb_columns() "
            "WHERE schema_name = 'gold'"
        )
    )
    for name in CLASS_COUNTS:
        assert types[f"class_daily_performance.{name}"] == "BIGINT"
    for name in ("attendance_rate", "avg_score", "attendance_coverage"):
        assert types[f"class_daily_performance.{name}"] == "DOUBLE"
    assert types["class_daily_performance.date"] == "DATE"
    for name in STUDENT_COUNTS:
        assert types[f"student_performance_summary.{name}"] == "BIGINT"
    for name in ("attendance_rate", "avg_score", "min_score", "max_score"):
        assert types[f"student_performance_summary.{name}"] == "DOUBLE"


# --- rules and runs -------------------------------------------------------------------------------


def chronic_students(school: School, letters: Sequence[str], **rules: Any) -> list[bool]:
    """Who is chronically absent, of students with these days, by these rules."""
    records = Records()
    for number, days in enumerate(letters):
        records.student(f"S{number}")
        records.attend_days(f"S{number}", days)
    records.deliver(school)
    school.rules = rules
    run(school)
    return [row["is_chronically_absent"] for row in school.rows(SUMMARY)]


def test_the_threshold_of_chronic_absence_is_configuration(school: School) -> None:
    letters = ["A" * 3 + "P" * 17, "A" * 2 + "P" * 18, "A" * 2 + "P" * 11]
    found = chronic_students(school, letters, chronic_absence_percent=15)
    assert found == [True, False, True]


def test_the_minimum_of_chronic_absence_is_configuration(school: School) -> None:
    letters = ["A" * 4, "A" * 5, "A" + "P" * 9]
    found = chronic_students(school, letters, chronic_absence_min_days=5)
    assert found == [False, True, True]


def test_a_class_change_does_not_restart_a_student_s_count(school: School) -> None:
    records = Records()
    records.student("S1", "7A")
    records.student("S2", "7A")
    records.attend_days("S1", "A" + "P" * 8)
    records.attend("S2", "2025-09-01")
    records.assess("S1", "2025-09-01", 80)
    records.deliver(school)
    run(school)
    moved = [student("S1", "7B", updated_at="2026-02-01")]
    school.deliver("students_moved.csv", csv_file(moved))
    school.deliver("attendance_2.csv", csv_file([attended("late", "S1", date="2025-09-10")]))
    run(school)
    expected = {
        "class_id": "7B",
        "total_attendance_days": 10,
        "absent_days": 1,
        "is_chronically_absent": True,
        "total_assessments": 1,
    }
    assert picked(summary(school, "S1"), expected) == expected
    # The old class keeps the days of those who stayed, and no others.
    rows = [(row["class_id"], row["date"].day) for row in school.rows(DAILY)]
    assert rows == [("7A", 1), *(("7B", day) for day in range(1, 11))]


def test_a_leaver_leaves_the_class_s_size_and_keeps_the_records(school: School) -> None:
    records = Records()
    records.student("S1")
    records.student("S2")
    records.attend("S1", DAY)
    records.attend("S2", DAY, "A")
    records.deliver(school)
    run(school)
    assert class_day(school, "7B")["attendance_coverage"] == 1.0
    left = [student("S2", status="Withdrawn", updated_at="2026-04-01")]
    school.deliver("students_2.csv", csv_file(left))
    result = school.run()
    assert result.success
    assert f"gold/{DAILY.split('.')[1]}: coverage_above_one" in warnings_of(result)
    expected = {
        "total_students": 1,
        "students_with_attendance": 2,
        "attendance_rate": 0.5,
        "attendance_coverage": 2.0,
    }
    assert picked(class_day(school, "7B"), expected) == expected
    assert summary(school, "S2")["total_attendance_days"] == 1


def test_a_corrected_record_takes_its_day_out_of_gold(school: School) -> None:
    """A class and day whose only record moved elsewhere has no row any more."""
    records = Records()
    records.student("S1")
    records.attend("S1", "2026-03-02")
    records.assess("S1", "2026-03-03", 50)
    records.assess("S1", "2026-03-04", 50)
    records.deliver(school)
    run(school)
    assert [row["date"].day for row in school.rows(DAILY)] == [2, 3, 4]
    later = {"created_at": "2026-05-05"}
    school.deliver(
        "attendance_2.csv", csv_file([attended("a000000", "S1", date="2026-03-09", **later)])
    )
    school.deliver(
        "assessments_2.json", json.dumps([assessed("e000000", "S1", date="soon", **later)])
    )
    run(school)
    assert [row["date"].day for row in school.rows(DAILY)] == [4, 9]
    assert summary(school, "S1")["total_assessments"] == 1


def test_a_first_day_without_any_fact(school: School) -> None:
    school.deliver("students.csv", csv_file([student("S2"), student("S1")]))
    run(school)
    assert school.rows(DAILY) == []
    assert [row["student_id"] for row in school.rows(SUMMARY)] == ["S1", "S2"]


def test_repeated_assessments_all_count(school: School) -> None:
    """Only the id is the key: the same subject on the same day twice are two."""
    records = Records()
    records.student("S1")
    for score in (60, 80, 80):
        records.assess("S1", DAY, score)
    records.deliver(school)
    run(school)
    expected = {"students_with_assessment": 1, "assessment_count": 3, "avg_score": 73.33}
    assert picked(class_day(school, "7B"), expected) == expected


def test_ids_keep_their_zeros_and_their_order_as_text(school: School) -> None:
    records = Records()
    ids = ["10", "9", "007", "7", "Ä", "a", "Z"]
    for student_id in ids:
        records.student(student_id)
        records.attend(student_id, DAY)
    records.deliver(school)
    run(school)
    assert [row["student_id"] for row in school.rows(SUMMARY)] == sorted(ids)
    assert {row["total_attendance_days"] for row in school.rows(SUMMARY)} == {1}


def test_sums_do_not_depend_on_the_order_of_rows(school: School, tmp_path_factory: Any) -> None:
    """The same records, delivered forwards and backwards, give the same tables."""
    scores = [(number * 7919) % 10007 / 100.07 for number in range(300)]
    tables = []
    for where, order in ((school, scores), (School(tmp_path_factory.mktemp("back")), scores[::-1])):
        records = Records()
        records.student("S1")
        for score in order:
            records.assess("S1", DAY, round(score, 3), 100)
        records.deliver(where)
        run(where)
        tables.append((where.rows(DAILY), where.rows(SUMMARY)))
    assert tables[0] == tables[1]
