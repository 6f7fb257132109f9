"""The report page: which numbers it holds, and that none of them is about too few students.

What a reader sees of it is for the browser (`test_browser.py`); here is what is in the file.
"""

import json
import re
from collections import defaultdict
from datetime import date, datetime, timedelta, timezone
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from student_pipeline import tables
from student_pipeline.reports.figures import MOST_CELLS, figures
from student_pipeline.reports.page import CHARTS, MOST_BYTES, page
from student_pipeline.reports.privacy import hidden
from student_pipeline.sample_data import write_sample
from student_pipeline.settings import Rules
from student_pipeline.warehouse import sql
from student_pipeline.warehouse.connection import connect
from student_pipeline_tests.pipeline import NOW, School, errors

ROSTER = "student_id,name,class_id,grade,status\n"
ATTENDANCE = "attend_id,student_id,date,status,created_at\n"
ASSESSMENTS = "assessment_id,student_id,subject,score,max_score,date\n"

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "\"'&lt;b>&amp;",
    "${figures} $figures {{x}} %s",
    "line\u2028separator",
    "\u202eright to left",
]
"""Class ids that would break a page that trusts them."""


class Scripts(HTMLParser):
    """The script elements of a page: their type and their text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[list[str]] = []
        self.outside: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self._inside = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "script":
            self._inside = True
            self.found.append([dict(attrs).get("type") or "", ""])

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.found[-1][1] += data
        else:
            self.outside.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._inside = False


def report_of(school: School) -> str:
    return (school.published / "report.html").read_text(encoding="utf-8")


def embedded(html: str) -> dict[str, Any]:
    """The figures that the page holds."""
    texts = [text for kind, text in Scripts(html).found if kind == "application/json"]
    assert len(texts) == 2
    return json.loads(texts[1])


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> School:
    """A school with classes of many sizes after a run."""
    school = School(tmp_path_factory.mktemp("sample"))
    write_sample(school.landing, students=420, attendance=6000, assessments=2500, seed=8)
    assert school.run().success
    return school


# --- what is hidden -------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.dictionaries(st.text(max_size=3), st.integers(0, 40), max_size=8),
    st.integers(1, 15),
)
def test_what_is_hidden_can_t_be_had_by_subtraction(sizes: dict[str, int], least: int) -> None:
    out = hidden(sizes, least)
    shown = sizes.keys() - out
    assert all(sizes[part] == 0 or sizes[part] >= least for part in shown)
    if out and sum(sizes.values()) >= least:
        assert sum(sizes[part] for part in out) >= least
        assert len(out) > 1
    if all(size == 0 or size >= least for size in sizes.values()):
        assert not out


@pytest.mark.parametrize(
    ("sizes", "out"),
    [
        ({"a": 10, "b": 30}, set()),
        ({"a": 9, "b": 30, "c": 12}, {"a", "c"}),  # and the smallest other one
        ({"a": 9, "b": 9, "c": 12}, {"a", "b"}),  # 18 together
        ({"a": 2, "b": 3, "c": 12, "d": 11}, {"a", "b", "d"}),  # 5 together are too few
        ({"a": 0, "b": 30}, set()),  # nobody is no group
        ({"a": 9}, {"a"}),
    ],
)
def test_the_smallest_other_group_is_hidden_with_a_small_one(
    sizes: dict[str, int], out: set[str]
) -> None:
    assert hidden(sizes, 10) == out


@pytest.mark.parametrize("least", [5, 10, 25])
def test_no_class_day_of_few_students_is_in_the_file_nor_follows_from_it(
    sample: School, least: int
) -> None:
    with connect(sample.warehouse, read_only=True) as connection:
        shown = figures(connection, Rules(report_min_students=least), now=NOW, run_id="r")
    assert shown["grain"] == "day"
    gold = {
        (row["class_id"], row["date"].isoformat()): row
        for row in sample.rows("gold.class_daily_performance")
    }
    classes = [name for name, _ in shown["classes"]]
    days = [start for start, _ in shown["periods"]]
    seen = 0
    left: dict[str, dict[str, list[int]]] = {
        kind: defaultdict(list) for kind in ("attendance", "assessment")
    }
    for class_number, day_number, present, recorded, hundredths, assessments in shown["cells"]:
        row = gold[classes[class_number], days[day_number]]
        students, assessed = row["students_with_attendance"], row["students_with_assessment"]
        if recorded is None:
            assert present is None
            left["attendance"][days[day_number]].append(students)
        else:
            assert students == 0 or students >= least
            assert (present, recorded) == (row["present_count"], students)
            seen += recorded > 0
        if assessments is None:
            assert hundredths is None
            left["assessment"][days[day_number]].append(assessed)
        else:
            assert assessed == 0 or assessed >= least
            assert assessments == row["assessment_count"]
            assert hundredths == round(100 * (row["avg_score"] or 0)) * assessments
    assert seen > 20
    for by_day in left.values():
        assert by_day
        for sizes in by_day.values():  # what a day's total tells beyond the classes shown
            assert len(sizes) > 1
            assert sum(sizes) >= least


def test_totals_of_the_school_are_those_of_gold(sample: School) -> None:
    shown = embedded(report_of(sample))
    expected = sample.query(
        "SELECT date, sum(present_count), sum(students_with_attendance), sum(assessment_count) "
        "FROM gold.class_daily_performance GROUP BY date ORDER BY date"
    )
    assert [start for start, _ in shown["periods"]] == [day.isoformat() for day, *_ in expected]
    for (day, present, recorded, assessments), row in zip(expected, shown["school"], strict=True):
        if row[1] is not None:
            assert (row[0], row[1]) == (present, recorded), day
        if row[3] is not None:
            assert row[3] == assessments, day
    assert sum(row[1] is not None for row in shown["school"]) > 20


def test_the_bands_add_up_to_all_students_and_agree_with_gold(sample: School) -> None:
    absence = embedded(report_of(sample))["absence"]
    ((students, chronic),) = sample.query(
        "SELECT count(*), count(*) FILTER (WHERE is_chronically_absent) "
        "FROM gold.student_performance_summary"
    )
    assert absence["students"] == students
    assert absence["chronic"] == chronic
    assert chronic >= 10
    shown = [band["students"] for band in absence["bands"] if band["students"] is not None]
    assert len(absence["bands"]) - len(shown) != 1  # one hidden band would follow from the total
    assert all(number == 0 or number >= 10 for number in shown)
    assert students - sum(shown) == 0 or students - sum(shown) >= 10


def deliver_absences(school: School, *, fine: int, chronic: int) -> None:
    """Students with 10 recorded days: none absent, and one of ten."""
    students = [f"F{n}" for n in range(fine)] + [f"C{n}" for n in range(chronic)]
    school.deliver("students.csv", ROSTER + "".join(f"{s},Nemo,5A,5,ACTIVE\n" for s in students))
    rows = [
        f"{student}-{day},{student},2026-06-{day:02},{'A' if day == 1 and student[0] == 'C' else 'P'},\n"
        for student in students
        for day in range(1, 11)
    ]
    school.deliver("attendance.csv", ATTENDANCE + "".join(rows))


@pytest.mark.parametrize(("chronic", "told"), [(10, 10), (9, None)])
def test_fewer_than_ten_chronically_absent_students_are_not_counted_out(
    school: School, chronic: int, told: int | None
) -> None:
    deliver_absences(school, fine=40, chronic=chronic)
    assert school.run().success
    absence = embedded(report_of(school))["absence"]
    assert absence["chronic"] == told
    assert absence["students"] == 40 + chronic
    bands = {band["band"]: band["students"] for band in absence["bands"]}
    # Of a total that is known, a lone band that is hidden would follow: so both are.
    assert bands["absent on less than 5% of days"] == (40 if told else None)
    assert sum(number is None for number in bands.values()) == (0 if told else 2)


def test_a_school_of_nine_students_is_not_shown_at_all(school: School) -> None:
    deliver_absences(school, fine=5, chronic=4)
    school.deliver(
        "assessments.csv",
        ASSESSMENTS + "".join(f"T{n},F{n},Math,5,10,2026-06-01\n" for n in range(5)),
    )
    assert school.run().success
    shown = embedded(report_of(school))
    assert shown["active_students"] is None
    assert {tuple(row) for row in shown["school"]} == {
        (None, None, None, None),  # the day of the assessments
        (None, None, 0, 0),
    }
    assert all(row[2:4] == [None, None] for row in shown["cells"])
    assert [students for _, students in shown["classes"]] == [None]
    assert shown["absence"]["students"] is None
    assert {band["students"] for band in shown["absence"]["bands"]} == {None}
    assert shown["subjects"] == {"rows": [], "few": 1, "left_out": 0}
    assert shown["quartiles"] == []


def test_scores_are_spread_as_silver_has_them_and_small_bands_are_one(school: School) -> None:
    students = [f"S{n:02}" for n in range(40)]
    school.deliver("students.csv", ROSTER + "".join(f"{s},Nemo,5A,5,ACTIVE\n" for s in students))
    scores = {"Math": [95] * 20 + [75] * 15 + [10] * 5, "Art": [65] * 40}
    rows = [
        f"{subject}{n},S{n:02},{subject},{score},100,2026-06-01\n"
        for subject, given_scores in scores.items()
        for n, score in enumerate(given_scores)
    ]
    school.deliver("assessments.csv", ASSESSMENTS + "".join(rows))
    assert school.run().success
    shown = embedded(report_of(school))
    assert shown["subjects"]["rows"] == [
        ["Art", "60 to 69", 100.0],
        ["Math", "90 to 100", 50.0],
        ["Math", "hidden", 50.0],  # the five below 50, and with them the next smallest
    ]
    assert shown["quartiles"] == [
        [0, "", 65.0, 65.0, 75.0],
        [0, "Art", 65.0, 65.0, 65.0],
        [0, "Math", 75.0, 75.0, 95.0],
    ]


def test_small_bands_of_the_same_few_students_are_not_enough_to_hide_them(school: School) -> None:
    students = [f"S{n:02}" for n in range(30)]
    school.deliver("students.csv", ROSTER + "".join(f"{s},Nemo,5A,5,ACTIVE\n" for s in students))
    rows = [f"T{n},S{n:02},Math,95,100,2026-06-01\n" for n in range(30)]
    # Six students with scores of 45 and 55: twelve in two bands, and still only six.
    rows += [f"U{n}-{s},S{n:02},Math,{s},100,2026-06-02\n" for n in range(6) for s in (45, 55)]
    rows += [f"V{n},S{n:02},Math,75,100,2026-06-03\n" for n in range(20)]
    school.deliver("assessments.csv", ASSESSMENTS + "".join(rows))
    assert school.run().success
    assert embedded(report_of(school))["subjects"]["rows"] == [
        ["Math", "90 to 100", 48.4],
        ["Math", "hidden", 51.6],  # 12 of the six students, with the 20 of 20 others
    ]


# --- students -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listing", "ids", "names"),
    [(None, False, False), ("none", False, False), ("ids", True, False), ("names", True, True)],
)
def test_students_are_listed_only_as_a_rule_allows(
    school: School, listing: str | None, ids: bool, names: bool
) -> None:
    if listing:
        school.rules["report_students"] = listing
    deliver_absences(school, fine=20, chronic=12)
    assert school.run().success
    html = report_of(school)
    assert ("C11" in html) is ids
    assert ("Nemo" in html) is names
    assert "F11" not in html  # a student who is not chronically absent
    listed = embedded(html)["students"]
    assert (listed is not None) is ids
    if listed:
        assert len(listed) == 12
        assert listed[0] == ["C0", "Nemo" if names else None, "5A", 1, 10, None]


# --- the page as a file ---------------------------------------------------------------------------


def test_hostile_ids_stay_text(school: School) -> None:
    rows = [(f"S{c}-{n}", name) for c, name in enumerate(HOSTILE) for n in range(11)]
    quoted = {name: '"' + name.replace('"', '""') + '"' for name in HOSTILE}
    school.deliver(
        "students.csv", ROSTER + "".join(f"{s},N,{quoted[name]},5,ACTIVE\n" for s, name in rows)
    )
    school.deliver(
        "attendance.csv", ATTENDANCE + "".join(f"A{s},{s},2026-06-01,P,\n" for s, _ in rows)
    )
    result = school.run()
    assert result.success, errors(result)
    html = report_of(school)
    assert [name for name, _ in embedded(html)["classes"]] == sorted(HOSTILE)
    scripts = Scripts(html)
    assert len(scripts.found) == 6  # two of data, three libraries, ours
    assert "alert(1)" not in "".join(scripts.outside)
    assert "alert(1)" not in "".join(text for kind, text in scripts.found if not kind)


def test_the_page_asks_for_nothing_from_anywhere(sample: School) -> None:
    html = report_of(sample)
    scripts = Scripts(html)
    for tag, name, value in scripts.attributes:
        if name in ("src", "href", "action", "srcset", "data"):
            assert value.startswith("#"), (tag, name, value)
    assert "@import" not in html
    assert "sourceMappingURL" not in html
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert policy.count("'sha256-") == 4
    assert "unsafe-eval" not in policy
    assert "http" not in policy


def test_the_bundles_are_those_that_the_list_says() -> None:
    vendor = files("student_pipeline").joinpath("reports").joinpath("vendor")
    listed = dict(
        re.findall(
            r"^\| `([a-z-]+)` \| ([\d.]+) \|", vendor.joinpath("README.md").read_text(), re.M
        )
    )
    assert set(listed) == {"vega", "vega-lite", "vega-embed"}
    for name, version in listed.items():
        assert version in vendor.joinpath(f"{name}.min.js").read_text(encoding="utf-8")
        assert "Redistribution" in vendor.joinpath(f"{name}.LICENSE").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_a_specification_without_data_of_its_own(name: str) -> None:
    charts = files("student_pipeline").joinpath("reports").joinpath("charts")
    specification = json.loads(charts.joinpath(f"{name}.json").read_text(encoding="utf-8"))
    assert specification["$schema"].endswith("/vega-lite/v6.json")
    assert specification["data"] == {"name": "rows"}
    assert specification["width"] == "container"
    assert len(specification["description"].split()) > 5
    assert sorted(f.name for f in charts.iterdir()) == sorted(f"{name}.json" for name in CHARTS)


def test_freshness_and_quarantine_are_told(sample: School) -> None:
    shown = embedded(report_of(sample))
    newest = [
        str(sample.query(f"SELECT max({day}) FROM silver.{fact}")[0][0])
        for day, fact in (("attend_date", "fact_attend"), ("assess_date", "fact_assess"))
    ]
    fresh = shown["freshness"]
    assert [fresh["newest_attendance"], fresh["newest_assessment"]] == newest
    assert fresh["last_load"] == NOW.isoformat(timespec="minutes")
    assert (fresh["files"], fresh["refused"]) == (3, 0)
    assert shown["made"] == "2026-06-30T06:00+00:00"
    told = {(row["source"], row["reason"]): row["records"] for row in shown["quarantine"]}
    expected = {
        (table.name, reason): number
        for table in tables.QUARANTINE
        for reason, number in sample.query(
            f"SELECT reason, count(*) FROM {table.full_name} GROUP BY reason"
        )
    }
    assert told == expected
    assert len(told) > 8
    assert all(row["means"] == tables.REASONS[row["reason"]] for row in shown["quarantine"])


def test_times_are_those_of_the_school(sample: School) -> None:
    with connect(sample.warehouse, read_only=True) as connection:
        rules = Rules(schedule_time_zone="America/Chicago")
        shown = figures(connection, rules, now=NOW, run_id="r")
    assert shown["made"] == "2026-06-30T01:00-05:00"
    assert shown["time_zone"] == "America/Chicago"


# --- no data, and much ----------------------------------------------------------------------------


@pytest.fixture
def empty() -> duckdb.DuckDBPyConnection:
    """A warehouse whose tables have no rows."""
    connection = duckdb.connect()
    for schema in ("silver", "quarantine", "gold", "ops"):
        connection.execute(f"CREATE SCHEMA {schema}")
    for table in (*tables.SILVER, *tables.QUARANTINE, *tables.GOLD):
        connection.execute(table.ddl())
    for table in (tables.SOURCE_FILES, tables.TABLE_STATE):
        connection.execute(table.ddl())
    connection.execute(sql.macros())
    return connection


def test_a_warehouse_without_rows_gives_a_page(empty: duckdb.DuckDBPyConnection) -> None:
    shown = figures(empty, Rules(), now=NOW, run_id="r")
    assert (shown["periods"], shown["classes"], shown["cells"]) == ([], [], [])
    assert shown["freshness"]["newest_attendance"] is None
    assert embedded(page(shown)) == shown


def fill(connection: duckdb.DuckDBPyConnection, classes: int, days: int) -> None:
    """Class-days of 25 students on consecutive days, up to 2026-06-30."""
    first = date(2026, 6, 30) - timedelta(days=days - 1)
    connection.execute(
        "INSERT INTO gold.class_daily_performance BY NAME "
        "SELECT 'C' || lpad(CAST(c AS VARCHAR), 5, '0') AS class_id, "
        f"DATE '{first}' + CAST(d AS INTEGER) AS date, 25 AS total_students, "
        "20 + c % 6 AS students_with_attendance, 20 AS present_count, c % 6 AS absent_count, "
        "0.9 AS attendance_rate, 10 AS students_with_assessment, 12 AS assessment_count, "
        "70.5 AS avg_score, 0.9 AS attendance_coverage "
        f"FROM range({classes}) AS c (c), range({days}) AS d (d)"
    )


@pytest.mark.parametrize(
    ("classes", "days", "grain"),
    [(100, 400, "day"), (101, 400, "week"), (2_000, 280, "month")],
)
def test_a_big_school_is_shown_by_weeks_and_a_district_by_months(
    empty: duckdb.DuckDBPyConnection, classes: int, days: int, grain: str
) -> None:
    fill(empty, classes, days)
    shown = figures(empty, Rules(), now=NOW, run_id="r")
    assert shown["grain"] == grain
    assert len(shown["classes"]) == classes
    assert shown["classes_left_out"] == 0
    assert len(shown["cells"]) == classes * len(shown["periods"])
    assert len(shown["cells"]) <= MOST_CELLS
    assert sum(days for _, days in shown["periods"]) == days
    assert sum(row[2] for row in shown["cells"]) == 20 * classes * days
    html = page(shown)
    assert len(html.encode()) < MOST_BYTES / 2


def test_more_classes_than_the_page_has_room_for_count_in_the_totals(
    empty: duckdb.DuckDBPyConnection,
) -> None:
    fill(empty, 5_000, 365)
    shown = figures(empty, Rules(), now=NOW, run_id="r")
    periods = len(shown["periods"])
    assert shown["grain"] == "month"
    assert len(shown["classes"]) == MOST_CELLS // periods
    assert shown["classes_left_out"] == 5_000 - len(shown["classes"])
    assert sum(row[0] for row in shown["school"]) == 20 * 5_000 * 365
    assert {int(name[1:]) % 6 for name, _ in shown["classes"]} >= {4, 5}  # the biggest
    assert 0 not in {int(name[1:]) % 6 for name, _ in shown["classes"]}
    assert len(page(shown).encode()) < MOST_BYTES


def test_days_long_ago_are_left_out_and_counted(empty: duckdb.DuckDBPyConnection) -> None:
    fill(empty, 3, 500)
    shown = figures(empty, Rules(), now=NOW, run_id="r")
    assert shown["older_dates"] == 100
    assert len(shown["periods"]) == 400
    assert shown["periods"][-1][0] == "2026-06-30"


def test_the_time_of_making_is_passed_in(empty: duckdb.DuckDBPyConnection) -> None:
    now = datetime(2030, 1, 2, 3, 4, tzinfo=timezone.utc)
    assert figures(empty, Rules(), now=now, run_id="r")["made"] == "2030-01-02T03:04+00:00"
