"""Which column feeds which: what the SELECTs say, and what the assets show.

`python -m student_pipeline_tests.test_lineage` writes `student_pipeline/column_lineage.json` anew.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sqlglot import exp
from sqlglot.lineage import Node, lineage

from student_pipeline import lineage as shown
from student_pipeline import tables
from student_pipeline.definitions import defs
from student_pipeline.tables import Table
from student_pipeline.warehouse import sql

FILE = Path(shown.__file__).with_name(shown.FILE)

STORED = {table.name: table for table in (*tables.BRONZE, *tables.SILVER)}
SCHEMA = {
    schema: {
        table.name: {column.name: column.type for column in table.columns}
        for table in STORED.values()
        if table.schema == schema
    }
    for schema in ("bronze", "silver")
}
RULES = {
    # A word gets its meaning from the vocabulary: so the meaning comes from the word.
    "statuses": "(select status as word, status as meaning from bronze.attendance)",
    "present_statuses": "'PRESENT'",
    "earliest_date": "2000-01-01",
}
"""What stands for the rules that a SELECT names; any other is a number."""


def column_lineage() -> dict[str, dict[str, list[list[str]]]]:
    """Table -> column -> the stored columns (table, column) that its value is computed from."""
    return {
        table.full_name: {name: _sources(table, name) for name in table.column_names}
        for table in (*tables.SILVER, *tables.GOLD)
    }


def _sources(table: Table, column: str) -> list[list[str]]:
    path = f"{table.schema}/{table.name}.sql"
    named = re.findall(r"\$(\w+)", sql.text(path))
    values = {
        name: STORED[name].full_name if name in STORED else RULES.get(name, "1") for name in named
    }
    root = lineage(column, sql.render(path, **values), schema=SCHEMA, dialect="duckdb")
    found = {pair for node in root.walk() if not node.downstream for pair in _leaf(node)}
    return sorted(map(list, found))


def _leaf(node: Node) -> list[tuple[str, str]]:
    """A stored column; of a count of rows, the key of the table whose rows are counted."""
    if isinstance(node.expression, exp.Table):
        return [(_name(node.expression), node.name.rpartition(".")[2])]
    counted = node.source.find(exp.From)
    if (
        not node.expression.find(exp.Count)
        or not counted
        or not isinstance(counted.this, exp.Table)
    ):
        return []  # a constant
    table = tables.TABLES[_name(counted.this)]
    return [(table.full_name, column) for column in table.key]


def _name(table: exp.Table) -> str:
    return f"{table.db}.{table.name}"


def test_the_lineage_is_that_of_the_selects() -> None:
    assert json.loads(FILE.read_text(encoding="utf-8")) == column_lineage(), (
        "run: python -m student_pipeline_tests.test_lineage"
    )


@pytest.mark.parametrize(
    ("table", "column", "sources"),
    [
        ("bronze.students", "name", {("landing.students", "name")}),
        ("bronze.students", "_load_id", set()),
        ("silver.dim_student", "is_active", {("bronze.students", "status")}),
        ("silver.fact_attend", "class_id", {("silver.dim_student", "class_id")}),
        ("silver.fact_attend", "status", {("bronze.attendance", "status")}),
        ("quarantine.attendance", "date", {("bronze.attendance", "date")}),
        ("gold.class_daily_performance", "total_students", {("silver.dim_student", "student_id")}),
        (
            "gold.class_daily_performance",
            "avg_score",
            {("silver.fact_assess", "score_pct"), ("silver.fact_assess", "assess_id")},
        ),
        (
            "gold.class_daily_performance",
            "attendance_coverage",
            {("silver.dim_student", "student_id"), ("silver.fact_attend", "attend_id")},
        ),
    ],
)
def test_a_column_comes_from(table: str, column: str, sources: set[tuple[str, str]]) -> None:
    assert set(shown.column_sources(tables.TABLES[table])[column]) == sources


def test_every_asset_shows_where_its_columns_come_from() -> None:
    keys = {spec.key for spec in defs.resolve_all_asset_specs()}
    specs = {".".join(spec.key.path): spec for spec in defs.resolve_all_asset_specs()}
    for name, table in tables.TABLES.items():
        about = specs[name].metadata
        deps = about["dagster/column_lineage"].deps_by_column
        assert list(deps) == [c for c in table.column_names if shown.column_sources(table)[c]]
        assert {dep.asset_key for column in deps.values() for dep in column} <= keys
        rows = about["columns come from"].value.splitlines()
        assert len(rows) == 2 + len(table.columns)
        for column, row in zip(table.columns, rows[2:], strict=True):
            assert row.startswith(f"| `{column.name}` | ")


def test_a_column_comes_from_what_its_asset_reads() -> None:
    graph = defs.resolve_asset_graph()
    for table in tables.TABLES.values():
        parents = {
            ".".join(parent.path)
            for key in graph.get_all_asset_keys()
            if key.path == table.asset_key
            for parent in graph.get(key).parent_keys
        }
        sources = {source for found in shown.column_sources(table).values() for source, _ in found}
        assert sources <= parents, table.full_name


def test_a_run_needs_no_sql_parser() -> None:
    code = "import sys, student_pipeline.definitions; print('sqlglot' in sys.modules)"
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert asked.stdout.strip() == "False"


if __name__ == "__main__":
    FILE.write_text(json.dumps(column_lineage(), indent=1) + "\n", encoding="utf-8")
    print(f"Written: {FILE.name}")
