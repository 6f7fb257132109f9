"""Names of students are in the warehouse alone: not in the history, the logs or what is printed."""

import gzip
import json
from pathlib import Path

import duckdb

from student_pipeline.ingest.bulk import MIN_BYTES
from student_pipeline_tests.command import Installation, Outcome

NAME = "Quagwort"
"""Stands in every name, and nowhere else. The other halves say where the name was."""

ROSTER_HEADER = "student_id,name,class_id,grade,status,updated_at\n"
MARKS_HEADER = "attend_id,student_id,date,status,created_at\n"


def roster(first: int, last: int, where: str) -> str:
    return ROSTER_HEADER + "".join(
        f"S{n},{where} {NAME},G1-A,1,ACTIVE,2026-01-0{1 + n % 9}\n" for n in range(first, last)
    )


def deliver_what_loads(school: Installation) -> None:
    """Files that are loaded, with names in every place where a mistake may put them."""
    school.deliver("students.csv", roster(0, 200, "Plain"))
    school.deliver(
        "students_2.csv",
        roster(200, 300, "Other")
        + f"S1000,Many {NAME},G1-A,1,ACTIVE,2026-01-01,and,more\n"  # malformed
        + f'S1001,"Open {NAME},G1-A,1,ACTIVE,2026-01-01\n'
        + f"S1002,Grade {NAME},G1-A,Grade {NAME},Status {NAME},When {NAME}\n"
        + f",Idless {NAME},G1-A,1,ACTIVE,2026-01-01\n",
    )
    # A column for each student: names are headers.
    school.deliver("students_3.csv", f"student_id,Wide {NAME},name\nS1003,x,Wider {NAME}\n")
    school.deliver(
        "attendance.csv",
        MARKS_HEADER
        + "".join(f"A{n},S{n % 200},2026-01-05,P,2026-01-05T08:00:00Z\n" for n in range(400))
        + f"A1001,S1,Date {NAME},P,\n"
        + f"A1002,S1,2026-01-06,Status {NAME},\n"
        + f"A1003,S1,2026-01-06,P,Created {NAME}\n",
    )
    school.deliver(
        "assessments.json",
        json.dumps(
            [
                {"assessment_id": f"T{n}", "student_id": f"S{n}", "date": "2026-01-05", "score": 9}
                for n in range(100)
            ]
            + [
                {
                    "assessment_id": "T1001",
                    "student_id": "S1",
                    "date": f"Date {NAME}",
                    "score": f"Score {NAME}",
                    "max_score": f"Maximum {NAME}",
                    f"Key {NAME}": {"nested": f"Nested {NAME}"},
                },
                f"Not an object {NAME}",
            ]
        ),
    )


def deliver_what_is_refused(school: Installation) -> set[str]:
    """Files that can't be loaded, each with a name at the place where it breaks; their names."""
    big = MIN_BYTES // 40
    files: dict[str, str | bytes] = {
        "students_headless.csv": f"S1,Headless {NAME},G1-A\nS2,Second {NAME},G1-A\n",
        "students_broken.csv": ROSTER_HEADER + f"Few {NAME}\nS1,Good {NAME},G1-A,1,ACTIVE,\n",
        "students_quote.csv": f'"student_id,name {NAME}\nS1,Quote {NAME}\n',
        "students_bytes.csv": f"student_id,na\0me {NAME}\n".encode("utf-16-le"),
        "students_big.csv": roster(0, big, "Big")
        + f"Big and broken {NAME}\n" * big,  # the engine reads it, then the readers
        "students_parquet.parquet": f"PAR1 Parquet {NAME} PAR1".encode(),
        "students_packed.csv.gz": gzip.compress(roster(0, 50, "Packed").encode())[:-20],
        "students_plain.csv.gz": f"Plain in place of packed {NAME}\n",
        "assessments_cut.json": f'[{{"assessment_id": "T1", "name": "Cut {NAME}',
        "assessments_comma.json": f'[{{"assessment_id": "T1"}} {NAME}, {{}}]',
        "assessments_deep.json": '{"Deep ' + NAME + '": ' + "[" * 100_000 + "]" * 100_000 + "}",
        "assessments_text.json": f'"Only a text {NAME}"',
        "assessments_foreign.json": json.dumps([{f"Foreign {NAME}": f"Value {NAME}"}]),
        "assessments_big.json": "["
        + ",\n".join(
            f'{{"assessment_id": "T{n}", "student_id": "S1", "note": "Big {NAME}"}}'
            for n in range(big)
        )
        + f", {{{NAME}}}]",
        "attendance_lines.jsonl": f'{{"attend_id": "A1", {NAME}\n' * 5,
    }
    for name, content in files.items():
        path = school.landing / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return set(files)


def everything_said(school: Installation, *outcomes: Outcome) -> dict[str, bytes]:
    """Where -> all bytes of Dagster's history and logs, and of what the commands printed."""
    said = {
        str(path.relative_to(school.home)): path.read_bytes()
        for path in school.home.rglob("*")
        if path.is_file()
    }
    for number, outcome in enumerate(outcomes):
        said[f"out {number}"] = outcome.out.encode()
        said[f"err {number}"] = outcome.err.encode()
    return said


def assert_no_name_in(said: dict[str, bytes]) -> None:
    for where, content in said.items():
        at = content.find(NAME.encode())
        assert at < 0, f"{where}: {content[max(0, at - 300) : at + 100]!r}"


def test_no_name_leaves_the_warehouse(tmp_path: Path) -> None:
    school = Installation(tmp_path)
    school.deliver("students.csv", "student_id,name\nS1,Ann\n")
    assert school.command("run").status == 0
    # A name that must be unique: the database refuses the second, and quotes it.
    with duckdb.connect(school.warehouse) as warehouse:
        warehouse.execute("CREATE UNIQUE INDEX one ON silver.dim_student (student_name)")
        warehouse.execute("CREATE UNIQUE INDEX two ON bronze.students (name)")
    school.deliver("students.csv", f"student_id,name\nS2,Twin {NAME}\nS3,Twin {NAME}\n")
    quoted = school.command("run")
    assert quoted.status == 1, quoted
    assert "can't be written and stays as it was" in quoted.out + quoted.err
    with duckdb.connect(school.warehouse) as warehouse:
        warehouse.execute("DROP INDEX silver.one")
        warehouse.execute("DROP INDEX bronze.two")

    deliver_what_loads(school)
    good = school.command("run")
    assert good.status == 0, good
    with duckdb.connect(school.warehouse, read_only=True) as warehouse:
        found = warehouse.execute(
            "SELECT count(*) FROM silver.dim_student WHERE contains(student_name, ?)", [NAME]
        ).fetchall()
        quarantined = warehouse.execute("SELECT count(*) FROM quarantine.attendance").fetchall()
    assert found[0][0] > 300
    assert quarantined == [(2,)]

    refused = deliver_what_is_refused(school)
    failed = school.command("run")
    assert failed.status == 1, failed
    with duckdb.connect(school.warehouse, read_only=True) as warehouse:
        messages = dict(
            warehouse.execute(
                "SELECT path, message FROM ops.source_files WHERE status = 'refused'"
            ).fetchall()
        )
    assert set(messages) == refused
    assert_no_name_in({path: message.encode() for path, message in messages.items()})

    said = everything_said(school, quoted, good, failed)
    assert_no_name_in(said)
    # The search sees what is there: the refused files are named in the history and on the screen.
    for name in ("students_headless.csv", "assessments_deep.json"):
        assert any(name.encode() in content for where, content in said.items() if ".db" in where)
        assert name in failed.out + failed.err
