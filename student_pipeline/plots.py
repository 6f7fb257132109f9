"""Small pictures for the pages of assets: an SVG of a few numbers, inside of Markdown.

The UI shows Markdown of fewer than 1,000 characters at once, and hides the rest behind a link. So a
picture is one path in whole pixels, and the words stand beside it, in the colors of the UI's theme.
"""

import base64
from collections.abc import Sequence

MOST_POINTS = 45
"""A plot has at most so many points; more would not fit into `MOST_CHARACTERS`."""

MOST_CHARACTERS = 999
"""What the UI shows without a click."""

_WIDTH, _HEIGHT = 400, 80
_COLOR = "#4a8fd6"  # stands out from white and from black

Point = tuple[str, float | None]
"""A label and a value; None leaves a gap."""


def bars(title: str, points: Sequence[Point]) -> str:
    """Upright bars from 0, for counts, with their greatest value in words.

    Args:
        points: at least one, at most `MOST_POINTS`.
    """
    highest = max((value for _, value in points if value is not None), default=0)
    step = _WIDTH // len(points)
    # Relative moves are shorter: from the top of a bar to the bottom of the next one, and up.
    path, at, top = f"M0 {_HEIGHT}", 0, 0
    for number, (_, value) in enumerate(points):
        if value:
            middle, height = number * step + step // 2, _scaled(value, highest)
            path += f"m{middle - at} {top}v{-height}"
            at, top = middle, height
    words = f"{title}: {_span(points)}, at most {highest:,.0f}"
    return _markdown(title, words, path, max(1, min(step - 1, 40)))


def rate_line(title: str, points: Sequence[Point]) -> str:
    """A line of shares (0 to 1), drawn from the lowest to the greatest, which are said in words.

    Args:
        points: at least one, at most `MOST_POINTS`.
    """
    known = [value for _, value in points if value is not None]
    low, high = min(known, default=0), max(known, default=0)
    step = _WIDTH // len(points)
    path, pen = "", "M"
    for number, (_, value) in enumerate(points):
        if value is None:
            pen = "M"
        else:
            at = f"{number * step + step // 2} {_HEIGHT - 4 - _scaled(value - low, high - low)}"
            # A point beside gaps is a dot; where the line goes on, it is covered by it.
            path += f"M{at}h1" if pen == "M" else f"L{at}"
            pen = "L"
    reach = f"{_percent(low)} to {_percent(high)}" if known else "too few students"
    words = f"{title}: {_span(points)}, {reach}"
    return _markdown(title, words, path, 2)


def _scaled(value: float, highest: float) -> int:
    return round((_HEIGHT - 8) * value / highest) if highest else 0


def _span(points: Sequence[Point]) -> str:
    first, last = points[0][0], points[-1][0]
    return first if len(points) == 1 else f"{first} to {last}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _markdown(title: str, words: str, path: str, thickness: int) -> str:
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}">'
        f'<path d="{path}" fill="none" stroke="{_COLOR}" stroke-width="{thickness}"/>'
        f'<path d="M0 {_HEIGHT}h{_WIDTH}" stroke="#888"/></svg>'
    )
    alt = words.replace("[", "(").replace("]", ")")
    return (
        f"{words}\n\n![{alt}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"
    )
