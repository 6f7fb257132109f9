"""Which days are school days: weekdays without holidays. Pure functions; no clock is read here."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
"""The names of weekdays as settings write them; longer forms (`Monday`) mean the same."""


@dataclass(frozen=True)
class SchoolCalendar:
    """The days on which a school teaches.

    Attributes:
        weekdays: Monday is 0.
        holidays: first and last day of each, both inclusive.
    """

    weekdays: frozenset[int]
    holidays: tuple[tuple[date, date], ...] = ()

    def is_school_day(self, day: date) -> bool:
        """Whether the school teaches on that day."""
        return day.weekday() in self.weekdays and not any(
            first <= day <= last for first, last in self.holidays
        )

    def school_days_after(self, first: date, last: date) -> int:
        """How many school days come after `first`, up to `last` and with it; 0 where none do."""
        days = (first + timedelta(days=n) for n in range(1, (last - first).days + 1))
        return sum(map(self.is_school_day, days))


def school_calendar(weekdays: Iterable[str], holidays: Iterable[str]) -> SchoolCalendar:
    """The calendar that settings describe.

    Args:
        weekdays: names such as `Mon` or `monday`.
        holidays: days, `2026-11-26`, and ranges, `2026-12-21 to 2027-01-01`.

    Raises:
        ValueError: something is no weekday or no day; the message says what was expected.
    """
    return SchoolCalendar(
        frozenset(map(weekday_number, weekdays)), tuple(map(first_and_last_day, holidays))
    )


def weekday_number(name: str) -> int:
    """`Mon`, `monday`: 0.

    Raises:
        ValueError: it is no weekday.
    """
    given = name.strip().lower()
    full = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    for number, word in enumerate(full):
        if len(given) >= 3 and word.startswith(given):
            return number
    raise ValueError(f"'{name}' is no weekday; expected one of {', '.join(WEEKDAYS)}")


def first_and_last_day(text: str) -> tuple[date, date]:
    """A day or a range of days.

    Raises:
        ValueError: it is neither, or ends before it begins.
    """
    first, _, last = (part.strip() for part in text.partition(" to "))
    try:
        days = date.fromisoformat(first), date.fromisoformat(last or first)
    except ValueError:
        raise ValueError(
            f"'{text}' is no day; expected 2026-11-26 or 2026-12-21 to 2027-01-01"
        ) from None
    if days[1] < days[0]:
        raise ValueError(f"'{text}' ends before it begins")
    return days
