"""Which files of the landing folder belong to a source."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from student_pipeline.sources import FORMATS, SOURCES, Source

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_NAME = re.compile(
    rf"(?P<stem>.+)\.(?:(?P<format>{'|'.join(FORMATS)})|(?P<packed>csv|tsv|json|jsonl|ndjson)\.gz)",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)
_TEMPORARY = ("~", ".tmp", ".part")


class LandingError(Exception):
    """The landing folder is not there or can't be listed.

    Attributes:
        may_pass: whether another try may find it.
    """

    def __init__(self, message: str, *, may_pass: bool = False) -> None:
        super().__init__(message)
        self.may_pass = may_pass


@dataclass(frozen=True)
class FoundFile:
    """A file that belongs to a source by its name.

    Attributes:
        path: relative to the landing folder, `/` between parts.
        location: where to open it: an absolute local path, or a path of `filesystem`.
        format: one of `sources.FORMATS`.
        gzipped: whether it is compressed.
        passed_over: why it is not read, where that shows without opening it.
        filesystem: the fsspec file system it lies on; None for the local one.
    """

    path: str
    location: str
    format: str
    gzipped: bool
    passed_over: str | None = None
    filesystem: "AbstractFileSystem | None" = None


def patterns(source: Source) -> str:
    """The file names that are looked for, for a sentence."""
    name = source.name
    extensions = ", ".join(FORMATS)
    return (
        f"{name}.<ext>, {name}-*.<ext>, {name}_*.<ext> and {name}/**/*.<ext> "
        f"(<ext>: {extensions}; all but parquet also .gz)"
    )


def is_remote(landing: str) -> bool:
    """Whether the landing folder is an fsspec URL such as `s3://bucket/prefix`."""
    return "://" in landing and not landing.startswith("file://")


def find_files(landing: str, source: Source) -> list[FoundFile]:
    """The files of a source, in the order of the code points of their paths.

    Raises:
        LandingError: the folder is not there or can't be listed; the message is a sentence.
    """
    found = _find_remote(landing, source) if is_remote(landing) else _find_local(landing, source)
    return sorted(found, key=lambda file: file.path)


def require_landing(landing: str) -> None:
    """Raise `LandingError` unless the landing folder is there and can be listed."""
    if is_remote(landing):
        _list_remote(landing)
        return
    root = local_root(landing)
    if not root.exists():
        raise LandingError(f"The landing folder {root} does not exist.")
    if not root.is_dir():
        raise LandingError(f"The landing folder {root} is not a folder.")
    _list_local(root)


def _list_local(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise LandingError(
            f"The folder {_printable(str(folder))} can't be listed: {error.strerror}.",
            may_pass=True,
        ) from error


def strangers(landing: str) -> list[str]:
    """The data files right in a local landing folder whose name belongs to no source.

    Raises:
        LandingError: as `find_files`.
    """
    if is_remote(landing):
        return []
    return sorted(
        _printable(entry.name)
        for entry in _list_local(local_root(landing))
        if not entry.name.startswith(".")
        and _NAME.fullmatch(entry.name)
        and not entry.is_dir()
        and not any(_role((entry.name,), source) for source in SOURCES.values())
    )


def local_root(landing: str) -> Path:
    """The landing folder as a local path."""
    return Path(landing.removeprefix("file://"))


def _role(parts: tuple[str, ...], source: Source) -> tuple[str, bool, str | None] | None:
    """(format, gzipped, why passed over) of a path that belongs to the source, else None."""
    name = parts[-1]
    passed_over = None
    for ending in _TEMPORARY:
        if name.lower().endswith(ending):
            passed_over = f"Passed over: names that end in {ending} are temporary."
            name = name[: -len(ending)]
            break
    if any(part.startswith(".") for part in parts):
        passed_over = "Passed over: it is hidden."
        name = name.lstrip(".")
    match = _NAME.fullmatch(name)
    if not match:
        return None
    if len(parts) == 1:
        stem = match["stem"].lower()
        if stem != source.name and not stem.startswith((f"{source.name}-", f"{source.name}_")):
            return None
    elif parts[0].lower() != source.name:
        return None
    return (match["format"] or match["packed"]).lower(), bool(match["packed"]), passed_over


def _found(
    parts: tuple[str, ...],
    source: Source,
    location: str,
    passed_over: str | None = None,
    filesystem: "AbstractFileSystem | None" = None,
) -> Iterator[FoundFile]:
    role = _role(parts, source)
    if role:
        format_, gzipped, hidden = role
        yield FoundFile(
            _printable("/".join(parts)),
            location,
            format_,
            gzipped,
            passed_over or hidden,
            filesystem,
        )


def _printable(path: str) -> str:
    """The path with bytes that are no text written as `\\xNN`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _find_local(landing: str, source: Source) -> Iterator[FoundFile]:
    require_landing(landing)
    root = Path(os.path.realpath(local_root(landing)))
    yield from _walk(root, root, (), source, (root,))


def _walk(
    folder: Path, root: Path, parts: tuple[str, ...], source: Source, above: tuple[Path, ...]
) -> Iterator[FoundFile]:
    """The source's files below a folder; `above` are the real folders on the way, against loops."""
    for entry in _list_local(folder):
        here = (*parts, entry.name)
        below_source = here[0].lower() == source.name
        real = Path(os.path.realpath(entry.path))
        if entry.is_symlink() and not real.is_relative_to(root):
            outside = "Passed over: it is a link that points out of the landing folder."
            if below_source and not _role(here, source):
                yield FoundFile(_printable("/".join(here)), entry.path, "csv", False, outside)
            else:
                yield from _found(here, source, entry.path, outside)
        elif os.path.isdir(entry.path):  # false for a link that leads to itself
            if below_source and real not in above:
                yield from _walk(real, root, here, source, (*above, real))
        else:
            yield from _found(here, source, entry.path)


def _list_remote(landing: str) -> tuple["AbstractFileSystem", str, list[str]]:
    from fsspec.core import url_to_fs

    try:
        # A listing that fsspec remembers from an earlier run would hide new files.
        filesystem, root = url_to_fs(landing, use_listings_cache=False)
        filesystem.invalidate_cache()
        return filesystem, root, list(filesystem.find(root))
    except FileNotFoundError as error:
        raise LandingError(f"The landing folder {landing} does not exist.") from error
    except (ValueError, ImportError) as error:
        raise LandingError(f"The landing folder {landing} can't be opened: {error}.") from error
    except Exception as error:  # every file system has its own for a broken connection
        raise LandingError(
            f"The landing folder {landing} can't be listed: {error}.", may_pass=True
        ) from error


def _find_remote(landing: str, source: Source) -> Iterator[FoundFile]:
    filesystem, root, locations = _list_remote(landing)
    prefix = root.rstrip("/") + "/"
    for location in locations:
        parts = tuple(location.removeprefix(prefix).split("/"))
        yield from _found(parts, source, location, filesystem=filesystem)
