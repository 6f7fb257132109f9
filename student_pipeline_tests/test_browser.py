"""What people see, in a real browser: Dagster's UI on a real run, and the report page.

Needs Debian's chromium; without it these tests are skipped, unless
`STUDENT_PIPELINE_REQUIRE_BROWSER` is 1. With `STUDENT_PIPELINE_SCREENSHOTS` set to 1 they write the
pictures of the README into `docs/images`.
"""

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from student_pipeline.reports.page import CHARTS, page
from student_pipeline.sample_data import write_sample
from student_pipeline.settings import PROJECT_ROOT
from student_pipeline_tests.pipeline import NOW, School, errors
from student_pipeline_tests.test_cli import ASSETS
from student_pipeline_tests.test_definitions import CHECKS
from student_pipeline_tests.test_dev import Dev, copy_checkout, dagster_dev
from student_pipeline_tests.test_report import ATTENDANCE, HOSTILE, ROSTER

CHROMIUM = shutil.which("chromium")
REQUIRED = os.environ.get("STUDENT_PIPELINE_REQUIRE_BROWSER") == "1"
TAKE_PICTURES = os.environ.get("STUDENT_PIPELINE_SCREENSHOTS") == "1"
IMAGES = PROJECT_ROOT / "docs" / "images"
MOST_BYTES_OF_A_PICTURE = 300_000

if not CHROMIUM and not REQUIRED:
    pytest.skip("There is no chromium here: `apt-get install chromium`.", allow_module_level=True)

from playwright.sync_api import Browser, FloatRect, Page, expect, sync_playwright  # noqa: E402

PATIENCE = 60_000
"""Milliseconds; nothing that is waited for takes this long, on the busiest machine."""

expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM, "STUDENT_PIPELINE_REQUIRE_BROWSER is 1, and there is no chromium."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Seen:
    """A page, and what it said and asked for behind the scenes."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked_for: set[str] = field(default_factory=set)


@contextmanager
def opened(browser: Browser, width: int, height: int, **context: Any) -> Iterator[Seen]:
    """A new page of a browser without history."""
    with browser.new_context(viewport={"width": width, "height": height}, **context) as made:
        seen = Seen(made.new_page())
        seen.page.set_default_timeout(PATIENCE)
        seen.page.on("console", lambda message: seen.said.append(f"{message.type}: {message.text}"))
        seen.page.on("pageerror", lambda error: seen.said.append(f"error: {error}"))
        seen.page.on("dialog", lambda dialog: seen.said.append(f"dialog: {dialog.message}"))
        seen.page.on("request", lambda request: seen.asked_for.add(request.url))
        yield seen


def picture(page: Page, name: str, *, left: int = 0, height: int | None = None) -> None:
    """Take a picture for the README, where that is asked for.

    Args:
        left: pixels that are left out on the left.
        height: pixels from the top; otherwise what is on the screen.
    """
    screen = page.viewport_size
    assert screen
    width, height = screen["width"] - left, height or screen["height"]
    clip = FloatRect(x=left, y=0, width=width, height=height)
    taken = page.screenshot(full_page=True, clip=clip, type="jpeg", quality=65)
    assert len(taken) < MOST_BYTES_OF_A_PICTURE, name
    if TAKE_PICTURES:
        IMAGES.mkdir(exist_ok=True)
        (IMAGES / f"{name}.jpg").write_bytes(taken)


# --- Dagster's UI ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Dev, Path]]:
    """`dagster dev` on files without a flaw, which are never too old."""
    root = tmp_path_factory.mktemp("ui")
    copy_checkout(root)
    write_sample(
        root / "data" / "raw", students=60, attendance=900, assessments=200, seed=5, dirt=False
    )
    rules = yaml.safe_load((root / "rules.yaml").read_text())
    (root / "rules.yaml").write_text(yaml.safe_dump(rules | {"expected_data_age_days": 36_500}))
    with dagster_dev(root) as dev:
        yield dev, root


@pytest.fixture(scope="module")
def ui(browser: Browser, dev: tuple[Dev, Path]) -> Iterator[Seen]:
    """A page wide enough for the whole graph: nodes off screen are not drawn."""
    with opened(browser, 2600, 2500) as seen:
        yield seen


def at(dev: Dev, path: str) -> str:
    return f"http://127.0.0.1:{dev.port}/{path}"


def materialize_all(ui: Seen, dev: Dev) -> str:
    """Press the button; the id of the run, which has ended."""
    before = set(dev.history())
    ui.page.goto(at(dev, "asset-groups"))
    ui.page.get_by_role("button", name=re.compile(r"Materialize all \(\d+\)")).click()
    ui.page.get_by_text("Launched run").wait_for()
    (run_id,) = set(dev.history()) - before
    dev.ends(run_id)
    return run_id


@pytest.fixture(scope="module")
def run_id(ui: Seen, dev: tuple[Dev, Path]) -> str:
    return materialize_all(ui, dev[0])


def test_materialize_all_ends_in_success(ui: Seen, dev: tuple[Dev, Path], run_id: str) -> None:
    ui.page.goto(at(dev[0], f"runs/{run_id}"))
    expect(ui.page.get_by_text("Success", exact=True).first).to_be_visible()
    published = dev[1] / "data" / "published"
    assert (published / "report.html").read_bytes().endswith(b"</html>\n")


@pytest.mark.usefixtures("run_id")
def test_the_lineage_shows_every_asset_with_all_its_checks_green(
    ui: Seen, dev: tuple[Dev, Path]
) -> None:
    expected = Counter(spec.asset_key.path[1] for spec in CHECKS)
    landing = ("students", "attendance", "assessments")
    groups = ("landing", "bronze", "silver", "quarantine", "gold", "published")
    expanded = ",".join(f"global@global:{group}" for group in groups)
    ui.page.goto(at(dev[0], f"asset-groups?expanded={expanded}"))
    nodes = ui.page.locator("foreignObject").filter(has_text="Latest event")
    expect(nodes).to_have_count(len(ASSETS) + len(landing))
    expect(nodes.filter(has_text=re.compile(r"\d Passed"))).to_have_count(len(ASSETS))
    passed = Counter[str]()
    for name in expected:
        for text in nodes.filter(has_text=re.compile(rf"^{name}")).all_text_contents():
            green = re.search(r"Asset checks(\d+) / (\d+) Passed", text)
            if green:
                assert green[1] == green[2], text
                passed[name] += int(green[1])
            else:  # the files, which have no checks
                assert name in landing
    assert passed == expected
    ui.page.wait_for_timeout(500)  # the camera comes to rest
    picture(ui.page, "lineage", left=560)


@pytest.mark.usefixtures("run_id")
def test_the_checks_of_an_asset_are_listed(ui: Seen, dev: tuple[Dev, Path]) -> None:
    for asset in ("gold/student_performance_summary", "published/report"):
        names = [spec.name for spec in CHECKS if spec.asset_key.to_user_string() == asset]
        ui.page.goto(at(dev[0], f"assets/{asset}?view=checks"))
        expect(ui.page.get_by_text("Succeeded", exact=True)).to_have_count(len(names))
        for name in names:
            expect(ui.page.get_by_text(name, exact=True).first).to_be_visible()


def test_a_failed_check_tells_its_reason(ui: Seen, dev: tuple[Dev, Path], run_id: str) -> None:
    bad = dev[1] / "data" / "raw" / "attendance_late.csv"
    bad.write_text("who,when\n1,2026-01-07\n")
    failed = materialize_all(ui, dev[0])
    bad.unlink()
    assert dev[0].history()[failed] == "FAILURE"
    ui.page.goto(at(dev[0], "assets/bronze/attendance?view=checks&checkDetail=files_readable"))
    reason = ui.page.get_by_text("1 file was refused. attendance_late.csv: ").first
    expect(reason).to_be_visible()
    expect(reason).to_contain_text("attend_id")
    expect(reason).to_contain_text("Mend or remove what was refused")
    expect(ui.page.get_by_text("Failed", exact=True).first).to_be_visible()
    ui.page.set_viewport_size({"width": 1500, "height": 700})
    ui.page.wait_for_timeout(300)
    picture(ui.page, "failed-check")
    ui.page.set_viewport_size({"width": 2600, "height": 2500})


def test_the_ui_needs_no_network(ui: Seen, dev: tuple[Dev, Path], run_id: str) -> None:
    elsewhere = {
        url
        for url in ui.asked_for
        if not url.startswith((at(dev[0], ""), f"ws://127.0.0.1:{dev[0].port}/", "data:", "blob:"))
    }
    assert elsewhere == set()


# --- the report -----------------------------------------------------------------------------------


def run(school: School) -> None:
    """Run the job in a thread of its own: Dagster and playwright each have an event loop."""
    with ThreadPoolExecutor(1) as thread:
        result = thread.submit(school.run).result()
    assert result.success, errors(result)


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> School:
    """A school whose attendance is recorded more often than that of the shipped sample."""
    school = School(tmp_path_factory.mktemp("school"))
    write_sample(school.landing, students=420, attendance=24_000, assessments=4_000, seed=11)
    run(school)
    return school


LOOKS: dict[str, dict[str, Any]] = {
    "light": {"width": 1280, "height": 900, "color_scheme": "light"},
    "dark": {"width": 1280, "height": 900, "color_scheme": "dark"},
    "phone": {"width": 390, "height": 844, "color_scheme": "light", "has_touch": True},
}


@contextmanager
def report(
    browser: Browser, file: Path, look: str = "light", *, days_later: int = 0
) -> Iterator[Seen]:
    """The report, drawn, on the day when it was made (or later)."""
    with opened(
        browser, **LOOKS[look], reduced_motion="reduce", timezone_id="America/Chicago"
    ) as seen:
        seen.page.clock.set_fixed_time(NOW + timedelta(days=days_later))
        seen.page.goto(file.as_uri())
        drawn(seen, 1)
        yield seen
        assert seen.said == []
        assert seen.asked_for == {file.as_uri()}


def drawn(seen: Seen, times: int) -> None:
    """Wait until the charts were drawn so many times: at first, and once for each filter."""
    expect(seen.page.locator("body")).to_have_attribute("data-drawn", str(times))


TOO_WIDE = """() => [...document.querySelectorAll('body *')]
    .filter((e) => !e.closest('.scroll') && !e.matches('.skip') && e.getClientRects().length)
    .filter((e) => e.getBoundingClientRect().right > innerWidth + 1 || e.getBoundingClientRect().left < -1)
    .map((e) => e.tagName + ' ' + e.className + ' ' + e.textContent.slice(0, 40))"""

CUT_OFF = """() => [...document.querySelectorAll('.chart svg text')]
    .filter((text) => text.textContent && text.getAttribute('opacity') !== '0')
    .filter((text) => {
      const [inner, outer] = [text, text.closest('.chart')].map((e) => e.getBoundingClientRect());
      return inner.right > outer.right + 1 || inner.left < outer.left - 1;
    })
    .map((text) => text.closest('section').id + ': ' + text.textContent)"""

LOW_CONTRAST = """() => {
  const numbers = (color) => {
    const found = color.match(/[\\d.]+/g).map(Number);
    return found.length === 3 ? [...found, 1] : found;
  };
  const light = ([r, g, b]) => {
    const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const [x, y, z] = [r, g, b].map((v) => linear(v / 255));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const color = numbers(getComputedStyle(e).backgroundColor);
      if (color[3] === 1) return color;
    }
    return [255, 255, 255, 1];
  };
  const poor = [];
  let looked = 0;
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.getClientRects().length || ['SCRIPT', 'STYLE', 'OPTION'].includes(e.tagName)) continue;
    looked += 1;
    const style = getComputedStyle(e);
    const [a, b] = [light(numbers(e.tagName === 'text' ? style.fill : style.color)), light(behind(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${e.tagName} ${e.textContent.slice(0, 40)}`);
  }
  return [looked, poor];
}"""


@pytest.mark.parametrize("look", LOOKS)
def test_the_report_is_whole_in_every_look(browser: Browser, school: School, look: str) -> None:
    with report(browser, school.published / "report.html", look) as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert seen.page.evaluate(TOO_WIDE) == []
        assert seen.page.evaluate(CUT_OFF) == []
        for name in CHARTS:
            chart = seen.page.locator(f"#{name} .chart")
            assert len(chart.get_attribute("aria-label") or "") > 30
            expect(chart).to_have_attribute("role", "img")
            assert chart.locator("svg path").count() > 4, name
        looked, poor = seen.page.evaluate(LOW_CONTRAST)
        assert looked > 150
        assert poor == []
        expect(seen.page.locator("#warning")).to_be_hidden()
        picture(seen.page, f"report-{look}", height=1500 if look != "phone" else 1700)


def headline(seen: Seen) -> list[str]:
    return seen.page.locator("#headline .number").all_inner_texts()


def rate(school: School, where: str = "true") -> str:
    """Attendance of some class-days, as gold has it."""
    ((present, recorded),) = school.query(
        "SELECT sum(present_count), sum(students_with_attendance) "
        f"FROM gold.class_daily_performance WHERE {where}"
    )
    return f"{100 * present / recorded:.1f}%"


def test_the_filters_choose_a_class_and_dates(browser: Browser, school: School) -> None:
    ((class_id, students),) = school.query(
        "SELECT class_id, max(total_students) FROM gold.class_daily_performance "
        "GROUP BY class_id ORDER BY max(total_students) DESC, class_id LIMIT 1"
    )
    of_class = f"class_id = '{class_id}' AND students_with_attendance >= 10"
    with report(browser, school.published / "report.html") as seen:
        everything = headline(seen)
        assert everything[0] == rate(school)
        seen.page.locator("#class").select_option(class_id)
        drawn(seen, 2)
        expect(seen.page.locator("#selection")).to_contain_text(f"Class {class_id}, ")
        assert headline(seen)[0] == rate(school, of_class)
        assert headline(seen)[2] == everything[2]  # of the whole school
        expect(seen.page.locator("#headline")).to_contain_text(f"{students} active students")

        seen.page.locator("#from").fill("2026-01-12")
        drawn(seen, 3)
        seen.page.locator("#to").fill("2026-03-13")
        drawn(seen, 4)
        within = "date BETWEEN '2026-01-12' AND '2026-03-13'"
        assert headline(seen)[0] == rate(school, f"{of_class} AND {within}")
        expect(seen.page.locator("#selection")).to_contain_text(
            re.compile(r"Jan 1\d, 2026 to Mar ")
        )

        seen.page.locator("#class").select_option("All classes")
        drawn(seen, 5)
        assert headline(seen)[0] == rate(school, within)
        seen.page.get_by_role("button", name="Show all").click()
        drawn(seen, 6)
        assert headline(seen) == everything


def test_no_more_than_everything_is_known(browser: Browser, tmp_path: Path) -> None:
    school = School(tmp_path)
    status = {n: "ACTIVE" if n < 12 else "LEFT" for n in range(24)}
    school.deliver(
        "students.csv",
        "student_id,name,class_id,status\n" + "".join(f"{n},A,5A,{s}\n" for n, s in status.items()),
    )
    students = {"2026-06-22": 24, "2026-06-23": 6, "2026-06-24": 24, "2026-06-25": 3}
    school.deliver(
        "attendance.csv",
        "attend_id,student_id,date,status\n"
        + "".join(
            f"{day}-{n},{n},{day},P\n" for day, number in students.items() for n in range(number)
        ),
    )
    run(school)
    with report(browser, school.published / "report.html") as seen:
        card = seen.page.locator("#headline .card").nth(3)
        expect(card.locator(".number")).to_have_text("100.0%")
        expect(card).to_contain_text("12 active students, 2 school days (2 more not shown)")
        seen.page.locator("#coverage").get_by_text("The numbers as a table").click()
        assert seen.page.locator("#coverage tbody td").all_inner_texts() == [
            *("Jun 22, 2026", "100.0%", "0.0%"),
            *("Jun 24, 2026", "100.0%", "0.0%"),
        ]


def test_each_chart_has_its_numbers_as_a_table(browser: Browser, school: School) -> None:
    with report(browser, school.published / "report.html") as seen:
        for name in CHARTS:
            section = seen.page.locator(f"#{name}")
            section.get_by_text("The numbers as a table").click()
            assert section.locator("tbody tr").count() >= 3, name
        first = seen.page.locator("#attendance tbody tr").first.locator("td")
        ((present, recorded),) = school.query(
            "SELECT sum(present_count), sum(students_with_attendance) "
            "FROM gold.class_daily_performance GROUP BY date ORDER BY date LIMIT 1"
        )
        assert first.all_inner_texts()[1:] == [f"{100 * present / recorded:.1f}%", f"{recorded:,}"]
        bands = dict(
            zip(*[iter(seen.page.locator("#absence tbody td").all_inner_texts())] * 2, strict=True)
        )
        ((few,),) = school.query(
            "SELECT count(*) FROM gold.student_performance_summary WHERE total_attendance_days < 10"
        )
        assert bands["fewer than 10 days recorded"] in (f"{few:,}", "not shown")


def test_small_groups_are_gray_and_say_why(browser: Browser, school: School) -> None:
    ((small,),) = school.query(
        "SELECT count(*) FROM gold.class_daily_performance "
        "WHERE students_with_attendance BETWEEN 1 AND 9"
    )
    assert small > 5
    with report(browser, school.published / "report.html") as seen:
        seen.page.locator("#attendance_by_class summary").click()
        hidden = seen.page.locator("#attendance_by_class tbody").get_by_text("not shown")
        assert hidden.count() >= small
        gray = seen.page.locator("#attendance_by_class svg path[fill='var(--unknown)']")
        assert gray.count() == hidden.count()


def test_the_keyboard_reaches_everything(browser: Browser, school: School) -> None:
    with report(browser, school.published / "report.html") as seen:
        focused = []
        for _ in range(40):
            seen.page.keyboard.press("Tab")
            focused.append(
                seen.page.evaluate(
                    "document.activeElement.id || document.activeElement.textContent"
                )
            )
        assert focused[0] == "Skip to the numbers"
        assert {"class", "from", "to", "Show all"} <= set(focused)
        assert focused.count("The numbers as a table") >= len(CHARTS)
        seen.page.locator("#coverage summary").focus()
        seen.page.keyboard.press("Enter")
        expect(seen.page.locator("#coverage table")).to_be_visible()


def test_it_prints_on_white_whatever_the_screen(browser: Browser, school: School) -> None:
    with report(browser, school.published / "report.html", "dark") as seen:
        seen.page.emulate_media(media="print")
        assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") == (
            "rgb(255, 255, 255)"
        )
        assert seen.page.evaluate(LOW_CONTRAST)[1] == []
        seen.page.set_viewport_size({"width": 720, "height": 1000})  # Letter without its margins
        assert seen.page.evaluate(TOO_WIDE) == []
        assert len(seen.page.pdf(format="Letter")) > 10_000


def test_an_old_page_says_so(browser: Browser, school: School) -> None:
    with report(browser, school.published / "report.html", days_later=9) as seen:
        expect(seen.page.locator("#warning")).to_have_text("This page is 9 days old.")


def test_hostile_ids_are_shown_as_they_are(browser: Browser, tmp_path: Path) -> None:
    hostile = School(tmp_path)
    rows = [(f"S{c}-{n}", name) for c, name in enumerate(HOSTILE) for n in range(11)]
    quoted = {name: '"' + name.replace('"', '""') + '"' for name in HOSTILE}
    hostile.deliver(
        "students.csv", ROSTER + "".join(f"{s},N,{quoted[name]},5,ACTIVE\n" for s, name in rows)
    )
    hostile.deliver(
        "attendance.csv", ATTENDANCE + "".join(f"A{s},{s},2026-06-01,P,\n" for s, _ in rows)
    )
    run(hostile)
    with report(browser, hostile.published / "report.html") as seen:
        options = seen.page.locator("#class option").all_text_contents()
        assert options == ["All classes", *sorted(HOSTILE)]
        for number, name in enumerate(sorted(HOSTILE)):
            seen.page.locator("#class").select_option(str(number))
            drawn(seen, 2 + number)
            assert f"class {name}" in (seen.page.locator("#headline").text_content() or "")
        seen.page.locator("#attendance_by_class .chart svg .mark-rect path").last.hover()
        assert seen.page.evaluate(TOO_WIDE) == []


def test_a_school_without_facts_gets_a_page_that_says_so(browser: Browser, tmp_path: Path) -> None:
    new = School(tmp_path)
    new.deliver("students.csv", ROSTER + "S1,N,5A,5,ACTIVE\n")
    run(new)
    with report(browser, new.published / "report.html", "phone") as seen:
        expect(seen.page.locator("#about")).to_contain_text("no attendance and no assessment yet")
        assert headline(seen) == ["No records", "No scores", "Not shown", "Not known"]
        assert seen.page.evaluate(TOO_WIDE) == []


def test_a_district_s_page_opens(browser: Browser, tmp_path: Path) -> None:
    """2,000 classes on 180 days: by months, with 40 classes at a time."""
    months = [f"2025-{month:02}-01" for month in range(9, 13)]
    months += [f"2026-{month:02}-01" for month in range(1, 7)]
    classes = [[f"D{number:04}", 25] for number in range(2_000)]
    shown = {
        "made": "2026-06-30T06:00+00:00",
        "time_zone": "UTC",
        "run": "r",
        "least": 10,
        "grain": "month",
        "older_dates": 0,
        "periods": [[start, 18] for start in months],
        "classes": classes,
        "classes_left_out": 0,
        "active_students": 50_000,
        "school": [[820_000, 900_000, 7_000_000 * 12, 12_000] for _ in months],
        "cells": [
            [c, m, 400 + (c + m) % 40, 450, 7_000 * 12, 12]
            for c in range(2_000)
            for m in range(len(months))
        ],
        "absence": {
            "bands": [{"band": "absent on less than 5% of days", "students": 50_000}],
            "students": 50_000,
            "chronic": 0,
            "percent": 10,
            "min_days": 10,
        },
        "subjects": {"rows": [], "few": 0, "left_out": 0},
        "quartiles": [[c, "", 50, 60 + c % 20, 90] for c in range(2_000)],
        "quarantine": [],
        "freshness": {
            "newest_attendance": "2026-06-19",
            "newest_assessment": None,
            "last_load": None,
            "files": 0,
            "refused": 0,
        },
        "students": None,
    }
    file = tmp_path / "report.html"
    file.write_text(page(shown), encoding="utf-8")
    with report(browser, file) as seen:
        assert seen.page.locator("#class option").count() == 2_001
        expect(seen.page.locator("#attendance_by_class .caption")).to_contain_text(
            "The 40 classes with the lowest attendance, of 2,000"
        )
        expect(seen.page.locator("#notes")).to_contain_text("every point is a month")
        assert seen.page.evaluate("performance.now()") < PATIENCE
        seen.page.locator("#class").select_option("D1999")
        drawn(seen, 2)
        expect(seen.page.locator("#selection")).to_contain_text("Class D1999")
