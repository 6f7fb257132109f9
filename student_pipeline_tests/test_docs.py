"""The documents say what is true: links, paths, names, numbers, commands and queries.

`python -m student_pipeline_tests.test_docs` writes `docs/data-dictionary.md` anew.
"""

import contextlib
import csv
import importlib.metadata
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import duckdb
import pytest
import yaml

from student_pipeline import sources, tables
from student_pipeline.alerts.problems import WHAT_TO_DO
from student_pipeline.alerts.settings import SECRETS, Alerts, load_alerts
from student_pipeline.checks import CHECKS as TABLE_CHECKS
from student_pipeline.checks import proofs
from student_pipeline.cli import main
from student_pipeline.definitions import defs
from student_pipeline.ingest.discovery import find_files
from student_pipeline.jobs import JOB_NAME
from student_pipeline.published_checks import published_checks
from student_pipeline.schedules import EVERY_MORNING
from student_pipeline.settings import DAGSTER_HOME_DEFAULT, PLACES, Rules, load_rules
from student_pipeline.tables import Column, Table
from student_pipeline_tests.pipeline import School, failed_checks

ROOT = Path(__file__).resolve().parent.parent
DICTIONARY = ROOT / "docs" / "data-dictionary.md"
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
CHECKS = [*TABLE_CHECKS, published_checks]
OPS = (*tables.OPS, tables.LATEST_ROSTER)

# --- the data dictionary, made from the declarations --------------------------------------------

_WRITTEN = {
    "append": "rows are added, identical ones once",
    "upsert": "rows are added or replaced by student",
    "merge": "what changed is merged; rebuilt when asked for, or when its SELECT or a rule changed",
    "replace": "together with the silver table",
}


def data_dictionary() -> str:
    """`docs/data-dictionary.md`: every table and column as `tables.py` declares them."""
    parts = [
        "# Data dictionary",
        "Every table and column, as `student_pipeline/tables.py` declares them. This page is made "
        "from there, by `python -m student_pipeline_tests.test_docs`; do not edit it. What the "
        "numbers mean stands in [definitions.md](definitions.md).",
        "A key is unique and never null. Nothing of this is enforced by constraints in the "
        "database; checks prove it in every run.",
    ]
    for table in (*tables.BRONZE, *tables.SILVER, *tables.QUARANTINE, *tables.GOLD, *OPS):
        parts += [f"## `{table.full_name}`", table.description, _facts(table), _columns(table)]
    parts += ["## Reasons in the quarantine", _reasons()]
    return "\n\n".join(parts) + "\n"


def _facts(table: Table) -> str:
    facts = [f"Key: {_code(table.key)}."] if table.key else []
    if table not in OPS:
        facts.append(f"Written: {_WRITTEN[table.strategy]}.")
    if table.order_by:
        facts.append(f"Sorted by {_code(table.order_by)}.")
    if table.quarantine:
        facts.append(f"What it refuses is in `{table.quarantine.full_name}`.")
    return " ".join(facts) or "No key."


def _columns(table: Table) -> str:
    lines = ["| column | type | null | meaning | values |", "| --- | --- | --- | --- | --- |"]
    for column in table.columns:
        null = "no" if column.required or column.name in table.key else "yes"
        lines.append(
            f"| `{column.name}` | {column.type} | {null} | {column.description} "
            f"| {_promises(column)} |"
        )
    return "\n".join(lines)


def _promises(column: Column) -> str:
    promises = [_code(column.allowed)] if column.allowed else []
    if column.minimum is not None:
        promises.append(f"at least {column.minimum:g}")
    if column.maximum is not None:
        promises.append(f"at most {column.maximum:g}")
    if column.references:
        promises.append(f"a key of `{column.references}`")
    return "; ".join(promises)


def _reasons() -> str:
    lines = ["| reason | meaning |", "| --- | --- |"]
    lines += [f"| `{reason}` | {meaning} |" for reason, meaning in tables.REASONS.items()]
    return "\n".join(lines)


