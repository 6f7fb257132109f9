"""Where the tables lie when a cluster keeps them: folders of Parquet, and one pointer to those in force.

`catalog.json` names the folders of every table. Whatever is written goes into new folders; the pointer
is replaced last, by a rename (or, on an object store, by one put). So a run that fails or is killed
leaves every table as it was, and a table, its quarantine and the books change together.

    catalog.json
    bronze/attendance/000012-1f0c9a52/*.parquet
    silver/fact_attend/000013-77d0b3e1/part=2026-05/*.parquet
    ops/000014-5d1b20aa/source_files.parquet
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from fsspec.core import url_to_fs

from student_pipeline.disk import to_disk

POINTER = "catalog.json"
LOCK = ".lock"
SCRATCH = "scratch"
FORMAT = 1
"""Changes when an older pipeline could no longer read the folder."""

Parts = Mapping[str, tuple[str, ...]]
"""Label of a part (a month, `refused`, …) -> its folders, relative to the warehouse."""


class StoreError(Exception):
    """The folder can't be used. The message is a sentence."""


class LockLost(OSError):
    """Somebody took this run's lock away; another run may write. The message is a sentence."""


class StoreBusy(Exception):
    """Another run writes, and did not end in time. The message is a sentence."""


@dataclass(frozen=True)
class Catalog:
    """What is in force.

    Attributes:
        version: grows with every change.
        tables: `schema.name` -> its parts; a table without parts has no rows.
        books: the folder of the pipeline's own small tables; empty before the first change.
    """

    version: int = 0
    tables: Mapping[str, Parts] = field(default_factory=dict)
    books: str = ""

    def folders(self) -> set[str]:
        """Every folder that is in force."""
        every = {
            folder
            for parts in self.tables.values()
            for folders in parts.values()
            for folder in folders
        }
        return every | ({self.books} if self.books else set())


