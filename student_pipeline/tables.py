"""The tables, each declared once.

The DDL, the column schema in the UI, the generic asset checks and the data dictionary all come
from these declarations. What a table holds is the SELECT in `sql/<schema>/<name>.sql`; for bronze
tables it is what `ingest` reads.
"""

from dataclasses import dataclass, field
from typing import Literal

from student_pipeline.settings import EARLIEST_DATE
from student_pipeline.sources import ASSESSMENTS, ATTENDANCE, ATTENDANCE_STATUSES, SOURCES, STUDENTS

Type = Literal["VARCHAR", "BIGINT", "INTEGER", "DOUBLE", "BOOLEAN", "DATE", "TIMESTAMPTZ", "JSON"]
Strategy = Literal["append", "upsert", "replace", "merge"]


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        required: never null.
        allowed: the only values that may stand here, beside null.
        minimum, maximum: inclusive bounds.
        references: the table whose key this value must be.
    """

    name: str
    type: Type
    description: str
    required: bool = False
    allowed: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    references: str | None = None


@dataclass(frozen=True)
class Table:
    """One table of the warehouse.

    Attributes:
        schema, name: `bronze`, `silver`, `quarantine`, `gold` or `ops`, and the table's own name.
        description: grain and meaning in one or two sentences.
        columns: in the order of the contract.
        key: the columns that identify a row; empty where rows have no key.
        strategy: how a materialization gets written (see `warehouse.strategies`).
        order_by: how stored rows are sorted; empty: as they come.
        source: the source that feeds the table, up to silver and quarantine.
        quarantine: the table that takes the rows this one refuses.
        followed: of a merged table, the columns whose change others must follow; all if empty.
        rivals: of a merged table, the columns of rows that decide about each other.
        read_by: of a merged table with a key of its own, the name of a table that it reads -> the
            columns there that are this table's key.
    """

    schema: str
    name: str
    description: str
    columns: tuple[Column, ...]
    strategy: Strategy
    key: tuple[str, ...] = ()
    order_by: tuple[str, ...] = ()
    source: str | None = None
    quarantine: "Table | None" = field(default=None, repr=False)
    followed: tuple[str, ...] = ()
    rivals: tuple[str, ...] = ()
    read_by: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        """`schema.name`, as in SQL."""
        return f"{self.schema}.{self.name}"

    @property
    def asset_key(self) -> list[str]:
        """The path of the Dagster asset key."""
        return [self.schema, self.name]

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names in the order of the contract."""
        return tuple(column.name for column in self.columns)

    @property
    def date(self) -> str:
        """The column that holds the day of a row; empty where rows have none."""
        return next((column.name for column in self.columns if column.type == "DATE"), "")

    @property
    def contract(self) -> tuple[Column, ...]:
        """The columns that people read: all but those that the pipeline keeps for itself."""
        return tuple(column for column in self.columns if not column.name.startswith("_"))

    def ddl(self, name: str | None = None) -> str:
        """`CREATE OR REPLACE TABLE` with this declaration's columns.

        There are no constraints: DuckDB would index them, which makes bulk writes several times
        slower and the file larger. The checks prove them in every run instead.
        """
        columns = ", ".join(f"{column.name} {column.type}" for column in self.columns)
        return f"CREATE OR REPLACE TABLE {name or self.full_name} ({columns})"


# --- bronze: as it came -----------------------------------------------------------------------

_LINEAGE = (
    Column("_extra", "JSON", "Columns of the file that the contract does not know, by header name"),
    Column("_ingested_at", "TIMESTAMPTZ", "When the row was loaded", required=True),
    Column("_source_file", "VARCHAR", "The file, relative to the landing folder", required=True),
    Column("_source_row", "BIGINT", "Number among the file's readable records, from 1"),
    Column("_load_id", "BIGINT", "The load that brought the row; grows with every file version"),
)


def _raw(source: str) -> tuple[Column, ...]:
    return tuple(
        Column(name, "VARCHAR", f"`{name}` exactly as it came") for name in SOURCES[source].columns
    )


