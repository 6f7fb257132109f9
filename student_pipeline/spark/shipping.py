"""Sending code to the workers: as source text inside the function that they run.

Nothing has to be installed there, and no worker can run the code of another version: the package gets
a name of its own, made from the hash of its text. The function itself travels as bytecode, which is
why the workers need the same minor version of Python.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files
from typing import Any

MODULES = (
    "__init__.py",
    "sources.py",
    "ingest/__init__.py",
    "ingest/bulk.py",
    "ingest/csv_records.py",
    "ingest/discovery.py",
    "ingest/errors.py",
    "ingest/json_records.py",
    "ingest/layout.py",
    "ingest/limits.py",
    "ingest/records.py",
    "ingest/snapshot.py",
    "spark/__init__.py",
    "spark/worker.py",
    "warehouse/__init__.py",
    "warehouse/sql.py",
)
"""What `worker` needs, itself included."""

PACKAGE = "student_pipeline"


@cache
def _shipment() -> tuple[str, bytes]:
    """(name of the package on the workers, zip file with its modules)."""
    texts = {
        name: files(PACKAGE).joinpath(name).read_text(encoding="utf-8") for name in MODULES
    }
    digest = hashlib.sha256("\0".join(texts.values()).encode()).hexdigest()[:16]
    package = f"{PACKAGE}_{digest}"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            renamed = text.replace(f"from {PACKAGE}.", f"from {package}.")
            archive.writestr(f"{package}/{name}", renamed)
    return package, packed.getvalue()


def reader(settings: dict[str, Any]) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """The function for `mapInArrow` that reads the files which its batches name."""
    package, packed = _shipment()

    # It is sent by value, for nobody can import a function within a function; so must be all that
    # it names.
    def read(batches: Iterator[Any]) -> Iterator[Any]:
        import atexit
        import importlib
        import shutil
        import sys
        import tempfile
        from pathlib import Path

        if package not in sys.modules:
            folder = tempfile.mkdtemp(prefix="student_pipeline_code_")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            archive = Path(folder) / "code.zip"
            archive.write_bytes(packed)
            sys.path.insert(0, str(archive))
        worker = importlib.import_module(f"{package}.spark.worker")
        yield from worker.read_files(batches, settings)

    return read