class Store:
    """The warehouse folder, as this process and the cluster see it."""

    def __init__(self, url: str) -> None:
        """
        Args:
            url: a folder, or a URL that fsspec and the cluster know, such as `s3a://bucket/prefix`.

        Raises:
            StoreError: nothing here can open such a URL.
        """
        self.url = url
        try:
            self._fs, root = url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise StoreError(f"The warehouse {url} can't be opened: {error}.") from error
        self._root = root.rstrip("/")
        self._held: IO[Any] | bytes | None = None
        self.is_local = "file" in self._protocols()

    def _protocols(self) -> tuple[str, ...]:
        protocol = self._fs.protocol
        return (protocol,) if isinstance(protocol, str) else tuple(protocol)

    def make(self) -> None:
        """Make the folder when it is missing.

        Raises:
            StoreError: it can't be made.
        """
        try:
            self._fs.makedirs(self._root, exist_ok=True)
        except Exception as error:
            reason = getattr(error, "strerror", None) or error
            raise StoreError(f"The warehouse {self.url} can't be made: {reason}.") from error

    def for_cluster(self, folder: str) -> str:
        """A folder as Spark's readers and writers take it."""
        if self.is_local:  # whatever the cluster's own file system is
            return f"file://{self._root}/{folder}"
        return f"{self.url.rstrip('/')}/{folder}"

    def new_folder(self, parent: str, version: int) -> str:
        """A name below `parent` that no run has used, not even one that was killed."""
        return f"{parent}/{version:06d}-{uuid.uuid4().hex[:8]}"

    def read(self) -> Catalog | None:
        """What is in force; None where nothing was ever written.

        Raises:
            StoreError: the pointer can't be read, or is of another version of the pipeline.
        """
        try:
            content = json.loads(self._fs.cat_file(self._path(POINTER)))
        except FileNotFoundError:
            return None
        except Exception as error:
            raise StoreError(
                f"The warehouse {self.url} can't be read: {POINTER}: {error}."
            ) from error
        if content.get("format") != FORMAT:
            raise StoreError(
                f"The warehouse {self.url} has the format {content.get('format')!r}; "
                f"expected {FORMAT}. Another version of the pipeline wrote it."
            )
        tables = {
            name: {label: tuple(folders) for label, folders in parts.items()}
            for name, parts in content["tables"].items()
        }
        return Catalog(content["version"], tables, content["books"])

    def write(self, catalog: Catalog) -> None:
        """Put this into force, all at once.

        Raises:
            LockLost: another run may have changed the warehouse meanwhile.
            OSError: it can't be written; what was in force stays so.
        """
        self._require_lock()
        content = json.dumps(
            {
                "format": FORMAT,
                "version": catalog.version,
                "books": catalog.books,
                "tables": catalog.tables,
            },
            indent=1,
        ).encode()
        if not self.is_local:
            self._fs.pipe_file(self._path(POINTER), content)
            return
        before = self.read() or Catalog()
        for folder in catalog.folders() - before.folders():
            self._to_disk(folder)
        draft = f"{self._path(POINTER)}.tmp"
        with open(draft, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, self._path(POINTER))
        to_disk(Path(self._root))

    def _to_disk(self, folder: str) -> None:
        """Have a folder, and its files, survive a power cut of this machine."""
        for path, _, files in os.walk(self._path(folder)):
            for file in files:
                to_disk(Path(path) / file)
            to_disk(Path(path))
        to_disk(Path(self._path(folder)).parent)

    def put(self, name: str, local: str) -> None:
        """Copy a local file into the warehouse."""
        path = self._path(name)
        self._fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        self._fs.put_file(local, path)

    def get(self, name: str, local: str) -> bool:
        """Copy a file of the warehouse to a local place; False where there is none."""
        try:
            self._fs.get_file(self._path(name), local)
        except FileNotFoundError:
            return False
        return True

    def exists(self, folder: str) -> bool:
        """Whether it is there, as this process sees it."""
        return bool(self._fs.exists(self._path(folder)))

    def labels(self, folder: str) -> dict[str, str]:
        """Label -> subfolder, of a folder that was written in parts."""
        found = {}
        for path in self._list(folder):
            name = path.rstrip("/").rsplit("/", 1)[-1]
            if name.startswith("part="):
                found[name.removeprefix("part=")] = f"{folder}/{name}"
        return found

    def _list(self, folder: str) -> list[str]:
        try:
            return list(self._fs.ls(self._path(folder), detail=False))
        except FileNotFoundError:
            return []

    def remove(self, folder: str) -> None:
        """Remove a folder and all in it, if it is there."""
        if self._fs.exists(self._path(folder)):
            self._fs.rm(self._path(folder), recursive=True)

    def sweep(self, tables: Iterable[str], kept: set[str]) -> None:
        """Remove the folders of tables that are not in `kept`, and all scratch.

        Those are old versions, and what killed runs left. The caller holds the lock.

        Args:
            tables: `schema.name` of every table, and `ops` for the books.
            kept: folders as catalogs name them.

        Raises:
            LockLost: another run may write; nothing was removed.
        """
        self._require_lock()
        whole = {folder.partition("/part=")[0] for folder in kept}
        self.remove(SCRATCH)
        for name in tables:
            parent = name.replace(".", "/")
            for path in self._list(parent):
                folder = f"{parent}/{path.rstrip('/').rsplit('/', 1)[-1]}"
                if not _is_version(folder):
                    continue
                if folder not in whole:
                    self.remove(folder)
                    continue
                for part in self.labels(folder).values():
                    if part not in kept and folder not in kept:
                        self.remove(part)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextmanager
    def lock(self, timeout_seconds: float, tell: Callable[[str], object]) -> Iterator[None]:
        """Within: no other run writes. A run that finds the lock taken waits for it.

        Local folders have a lock that ends with its process. On an object store it is an object
        that is put only where there is none; one that a killed run left has to be removed by hand.

        Raises:
            StoreBusy: the wait was in vain; the message names the holder.
        """
        deadline = time.monotonic() + timeout_seconds
        told, pause = False, 0.05
        while (held := self._try_lock()) is None:
            holder = self._holder()
            if time.monotonic() >= deadline:
                raise StoreBusy(
                    f"The warehouse {self.url} is in use by {holder}, which did not let go of it "
                    f"within {timeout_seconds:g} seconds. Nothing was changed."
                    + ("" if self.is_local else f" If that run is gone, remove {LOCK} there.")
                )
            if not told:
                tell(f"Waiting for the warehouse {self.url}: it is in use by {holder}.")
                told = True
            time.sleep(pause)
            pause = min(pause * 1.5, 1.0)
        self._held = held
        try:
            yield
        finally:
            ours, self._held = self._is_ours(held), None
            if isinstance(held, bytes):
                if ours:
                    self._fs.rm_file(self._path(LOCK))
            else:
                held.truncate(0)
                held.close()

    def _try_lock(self) -> IO[Any] | bytes | None:
        """What has to be let go of later; None where another run holds the lock."""
        me = f"process {os.getpid()} on {socket.gethostname()}"
        if not self.is_local:
            mine = f"{me} ({uuid.uuid4().hex[:8]})".encode()
            try:
                self._fs.pipe_file(self._path(LOCK), mine, mode="create")
            except FileExistsError:
                return None
            except OSError:  # as some stores say the same
                if self.exists(LOCK):
                    return None
                raise
            return mine
        file = open(self._path(LOCK), "a+b")  # noqa: SIM115 - it stays open as long as the lock
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        file.truncate(0)
        file.write(me.encode())
        file.flush()
        return file

    def _is_ours(self, held: IO[Any] | bytes) -> bool:
        """Whether the lock is still the one that was taken."""
        try:
            if isinstance(held, bytes):
                return bool(self._fs.cat_file(self._path(LOCK)) == held)
            return os.path.samestat(os.fstat(held.fileno()), os.stat(self._path(LOCK)))
        except FileNotFoundError:
            return False

    def _require_lock(self) -> None:
        if self._held is not None and not self._is_ours(self._held):
            raise LockLost(
                f"The lock of the warehouse {self.url} was taken away from this run; another one may "
                "write there. Nothing more was changed."
            )

    def _holder(self) -> str:
        try:
            return self._fs.cat_file(self._path(LOCK)).decode() or "another process"
        except FileNotFoundError:
            return "another process"


def _is_version(folder: str) -> bool:
    number, dash, _ = folder.rsplit("/", 1)[-1].partition("-")
    return bool(dash) and number.isdigit()