BRONZE_STUDENTS = Table(
    schema="bronze",
    name="students",
    description="The roster as delivered: one row per student id, the newest delivery of each.",
    columns=_raw("students") + _LINEAGE,
    strategy="upsert",
    source=STUDENTS.name,
)

BRONZE_ATTENDANCE = Table(
    schema="bronze",
    name="attendance",
    description="Attendance records as delivered, every version of each, identical ones once.",
    columns=_raw("attendance") + _LINEAGE,
    strategy="append",
    source=ATTENDANCE.name,
)

BRONZE_ASSESSMENTS = Table(
    schema="bronze",
    name="assessments",
    description="Assessment records as delivered, every version of each, identical ones once.",
    columns=_raw("assessments") + _LINEAGE,
    strategy="append",
    source=ASSESSMENTS.name,
)

# --- quarantine: what silver refused, and what could not be read --------------------------------

REASONS = {
    "malformed_record": "The record is broken: wrong number of fields, undecodable bytes, no JSON.",
    "missing_student_id": "The row has no student id.",
    "missing_id": "The row has no id of its own.",
    "unknown_student": "The student id is not in the roster.",
    "invalid_date": "The date is missing or can't be read.",
    "date_out_of_range": "The date is before 2000 or later than the day after the row was loaded.",
    "unknown_status": "The attendance status is none of the known words.",
    "invalid_score": "The score is missing or no finite number.",
    "invalid_max_score": "The maximum score is no finite number above 0.",
    "score_out_of_range": "The score is below 0 or above the maximum.",
}
"""Reason code -> what it means, for people."""

DETAILS = {
    "missing_student_id": "The student id is missing (found: {student_id}).",
    "missing_id": "The id of the record is missing (found: {id}).",
    "unknown_student": "No student of the roster has the id {student_id}.",
    "invalid_date": "The date is missing or can't be read (found: {date}).",
    "date_out_of_range": (
        f"The date {{date}} is before {EARLIEST_DATE} or later than the day after the row was loaded."
    ),
    "unknown_status": "The status is none of the known words (found: {status}).",
    "invalid_score": "The score is missing or no finite number (found: {score}).",
    "invalid_max_score": "The maximum score {max_score} is no finite number above 0.",
    "score_out_of_range": (
        "The score {score} is below 0 or above the maximum "
        "(max_score: {max_score}; 100 without one)."
    ),
}
"""Reason code -> the sentence of a refused row; `{column}` stands for the value as it came."""


def _quarantine(source: str, reasons: tuple[str, ...]) -> Table:
    lineage = {column.name: column for column in _LINEAGE}
    return Table(
        schema="quarantine",
        name=source,
        description=(
            f"Rows of {source} that silver refused, and records that could not be read, each with "
            "the reason. A state, not a log: a row that is mended leaves it."
        ),
        columns=(
            *_raw(source),
            lineage["_extra"],
            lineage["_source_file"],
            lineage["_source_row"],
            lineage["_load_id"],
            Column(
                "reason",
                "VARCHAR",
                "Why the row was refused: the first reason that applies",
                required=True,
                allowed=("malformed_record", *reasons),
            ),
            Column("detail", "VARCHAR", "A sentence with the offending value", required=True),
            Column("_raw", "VARCHAR", "The raw text of a malformed record"),
        ),
        strategy="replace",
        source=source,
    )


_FACT_REASONS = (
    "missing_id",
    "missing_student_id",
    "unknown_student",
    "invalid_date",
    "date_out_of_range",
)

QUARANTINE_STUDENTS = _quarantine("students", ("missing_student_id",))
QUARANTINE_ATTENDANCE = _quarantine("attendance", (*_FACT_REASONS, "unknown_status"))
QUARANTINE_ASSESSMENTS = _quarantine(
    "assessments",
    (*_FACT_REASONS, "invalid_score", "invalid_max_score", "score_out_of_range"),
)

# --- silver: one version of the truth -----------------------------------------------------------

_CAME_FROM = (
    Column("_load_id", "BIGINT", "The load of the bronze row that this one is made of"),
    Column("_source_row", "BIGINT", "The number of that row in its file"),
    Column("_id_hash", "INTEGER", "A number for the id: found faster than the text, not unique"),
)

