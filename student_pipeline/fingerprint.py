"""A fingerprint of a table: the same on every engine, whatever the order of the rows.

Of each column it is a sum over the rows: of a number for the cell and the key of its row together. So
two tables have one fingerprint when every row has the same cells, and another (but for one chance in
10^18) when a cell differs, two rows swapped cells, or a row is missing or stands twice.

Doubles are told apart by six decimals below 10^9, by whole numbers below 10^18, and by about eight
digits above: their texts differ between engines, these numbers do not.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from student_pipeline.tables import Column, Table

ENGINES_OWN = ("_id_hash",)
"""Columns whose values every engine computes in its own way; they are never compared."""


@dataclass(frozen=True)
class Words:
    """What an expression says in its own way on each engine.

    Attributes:
        text: the type of texts.
        identifier: quotes a name.
        number_of: text expression -> the first 15 hexadecimal digits of its MD5, as a number.
        microseconds_of: instant expression -> microseconds since 1970.
    """

    text: str
    identifier: Callable[[str], str]
    number_of: Callable[[str], str]
    microseconds_of: Callable[[str], str]


@dataclass(frozen=True)
class Fingerprint:
    """Of one table.

    Attributes:
        columns: column -> the sum over its cells.
    """

    rows: int
    columns: Mapping[str, int]

    def __str__(self) -> str:
        told = ";".join(f"{name}={number}" for name, number in self.columns.items())
        return hashlib.sha256(f"{self.rows};{told}".encode()).hexdigest()[:16]

    def differences(self, other: "Fingerprint") -> list[str]:
        """The columns whose cells are not the same; all where the number of rows differs."""
        names = dict.fromkeys([*self.columns, *other.columns])
        return [name for name in names if self.columns.get(name) != other.columns.get(name)]


def compared(table: Table) -> list[Column]:
    """The columns that a fingerprint is made of."""
    return [column for column in table.columns if column.name not in ENGINES_OWN]


def expressions(table: Table, words: Words) -> list[str]:
    """The aggregates over a table that give its fingerprint: rows first, then each column's sum."""
    key = " || ' ' || ".join(
        f"coalesce({_text(column, words)}, '')" for column in _identifying(table)
    )
    sums = (
        "sum(CAST("
        + words.number_of(f"{key} || '=' || {_text(column, words)}")
        + " AS DECIMAL(20, 0)))"
        for column in compared(table)
    )
    return ["count(*)", *sums]


def fingerprint(table: Table, row: tuple[object, ...]) -> Fingerprint:
    """The fingerprint from what the aggregates gave."""
    rows, *sums = (int(str(number or 0)) for number in row)
    names = (column.name for column in compared(table))
    return Fingerprint(rows, dict(zip(names, sums, strict=True)))


def _identifying(table: Table) -> list[Column]:
    """The columns that tie cells to their row: the key, or where the row came from, or all."""
    came_from = [c for c in table.columns if c.name in ("_load_id", "_source_row")]
    return [c for c in table.columns if c.name in table.key] or came_from or list(table.columns)


def _text(column: Column, words: Words) -> str:
    """A cell as the text that is the same on every engine; null stays null."""
    name = words.identifier(column.name)
    if column.type == "TIMESTAMPTZ":
        return f"CAST({words.microseconds_of(name)} AS {words.text})"
    if column.type == "DOUBLE":
        return _number(name, words)
    return f"CAST({name} AS {words.text})"


def _number(name: str, words: Words) -> str:
    """A double as the text of a whole number.

    Product, sum, root and floor of doubles have one result on every engine (IEEE 754).
    """
    size = f"abs({name})"
    scaled = (
        f"CASE WHEN {size} < 1e9 THEN floor({size} * 1e6 + 0.5) "
        f"WHEN {size} < 1e18 THEN floor({size}) "
        f"WHEN {size} <= 1.7976931348623157e308 "
        f"THEN floor(sqrt(sqrt(sqrt(sqrt(sqrt({size}))))) * 1e8) END"
    )
    return (
        f"CASE WHEN {name} IS NULL THEN NULL ELSE CASE WHEN {name} < 0 THEN '-' ELSE '' END "
        f"|| CASE WHEN {size} < 1e9 THEN '' WHEN {size} < 1e18 THEN 'whole ' ELSE 'root ' END "
        f"|| coalesce(CAST(CAST({scaled} AS BIGINT) AS {words.text}), 'infinite') END"
    )
