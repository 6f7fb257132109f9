"""What an asset's page shows after a run: plots that render, sums, and no small group."""

import base64
import random
import re
import xml.etree.ElementTree as ElementTree
from datetime import date, timedelta
from typing import Any

import dagster as dg
import pytest

from student_pipeline import plots, tables
from student_pipeline.asset_page import page_metadata
from student_pipeline.settings import PROJECT_ROOT
from student_pipeline.warehouse.connection import connect
from student_pipeline_tests.pipeline import School

SVG = "{http://www.w3.org/2000/svg}"


def svg_of(markdown: str) -> ElementTree.Element:
    (image,) = re.findall(r"!\[[^\]]+\]\(data:image/svg\+xml;base64,([^)]+)\)", markdown)
    return ElementTree.fromstring(base64.b64decode(image))


def path_of(markdown: str) -> str:
    path = svg_of(markdown).find(f"{SVG}path")
    assert path is not None
    return path.attrib["d"]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Table -> what its materialization noted, of a run on the sample."""
    school = School(tmp_path_factory.mktemp("sample"))
    result = school.run(url=str(PROJECT_ROOT / "data" / "raw"))
    assert result.success
    return {
        ".".join(event.asset_key.path): {
            name: value.value
            for name, value in event.step_materialization_data.materialization.metadata.items()
        }
        for event in result.all_events
        if event.is_step_materialization
        and event.asset_key
        and event.asset_key.path[0] != "published"
    }


def test_every_page_has_a_preview_and_all_but_quarantine_a_plot(
    pages: dict[str, dict[str, Any]],
) -> None:
    assert set(pages) == set(tables.TABLES)
    for name, page in pages.items():
        assert page["preview"].startswith("| "), name
        assert ("plot" in page) is not name.startswith("quarantine."), name


def test_what_is_shown_is_short_enough_to_be_shown_at_once(
    pages: dict[str, dict[str, Any]],
) -> None:
    for page in pages.values():
        for key in {"plot", "preview"} & set(page):
            assert len(page[key]) < 1000
            assert all(line.count("|") > 2 for line in page["preview"].splitlines())


def test_the_numbers_that_the_ui_plots_over_runs_are_numbers(
    pages: dict[str, dict[str, Any]],
) -> None:
    bronze = pages["bronze.attendance"]
    numbers = ("rows_read", "rows_added", "rows_malformed", "bytes_read", "seconds")
    assert all(isinstance(bronze[name], int | float) for name in numbers)
    assert pages["quarantine.attendance"]["quarantined/unknown_status"] == 10
    assert 0.8 < pages["gold.class_daily_performance"]["attendance_rate"] < 1


def test_the_previews_add_up(pages: dict[str, dict[str, Any]]) -> None:
    def column(name: str, number: int) -> list[str]:
        lines = pages[name]["preview"].splitlines()[2:]
        return [line.split(" | ")[number].strip("| ") for line in lines]

    def total(cells: list[str]) -> int:
        return sum(int(cell.replace(",", "")) for cell in cells)

    assert (
        total(column("silver.fact_attend", 2)) == pages["silver.fact_attend"]["dagster/row_count"]
    )
    for source in ("students", "attendance", "assessments"):
        page = pages[f"quarantine.{source}"]
        assert total(column(f"quarantine.{source}", 1)) == page["dagster/row_count"]
    assert total(column("bronze.attendance", 3)) == pages["bronze.attendance"]["rows_added"]


def roster(numbers: dict[str, int]) -> str:
    """Class -> students; the grade is the class's first letter."""
    lines = ["student_id,name,class_id,grade,status"]
    for name, number in numbers.items():
        lines += [f"{name}-{n},N,{name},{name[0]},ACTIVE" for n in range(number)]
    return "\n".join(lines) + "\n"


@pytest.fixture
def small(school: School) -> School:
    """A class of ten and one of nine, and one day of attendance."""
    school.deliver("students.csv", roster({"5A": 10, "6B": 9}))
    records = [
        f"{c}-{n},{c}-{n},2026-06-29,P" for c, size in (("5A", 10), ("6B", 9)) for n in range(size)
    ]
    school.deliver(
        "attendance.csv", "\n".join(["attend_id,student_id,date,status", *records]) + "\n"
    )
    assert school.run().success
    return school


