"""Moving a warehouse from one engine to another: out to a folder of Parquet, in again, and compared.

An export holds every table and the pipeline's own books, so that the imported warehouse goes on where
the exported one stopped: files that were loaded are known, and nothing is loaded twice. Its manifest is
written last: a folder without one is no export.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import fsspec

from student_pipeline import tables
from student_pipeline.fingerprint import Fingerprint
from student_pipeline.progress import count
from student_pipeline.settings import SettingsError
from student_pipeline.tables import Table

MANIFEST = "manifest.json"
FORMAT = 1
"""Of an export; another one can't be imported."""

MOVED = (*tables.TABLES.values(), tables.LATEST_ROSTER, *tables.OPS)
"""Every table that an export may hold."""


class TransferFailed(Exception):
    """An export or import did not end well; nothing of the warehouse changed. A sentence."""


class Engine(Protocol):
    """What moving tables needs of the engine that holds them."""

    name: str
    """Engine and version, for people."""

    place: str
    """The warehouse, for people."""

    def holds(self, table: Table) -> bool:
        """Whether there is such a table, with the declared columns.

        Raises:
            TransferFailed: its columns are others.
        """
        ...

    def fingerprint(self, table: Table) -> Fingerprint:
        """The fingerprint of a stored table."""
        ...

    def require_folder(self, folder: str) -> None:
        """Raise `SettingsError` unless the engine can write and read Parquet there."""
        ...

    def write_out(self, table: Table, folder: str) -> None:
        """Write a stored table as Parquet files into a folder of its own."""
        ...

    def transaction(self) -> AbstractContextManager[object]:
        """Within: what is read in is kept whole, or not at all."""
        ...

    def read_in(self, table: Table, folder: str, *, rows: int) -> None:
        """Make the table anew from the Parquet files of its folder.

        Args:
            rows: how many there are; where there are none, there may be no file.
        """
        ...


@dataclass(frozen=True)
class Export:
    """What the manifest of an export says.

    Attributes:
        engine: that wrote it.
        columns: table -> column -> type.
        fingerprints: table -> its fingerprint.
    """

    engine: str
    columns: Mapping[str, Mapping[str, str]]
    fingerprints: Mapping[str, Fingerprint]


@dataclass(frozen=True)
class Difference:
    """A table that is not the same here and there.

    Attributes:
        here, there: its fingerprints; None where there is no such table.
    """

    table: str
    here: Fingerprint | None
    there: Fingerprint | None

    def __str__(self) -> str:
        if self.here is None or self.there is None:
            return f"{self.table} is {'in the export' if self.there else 'in the warehouse'} only."
        if self.here.rows != self.there.rows:
            return (
                f"{self.table} has {count(self.here.rows, 'row')}, in the export "
                f"{count(self.there.rows, 'row')}."
            )
        return f"{self.table} differs in {', '.join(self.here.differences(self.there))}."


def fingerprints(
    engine: Engine, which: Sequence[Table] = tuple(tables.TABLES.values())
) -> dict[str, Fingerprint]:
    """The fingerprints of the tables that are stored, by full name."""
    return {table.full_name: engine.fingerprint(table) for table in which if engine.holds(table)}


def export_to(engine: Engine, folder: str, tell: Callable[[str], object]) -> Export:
    """Write all of the warehouse to a folder.

    Args:
        folder: a path or URL; it must be empty, or not there yet.
        tell: is given a sentence for each table.

    Raises:
        SettingsError: the folder can't be used.
        TransferFailed: a stored table has other columns than it should.
    """
    engine.require_folder(folder)
    _require_empty(folder)
    stored = [table for table in MOVED if engine.holds(table)]
    if not any(table in tables.BRONZE for table in stored):
        raise SettingsError(
            f"The warehouse {engine.place} holds no table yet: there is nothing to export."
        )
    for table in stored:
        engine.write_out(table, _folder_of(table, folder))
        tell(f"{table.full_name} is written.")
    export = Export(
        engine.name,
        {table.full_name: _columns(table) for table in stored},
        fingerprints(engine, stored),
    )
    _write_manifest(export, folder)
    return export


