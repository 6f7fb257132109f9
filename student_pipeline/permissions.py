"""Who may read what the pipeline writes: the data and the history nobody else, what is published
whoever the operator says."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from student_pipeline.settings import SettingsError

PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700

PUBLISH_MODE = "STUDENT_PIPELINE_PUBLISH_MODE"
PUBLISH_MODE_DEFAULT = "0640"
"""Owner writes, group reads."""


@contextmanager
def private() -> Iterator[None]:
    """Within: whatever this process makes is for its user alone, DuckDB's log and spill included."""
    before = os.umask(0o777 & ~PRIVATE_FOLDER)
    try:
        yield
    finally:
        os.umask(before)


def make_private_folder(path: Path) -> None:
    """Make the folder, for this user alone; one that is there stays as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)


def publish_mode() -> int:
    """The mode of published files.

    Raises:
        SettingsError: the setting is no octal file mode, or leaves out the owner.
    """
    given = os.environ.get(PUBLISH_MODE) or PUBLISH_MODE_DEFAULT
    if not re.fullmatch("0?6[0-7]{2}", given) or int(given, 8) & 0o133:
        raise SettingsError(
            f"{PUBLISH_MODE}: expected a file mode such as 0640 or 0644, in which the owner reads "
            f"and writes and others read or do not; found {given!r}."
        )
    return int(given, 8)


def publish(path: Path) -> None:
    """Give a published file the mode of the setting."""
    path.chmod(publish_mode())


def make_publish_folder(path: Path) -> None:
    """Make the folder of the published files; one that is there stays as it is.

    Who may read a file may look into the folder.
    """
    if not path.is_dir():
        path.mkdir(parents=True)
        mode = publish_mode()
        path.chmod(mode | 0o100 | (mode & 0o044) >> 2)