DIM_STUDENT = Table(
    schema="silver",
    name="dim_student",
    description="One row per student: who they are, which class they are in, whether enrolled.",
    columns=(
        Column("student_id", "VARCHAR", "The school's id of the student", required=True),
        Column("student_name", "VARCHAR", "Full name; `Unknown` where none came", required=True),
        Column("class_id", "VARCHAR", "Class; `UNASSIGNED` where none came", required=True),
        Column(
            "grade_level",
            "INTEGER",
            "Grade 0 (kindergarten) to 99, -1 for pre-kindergarten; null where unreadable",
            minimum=-1,
            maximum=99,
        ),
        Column("is_active", "BOOLEAN", "Status is ACTIVE or ENROLLED", required=True),
        Column(
            "enrollment_status",
            "VARCHAR",
            "Status in upper case; `UNKNOWN` where none came",
            required=True,
        ),
        Column("updated_at", "TIMESTAMPTZ", "When the school last changed the record"),
        *_CAME_FROM,
    ),
    key=("student_id",),
    strategy="merge",
    source=STUDENTS.name,
    quarantine=QUARANTINE_STUDENTS,
    followed=("student_id", "class_id", "is_active"),
)

_STUDENT_OF_FACT = (
    Column(
        "student_id",
        "VARCHAR",
        "The student",
        required=True,
        references="silver.dim_student",
    ),
    Column("class_id", "VARCHAR", "The student's class, from dim_student", required=True),
)

FACT_ATTEND = Table(
    schema="silver",
    name="fact_attend",
    description="One row per attendance record: its latest version, typed and judged.",
    columns=(
        Column("attend_id", "VARCHAR", "Id of the attendance record", required=True),
        *_STUDENT_OF_FACT,
        Column("attend_date", "DATE", "The school day", required=True),
        Column(
            "status",
            "VARCHAR",
            "PRESENT, ABSENT, LATE or EXCUSED",
            required=True,
            allowed=tuple(ATTENDANCE_STATUSES),
        ),
        Column("is_present", "BOOLEAN", "PRESENT and LATE are present", required=True),
        Column(
            "counts_for_day",
            "BOOLEAN",
            "True for the one record that counts for its student and day",
            required=True,
        ),
        Column("created_at", "TIMESTAMPTZ", "When the record was made"),
        *_CAME_FROM,
    ),
    key=("attend_id",),
    strategy="merge",
    source=ATTENDANCE.name,
    quarantine=QUARANTINE_ATTENDANCE,
    rivals=("student_id", "attend_date"),
)

FACT_ASSESS = Table(
    schema="silver",
    name="fact_assess",
    description="One row per assessment record: its latest version, typed and judged.",
    columns=(
        Column("assess_id", "VARCHAR", "Id of the assessment record", required=True),
        *_STUDENT_OF_FACT,
        Column("subject", "VARCHAR", "Subject; `Unknown` where none came", required=True),
        Column("assess_date", "DATE", "The day of the assessment", required=True),
        Column("score", "DOUBLE", "Points reached, 0 to max_score", required=True, minimum=0),
        Column("max_score", "DOUBLE", "Points that could be reached", required=True, minimum=0),
        Column(
            "score_pct",
            "DOUBLE",
            "Score in percent of max_score, 2 decimals",
            required=True,
            minimum=0,
            maximum=100,
        ),
        Column("created_at", "TIMESTAMPTZ", "When the record was made"),
        *_CAME_FROM,
    ),
    key=("assess_id",),
    strategy="merge",
    source=ASSESSMENTS.name,
    quarantine=QUARANTINE_ASSESSMENTS,
)

# --- gold: what people read ---------------------------------------------------------------------


def _count(name: str, description: str) -> Column:
    return Column(name, "BIGINT", description, required=True, minimum=0)


def _share(name: str, description: str, maximum: float | None = 1) -> Column:
    return Column(name, "DOUBLE", description, minimum=0, maximum=maximum)


