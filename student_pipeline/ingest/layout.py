"""Which field of a record is which column."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import shorten

from student_pipeline.ingest.errors import FileRefused
from student_pipeline.ingest.limits import Limits
from student_pipeline.sources import Source, essence

Aliases = Mapping[str, Sequence[str]]
"""Column -> more header names for it, from the rules."""

_MOST_LAYOUTS = 1000

_MOST_HEADERS = 20
"""A note names up to this many headers."""

_UNKNOWN = " Its headers that no column knows: "


@dataclass(frozen=True)
class Layout:
    """Where a record's fields go.

    Attributes:
        headers: the field names as written.
        columns: canonical column -> number of its field, for the columns that are there.
        extras: name in `_extra` -> number of the field, sorted by name.
    """

    headers: tuple[str, ...]
    columns: Mapping[str, int]
    extras: Mapping[str, int]


class HeaderMatcher:
    """Matches header names by their letters and digits alone.

    Attributes:
        note: of the file that was read last: which columns it lacks, where somebody should know that,
            and its headers that no column knows; else None. Headers may be names of students.
    """

    def __init__(self, source: Source, aliases: Aliases, limits: Limits | None = None) -> None:
        self.source = source
        self.aliases = aliases
        self.limits = limits or Limits()
        self._column_of = {
            essence(name): column
            for column, others in source.columns.items()
            for name in (column, *others, *aliases.get(column, ()))
        }
        self._column_of.pop("", None)  # a name without letters and digits would match every other
        self._layouts: dict[tuple[str, ...], Layout] = {}
        self.note: str | None = None

    def layout(self, headers: Sequence[str]) -> Layout:
        """The layout of records with these field names.

        Of two fields for one column the first is the column, the other goes to `_extra`, there
        under its header as written, with `_2` behind where that stands already.

        Raises:
            FileRefused: there are more fields than the limit.
        """
        self.limits.require_columns(len(headers))
        key = tuple(headers)
        if key not in self._layouts:
            if len(self._layouts) >= _MOST_LAYOUTS:
                self._layouts.clear()
            columns: dict[str, int] = {}
            extras: dict[str, int] = {}
            for number, header in enumerate(key):
                column = self._column_of.get(essence(header))
                if column and column not in columns:
                    columns[column] = number
                else:
                    extras[_free_name(header, extras)] = number
            self._layouts[key] = Layout(key, columns, dict(sorted(extras.items())))
        return self._layouts[key]

    def known_columns(self, headers: Sequence[str]) -> int:
        """How many columns of the source the field names give."""
        return len({self._column_of.get(essence(header)) for header in headers} - {None})

    def require_columns(self, present: set[str], found: Sequence[str]) -> None:
        """Raise `FileRefused` unless the required columns are among `present`; else make the note.

        The message goes to the event log, so it quotes known headers only: without a header line, or
        with a column for each student, names stand among the others.
        """
        missing = [column for column in self.source.required if column not in present]
        if not missing:
            self.note = self._note(present, found)
            return
        known = [name for name in found if essence(name) in self._column_of]
        unknown = len(found) - len(known)
        parts = [f"{', '.join(map(repr, known))}"] if known else []
        if unknown:
            parts.append(f"{unknown} field{'s' if unknown > 1 else ''} without a known name")
        raise FileRefused(
            f"Expected the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}, "
            f"found only {' and '.join(parts) or 'no columns'}"
            f"{'' if known else ' (is the header line missing?)'}."
        )

    def _note(self, present: set[str], found: Sequence[str]) -> str | None:
        source = self.source
        unknown = [name for name in found if name and essence(name) not in self._column_of]
        warned_of = set(source.columns) - set(source.dispensable) if unknown else source.expected
        missing = [name for name in source.columns if name in warned_of and name not in present]
        if not missing:
            return None
        lacks = f"It lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}."
        quoted = [repr(shorten(name, 60)) for name in unknown[:_MOST_HEADERS]]
        if len(unknown) > _MOST_HEADERS:
            quoted.append(f"{len(unknown) - _MOST_HEADERS} more")
        return f"{lacks}{_UNKNOWN}{', '.join(quoted)}." if unknown else lacks


def without_headers(note: str) -> str:
    """A note as it may stand in the event log, where no student's name may."""
    lacks, unknown, _ = note.partition(_UNKNOWN)
    return f"{lacks} It has headers that no column knows." if unknown else lacks


def _free_name(header: str, taken: Mapping[str, int]) -> str:
    name = header
    number = 2
    while name in taken:
        name = f"{header}_{number}"
        number += 1
    return name
