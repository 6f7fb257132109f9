"""The report: one HTML page with everything in it, scripts and data included."""

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from string import Template
from typing import Any

SCRIPTS = ("vendor/vega.min.js", "vendor/vega-lite.min.js", "vendor/vega-embed.min.js")
CHARTS = (
    "attendance",
    "attendance_by_class",
    "coverage",
    "scores_by_subject",
    "scores_by_class",
    "absence",
    "quarantine",
)
"""The charts, each a Vega-Lite specification in `charts/` that names its data `rows`."""

END = b"</html>"
"""The last bytes of a page that is whole."""

MOST_BYTES = 6_000_000
"""No page is larger."""


def page(figures: dict[str, Any]) -> str:
    """The page that shows the figures (see `figures.py`)."""
    scripts = [_text(name) for name in SCRIPTS] + [_text("page/page.js")]
    hashes = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts)
    return Template(_text("page/template.html")).substitute(
        # Nothing is fetched, and no script runs but these: whatever an id from a file may hold.
        policy=f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:",
        style=_text("page/style.css"),
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
        charts=_json({name: json.loads(_text(f"charts/{name}.json")) for name in CHARTS}),
        figures=_json(figures),
    )


@cache
def _text(name: str) -> str:
    return files("student_pipeline").joinpath("reports").joinpath(name).read_text(encoding="utf-8")


def _sha256(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _json(value: object) -> str:
    """JSON that can stand inside a script element: nothing in it looks like a tag."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