def _percent(name: str, description: str) -> Column:
    return Column(name, "DOUBLE", description, minimum=0, maximum=100)


CLASS_DAILY_PERFORMANCE = Table(
    schema="gold",
    name="class_daily_performance",
    description=(
        "One row per class and date with a counted attendance record or an assessment: "
        "how many were there, and how they scored."
    ),
    columns=(
        Column("class_id", "VARCHAR", "Class (`UNASSIGNED` is one, too)", required=True),
        Column("date", "DATE", "The day", required=True),
        _count("total_students", "Active students of the class today"),
        _count("students_with_attendance", "Students with a counted record that day"),
        _count("present_count", "Of those, present (or late)"),
        _count("absent_count", "Of those, absent (or excused)"),
        _share("attendance_rate", "present_count / students_with_attendance; null where none"),
        _count("students_with_assessment", "Students assessed that day"),
        _count("assessment_count", "Assessments that day"),
        _percent("avg_score", "Average score in percent; null where none"),
        _share(
            "attendance_coverage",
            "students_with_attendance / total_students; leavers' records may lift it above 1; "
            "null where the class has no active student",
            maximum=None,
        ),
    ),
    key=("class_id", "date"),
    strategy="merge",
    order_by=("class_id", "date"),
    read_by={
        "fact_attend": ("class_id", "attend_date"),
        "fact_assess": ("class_id", "assess_date"),
    },
)

STUDENT_PERFORMANCE_SUMMARY = Table(
    schema="gold",
    name="student_performance_summary",
    description="One row per student: days recorded, present and absent, and scores.",
    columns=(
        Column(
            "student_id", "VARCHAR", "The student", required=True, references="silver.dim_student"
        ),
        Column("class_id", "VARCHAR", "The student's class today", required=True),
        Column("is_active", "BOOLEAN", "Enrolled today", required=True),
        _count("total_attendance_days", "Days with a counted record"),
        _count("present_days", "Of those, present (or late)"),
        _count("absent_days", "Of those, absent (or excused)"),
        _count("late_days", "Of those, late"),
        _count("excused_days", "Of those, excused"),
        _share("attendance_rate", "present_days / total_attendance_days; null where none"),
        Column(
            "is_chronically_absent",
            "BOOLEAN",
            "At least 10 days recorded and absent on 10 % of them or more (both configurable)",
            required=True,
        ),
        _count("total_assessments", "Assessments"),
        _percent("avg_score", "Average score in percent; null where none"),
        _percent("min_score", "Lowest score in percent; null where none"),
        _percent("max_score", "Highest score in percent; null where none"),
    ),
    key=("student_id",),
    strategy="merge",
    order_by=("student_id",),
    read_by=dict.fromkeys(("dim_student", "fact_attend", "fact_assess"), ("student_id",)),
)

BRONZE = (BRONZE_STUDENTS, BRONZE_ATTENDANCE, BRONZE_ASSESSMENTS)
FACTS = (FACT_ATTEND, FACT_ASSESS)
SILVER = (DIM_STUDENT, *FACTS)
QUARANTINE = (QUARANTINE_STUDENTS, QUARANTINE_ATTENDANCE, QUARANTINE_ASSESSMENTS)
GOLD = (CLASS_DAILY_PERFORMANCE, STUDENT_PERFORMANCE_SUMMARY)
TABLES = {table.full_name: table for table in (*BRONZE, *SILVER, *QUARANTINE, *GOLD)}
"""Every table that an asset materializes, by full name."""

# --- ops: the pipeline's own books ----------------------------------------------------------------