def pages_of(school: School) -> dict[str, dict[str, Any]]:
    with connect(school.warehouse) as connection:
        return {
            name: {
                key: getattr(value, "value", value)
                for key, value in page_metadata(connection, table).items()
            }
            for name, table in tables.TABLES.items()
        }


def test_a_group_of_fewer_than_ten_is_not_shown(small: School) -> None:
    pages = pages_of(small)
    assert pages["silver.dim_student"]["preview"].splitlines()[2:] == [
        "| 5 | 10 | 10 |",
        "| 6 | fewer than 10 | fewer than 10 |",
    ]
    assert path_of(pages["silver.dim_student"]["plot"]).count("v") == 1
    assert pages["gold.class_daily_performance"]["preview"].splitlines()[2:] == [
        "| 5A | 10 | 1 | 100.0 % |",
        "| 6B | fewer than 10 | 1 | not shown |",
    ]
    assert pages["gold.student_performance_summary"]["preview"].splitlines()[2:] == [
        "| 95 % and more | 19 | fewer than 10 |"
    ]


def test_a_day_with_fewer_than_ten_students_leaves_a_gap(small: School) -> None:
    small.write("DELETE FROM gold.class_daily_performance WHERE class_id = '5A'")
    page = pages_of(small)["gold.class_daily_performance"]
    assert "too few students" in page["plot"]
    assert path_of(page["plot"]) == ""
    assert "attendance_rate" not in page


def test_an_empty_table_has_an_empty_page(small: School) -> None:
    small.write(*(f"DELETE FROM {name}" for name in tables.TABLES), "DELETE FROM ops.source_files")
    assert set(map(str, pages_of(small).values())) == {"{}"}


def test_a_class_or_file_may_be_called_anything(school: School) -> None:
    school.deliver("students.csv", roster({"5|A *x* [y](z) <b>": 10}))
    assert school.run().success
    school.write(
        "INSERT INTO gold.class_daily_performance "
        "SELECT DISTINCT class_id, DATE '2026-06-29', 10, 0, 0, 0, NULL, 0, 0, NULL, NULL "
        "FROM silver.dim_student"
    )
    (line,) = pages_of(school)["gold.class_daily_performance"]["preview"].splitlines()[2:]
    assert line.startswith(r"| 5\|A \*x\* \[y\](z) \<b\> | 10 | 1 | no record |")


def test_the_pages_hold_no_name(small: School) -> None:
    small.write("UPDATE silver.dim_student SET student_name = 'CANARY'")
    assert "CANARY" not in str(pages_of(small))
    assert "5A-1" not in str(pages_of(small))  # nor an id


# --- plots ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("points", [1, 2, plots.MOST_POINTS])
def test_any_plot_is_an_image_that_the_ui_shows_at_once(points: int) -> None:
    for seed in range(50):
        chance = random.Random(seed)
        labels = [str(date(2026, 1, 1) + timedelta(days=n)) for n in range(points)]
        gaps = [None, 0] * (seed % 3)
        counts = [
            (label, chance.choice([*gaps, 10**9, chance.randrange(9 * 10**8, 10**9)]))
            for label in labels
        ]
        shares = [(label, chance.choice([*gaps, 1.0, chance.random()])) for label in labels]
        for drawn in (
            plots.bars("Rows added, by day of loading", counts),
            plots.rate_line("Attendance rate of the school, by day", shares),
        ):
            assert len(drawn) < 1000, seed
            assert svg_of(drawn).tag == f"{SVG}svg"


def test_bars_are_as_high_as_their_numbers() -> None:
    drawn = plots.bars("Rows", [("a", 10), ("b", None), ("c", 5), ("d", 0)])
    assert path_of(drawn) == "M0 80m50 0v-72m200 72v-36"
    assert drawn.startswith("Rows: a to d, at most 10\n")


def test_a_line_goes_up_with_its_shares_and_breaks_at_gaps() -> None:
    drawn = plots.rate_line("Rate", [("a", 0.5), ("b", 1.0), ("c", None), ("d", 0.75)])
    assert path_of(drawn) == "M50 76h1L150 4M350 40h1"
    assert drawn.startswith("Rate: a to d, 50.0 % to 100.0 %\n")


def test_the_metadata_is_what_dagster_shows_as_markdown(small: School) -> None:
    with connect(small.warehouse) as connection:
        page = page_metadata(connection, tables.FACT_ATTEND)
    assert isinstance(page["plot"], dg.MarkdownMetadataValue)
    assert isinstance(page["preview"], dg.MarkdownMetadataValue)
