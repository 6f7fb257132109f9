"""The pictures of the results: time and memory over the number of rows, both axes logarithmic."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measuring import median
from benchmarks.results import Measured

COLORS = {
    "student_pipeline": "#0b6e4f",
    "bare_duckdb": "#6b7280",
    "polars": "#2563eb",
    "dbt_duckdb": "#d9480f",
    "pandas": "#7c3aed",
}
STEPS = [digit * 10**power for power in range(-2, 6) for digit in (1, 2, 5)]
PICTURES = {
    "time.svg": ("wall", "A whole first build: seconds"),
    "memory.svg": ("peak_mb", "A whole first build: peak memory in MB"),
}


def draw(builds: Sequence[Measured], titles: dict[str, str], folder: Path) -> None:
    """Write the pictures, each as SVG on white.

    Args:
        builds: what was measured in the contest `build`.
        titles: name of a contestant -> its name for people, in the order of the legend.
    """
    import vl_convert

    folder.mkdir(parents=True, exist_ok=True)
    for name, (figure, title) in PICTURES.items():
        drawing = vl_convert.vegalite_to_svg(specification(builds, titles, figure, title))
        (folder / name).write_text(drawing + "\n", encoding="utf-8")


def specification(
    builds: Sequence[Measured], titles: dict[str, str], figure: str, title: str
) -> dict[str, Any]:
    """The Vega-Lite specification of one picture: a line for each contestant."""
    rows = [
        {
            "rows": one.attendance,
            "contestant": titles[name],
            "value": getattr(median(one.costs[name]), figure),
        }
        for one in builds
        for name in titles
        if one.costs.get(name)
    ]
    taking_part = [name for name in titles if any(r["contestant"] == titles[name] for r in rows)]
    names = [titles[name] for name in taking_part]
    logarithmic = {"type": "log", "nice": False, "padding": 12}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "background": "white",
        "padding": 12,
        "width": 560,
        "height": 340,
        "title": {"text": title, "anchor": "start", "fontSize": 15, "offset": 14},
        "data": {"values": rows},
        "encoding": {
            "x": {
                "field": "rows",
                "type": "quantitative",
                "title": "attendance rows",
                "scale": logarithmic,
                "axis": {
                    "values": sorted({row["rows"] for row in rows}),
                    "format": "~s",
                    "grid": False,
                },
            },
            "y": {
                "field": "value",
                "type": "quantitative",
                "title": None,
                "scale": logarithmic,
                "axis": {"values": STEPS, "format": ",~r", "gridColor": "#e5e7eb"},
            },
            "color": {
                "field": "contestant",
                "type": "nominal",
                "title": None,
                "sort": names,
                "scale": {"domain": names, "range": [COLORS[name] for name in taking_part]},
                "legend": {"labelFontSize": 12, "labelLimit": 240, "symbolSize": 110},
            },
            "shape": {
                "field": "contestant",
                "type": "nominal",
                "sort": names,
                "scale": {"domain": names},
            },
        },
        "layer": [
            {"mark": {"type": "line", "strokeWidth": 2}},
            {"mark": {"type": "point", "filled": True, "size": 75, "opacity": 1}},
        ],
        "config": {
            "font": "DejaVu Sans, Verdana, sans-serif",
            "view": {"stroke": None},
            "axis": {"labelFontSize": 12, "titleFontSize": 12},
        },
    }
