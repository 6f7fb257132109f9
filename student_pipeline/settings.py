"""Places and rules that people may change, each with its unit and default.

Places come from environment variables (`PLACES`), rules from the file `rules.yaml` in the project's
root (or the file that `STUDENT_PIPELINE_RULES` names). Both become Dagster configuration in
`definitions.py`, so that the UI shows what is in force.
"""

import os
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from dagster import ConfigurableResource
from pydantic import Field, ValidationError, ValidationInfo, field_validator

from student_pipeline.school_calendar import WEEKDAYS, SchoolCalendar, school_calendar
from student_pipeline.sources import ATTENDANCE_STATUSES, SOURCES, essence

PROJECT_ROOT = Path(__file__).resolve().parent.parent
"""The checkout; relative defaults are relative to it, wherever a command was started."""

PLACES = {
    "STUDENT_PIPELINE_SOURCE": "data/raw",
    "STUDENT_PIPELINE_WAREHOUSE": "data/warehouse.duckdb",
    "STUDENT_PIPELINE_PUBLISH": "data/published",
}
"""Environment variable -> default, relative to `PROJECT_ROOT`."""

DAGSTER_HOME_DEFAULT = ".dagster_home"

EARLIEST_DATE = "2000-01-01"
"""Facts dated before this day are refused (`date_out_of_range`)."""


STUDENT_LISTINGS = ("none", "ids", "names")
"""How the report may list single students."""


class SettingsError(Exception):
    """A setting is wrong. The message is a sentence for the person who made it."""


def use_default_places() -> None:
    """Give every place that the environment leaves open (or empty) its default.

    Dagster's `EnvVar` has no defaults of its own; setting them here lets the UI show each place
    as the environment variable that it is.
    """
    for name, default in PLACES.items():
        if not os.environ.get(name):
            os.environ[name] = str(PROJECT_ROOT / default)


class Rules(ConfigurableResource):
    """What a school may decide for itself. Shares are fractions of 1, times are seconds."""

    malformed_share_limit: float = Field(
        default=0.20,
        ge=0,
        le=1,
        description="A file with more than this share of malformed records is refused whole.",
    )
    file_megabytes_limit: int = Field(
        default=10_000,
        ge=1,
        description="A file that is, or unpacks to, more than this many megabytes is refused.",
    )
    unpacking_ratio_limit: int = Field(
        default=200,
        ge=1,
        description="A file that unpacks to more than 100 megabytes and to more than this many "
        "times its size is refused.",
    )
    column_count_limit: int = Field(
        default=1_000,
        ge=10,
        description="A file with more than this many columns is refused.",
    )
    record_count_limit: int = Field(
        default=100_000_000,
        ge=1,
        description="A file with more than this many records is refused.",
    )
    header_aliases: dict[str, dict[str, list[str]]] = Field(
        default={},
        description="Source -> column -> more header names that mean this column.",
    )
    attendance_statuses: dict[str, list[str]] = Field(
        default=ATTENDANCE_STATUSES,
        description="Canonical attendance status -> the words that mean it, in any case.",
    )
    chronic_absence_min_days: int = Field(
        default=10, ge=1, description="Chronic absence needs at least this many recorded days."
    )
    chronic_absence_percent: int = Field(
        default=10,
        ge=1,
        le=100,
        description="Chronically absent: absent on at least this percentage of the recorded days.",
    )
    quarantine_warning_share: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Warn when more than this share of a source is quarantined for one reason.",
    )
    row_drop_warning_share: float = Field(
        default=0.50,
        ge=0,
        le=1,
        description="Warn when a table lost more than this share of its rows since the last run.",
    )
    expected_data_age_days: int = Field(
        default=5,
        ge=0,
        description="Warn when the newest record is more than this many school days old.",
    )
    school_days: list[str] = Field(
        default=list(WEEKDAYS[:5]), description="The weekdays on which the school teaches."
    )
    holidays: list[str] = Field(
        default=[],
        description="Days and ranges without school: 2026-11-26, 2026-12-21 to 2027-01-01.",
    )
    landing_settle_seconds: int = Field(
        default=60,
        ge=1,
        description="A file has settled when nobody changed it for this many seconds.",
    )
    schedule_time_zone: str = Field(
        default="UTC", description="Time zone of the daily schedule (IANA name)."
    )
    csv_guards_formulas: bool = Field(
        default=True,
        description=(
            "In published CSV files, ids that a spreadsheet would take for a formula get an "
            "apostrophe in front."
        ),
    )
    report_min_students: int = Field(
        default=10, ge=1, description="The report hides numbers about fewer students than this."
    )
    report_students: str = Field(
        default="none",
        description="How the report lists chronically absent students: none, ids or names.",
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_booleans(cls, value: Any, about: ValidationInfo) -> Any:
        wanted = cls.model_fields[about.field_name or ""].annotation
        if isinstance(value, bool) and wanted is not bool:  # would count as 1 or 0
            raise ValueError(f"{value} is no value of a rule")
        return value

    @field_validator("header_aliases")
    @classmethod
    def _known_columns_only(cls, value: dict[str, dict[str, list[str]]]) -> Any:
        for source, columns in value.items():
            if source not in SOURCES:
                raise ValueError(f"'{source}' is no source; sources are {', '.join(SOURCES)}")
            known = SOURCES[source].columns
            for column in columns:
                if column not in known:
                    raise ValueError(
                        f"'{column}' is no column of {source}; columns are {', '.join(known)}"
                    )
            meaning = {essence(own): name for name in known for own in (name, *known[name])}
            for column, aliases in columns.items():
                for alias in aliases:
                    if not essence(alias):
                        raise ValueError(f"'{alias}' has neither letters nor digits")
                    if meaning.setdefault(essence(alias), column) != column:
                        raise ValueError(
                            f"'{alias}' means {meaning[essence(alias)]} and {column} of {source}"
                        )
        return value

    @field_validator("attendance_statuses")
    @classmethod
    def _canonical_statuses_only(cls, value: dict[str, list[str]]) -> Any:
        value = {
            status: list(dict.fromkeys(word.strip().upper() for word in words))
            for status, words in value.items()
        }
        meaning: dict[str, str] = {}
        for status, words in value.items():
            if status not in ATTENDANCE_STATUSES:
                raise ValueError(
                    f"'{status}' is no status; statuses are {', '.join(ATTENDANCE_STATUSES)}"
                )
            for word in words:
                if meaning.setdefault(word, status) != status:
                    raise ValueError(f"'{word}' means {meaning[word]} and {status}")
        if not meaning:
            raise ValueError("no status has a word")
        return value

    @field_validator("report_students")
    @classmethod
    def _known_listing(cls, value: str) -> str:
        if value not in STUDENT_LISTINGS:
            raise ValueError(f"'{value}' is none of {', '.join(STUDENT_LISTINGS)}")
        return value

    @field_validator("school_days")
    @classmethod
    def _some_school_day(cls, value: list[str]) -> list[str]:
        if not value:
            raise ValueError("there is no school day; expected some of " + ", ".join(WEEKDAYS))
        school_calendar(value, [])
        return value

    @field_validator("holidays", mode="before")
    @classmethod
    def _days_of_yaml_as_text(cls, value: Any) -> Any:
        if isinstance(value, list):
            return [day.isoformat() if isinstance(day, date) else day for day in value]
        return value

    @field_validator("holidays")
    @classmethod
    def _days_and_ranges(cls, value: list[str]) -> list[str]:
        school_calendar([], value)
        return value

    @field_validator("schedule_time_zone")
    @classmethod
    def _known_time_zone(cls, value: str) -> str:
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                f"'{value}' is no time zone; expected a name like Europe/Paris"
            ) from None
        return value

    def calendar(self) -> SchoolCalendar:
        """The school days and holidays in force."""
        return school_calendar(self.school_days, self.holidays)


