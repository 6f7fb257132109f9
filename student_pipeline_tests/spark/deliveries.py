"""What a school delivers to both engines: a dirty history of any size, and one dirty day upon it."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path
from random import Random
from typing import Any

from student_pipeline.sample_data import write_sample

SEED = 20260630
MOST_SAMPLED = 200_000
"""A day picks from the first so many records of the history."""


def history(folder: Path, attendance: int) -> None:
    """Write the three files: so many attendance rows, two fifths as many assessments."""
    write_sample(
        folder,
        students=max(50, attendance // 20),
        attendance=attendance,
        assessments=attendance * 2 // 5,
        seed=SEED,
    )


def day(folder: Path) -> None:
    """Write one more day into the folder of a history.

    New records, corrections, re-deliveries, a record that changes its student, orphans of which some
    are in the day's roster; students that moved, came, or are older than what is known; a changed
    version of a file that was loaded; gzip, JSON lines, malformed lines.
    """
    random = Random(SEED)
    students = _read(folder / "students.csv")
    attendance = _read(folder / "attendance.csv")
    _students_of_day(folder / "students_day.csv", students, random)
    _attendance_of_day(folder / "attendance_day.csv", attendance, random)
    _assessments_of_day(folder / "assessments" / "day.jsonl", folder / "assessments.json", random)
    with (folder / "attendance.csv").open("a", encoding="utf-8") as file:
        file.write("Z1,0000001,2026-06-26,LATE,2026-06-26T08:00:00Z\n")
        file.write("Z2,0000001,2026-06-26,present,2026-06-26T07:00:00+05:30\n")
        file.write("Z3,0000001\n")


def _read(path: Path) -> list[list[str]]:
    """The records of a file that are whole."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        header = next(reader)
        picked = itertools.islice(reader, MOST_SAMPLED)
        return [row for row in picked if len(row) == len(header)]


def _students_of_day(path: Path, rows: list[list[str]], random: Random) -> None:
    number = max(4, len(rows) // 50)
    picked = random.sample(rows, number)
    out = []
    for place, row in enumerate(picked):
        id_, name, class_id, grade, status, updated, *_ = row
        changes = [
            [id_, name, "G01-A", grade, status, "2026-06-29T08:00:00Z"],
            [id_, name, class_id, grade, "WITHDRAWN", "2026-06-29 08:00:00"],
            [id_, f"{name} Jr", class_id, "12th", status, "2001-01-01"],
            [id_, name, f" {class_id} ", grade, status, ""],
            [id_, name, class_id, grade, status, updated],
        ]
        out.append(changes[place % len(changes)])
        if place % 7 == 0:  # the same student once more: the later time counts, then the later row
            out.append([id_, f"{name} II", "G02-B", grade, status, "2026-06-29T09:00:00Z"])
    out += [[f"LATE-{n}", f"Late Comer {n}", "G03-C", "3", "Active", ""] for n in range(3)]
    out += [["", "Nobody", "G03-C", "3", "Active", ""], [" ", "Nobody", "G03-C", "3", "Active", ""]]
    _write(path, "student_id,name,class_id,grade,status,updated_at", out)


def _attendance_of_day(path: Path, rows: list[list[str]], random: Random) -> None:
    number = max(20, len(rows) // 100)
    out = []
    for place, row in enumerate(random.sample(rows, number)):
        id_, student, date, status, created = row
        other = rows[(place * 37) % len(rows)][1]
        changes = [
            row,
            [id_, student, date, "E", "2026-06-29T15:00:00Z"],
            [id_, student, "29/02/2026", status, "2026-06-29T15:00:00Z"],
            [f"D{place}", student, "2026-06-29", "P", "2026-06-29T08:00:00-05:00"],
            [f"D{place}", student, "6/29/2026", "absent", "2026-06-29T16:00:00Z"],
            [f"E{place}", student, date, "T", created],
            [id_, other, date, status, "2026-06-29T17:00:00+14:00"],
            [f"F{place}", f"LATE-{place % 5}", "20260629", "present", ""],
        ]
        out.append(changes[place % len(changes)])
    out += [["", rows[0][1], "2026-06-29", "P", ""]] * 2
    out += [["G1", rows[0][1], "2031-01-01", "P", ""], ["G2", rows[0][1], "1999-12-31", "P", ""]]
    out += [["too", "short"], ["G3", rows[0][1], "2026-06-29", "P", "", "too", "long"]]
    _write(path, "Attendance ID,student_id,attend_date,status,created_at", out)


def _assessments_of_day(path: Path, history: Path, random: Random) -> None:
    records: list[dict[str, Any]] = []
    with history.open(encoding="utf-8") as file:
        for line in itertools.islice(file, MOST_SAMPLED):
            text = line.strip().rstrip(",")
            if text.startswith("{"):
                try:
                    records.append(json.loads(text))
                except ValueError:
                    continue
    path.parent.mkdir(parents=True, exist_ok=True)
    number = max(8, len(records) // 100)
    with path.open("w", encoding="utf-8") as out:
        for place, record in enumerate(random.sample(records, number)):
            changes: list[dict[str, Any]] = [
                {},
                {"score": 0.5, "max_score": 3, "created_at": "2026-06-29T15:00:00Z"},
                {"score": "1e1", "max_score": None, "created_at": "2026-06-29T15:00:00Z"},
                {"score": 101, "max_score": 100, "created_at": "2026-06-29T15:00:00Z"},
                {"assessment_id": f"D{place}", "date": "2026-06-29", "room": {"no": place}},
                {"assessment_id": place, "student_id": f"LATE-{place % 5}", "subject": " "},
            ]
            changed = {**record, **changes[place % len(changes)]}
            out.write(json.dumps(changed, ensure_ascii=place % 2 == 0) + "\n")
        out.write('{"assessment_id": "broken\n[1, 2]\n')


def _write(path: Path, header: str, rows: list[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(header + "\n")
        csv.writer(file, lineterminator="\n").writerows(rows)
