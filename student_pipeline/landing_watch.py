"""Whether new files have settled in the landing folder: the state that the sensor carries on.

Pure but for looking at the files; the clock is passed in.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field

from student_pipeline.ingest.discovery import FoundFile, find_files
from student_pipeline.sources import SOURCES


class StillMoving(Exception):
    """A file changed or vanished while it was looked at."""


@dataclass
class Watch:
    """What was seen so far; it survives restarts as the sensor's cursor.

    Names of files are kept as hashes, so that the cursor stays small.

    Attributes:
        known: file -> (how it looked, its content) when it was last handed to a run.
        waiting: file -> (how it looks, since when in seconds since 1970), for what is new.
        last_key: the key of the last run that was asked for.
    """

    known: dict[str, list[str]] = field(default_factory=dict)
    waiting: dict[str, tuple[str, float]] = field(default_factory=dict)
    last_key: str = ""

    @classmethod
    def from_cursor(cls, cursor: str | None) -> "Watch":
        """The state that a cursor holds; that of a first look without one."""
        return cls(**json.loads(cursor)) if cursor else cls()

    def cursor(self) -> str:
        """The state as text."""
        return json.dumps(asdict(self), separators=(",", ":"))


@dataclass(frozen=True)
class Settled:
    """New content that nobody changes any more.

    Attributes:
        key: the same for the same content after the same content.
        files: how many files are new or changed.
        since: when the last of them was first seen so, in seconds since 1970.
    """

    key: str
    files: int
    since: float


def landing_files(url: str) -> dict[str, FoundFile]:
    """Path -> file, of everything that a run would read.

    Raises:
        LandingError: the folder is not there or can't be listed.
    """
    return {
        file.path: file
        for source in SOURCES.values()
        for file in find_files(url, source)
        if not file.passed_over
    }


def looks_of(files: Mapping[str, FoundFile]) -> dict[str, str]:
    """Path -> size and times of the file, or what a store says of its version: no byte is read.

    Raises:
        StillMoving: one vanished in the meantime.
    """
    return {path: _looks(file) for path, file in files.items()}


def _looks(file: FoundFile) -> str:
    try:
        if file.filesystem is None:
            about = os.stat(file.location)
            return f"{about.st_size} {about.st_mtime_ns} {about.st_ctime_ns}"
        # fsspec has no common name for a version: stores say ETag, others a time of change.
        info = file.filesystem.info(file.location)
        version = [info.get(name) for name in ("ETag", "etag", "LastModified", "mtime", "created")]
        return f"{info.get('size')} {version}"
    except FileNotFoundError as error:
        raise StillMoving(f"{file.path} vanished.") from error


def content_of(file: FoundFile) -> str:
    """A hash of the bytes of a local file; what the store says of a remote one.

    Raises:
        StillMoving: it vanished.
        OSError: it can't be read.
    """
    if file.filesystem is not None:
        info = file.filesystem.info(file.location)
        return _short(f"{info.get('size')} {info.get('ETag') or info.get('etag') or _looks(file)}")
    digest = hashlib.sha256()
    try:
        with open(file.location, "rb") as bytes_of_file:
            while piece := bytes_of_file.read(1 << 20):
                digest.update(piece)
    except FileNotFoundError as error:
        raise StillMoving(f"{file.path} vanished.") from error
    return digest.hexdigest()[:32]


def _short(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:32]


def look(
    watch: Watch,
    looks: Mapping[str, str],
    now: float,
    settle_seconds: float,
    content: Callable[[str], str],
) -> Settled | str:
    """Look once more; the new content if all of it has settled, else a sentence that says why not.

    All new files must have settled, since a run reads whatever lies there.

    Args:
        watch: is brought up to date.
        looks: path -> how the file looks now.
        now: seconds since 1970.
        settle_seconds: for how long a file must look the same.
        content: path -> hash of its content; only asked for what has settled.

    Raises:
        StillMoving: a file changed while its content was read.
    """
    shown = {_short(path): (path, _short(look)) for path, look in looks.items()}
    new = {
        name: seen for name, (_, seen) in shown.items() if watch.known.get(name, [""])[0] != seen
    }
    watch.waiting = {
        name: _waiting_since(watch.waiting.get(name), seen, now) for name, seen in new.items()
    }
    if not new:
        return "No file is new or changed."
    since = max(since for _, since in watch.waiting.values())
    if now - since < settle_seconds:
        return f"{_files(len(new))} may still be written."
    contents = {name: content(shown[name][0]) for name in new}
    changed = {
        name: found for name, found in contents.items() if _known_content(watch, name) != found
    }
    watch.known |= {name: [new[name], contents[name]] for name in new}
    watch.waiting = {}
    if not changed:
        return "Files were touched, but hold what they held."
    watch.last_key = _key(watch.last_key, changed.items())
    return Settled(watch.last_key, len(changed), since)


def _waiting_since(before: tuple[str, float] | None, seen: str, now: float) -> tuple[str, float]:
    return (seen, before[1]) if before and before[0] == seen else (seen, now)


def _known_content(watch: Watch, name: str) -> str | None:
    return watch.known[name][1] if name in watch.known else None


def _key(last: str, changed: Iterable[tuple[str, str]]) -> str:
    """A hash of what changed after what: content that comes back after another has its own."""
    return _short(json.dumps([last, sorted(changed)]))


def _files(number: int) -> str:
    return f"{number:,} new file{'' if number == 1 else 's'}"