ALERTS = "alerts"
"""The section of the rules file that says whom to alert; `alerts.settings` reads it."""


def load_rules() -> Rules:
    """The rules of `rules.yaml`, with the defaults for what it leaves out.

    Raises:
        SettingsError: the file is missing although it was named, is no YAML, or a rule is wrong.
    """
    path, content = read_rules_file()
    require_known(path, "rules", content, [*Rules.model_fields, ALERTS])
    try:
        return Rules(**{name: value for name, value in content.items() if name != ALERTS})
    except ValidationError as error:
        raise SettingsError(wrong(path, error)) from error


_parsed = cache(yaml.safe_load)  # one text, asked for by each section


def read_rules_file() -> tuple[Path, dict[str, Any]]:
    """The path of the rules file and what it holds; nothing where there is none.

    Raises:
        SettingsError: the file is missing although it was named, or is no YAML.
    """
    named = os.environ.get("STUDENT_PIPELINE_RULES")
    path = Path(named) if named else PROJECT_ROOT / "rules.yaml"
    if not named and not path.exists():
        return path, {}
    try:
        content = _parsed(path.read_text(encoding="utf-8-sig")) or {}
    except OSError as error:
        raise SettingsError(f"The rules file {path} can't be read: {error.strerror}.") from error
    except (yaml.YAMLError, ValueError) as error:  # PyYAML passes on what a bad date or byte raises
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        problem += f" (line {mark.line + 1})" if mark else ""
        raise SettingsError(f"The rules file {path} is not valid YAML: {problem}.") from error
    if not isinstance(content, dict):
        raise SettingsError(f"The rules file {path} must hold 'name: value' lines.")
    return path, content


def require_known(path: Path, kind: str, content: dict[str, Any], known: list[str]) -> None:
    """Raise `SettingsError` when the file sets something that there is not."""
    unknown = set(map(str, content)) - set(known)
    if unknown:
        raise SettingsError(
            f"The rules file {path} has unknown {kind}: {', '.join(sorted(unknown))}; "
            f"known {kind} are {', '.join(known)}."
        )


def wrong(path: Path, error: ValidationError, section: str = "") -> str:
    """The sentence for a rules file with wrong values."""
    problems = "; ".join(section + _problem(problem) for problem in error.errors())
    return f"The rules file {path} is wrong: {problems}."


def _problem(error: Any) -> str:
    """One of pydantic's errors in words."""
    rule = ".".join(map(str, error["loc"]))
    if error["type"] == "value_error":  # one of ours, which names the value
        return f"{rule}: {error['msg'].removeprefix('Value error, ')}"
    message = error["msg"].removeprefix("Input ")
    return f"{rule} {message}, found {error['input']!r}"