def _code(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


# --- reading the documents ------------------------------------------------------------------------

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def prose_of(document: Path) -> str:
    """The document without its code blocks."""
    return _FENCE.sub("", document.read_text(encoding="utf-8"))


def blocks_of(name: str, language: str) -> list[str]:
    """The code blocks of a language."""
    return [body for kind, body in _FENCE.findall(text_of(name)) if kind == language]


def anchors_of(document: Path) -> set[str]:
    """The names under which GitHub links to the headings."""
    headings = re.findall(r"^#+ (.+)$", prose_of(document), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


def table_rows(name: str) -> dict[str, list[str]]:
    """The rows of all Markdown tables: first cell without backticks -> the other cells."""
    rows = {}
    for line in prose_of(ROOT / name).splitlines():
        if line.startswith("| "):
            first, *others = (cell.strip() for cell in line.strip("| ").split(" | "))
            rows[first.strip("`")] = others
    return rows


documents = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)

# --- links, paths and names -----------------------------------------------------------------------


@documents
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", prose_of(document)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = document.parent / path if path else document
        assert linked.exists(), target
        assert not anchor or anchor in anchors_of(linked), target


# What a name in backticks must end in, or begin with, to be taken for a path of this project.
_PATH_ENDINGS = (".py", ".sql", ".md", ".toml", ".txt", ".yml", ".yaml", "Makefile", "Dockerfile")
_FOLDERS = tuple(f"{folder.name}/" for folder in ROOT.iterdir() if folder.is_dir())
_MADE_BY_USE = (
    ".venv/",
    "data/warehouse.duckdb",
    "data/published",
    "readme.txt",
    "docker-compose.override",
)


@documents
def test_paths_exist(document: Path) -> None:
    for name in re.findall(r"`([\w./-]+)`", prose_of(document)):
        if name.startswith(_MADE_BY_USE) or not name.endswith(_PATH_ENDINGS):
            continue
        assert (ROOT / name).is_file(), name
    for name in re.findall(r"`([\w./-]+/[\w./-]*)`", prose_of(document)):
        if name.startswith(_FOLDERS) and not name.startswith(_MADE_BY_USE):
            assert (ROOT / name).exists(), name


@documents
def test_code_is_where_it_is_said_to_be(document: Path) -> None:
    for names, path in re.findall(
        r"((?:`[\w.]+`(?:, | and )?)+) in `(student_pipeline[\w/]*\.(?:py|sql))`",
        prose_of(document),
    ):
        code = text_of(path)
        for name in re.findall(r"`(?:\w+\.)*(\w+)`", names):
            defined = rf"(^|\s)(def|class|macro) {name}\b|^{name}\b.*=|\b{name}\("
            assert re.search(defined, code, re.MULTILINE), f"{name} in {path}"


@documents
def test_tests_that_are_named_exist(document: Path) -> None:
    folders = (ROOT / "student_pipeline_tests", ROOT / "deploy" / "proof")
    code = "".join(file.read_text("utf-8") for folder in folders for file in folder.glob("*.py"))
    for name in re.findall(r"`(test_\w+)`", prose_of(document)):
        assert f"def {name}(" in code, name


def test_the_drawn_graph_is_the_real_one() -> None:
    (drawing,) = blocks_of("docs/architecture.md", "mermaid")
    drawn = set(re.findall(r"^ *(\w+) --> (\w+)$", drawing, re.MULTILINE))
    graph = defs.resolve_asset_graph()
    real = {
        ("_".join(parent.path), "_".join(key.path))
        for key in graph.get_all_asset_keys()
        for parent in graph.get(key).parent_keys
    }
    assert drawn == real


def test_every_check_is_listed_with_its_tables_and_what_its_failure_does() -> None:
    section = text_of("docs/architecture.md").partition("### validate_output")[2]
    rows = re.findall(r"^\| (`.+`) \| (.+) \| (.+) \|$", section, re.MULTILINE)
    listed = {
        (table, check, effect.startswith("blocks"))
        for checks, where, effect in rows
        for check in re.findall(r"`(\w+)`", checks)
        for table in _tables_meant(where)
    }
    real = {
        (".".join(spec.asset_key.path), spec.name, spec.blocking)
        for checks in CHECKS
        for spec in checks.check_specs
    }
    assert listed == real


def _tables_meant(words: str) -> Iterator[str]:
    groups: dict[str, tuple[Table, ...]] = {
        "every table": tuple(tables.TABLES.values()),
        "bronze": tables.BRONZE,
        "silver": tables.SILVER,
        "quarantine": tables.QUARANTINE,
        "gold": tables.GOLD,
        "the facts": (tables.FACT_ATTEND, tables.FACT_ASSESS),
    }
    for word in words.split(", "):
        if word in groups:
            yield from (table.full_name for table in groups[word])
        else:
            yield word.strip("`")


def test_the_job_and_the_schedule_are_named() -> None:
    for name in ("README.md", "docs/architecture.md"):
        assert f"`{JOB_NAME}`" in text_of(name)
        assert "`every_morning`" in text_of(name)
    assert f"`{EVERY_MORNING}`" in text_of("docs/architecture.md")
    (schedule,) = defs.schedules or ()
    assert isinstance(schedule, dg.ScheduleDefinition)
    assert schedule.name == "every_morning"


# --- tables, columns and reasons ------------------------------------------------------------------


def test_the_data_dictionary_is_up_to_date() -> None:
    assert DICTIONARY.read_text(encoding="utf-8") == data_dictionary(), (
        "run: python -m student_pipeline_tests.test_docs"
    )


@pytest.mark.parametrize("table", tables.GOLD, ids=lambda table: table.name)
def test_every_gold_column_is_explained(table: Table) -> None:
    architecture = text_of("docs/architecture.md").partition("\n## Gold layer")[2]
    section = architecture.partition(f"`{table.full_name}`: one row")[2]
    rows = re.findall(r"^\| (`.+?`) \|", section.partition("\n\n`gold.")[0], re.MULTILINE)
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert listed[: len(table.columns)] == list(table.column_names)
    for column in set(table.column_names) - set(table.key):
        assert re.search(rf"`[^`]*\b{column}\b[^`]*`", text_of("docs/definitions.md")), column


def test_every_reason_is_explained_in_the_order_in_which_it_is_given() -> None:
    explained = re.findall(r"^### `(\w+)`$", text_of("docs/definitions.md"), re.MULTILINE)
    assert sorted(explained) == sorted(tables.REASONS)
    for quarantine in tables.QUARANTINE:
        (column,) = (column for column in quarantine.columns if column.name == "reason")
        assert [reason for reason in explained if reason in column.allowed] == list(column.allowed)


def test_the_examples_are_refused_for_their_reasons(school: School) -> None:
    files = {name: [",".join(source.columns)] for name, source in sources.SOURCES.items()}
    files["students"].append("0001,Bo Chen,G1-A,1,ACTIVE,2025-08-20")
    # Records in order around them, so that the file is not refused for its malformed one.
    files["attendance"] += [f"G{n},0001,2025-10-{n:02},P," for n in range(1, 10)]
    expected = []
    for section in text_of("docs/definitions.md").split("\n### ")[1:]:
        reason = section[1 : section.index("`", 1)]
        examples = re.findall(r"^Example \((\w+)\): `(.+)`$", section, re.MULTILINE)
        assert examples, reason
        for source, record in examples:
            files[source].append(record)
            expected.append((source, reason, record.split(",")[0]))
    for name, lines in files.items():
        school.deliver(f"{name}.csv", "\n".join(lines) + "\n")
    assert failed_checks(school.run()) == {}
    found = []
    for quarantine in tables.QUARANTINE:
        first = quarantine.columns[0].name
        found += [
            (quarantine.name, row["reason"], row[first] or row["_raw"].split(",")[0])
            for row in school.rows(quarantine.full_name)
        ]
    assert sorted(found) == sorted(expected)


# --- settings -------------------------------------------------------------------------------------


def test_every_place_is_in_the_readme_with_its_default() -> None:
    rows = table_rows("README.md")
    for place, default in {**PLACES, "DAGSTER_HOME": DAGSTER_HOME_DEFAULT}.items():
        assert rows[place][0] == f"`{default}`", place
    assert rows["STUDENT_PIPELINE_RULES"][0] == "`rules.yaml`"


def test_every_rule_is_in_the_readme_with_its_default() -> None:
    rows = table_rows("README.md")
    for name, field in Rules.model_fields.items():
        _is_shown(name, field.default, rows[name][0])


def _is_shown(name: str, default: object, shown: str) -> None:
    if isinstance(default, list):
        default = ", ".join(default)
    if not isinstance(default, dict):
        assert shown == (f"`{default}`" if default != "" else "none"), name


def test_every_alert_setting_is_in_the_documents_with_its_default() -> None:
    rows = table_rows("docs/alerts-and-monitoring.md")
    for name, field in Alerts.model_fields.items():
        if name in SECRETS:
            assert table_rows("README.md")[SECRETS[name]][0] == "none"
            assert f"`{SECRETS[name]}`" in text_of("docs/alerts-and-monitoring.md")
        else:
            _is_shown(name, field.default, rows[name][0])


def test_the_sensors_are_in_the_documents() -> None:
    for sensor in defs.sensors or ():
        assert f"`{sensor.name}`" in text_of("docs/alerts-and-monitoring.md")


def test_every_word_for_a_status_is_in_the_documents() -> None:
    definitions = table_rows("docs/definitions.md")
    readme = table_rows("README.md")["attendance status"][0]
    for status, words in sources.ATTENDANCE_STATUSES.items():
        listed, counts_as, *_ = definitions[status]
        assert listed == _code(tuple(words))
        assert counts_as == ("present" if status in sources.PRESENT_STATUSES else "absent")
        assert _code(tuple(words)) in readme


def test_the_readme_lists_the_columns_and_headers_of_each_source() -> None:
    rows = table_rows("README.md")
    for source in sources.SOURCES.values():
        columns, headers = rows[source.name]
        assert re.findall(r"`(\w+)`", columns) == list(source.columns)
        assert set(re.findall(r"\*\*`(\w+)`\*\*", columns)) == set(source.required)
        aliases = [
            f"{_code(others)} for `{name}`" for name, others in source.columns.items() if others
        ]
        assert headers == "; ".join(aliases)


def test_the_examples_of_a_rules_file_are_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = [
        block
        for document in ("README.md", "docs/alerts-and-monitoring.md")
        for block in blocks_of(document, "yaml")
        if "rules.yaml" in block
    ]
    assert len(examples) == 3
    for example in examples:
        (tmp_path / "rules.yaml").write_text(example, encoding="utf-8")
        monkeypatch.setenv("STUDENT_PIPELINE_RULES", str(tmp_path / "rules.yaml"))
        rules = load_rules().model_dump() | {"alerts": load_alerts().model_dump()}
        for name, given in yaml.safe_load(example).items():
            if name == "alerts":
                assert {setting: rules[name][setting] for setting in given} == given
            else:
                assert rules[name] == (list(map(str, given)) if name == "holidays" else given)


def test_the_alert_that_is_shown_is_one_that_is_sent() -> None:
    (shown,) = blocks_of("docs/alerts-and-monitoring.md", "text")
    title, *lines = shown.splitlines()
    assert title == "FAILED: check files_readable of bronze/attendance"
    facts = dict(line.split(": ", 1) for line in lines)
    assert list(facts) == ["What", "Where", "Since", "What to do", "Link"]
    assert proofs()["bronze/attendance", "files_readable"] in facts["What"]
    assert facts["What to do"] == WHAT_TO_DO["files_readable"]


def test_the_run_configurations_are_valid() -> None:
    configurations = [
        block
        for document in DOCUMENTS
        for block in blocks_of(str(document.relative_to(ROOT)), "yaml")
        if block.startswith("resources:")
    ]
    assert configurations
    for configuration in configurations:
        dg.validate_run_config(defs.resolve_job_def(JOB_NAME), yaml.safe_load(configuration))


def test_every_dependency_is_listed() -> None:
    listed = {
        name
        for cell in re.findall(r"^\| (`.+?`) \| ", text_of("docs/dependencies.md"), re.MULTILINE)
        for name in re.findall(r"`([\w-]+)`", cell)
    }
    required = {
        re.split(r"[^\w-]", requirement)[0].lower()
        for requirement in importlib.metadata.requires("student-pipeline") or ()
    }
    assert listed == required - {"student-pipeline"}


def test_every_make_command_is_in_the_contributing_page() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", text_of("Makefile"), re.MULTILINE)) - {"help"}
    assert targets == set(re.findall(r"^\| `make ([a-z-]+)` \|", text_of("CONTRIBUTING.md"), re.M))


# --- commands and queries -------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["run", "test", "dev", "lint", "bench"])
def test_make_does_what_the_readme_says(target: str) -> None:
    recipe = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", text_of("Makefile"), re.MULTILINE)
    assert recipe, target
    assert f"`make {target}`" in text_of("README.md")
    row = table_rows("README.md").get(f"make {target}")
    if row:
        made = recipe[1].replace("$(CURDIR)", "$PWD").replace("$(BIN)", ".venv/bin")
        assert made.strip() == row[0].strip("`")


def test_the_setup_is_that_of_the_makefile() -> None:
    makefile = text_of("Makefile")
    assert "python3" in makefile
    assert "constraints.txt" in makefile
    assert "'.[dev]'" in makefile
    assert (ROOT / "constraints.txt").is_file()
    low, high = re.findall(r"3\.\d+", text_of("pyproject.toml").partition("requires-python")[2])[:2]
    newest = f"3.{int(high[2:]) - 1}"
    assert f"Python {low} to {newest}" in text_of("README.md")


def test_the_commands_of_the_readme_are_understood(tmp_path: Path) -> None:
    commands = re.findall(
        r"student-pipeline ((?:run|sample|status|quarantine)[^\n`#]*)", text_of("README.md")
    )
    assert any("--full-refresh" in command for command in commands)
    assert any("--attendance" in command for command in commands)
    for command in commands:
        with pytest.raises(SystemExit) as ended, contextlib.redirect_stdout(io.StringIO()):
            main([*command.split(), "--help"])
        assert ended.value.code == 0


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> School:
    """The warehouse that the README shows: a run on `data/raw`."""
    school = School(tmp_path_factory.mktemp("sample"))
    assert school.run(url=str(ROOT / "data" / "raw")).success
    return school


def test_the_run_that_the_readme_shows_is_that_of_the_sample(sample: School) -> None:
    (shown,) = (block for block in blocks_of("README.md", "text") if "gold/" in block)
    summary = shown.partition("\nasset ")[2]
    for table in tables.TABLES.values():
        ((rows,),) = sample.query(f"SELECT count(*) FROM {table.full_name}")
        line = re.search(rf"^{'/'.join(table.asset_key)} +([\d,]+) ", summary, re.MULTILINE)
        assert line, table.full_name
        assert line[1] == f"{rows:,}", table.full_name
    passed, warnings = re.findall(r"(\d+) checks passed, (\d+) warnings", shown)[0]
    assert int(passed) + int(warnings) == sum(len(list(checks.check_specs)) for checks in CHECKS)


def test_the_row_of_the_architecture_takes_the_way_described(sample: School) -> None:
    told = text_of("docs/architecture.md").partition("\n## One row")[2].partition("\n## ")[0]
    number, record = re.findall(r"Line (\d+) of `data/raw/attendance.csv` is `([^`]+)`", told)[0]
    lines = text_of("data/raw/attendance.csv").splitlines()
    assert lines[int(number) - 1] == record
    attend_id, student_id, day, *_ = next(csv.reader([record]))
    versions = sample.query(
        "SELECT _source_row, status FROM bronze.attendance "
        f"WHERE attend_id = '{attend_id}' ORDER BY _source_row"
    )
    assert versions == [(158, "EXCUSED"), (159, "PRESENT")]
    ((class_id, status, is_present, counts),) = sample.query(
        "SELECT class_id, status, is_present, counts_for_day FROM silver.fact_attend "
        f"WHERE student_id = '{student_id}' AND attend_date = '{day}'"
    )
    assert (class_id, status, is_present, counts) == ("G08-C", "EXCUSED", False, True)
    class_day = sample.query(
        "SELECT present_count, absent_count, attendance_rate FROM gold.class_daily_performance "
        f"WHERE class_id = '{class_id}' AND date = '{day}'"
    )
    assert class_day == [(11, 5, 0.6875)]
    student = sample.query(
        "SELECT total_attendance_days, absent_days, excused_days, is_chronically_absent "
        f"FROM gold.student_performance_summary WHERE student_id = '{student_id}'"
    )
    assert student == [(25, 3, 1, True)]
    for said in (
        "158",
        "159",
        "`G08-C`",
        "the 5 in",
        "11 present",
        "0.6875",
        "3 `absent_days`",
        "25",
    ):
        assert said in told, said


def test_the_queries_of_the_documents_run(sample: School) -> None:
    queries = [
        query
        for document in DOCUMENTS
        for block in blocks_of(str(document.relative_to(ROOT)), "sql")
        for query in block.split(";")
        if query.strip()
    ]
    assert len(queries) > 3
    with duckdb.connect(sample.warehouse, read_only=True) as connection:
        for query in queries:
            connection.execute(query).fetchall()


def test_the_python_of_the_readme_runs(sample: School, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = blocks_of("README.md", "python")
    place = PLACES["STUDENT_PIPELINE_WAREHOUSE"]
    assert place in code
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        exec(code.replace(place, str(sample.warehouse)), {})
    assert "class_id" in shown.getvalue()


def test_files_are_loaded_in_the_order_that_is_said(tmp_path: Path) -> None:
    (row,) = (
        cells
        for first, cells in table_rows("docs/decisions.md").items()
        if "order are files" in first
    )
    names = [name for name in re.findall(r"`([^`]+)`", row[0]) if "students" in name]
    assert len(names) > 2
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [file.path for file in find_files(str(tmp_path), sources.STUDENTS)] == names
    assert [os.fsencode(name) for name in names] == sorted(os.fsencode(name) for name in names)


if __name__ == "__main__":
    DICTIONARY.write_text(data_dictionary(), encoding="utf-8")
    print(f"Written: {DICTIONARY.relative_to(ROOT)}")