def import_from(engine: Engine, folder: str, tell: Callable[[str], object]) -> Export:
    """Fill an empty warehouse from an export, and prove that it is the same; or leave it empty.

    Raises:
        SettingsError: the folder holds no export that fits, or the warehouse is not empty.
        TransferFailed: what was read in is not what was exported.
    """
    engine.require_folder(folder)
    export = read_manifest(folder)
    _require_declared(export, folder)
    wanted = [table for table in MOVED if table.full_name in export.fingerprints]
    _require_nothing_there(engine)
    with engine.transaction():
        for table in wanted:
            rows = export.fingerprints[table.full_name].rows
            engine.read_in(table, _folder_of(table, folder), rows=rows)
            tell(f"{table.full_name}: {count(rows, 'row')}.")
        differences = compare(fingerprints(engine, wanted), export)
        if differences:
            raise TransferFailed(
                f"What was read from {folder} is not what was exported; the warehouse stays empty. "
                + " ".join(map(str, differences))
            )
    return export


def compare(here: Mapping[str, Fingerprint], export: Export) -> list[Difference]:
    """The tables that are not the same here as they were when they were exported.

    Only the tables that every run makes are looked for, and those whose fingerprints are given.
    """
    names = dict.fromkeys([*here, *(name for name in export.fingerprints if name in tables.TABLES)])
    both = ((name, here.get(name), export.fingerprints.get(name)) for name in names)
    return [Difference(*each) for each in both if each[1] != each[2]]


def read_manifest(folder: str) -> Export:
    """What an export says of itself.

    Raises:
        SettingsError: there is no export, or one of another format.
    """
    path = _below(folder, MANIFEST)
    try:
        with fsspec.open(path, "r", encoding="utf-8") as file:
            told = json.load(file)
        if told["format"] != FORMAT:
            raise SettingsError(
                f"{path}: expected an export of format {FORMAT}, found format {told['format']}. "
                "Export the warehouse anew, with this version of student-pipeline."
            )
        return _export_of(told)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SettingsError(
            f"{folder} holds no export: expected the file {MANIFEST} there, which "
            "`student-pipeline export` writes last."
        ) from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise SettingsError(
            f"{path}: expected the manifest of an export, found something else."
        ) from error


# --- helpers --------------------------------------------------------------------------------------


def _columns(table: Table) -> dict[str, str]:
    return {column.name: column.type for column in table.columns}


def _below(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}"


def _folder_of(table: Table, folder: str) -> str:
    return _below(folder, f"{table.schema}/{table.name}")


def _require_empty(folder: str) -> None:
    filesystem, path = fsspec.url_to_fs(folder)
    try:
        found = filesystem.ls(path, detail=False) if filesystem.exists(path) else []
    except NotADirectoryError:
        found = [path]
    if found:
        raise SettingsError(f"{folder} is not empty; an export needs an empty or a new folder.")


def _require_declared(export: Export, folder: str) -> None:
    declared = {table.full_name: _columns(table) for table in MOVED}
    for name, columns in export.columns.items():
        if columns != declared.get(name):
            raise SettingsError(
                f"{folder} was exported by another version of student-pipeline: the columns of "
                f"{name} are not those of this one. Export it anew, with this version."
            )


def _require_nothing_there(engine: Engine) -> None:
    for table in tables.TABLES.values():
        if engine.holds(table):
            rows = engine.fingerprint(table).rows
            raise SettingsError(
                f"The warehouse {engine.place} is not empty: it holds {table.full_name} with "
                f"{count(rows, 'row')}. Import into a new one: STUDENT_PIPELINE_WAREHOUSE."
            )


def _write_manifest(export: Export, folder: str) -> None:
    told: dict[str, Any] = {
        "format": FORMAT,
        "engine": export.engine,
        "tables": {
            name: {
                "columns": dict(export.columns[name]),
                "rows": found.rows,
                # As texts: JSON's numbers lose digits in other hands.
                "sums": {column: str(number) for column, number in found.columns.items()},
            }
            for name, found in export.fingerprints.items()
        },
    }
    with fsspec.open(_below(folder, MANIFEST), "w", encoding="utf-8") as file:
        json.dump(told, file, indent=1)


def _export_of(told: Mapping[str, Any]) -> Export:
    found = told["tables"]
    return Export(
        told["engine"],
        {name: dict(about["columns"]) for name, about in found.items()},
        {
            name: Fingerprint(
                int(about["rows"]),
                {column: int(number) for column, number in about["sums"].items()},
            )
            for name, about in found.items()
        },
    )
