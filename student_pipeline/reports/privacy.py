"""Which numbers the report hides, because they are about too few students."""

from collections.abc import Hashable, Mapping
from typing import TypeVar

Part = TypeVar("Part", bound=Hashable)


def hidden(sizes: Mapping[Part, int], least: int) -> set[Part]:
    """The parts of a total that must not be shown beside it.

    First the parts of fewer than `least` students. Were only these left out, the total minus what
    is shown would still tell of them, if they are few: so the smallest of the other parts are left
    out, too, until at least two parts and `least` students are hidden together. A part of 0
    students is no group; it may be shown.

    A total of fewer than `least` students must itself be hidden; that is up to the caller.

    Args:
        sizes: part -> its number of students, each student in one part.
    """
    out = {part for part, size in sizes.items() if 0 < size < least}
    if not out:
        return out
    together = sum(sizes[part] for part in out)
    others = sorted((size, str(part), part) for part, size in sizes.items() if size >= least)
    for size, _, part in others:
        if len(out) > 1 and together >= least:
            break
        out.add(part)
        together += size
    return out
