"""Many daily runs: the warehouse file stays about as large as one that is built at once.

`SCHOOL_DAYS` sets how many days there are; 180 are a school year, which takes some minutes.
"""

import os
import random
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path

from student_pipeline.warehouse import compaction
from student_pipeline.warehouse.connection import connect
from student_pipeline_tests.pipeline import School
from student_pipeline_tests.test_property import Direct

SCHOOL_DAYS = int(os.environ.get("SCHOOL_DAYS", "60"))
STUDENTS = 400
MORNING = datetime(2025, 9, 1, 6, tzinfo=timezone.utc)


def deliver_day(school: School, day: int, chance: random.Random) -> None:
    """A whole roster in which somebody moved, everybody's attendance, and corrections of old days."""
    roster = [
        f"S{n},N{n},C{chance.randrange(20) if n == day else n % 20},ACTIVE" for n in range(STUDENTS)
    ]
    rows = []
    for corrected in (day, *(chance.randrange(day + 1) for _ in range(4))):
        now, then = (MORNING + timedelta(days=which) for which in (day, corrected))
        who = range(STUDENTS) if corrected == day else [chance.randrange(STUDENTS)]
        rows += [
            f"A{corrected}-{n},S{n},{then:%Y-%m-%d},{chance.choice('PPPPPPAL')},{now:%Y-%m-%dT%H:%M:%SZ}"
            for n in who
        ]
    school.deliver("students.csv", "\n".join(["student_id,name,class_id,status", *roster]))
    school.deliver(
        f"attendance/{day}.csv", "\n".join(["attend_id,student_id,date,status,created_at", *rows])
    )


def test_daily_runs_leave_no_larger_file_than_building_it_at_once(tmp_path: Path) -> None:
    school, chance = Direct(tmp_path / "daily"), random.Random(20260630)
    compacted: list[str] = []
    for day in range(SCHOOL_DAYS):
        deliver_day(school, day, chance)
        with school.built(MORNING + timedelta(days=day)):
            pass
        compaction.compact_when_it_pays(
            connect(school.warehouse), school.warehouse, compacted.append
        )
    at_once = Direct(tmp_path / "at_once")
    shutil.copytree(school.landing, at_once.landing, dirs_exist_ok=True)
    with at_once.built(MORNING + timedelta(days=SCHOOL_DAYS)):
        pass
    query = "SELECT count(*) FROM silver.fact_attend"
    assert school.query(query) == at_once.query(query) == [(SCHOOL_DAYS * STUDENTS,)]
    grown, fresh = (each.warehouse.stat().st_size for each in (school, at_once))
    print(f"{grown / fresh:.2f} times as large, compacted {len(compacted)} times")
    assert grown <= 1.5 * fresh
    assert compacted, "it was never compacted"
