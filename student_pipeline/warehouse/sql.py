"""Loading the SQL of `student_pipeline/sql`: one SELECT a file, and the macros they share.

A file names what it reads as `$relation` and the rules it uses as `$rule`; `render` fills them in.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from string import Template
from typing import Any

BLANKS = "".join(
    map(
        chr,
        (
            *range(0x09, 0x0E),  # tab, line feed, vertical tab, form feed, carriage return
            *range(0x1C, 0x21),  # the four separators, space
            0x85,
            0xA0,
            0x1680,
            0x180E,
            *range(0x2000, 0x200E),  # typographic spaces, zero-width space and joiners
            0x2028,
            0x2029,
            0x202F,
            0x205F,
            0x2060,
            0x3000,
            0xFEFF,
        ),
    )
)
"""Every character that counts as blank: Unicode's white space and the zero-width characters."""


def literal(value: str) -> str:
    """The value as an SQL text literal, safe whatever it holds."""
    return "'" + value.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """The name as a quoted SQL identifier, safe whatever it holds."""
    return '"' + name.replace('"', '""') + '"'


def names(columns: Iterable[str], alias: str = "") -> str:
    """Column names for a select list: `a, b` or, with an alias, `t.a, t.b`."""
    prefix = f"{alias}." if alias else ""
    return ", ".join(prefix + identifier(column) for column in columns)


def scalar(connection: Any, query: str, parameters: object = None) -> int:
    """The one whole number that a query returns."""
    row = connection.execute(query, parameters).fetchone()
    return int(row[0]) if row else 0


@cache
def text(path: str) -> str:
    """The text of a file below `student_pipeline/sql`."""
    return files("student_pipeline").joinpath("sql").joinpath(path).read_text(encoding="utf-8")


def render(path: str, **values: object) -> str:
    """The SELECT of a file, with relations and rules filled in.

    Raises:
        KeyError: the file names something that was not given.
    """
    return fill(text(path), values)


def fill(template: str, values: Mapping[str, object]) -> str:
    """A template with its `$name`s filled in.

    Raises:
        KeyError: it names something that was not given.
    """
    return Template(template).substitute({name: str(value) for name, value in values.items()})


def macros() -> str:
    """The statements that define the macros of `sql/macros.sql` on a connection."""
    return Template(text("macros.sql")).substitute(blanks=BLANKS)


def vocabulary(meanings: dict[str, list[str]]) -> str:
    """A relation (word, meaning) of a vocabulary, the words in upper case."""
    rows = ", ".join(
        f"({literal(word)}, {literal(meaning)})"
        for meaning, words in meanings.items()
        for word in words
    )
    # The engine's own upper case, since it is compared with that; one row a word.
    return (
        "(select upper_case(word) as word, min(meaning) as meaning "
        f"from (values {rows}) as v (word, meaning) group by upper_case(word))"
    )
