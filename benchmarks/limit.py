"""A limit on the memory of a command and all that it starts, by a control group of Linux.

Needs root, and a system that mounts the memory controller (version 1 or 2) for writing.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


class NoLimit(Exception):
    """This machine lets nobody set a limit; the message says why."""


@contextmanager
def memory_limit(megabytes: int) -> Iterator[list[str]]:
    """Words to put in front of a command, which then has so much memory; 0 is no limit.

    The command is killed when it wants more. What the system caches of files counts, but is given
    up first. There is no swap beyond the limit.

    Raises:
        NoLimit: it can't be set here.
    """
    if not megabytes:
        yield []
        return
    first = GROUPS / "memory" / "memory.limit_in_bytes"
    parent = first.parent if first.exists() else GROUPS
    group = parent / f"benchmark_{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        raise NoLimit(f"No control group can be made in {parent}: {error.strerror}.") from None
    try:
        try:
            (group / (first.name if first.exists() else "memory.max")).write_text(
                str(megabytes * 1_000_000)
            )
        except OSError as error:
            raise NoLimit(f"{group} takes no limit of memory: {error.strerror}.") from None
        yield ["sh", "-c", ENTER, str(group)]
    finally:
        group.rmdir()
