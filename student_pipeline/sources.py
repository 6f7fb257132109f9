"""What schools deliver: the three sources, their columns and the words in them."""

import re
from dataclasses import dataclass

FORMATS = ("csv", "tsv", "json", "jsonl", "ndjson", "parquet")
"""File name extensions that are read; all but Parquet also with `.gz` behind."""

ATTENDANCE_STATUSES = {
    "PRESENT": ["P", "PRESENT"],
    "ABSENT": ["A", "ABSENT", "U", "UNEXCUSED"],
    "LATE": ["L", "LATE", "T", "TARDY"],
    "EXCUSED": ["E", "EXCUSED"],
}
"""Canonical attendance status -> the words that mean it, in any case."""

PRESENT_STATUSES = ("PRESENT", "LATE")
"""The statuses that count as present; the others count as absent."""


def essence(header: str) -> str:
    """What of a header name counts: its letters and digits, in any case."""
    return re.sub(r"[\W_]", "", header).casefold()


@dataclass(frozen=True)
class Source:
    """One kind of file that a school delivers.

    Attributes:
        name: as in file names and in `bronze.<name>`.
        columns: canonical column -> other header names accepted for it.
        required: columns without which a file is refused.
        expected: columns without which the numbers mean something else: a file that lacks one is
            warned of. One that lacks another is, where it has headers that no column knows.
        dispensable: columns that nobody is warned of.
        usual_format: the documented format, e.g. `CSV`; any of `FORMATS` is read.
        description: one sentence for the UI.
    """

    name: str
    columns: dict[str, tuple[str, ...]]
    required: tuple[str, ...]
    expected: tuple[str, ...]
    dispensable: tuple[str, ...]
    usual_format: str
    description: str


STUDENTS = Source(
    name="students",
    columns={
        "student_id": (),
        "name": ("student_name",),
        "class_id": (),
        "grade": ("grade_level",),
        "status": ("enrollment_status",),
        "updated_at": (),
    },
    required=("student_id",),
    expected=("class_id", "status"),
    dispensable=("updated_at",),
    usual_format="CSV",
    description="The roster: every student of the school, delivered whole.",
)

ATTENDANCE = Source(
    name="attendance",
    columns={
        "attend_id": ("attendance_id",),
        "student_id": (),
        "date": ("attendance_date", "attend_date"),
        "status": (),
        "created_at": (),
    },
    required=("attend_id", "student_id", "date"),
    expected=("status",),
    dispensable=("created_at",),
    usual_format="CSV",
    description="Attendance records: one per student and school day, corrections included.",
)

ASSESSMENTS = Source(
    name="assessments",
    columns={
        "assessment_id": ("assess_id",),
        "student_id": (),
        "subject": (),
        "score": (),
        "max_score": (),
        "date": ("assessment_date", "assess_date"),
        "created_at": (),
    },
    required=("assessment_id", "student_id", "date"),
    expected=("subject", "score"),
    dispensable=("created_at",),
    usual_format="JSON",
    description="Assessment results: one per student, subject and sitting.",
)

SOURCES = {source.name: source for source in (STUDENTS, ATTENDANCE, ASSESSMENTS)}