SOURCE_FILES = Table(
    schema="ops",
    name="source_files",
    description="The ledger: every load of a file version, every version refused or passed over.",
    columns=(
        Column("source", "VARCHAR", "students, attendance or assessments", required=True),
        Column("path", "VARCHAR", "The file, relative to the landing folder", required=True),
        Column("size_bytes", "BIGINT", "Size as delivered; null where it could not be read"),
        Column("sha256", "VARCHAR", "SHA-256 of the bytes as delivered; null where not read"),
        Column("encoding", "VARCHAR", "utf-8, utf-16 or windows-1252; null for Parquet"),
        Column("rows_read", "BIGINT", "Readable records; null where the file was not read"),
        Column("rows_appended", "BIGINT", "Rows added to bronze, replaced ones included"),
        Column("rows_rejected", "BIGINT", "Malformed records"),
        Column(
            "status",
            "VARCHAR",
            "loaded, refused or passed_over",
            required=True,
            allowed=("loaded", "refused", "passed_over"),
        ),
        Column("message", "VARCHAR", "Why it was refused or passed over, or what to know"),
        Column("_load_id", "BIGINT", "The load; null where nothing was loaded"),
        Column("run_id", "VARCHAR", "The Dagster run of the last attempt", required=True),
        Column("loaded_at", "TIMESTAMPTZ", "When; of the last attempt", required=True),
    ),
    strategy="append",
)

SIGNATURES = Table(
    schema="ops",
    name="signatures",
    description="What tells the file version of a load from others without reading the file.",
    columns=(
        Column("_load_id", "BIGINT", "The load", required=True),
        Column("signature", "VARCHAR", "Inode, size and times, or the ETag", required=True),
    ),
    key=("_load_id",),
    strategy="upsert",
)

TABLE_STATE = Table(
    schema="ops",
    name="table_state",
    description="One row per table: what its last materialization left.",
    columns=(
        Column("table_name", "VARCHAR", "schema.name", required=True),
        Column("row_count", "BIGINT", "Rows now", required=True),
        Column("previous_row_count", "BIGINT", "Rows before; null at the first materialization"),
        Column("ever_had_rows", "BOOLEAN", "Whether it ever had a row", required=True),
        Column("run_id", "VARCHAR", "The Dagster run that looked after it last", required=True),
        Column("written_at", "TIMESTAMPTZ", "When", required=True),
        Column("position", "BIGINT", "Number of the last write that changed a row", required=True),
        Column("made_by", "VARCHAR", "Hash of what it is made by: SELECT, macros, rules, columns"),
    ),
    key=("table_name",),
    strategy="upsert",
)

WATERMARKS = Table(
    schema="ops",
    name="watermarks",
    description="How far each reader (a table, or the checks of one) has followed what it reads.",
    columns=(
        Column("reader", "VARCHAR", "schema.name, or `checks of schema.name`", required=True),
        Column("table_name", "VARCHAR", "The table that it reads", required=True),
        Column("position", "BIGINT", "The position of that table when it was read", required=True),
    ),
    key=("reader", "table_name"),
    strategy="upsert",
)

CHANGES = Table(
    schema="ops",
    name="changes",
    description=(
        "The keys of silver rows that came, went or changed, until every reader has followed them. "
        "A row without any key stands for the whole table."
    ),
    columns=(
        Column("table_name", "VARCHAR", "The silver table", required=True),
        Column("position", "BIGINT", "The write that made the change", required=True),
        Column("id", "VARCHAR", "The key of the row"),
        Column("student_id", "VARCHAR", "Its student, before or after the change"),
        Column("class_id", "VARCHAR", "Its class, before or after the change"),
        Column("date", "DATE", "Its date, before or after the change; null for students"),
    ),
    strategy="append",
)

LATEST_ROSTER = Table(
    schema="ops",
    name="latest_roster",
    description="The student ids of the roster file that was loaded last.",
    columns=(Column("student_id", "VARCHAR", "The student", required=True),),
    key=("student_id",),
    strategy="replace",
)

WARNINGS = Table(
    schema="ops",
    name="warnings",
    description="What the checks of each table warned of when they last looked at its rows.",
    columns=(
        Column("table_name", "VARCHAR", "schema.name", required=True),
        Column("check_name", "VARCHAR", "The check", required=True),
        Column("sentence", "VARCHAR", "What it warned of", required=True),
    ),
    key=("table_name", "check_name"),
    strategy="upsert",
)

OPS = (SOURCE_FILES, SIGNATURES, TABLE_STATE, WATERMARKS, CHANGES, WARNINGS)
"""The books that are there as soon as the warehouse is opened."""
