"""School days: weekdays without holidays, on both sides of every bound."""

from datetime import date

import pytest

from student_pipeline.school_calendar import first_and_last_day, school_calendar, weekday_number

WEEK = ["Mon", "Tue", "Wed", "Thu", "Fri"]
WINTER = "2026-12-21 to 2027-01-01"


def test_a_weekend_is_no_school() -> None:
    calendar = school_calendar(WEEK, [])
    days = [calendar.is_school_day(date(2026, 11, day)) for day in range(23, 30)]
    assert days == [True] * 5 + [False] * 2


@pytest.mark.parametrize(
    ("day", "school"),
    [
        (date(2026, 12, 18), True),
        (date(2026, 12, 21), False),
        (date(2026, 12, 25), False),
        (date(2027, 1, 1), False),
        (date(2027, 1, 4), True),
        (date(2026, 11, 26), False),
        (date(2026, 11, 27), True),
    ],
)
def test_a_holiday_is_no_school_from_its_first_to_its_last_day(day: date, school: bool) -> None:
    assert school_calendar(WEEK, [WINTER, "2026-11-26"]).is_school_day(day) is school


@pytest.mark.parametrize(
    ("newest", "today", "days"),
    [
        (date(2026, 11, 23), date(2026, 11, 23), 0),
        (date(2026, 11, 23), date(2026, 11, 24), 1),
        (date(2026, 11, 20), date(2026, 11, 22), 0),  # Friday to Sunday
        (date(2026, 11, 20), date(2026, 11, 23), 1),
        (date(2026, 12, 18), date(2027, 1, 3), 0),  # over the holidays
        (date(2026, 12, 18), date(2027, 1, 4), 1),
        (date(2026, 11, 25), date(2026, 11, 20), 0),  # of the future
    ],
)
def test_only_school_days_make_data_older(newest: date, today: date, days: int) -> None:
    assert school_calendar(WEEK, [WINTER]).school_days_after(newest, today) == days


def test_weekdays_may_be_written_out() -> None:
    assert [weekday_number(name) for name in ("Mon", "tuesday", " SUN ")] == [0, 1, 6]


@pytest.mark.parametrize("name", ["Mo", "", "Funday", "Mond-"])
def test_what_is_no_weekday_gets_a_sentence(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' is no weekday; expected one of Mon, Tue"):
        weekday_number(name)


def test_a_day_is_a_range_of_one() -> None:
    assert first_and_last_day("2026-11-26") == (date(2026, 11, 26), date(2026, 11, 26))


@pytest.mark.parametrize("text", ["Christmas", "2026-13-01", "2026-12-24-2027-01-02", ""])
def test_what_is_no_day_gets_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="is no day; expected 2026-11-26 or 2026-12-21 to 2027"):
        first_and_last_day(text)


def test_a_range_must_not_end_before_it_begins() -> None:
    with pytest.raises(ValueError, match="ends before it begins"):
        first_and_last_day("2027-01-01 to 2026-12-21")
