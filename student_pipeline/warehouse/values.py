"""What assets take and return instead of rows: rows stay in the engine."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import duckdb

from student_pipeline.tables import Table
from student_pipeline.warehouse import sql
from student_pipeline.warehouse.strategies import Written


@dataclass(frozen=True)
class Relation:
    """A stored table, as an asset's input: its name for a SELECT, no rows."""

    table: Table

    def __str__(self) -> str:
        return self.table.full_name


@dataclass(frozen=True)
class Select:
    """What a table shall hold, as one SELECT.

    Attributes:
        template: the SELECT, with `$name` where a relation or a value is to be filled in.
        values: what to fill in; a template without any is taken as it is.
    """

    template: str
    values: Mapping[str, object] = field(default_factory=dict)

    @property
    def sql(self) -> str:
        """The whole SELECT."""
        return self.reading()

    @property
    def reads(self) -> dict[str, Table]:
        """Name in the template -> the stored table that is filled in there."""
        return {
            name: value.table for name, value in self.values.items() if isinstance(value, Relation)
        }

    def reading(self, **relations: str) -> str:
        """The SELECT reading other relations in place of the stored tables of these names."""
        values = {**self.values, **relations}
        return sql.fill(self.template, values) if values else self.template


@dataclass(frozen=True)
class Refused:
    """The rows that `table` refused; they are written together with `table`, in its transaction."""

    table: Table


@runtime_checkable
class Feed(Protocol):
    """Rows that come in portions from outside, each portion staged in the engine first."""

    def write(
        self,
        connection: duckdb.DuckDBPyConnection,
        store: Callable[[str], Written],
        run_id: str,
    ) -> Mapping[str, Any]:
        """Stage every portion, store it by the table's strategy, and return metadata for the UI.

        Args:
            connection: the open transaction.
            store: takes the SELECT of a staged portion and writes it.
            run_id: the Dagster run.
        """
        ...


def select(path: str, **values: object) -> Select:
    """The SELECT of a file below `student_pipeline/sql`, reading the given relations."""
    return Select(sql.text(path), values)
