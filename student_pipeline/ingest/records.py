"""What the readers give: records and malformed records."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from student_pipeline.ingest.layout import Layout
from student_pipeline.sources import Source

MAX_RECORD_CHARS = 16 << 20
"""A record longer than this many characters is malformed; so memory stays bounded."""

_SKIP_CHARS = 1 << 20

Record = list[str | None]
"""The canonical columns in the source's order, then `_extra` as JSON text."""


@dataclass(frozen=True)
class Malformed:
    """A record that can't be read.

    Attributes:
        line: where it starts in the file, from 1.
        problem: what was expected and what was found; a clause without a full stop.
        raw: the text as it stands in the file.
    """

    line: int
    problem: str
    raw: str

    @property
    def detail(self) -> str:
        """The sentence for the quarantine."""
        return f"Line {self.line}: {self.problem}."


def read_line(stream: IO[str], limit: int) -> str:
    """The next line. Of one longer than `limit` characters only the first of them are read."""
    line = stream.readline(limit)
    if len(line) == limit and not line.endswith("\n"):
        while (rest := stream.readline(_SKIP_CHARS)) and not rest.endswith("\n"):
            pass
    return line


class NumberText(str):
    """A JSON number as it stands in the file: `1.50` stays `1.50`."""

    __slots__ = ()


class Pairs(list[tuple[str, object]]):
    """A JSON object as its (key, value) pairs; a key that stands twice is there twice."""

    __slots__ = ()


def arrange(source: Source, layout: Layout, values: Sequence[object]) -> Record:
    """A record's values as its canonical columns and `_extra`; empty values become null."""
    columns = layout.columns
    record = [
        _column_text(values[columns[name]]) if name in columns else None for name in source.columns
    ]
    record.append(_extra(layout.extras, values) if layout.extras else None)
    return record


def json_text(value: object) -> str:
    """A JSON value as compact text, numbers as they stood in the file."""
    if isinstance(value, NumberText):
        return str(value)
    if isinstance(value, Pairs):
        pairs = (f"{json.dumps(key, ensure_ascii=False)}:{json_text(item)}" for key, item in value)
        return "{" + ",".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(json_text, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _column_text(value: object) -> str | None:
    if isinstance(value, str):
        return str(value) or None
    return None if value is None else json_text(value)


def _extra(extras: Mapping[str, int], values: Sequence[object]) -> str | None:
    kept = Pairs(
        (name, values[number])
        for name, number in extras.items()
        if values[number] not in (None, "")
    )
    return json_text(kept) if kept else None
