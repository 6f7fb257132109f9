"""Which column comes from which: for the pages of the assets.

For silver and gold the file `column_lineage.json` says it, which is made from the SELECTs while the
project is developed (`python -m student_pipeline_tests.test_lineage`), and tested to be up to date:
so no run has to parse SQL.
"""

import json
from functools import cache
from importlib.resources import files
from typing import Any

import dagster as dg

from student_pipeline.sources import SOURCES
from student_pipeline.tables import Table

FILE = "column_lineage.json"


def column_sources(table: Table) -> dict[str, list[tuple[str, str]]]:
    """Column -> the (table, column) pairs that its value is computed from.

    A count of rows comes from the key of the table whose rows it counts. Columns that the pipeline
    itself fills come from nowhere. The files of a source stand as `landing.<source>`.
    """
    if table.schema in ("bronze", "quarantine"):
        above = "landing" if table.schema == "bronze" else "bronze"
        raw = SOURCES[table.source or ""].columns
        return {
            name: [(f"{above}.{table.source}", name)] if name in raw else []
            for name in table.column_names
        }
    known = _from_the_selects().get(table.full_name, {})  # a new table: not written yet
    return {name: [(t, c) for t, c in known.get(name, [])] for name in table.column_names}


def lineage_metadata(table: Table) -> dict[str, Any]:
    """The lineage as Dagster takes it, and as a table for people."""
    sources = column_sources(table)
    lines = ["| column | comes from |", "| --- | --- |"]
    for name, found in sources.items():
        where = ", ".join(f"`{t}.{c}`" for t, c in found) or "the pipeline itself"
        lines.append(f"| `{name}` | {where} |")
    return {
        "dagster/column_lineage": dg.TableColumnLineage(
            {
                name: [dg.TableColumnDep(dg.AssetKey(t.split(".")), c) for t, c in found]
                for name, found in sources.items()
                if found
            }
        ),
        "columns come from": dg.MetadataValue.md("\n".join(lines)),
    }


@cache
def _from_the_selects() -> dict[str, dict[str, list[list[str]]]]:
    return json.loads(files("student_pipeline").joinpath(FILE).read_text(encoding="utf-8"))
