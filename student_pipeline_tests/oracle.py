"""The contract's sections 2 to 5 in plain Python: slow, naive, and meant to be read.

Written from the contract alone, with the standard library alone, so that a mistake in the
pipeline is not repeated here. `Oracle.run` does what one run of the pipeline does to bronze,
ledger, quarantine, silver and gold; the tests compare table by table. Every function says which
section it states. What the contract leaves open is decided in the docstring of the code that
decides it.

Left out: Parquet (such files are skipped) and S3, the checks of section 7, publishing, and
`detail`, whose wording is free.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import os
import re
import sys
import zlib
from collections import defaultdict
from datetime import date, datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

Row = dict[str, Any]

# --------------------------------------------------------------------------------------------
# Section 2: the sources
# --------------------------------------------------------------------------------------------

SOURCES = ("students", "attendance", "assessments")

# Canonical column -> the other headers accepted for it.
COLUMNS: dict[str, dict[str, tuple[str, ...]]] = {
    "students": {
        "student_id": (),
        "name": ("student_name",),
        "class_id": (),
        "grade": ("grade_level",),
        "status": ("enrollment_status",),
        "updated_at": (),
    },
    "attendance": {
        "attend_id": ("attendance_id",),
        "student_id": (),
        "date": ("attendance_date", "attend_date"),
        "status": (),
        "created_at": (),
    },
    "assessments": {
        "assessment_id": ("assess_id",),
        "student_id": (),
        "subject": (),
        "score": (),
        "max_score": (),
        "date": ("assessment_date", "assess_date"),
        "created_at": (),
    },
}

REQUIRED = {
    "students": ("student_id",),
    "attendance": ("attend_id", "student_id", "date"),
    "assessments": ("assessment_id", "student_id", "date"),
}

DELIMITERS = (",", ";", "\t", "|")
MALFORMED_SHARE = Fraction(20, 100)

FILE_NAME = re.compile(r".*\.((csv|tsv|json|jsonl|ndjson)(\.gz)?|parquet)", re.DOTALL)


class Refused(Exception):
    """The file is refused whole (section 3); the message says why."""


class Record(NamedTuple):
    """A readable record: its source columns as text, and `_extra` as canonical JSON text."""

    columns: dict[str, str | None]
    extra: str | None


class Malformed(NamedTuple):
    """A physically malformed record (section 3)."""

    detail: str
    raw: str


class Contents(NamedTuple):
    """What one file version holds."""

    encoding: str
    records: list[Record]
    malformed: list[Malformed]


class Found(NamedTuple):
    """A file, or a link that points out of the landing folder, that belongs to a source."""

    source: str
    path: str  # relative to the landing folder, with forward slashes
    leads_out: bool


def header_key(header: str) -> str:
    """Section 2: headers are matched by their letters and digits alone, in any case."""
    return "".join(c for c in header.lower() if c.isalnum())


def match_header(headers: list[str], source: str) -> list[tuple[str, str]]:
    """Section 2: what each header (or each key of a JSON record) stands for, in order.

    `("column", canonical name)`, or `("extra", key in _extra)` for a column that the contract
    does not know and for the second header of a column. The key is the header as written, with
    `_2` behind where that stands already (`_3` where that stands too). Keys are given out by
    header, whether or not a row has a value there.
    """
    canonical = {}
    for column, aliases in COLUMNS[source].items():
        for name in (column, *aliases):
            canonical[header_key(name)] = column

    matched: list[tuple[str, str]] = []
    for header in headers:
        known = canonical.get(header_key(header))
        if known is not None and ("column", known) not in matched:
            matched.append(("column", known))
            continue
        key, number = header, 2
        while ("extra", key) in matched:
            key, number = f"{header}_{number}", number + 1
        matched.append(("extra", key))
    return matched


def known_columns(matched: list[tuple[str, str]]) -> set[str]:
    """The canonical columns among the matched headers."""
    return {name for kind, name in matched if kind == "column"}


def discover(landing: Path) -> list[Found]:
    """Section 2: the files of all sources, in the order of the code points of their paths.

    `<source>.<ext>`, `<source>[-_]*.<ext>` and `<source>/**/*.<ext>`, letters in any case. A file
    in a hidden folder is hidden; `*~`, `*.tmp` and `*.part` match none of the patterns; neither
    leaves a trace in the ledger. A link that stays inside is followed, also one to a folder, but
    not into a folder that the path has come through already. A link that leads out is reported
    where its own name is that of a source file, or where it is a source's folder or lies in one
    and leads to a folder.
    """
    root = os.path.realpath(landing)
    found: list[Found] = []

    def walk(folder: str, relative: str, source: str | None, seen: tuple[str, ...]) -> None:
        for name in os.listdir(folder):
            if name.startswith("."):
                continue
            path = os.path.join(folder, name)
            path_in_landing = relative + name
            target = os.path.realpath(path)
            inside = target == root or target.startswith(root.rstrip(os.sep) + os.sep)
            leads_out = os.path.islink(path) and not inside

            folder_source = source
            if folder_source is None and name.lower() in SOURCES:
                folder_source = name.lower()
            file_source = source_of_file(name, source)

            if leads_out:
                owner = file_source or (folder_source if os.path.isdir(path) else None)
                if owner:
                    found.append(Found(owner, path_in_landing, True))
            elif os.path.isdir(path):
                if folder_source and target not in seen:
                    walk(path, path_in_landing + "/", folder_source, (*seen, target))
            elif file_source:
                found.append(Found(file_source, path_in_landing, False))

    if os.path.isdir(root):
        walk(root, "", None, (root,))
    return sorted(found, key=lambda f: f.path)


def source_of_file(name: str, folder_source: str | None) -> str | None:
    """Section 2: the source of a file by its name and, where it lies in one, its folder."""
    lower = name.lower()
    if not FILE_NAME.fullmatch(lower):
        return None
    if folder_source:
        return folder_source
    for source in SOURCES:
        rest = lower.removeprefix(source)
        if rest == lower:
            continue
        if rest.startswith(("-", "_")) or rest == "." + file_format(name):
            return source
    return None


def file_format(name: str) -> str:
    """The extension, in lower case, with `.gz` where it has that: `csv`, `csv.gz`, `json`, ..."""
    parts = name.lower().split(".")
    return ".".join(parts[-2:]) if parts[-1] == "gz" else parts[-1]


# --------------------------------------------------------------------------------------------
# Section 2: encodings
# --------------------------------------------------------------------------------------------


def undecodable(text: str) -> bool:
    """True where `decode` met bytes that it could not decode (it leaves a lone surrogate)."""
    return any("\ud800" <= c <= "\udfff" for c in text)


def decode(data: bytes) -> tuple[str, str]:
    """Section 2: the name of the encoding and the text, undecodable bytes as lone surrogates.

    UTF-16 with BOM; UTF-8 with or without; what is not valid UTF-8 is Windows-1252, unless a
    valid multi-byte UTF-8 character stands somewhere in the file. The five bytes that
    Windows-1252 leaves undefined are undecodable.
    """
    for bom, codec in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if data.startswith(bom):
            body = data[2:]
            odd = body[len(body) - len(body) % 2 :]
            text = body[: len(body) - len(odd)].decode(codec, "surrogatepass")
            return "utf-16", text + ("\udcff" if odd else "")

    text = data.decode("utf-8", "surrogateescape")
    if undecodable(text) and not any(c > "\x7f" and not undecodable(c) for c in text):
        return "windows-1252", data.decode("cp1252", "surrogateescape")
    return "utf-8", text.removeprefix("\ufeff")


def printable(text: str) -> str:
    """The raw text of a malformed record, with U+FFFD for what could not be decoded."""
    return "".join("\ufffd" if undecodable(c) else c for c in text)


# --------------------------------------------------------------------------------------------
# Sections 2 and 3: CSV
# --------------------------------------------------------------------------------------------


def read_csv_record(
    lines: list[str], start: int, delimiter: str
) -> tuple[list[str] | None, int, str]:
    """One record as Python's csv module (not strict) reads it, from line `start` on.

    Gives the fields, the line after the record, and what is wrong (then the fields are None).
    Lines still have their ends. Broken quoting (text between a closing quote and the delimiter)
    within one line is read as the csv module reads it; over several lines it is malformed, and
    reading resumes at the second line. So does a quote that nothing closes, in the last line
    too. A CR outside quotes that is not part of CRLF is malformed, at the end of a line too.
    """
    fields: list[str] = []
    field = ""
    state = "start of field"
    text_after_quote = False

    for number in range(start, len(lines)):
        line = lines[number]
        end = "\r\n" if line.endswith("\r\n") else "\n" if line.endswith("\n") else ""
        for c in line[: len(line) - len(end)]:
            if state == "in quotes":
                if c == '"':
                    state = "after quote"
                else:
                    field += c
            elif state == "after quote" and c == '"':  # a doubled quote is a quote
                field += c
                state = "in quotes"
            elif c == delimiter:
                fields.append(field)
                field = ""
                state = "start of field"
            elif c == "\r":
                resume = start + 1 if text_after_quote else number + 1
                return None, resume, "a carriage return outside quotes"
            elif state == "start of field" and c == '"':
                state = "in quotes"
            else:
                if state == "after quote":
                    text_after_quote = True
                field += c
                state = "in field"

        if state == "in quotes":  # the field goes on in the next line
            field += end
            continue
        fields.append(field)
        if text_after_quote and number > start:
            return None, start + 1, "broken quoting"
        return fields, number + 1, ""

    return None, start + 1, "a quote that nothing closes"


def spoiled(text: str) -> str:
    """Why no record may hold this text, or nothing."""
    if undecodable(text):
        return "undecodable bytes"
    if "\0" in text:
        return "a NUL character"
    return ""


def read_csv(text: str, source: str) -> tuple[list[Record], list[Malformed]]:
    """Sections 2 and 3: the records of a CSV file.

    The first line that is not empty is the header, or Excel's `sep=` line and the next one the
    header. A line is blank where nothing stands between its ends.
    """
    lines = text.split("\n")
    lines = [line + "\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])

    def next_line(number: int) -> int:
        while number < len(lines) and not lines[number].strip("\r\n"):
            number += 1
        return number

    start = next_line(0)
    if start < len(lines) and re.fullmatch(r'"?sep=.?"?', lines[start].rstrip("\r\n"), re.I):
        start = next_line(start + 1)
    if start == len(lines):
        raise Refused("no header: the file has no line of text")

    # The delimiter: the most known columns, then the most fields, then the order of DELIMITERS.
    def merit(delimiter: str) -> tuple[int, int]:
        headers = read_csv_record(lines, start, delimiter)[0] or []
        return len(known_columns(match_header(headers, source))), len(headers)

    delimiter = max(DELIMITERS, key=merit)  # of several the first
    headers, first, problem = read_csv_record(lines, start, delimiter)
    if headers is not None:
        problem = spoiled("".join(headers))
    if headers is None or problem:
        raise Refused(f"the header can't be read: {problem}")
    matched = match_header(headers, source)
    for column in REQUIRED[source]:
        if column not in known_columns(matched):
            raise Refused(f"the column {column} is missing; found {headers}")

    records: list[Record] = []
    malformed: list[Malformed] = []
    number = next_line(first)
    while number < len(lines):
        fields, after, problem = read_csv_record(lines, number, delimiter)
        raw = "".join(lines[number:after])
        if fields is not None:
            problem = spoiled("".join(fields))
            if not problem and len(fields) != len(headers):
                problem = f"{len(fields)} fields where {len(headers)} were expected"
        if problem or fields is None:
            malformed.append(
                Malformed(f"line {number + 1}: {problem}", printable(raw.rstrip("\r\n")))
            )
        else:
            columns: dict[str, str | None] = dict.fromkeys(COLUMNS[source])
            extra: dict[str, Any] = {}
            for (kind, name), value in zip(matched, fields, strict=True):
                if value == "":
                    continue
                if kind == "column":
                    columns[name] = value
                else:
                    extra[name] = value
            records.append(Record(columns, canonical_json(extra) if extra else None))
        number = next_line(after)
    return records, malformed


# --------------------------------------------------------------------------------------------
# Sections 2 and 3: JSON
# --------------------------------------------------------------------------------------------


class NumberText(str):
    """A JSON number as the text that stands in the file."""


def no_json(text: str) -> Any:
    """NaN and Infinity are no JSON."""
    raise ValueError(f"{text} is no JSON")


JSON_DECODER = json.JSONDecoder(
    parse_int=NumberText, parse_float=NumberText, parse_constant=no_json
)


def canonical_json(value: Any) -> str:
    """JSON text with sorted keys, and numbers as they stood: equal text means identical."""
    if isinstance(value, NumberText):
        return str(value)
    if isinstance(value, dict):
        members = (f"{canonical_json(k)}:{canonical_json(v)}" for k, v in sorted(value.items()))
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(canonical_json(v) for v in value) + "]"
    return json.dumps(value, ensure_ascii=False)  # a string, true, false or null


def skip_blanks(text: str, at: int) -> int:
    """The next position that holds no JSON blank."""
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def parse_json(text: str) -> Any:
    """The value of a whole JSON text, or ValueError."""
    try:
        start = skip_blanks(text, 0)
        value, end = JSON_DECODER.raw_decode(text, start)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if skip_blanks(text, end) != len(text):
        raise ValueError("more than one value")
    return value


def split_json(text: str) -> list[tuple[str | None, str]]:
    """The members of a valid JSON object as (key, text of the value), in order, twins included.

    For an array the keys are None.
    """
    at = skip_blanks(text, 0)
    is_object = text[at] == "{"
    members: list[tuple[str | None, str]] = []
    at = skip_blanks(text, at + 1)
    while text[at] not in "}]":
        key = None
        if is_object:
            key, at = JSON_DECODER.raw_decode(text, at)
            at = skip_blanks(text, skip_blanks(text, at) + 1)  # over the colon
        _, end = JSON_DECODER.raw_decode(text, at)
        members.append((key, text[at:end]))
        at = skip_blanks(text, end)
        if text[at] == ",":
            at = skip_blanks(text, at + 1)
    return members


def json_record(text: str, source: str) -> tuple[Record, set[str]]:
    """A record and the columns it has, from the text of a JSON object; ValueError if malformed.

    Columns are text: a string itself, anything else the text that stands in the file; null and
    `""` are null. Of two keys for one column the first is the column, null or not. `_extra` keeps
    JSON values, null and `""` left out. A string with half a surrogate pair is undecodable.
    """
    value = parse_json(text)
    if not isinstance(value, dict):
        raise ValueError("no JSON object")  # noqa: TRY004
    members = split_json(text)
    matched = match_header([key or "" for key, _ in members], source)

    columns: dict[str, str | None] = dict.fromkeys(COLUMNS[source])
    extra: dict[str, Any] = {}
    for (key, value_text), (kind, name) in zip(members, matched, strict=True):
        value = parse_json(value_text)
        if undecodable((key or "") + canonical_json(value)):
            raise ValueError("undecodable bytes")
        if value is None or value == "":
            continue
        if kind == "extra":
            extra[name] = value
        elif isinstance(value, str) and not isinstance(value, NumberText):
            columns[name] = value
        else:
            columns[name] = value_text
    return Record(columns, canonical_json(extra) if extra else None), known_columns(matched)


def json_texts(text: str, source: str, one_a_line: bool) -> list[str]:
    """Section 2: the texts of the records of a JSON file.

    `.jsonl` and `.ndjson` hold one record a line. A `.json` file that is one JSON value holds an
    array, an object with the array under `data` or the source's name (`data` first), or a single
    record; any other has one record a line. Lines of blanks alone are no records.
    """
    if not one_a_line:
        try:
            value = parse_json(text)
        except ValueError:
            value = None
        if isinstance(value, list):
            return [element for _, element in split_json(text)]
        if isinstance(value, dict):
            for name in ("data", source):
                for key, member in split_json(text):
                    if key == name and member.startswith("["):
                        return [element for _, element in split_json(member)]
            return [text]
        if not text.strip(" \t\r\n"):
            raise Refused("no JSON in the file")
    return [line for line in text.split("\n") if line.strip(" \t\r\n")]


def read_json(text: str, source: str, one_a_line: bool) -> tuple[list[Record], list[Malformed]]:
    """Sections 2 and 3: the records of a JSON file; a required column must be in one of them."""
    records: list[Record] = []
    malformed: list[Malformed] = []
    has: set[str] = set()
    for number, element in enumerate(json_texts(text, source, one_a_line), 1):
        try:
            record, columns = json_record(element, source)
        except (ValueError, RecursionError) as error:
            malformed.append(Malformed(f"record {number}: {error}", printable(element.strip())))
        else:
            records.append(record)
            has |= columns
    if records:
        for column in REQUIRED[source]:
            if column not in has:
                raise Refused(f"the column {column} is missing")
    return records, malformed


# --------------------------------------------------------------------------------------------
# Sections 2 and 3: a file
# --------------------------------------------------------------------------------------------


def read_contents(data: bytes, name: str, source: str) -> Contents:
    """Sections 2 and 3: what a file holds, or Refused."""
    ext = file_format(name)
    if ext.endswith(".gz"):
        ext = ext.removesuffix(".gz")
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise Refused(f"no gzip file: {error}") from None

    if not data and ext not in ("jsonl", "ndjson"):
        raise Refused("the file has no bytes")
    encoding, text = decode(data)
    if ext in ("csv", "tsv"):
        records, malformed = read_csv(text, source)
    else:
        records, malformed = read_json(text, source, one_a_line=ext in ("jsonl", "ndjson"))

    total = len(malformed) + len(records)
    if total and Fraction(len(malformed), total) > MALFORMED_SHARE:
        raise Refused(f"{len(malformed)} of {total} records are malformed")
    return Contents(encoding, records, malformed)


# --------------------------------------------------------------------------------------------
# Section 4: values
# --------------------------------------------------------------------------------------------

NULL_WORDS = ("", "NULL", "N/A", "NA", "NONE", "-")
ZERO_WIDTH = "\u180e\u200b\u200c\u200d\u2060\ufeff"
BLANKS = "".join(c for c in map(chr, range(sys.maxunicode + 1)) if c.isspace()) + ZERO_WIDTH

STATUS_WORDS = {
    "PRESENT": ("P", "PRESENT"),
    "ABSENT": ("A", "ABSENT", "U", "UNEXCUSED"),
    "LATE": ("L", "LATE", "T", "TARDY"),
    "EXCUSED": ("E", "EXCUSED"),
}
PRESENT_STATUSES = ("PRESENT", "LATE")
ACTIVE_STATUSES = ("ACTIVE", "ENROLLED")
FIRST_DATE = date(2000, 1, 1)


def clean(text: str | None) -> str | None:
    """Section 4, common: trimmed (Unicode blanks, zero-width ones); the null words are null."""
    trimmed = (text or "").strip(BLANKS)
    return None if trimmed.upper() in NULL_WORDS else trimmed


ISO = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[ T]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]+))?)?"
    r"(Z|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)


def iso_parts(text: str | None) -> tuple[datetime, timedelta] | None:
    """Section 4, common: an ISO 8601 timestamp as written, and its offset from UTC.

    Digits are ASCII, the date and the time exist (no hour 24, no second 60, no year 0), the
    fraction follows a point, the offset is below 24 hours.
    """
    match = ISO.fullmatch(clean(text) or "")
    if not match:
        return None
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    microsecond = int(((fraction or "") + "000000")[:6])
    try:
        written = datetime(
            int(year),
            int(month),
            int(day),
            int(hour or 0),
            int(minute or 0),
            int(second or 0),
            microsecond,
        )
    except ValueError:
        return None
    offset = timedelta(0)
    if zone and zone != "Z":
        digits = zone[1:].replace(":", "").ljust(4, "0")
        hours, minutes = int(digits[:2]), int(digits[2:])
        if hours > 23 or minutes > 59:
            return None
        offset = timedelta(hours=hours, minutes=minutes) * (-1 if zone[0] == "-" else 1)
    return written, offset


def parse_timestamp(text: str | None) -> datetime | None:
    """Section 4, common: an ISO 8601 timestamp, in UTC; null where unreadable.

    Also null where UTC leaves the years 1 to 9999.
    """
    parts = iso_parts(text)
    if parts is None:
        return None
    written, offset = parts
    try:
        return (written - offset).replace(tzinfo=timezone.utc)
    except OverflowError:
        return None


def parse_date(text: str | None) -> date | None:
    """Section 4, common: `YYYY-MM-DD` (or the head of an ISO timestamp), `YYYY/MM/DD`,
    `YYYYMMDD`, `M/D/YYYY` with one or two digits for month and day."""
    parts = iso_parts(text)
    if parts is not None:
        return parts[0].date()

    text = clean(text) or ""
    year_first = re.fullmatch(
        r"([0-9]{4})/([0-9]{2})/([0-9]{2})|([0-9]{4})([0-9]{2})([0-9]{2})", text
    )
    month_first = re.fullmatch(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})", text)
    if year_first:
        year, month, day = [int(g) for g in year_first.groups() if g is not None]
    elif month_first:
        month, day, year = [int(g) for g in month_first.groups()]
    else:
        return None
    try:
        return date(year, month, day)
    except ValueError:
        return None


def parse_number(text: str | None) -> float | None:
    """Section 4, common: a number as a double; null where it is none, or not a finite one."""
    text = clean(text) or ""
    if not re.fullmatch(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?", text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def parse_grade(text: str | None) -> int | None:
    """Section 4, `dim_student.grade_level`: blanks don't count, wherever they stand."""
    text = "".join(c for c in clean(text) or "" if c not in BLANKS).lower()
    if text in ("k", "kg", "kindergarten", "gradek"):
        return 0
    if text in ("pk", "pre-k", "prek"):
        return -1
    match = re.fullmatch(r"(?:grade)?([0-9]{1,2})(?:st|nd|rd|th|\.0)?", text)
    return int(match.group(1)) if match else None


def canonical_status(text: str | None) -> str | None:
    """Section 4, `fact_attend.status`: the canonical word, null for anything else."""
    word = (clean(text) or "").upper()
    for status, words in STATUS_WORDS.items():
        if word in words:
            return status
    return None


# --------------------------------------------------------------------------------------------
# Sections 4 and 5: rounding, half away from zero (nothing here is negative)
# --------------------------------------------------------------------------------------------


def round_pct(score: float, max_score: float) -> float:
    """Section 4, `fact_assess.score_pct` = round(100 * score / max_score, 2), in doubles.

    Where 100 * score is beyond the doubles, the exact quotient is rounded.
    """
    x = 100 * score / max_score
    if not math.isfinite(x):
        x = float(100 * Fraction(score) / Fraction(max_score))
    return math.floor(x * 100 + 0.5) / 100


def round_rate(part: int, whole: int) -> float | None:
    """Section 5: round(part / whole, 4), exactly; null where the whole is 0."""
    if whole == 0:
        return None
    return math.floor(Fraction(part, whole) * 10000 + Fraction(1, 2)) / 10000


def round_mean(percentages: list[float]) -> float | None:
    """Section 5: round(avg(score_pct), 2) of the values as whole hundredths, exactly."""
    if not percentages:
        return None
    hundredths = sum(round(p * 100) for p in percentages)
    return math.floor(Fraction(hundredths, len(percentages)) + Fraction(1, 2)) / 100


# --------------------------------------------------------------------------------------------
# Section 4: silver
# --------------------------------------------------------------------------------------------


def age_key(timestamp: datetime | None) -> datetime:
    """A timestamp for comparing: null is older than any other."""
    return timestamp or datetime.min.replace(tzinfo=timezone.utc)


def is_older(a: datetime | None, b: datetime | None) -> bool:
    """True where both are known and the first is the older one."""
    return a is not None and b is not None and a < b


def latest_versions(rows: list[Row], id_column: str, time_column: str) -> list[Row]:
    """Section 4, common: of several versions of one id the latest, by time (null is oldest),
    then `_load_id`, then `_source_row`. A row without an id is a version of nothing else."""
    without_id = [row for row in rows if clean(row[id_column]) is None]
    by_id: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        key = clean(row[id_column])
        if key is not None:
            by_id[key].append(row)

    def rank(row: Row) -> tuple[bool, datetime, int, int]:
        time = parse_timestamp(row[time_column])
        return (time is not None, age_key(time), row["_load_id"], row["_source_row"])

    return without_id + [max(versions, key=rank) for versions in by_id.values()]


def quarantined(row: Row, source: str, reason: str) -> Row:
    """Section 4: the quarantine's row for a bronze row that silver refuses."""
    kept = (*COLUMNS[source], "_extra", "_source_file", "_source_row", "_load_id")
    return {
        **{column: row[column] for column in kept},
        "reason": reason,
        "detail": f"{reason} in {row['_source_file']}, record {row['_source_row']}",
        "_raw": None,
    }


def build_dim_student(bronze: list[Row]) -> tuple[list[Row], list[Row]]:
    """Section 4: `silver.dim_student` and what it refuses."""
    silver, refused = [], []
    for row in latest_versions(bronze, "student_id", "updated_at"):
        student_id = clean(row["student_id"])
        if student_id is None:
            refused.append(quarantined(row, "students", "missing_student_id"))
            continue
        status = (clean(row["status"]) or "UNKNOWN").upper()
        silver.append(
            {
                "student_id": student_id,
                "student_name": clean(row["name"]) or "Unknown",
                "class_id": clean(row["class_id"]) or "UNASSIGNED",
                "grade_level": parse_grade(row["grade"]),
                "is_active": status in ACTIVE_STATUSES,
                "enrollment_status": status,
                "updated_at": parse_timestamp(row["updated_at"]),
            }
        )
    return sorted(silver, key=lambda r: r["student_id"]), refused


def fault_of_keys(row: Row, id_column: str, class_of: dict[str, str]) -> str | None:
    """Section 4: why a fact is refused for its ids."""
    student_id = clean(row["student_id"])
    if clean(row[id_column]) is None:
        return "missing_id"
    if student_id is None:
        return "missing_student_id"
    if student_id not in class_of:
        return "unknown_student"
    return None


def fault_of_date(row: Row) -> str | None:
    """Section 4: why a fact is refused for its date."""
    day = parse_date(row["date"])
    if day is None:
        return "invalid_date"
    ingested_on = row["_ingested_at"].astimezone(timezone.utc).date()
    if day < FIRST_DATE or (day - ingested_on).days > 1:
        return "date_out_of_range"
    return None


def fault_of_score(row: Row) -> str | None:
    """Section 4: why an assessment is refused for its score, or its maximum."""
    score, max_score = parse_number(row["score"]), max_score_of(row)
    if score is None:
        return "invalid_score"
    if max_score is None or max_score <= 0:
        return "invalid_max_score"
    if score < 0 or score > max_score:
        return "score_out_of_range"
    return None


def max_score_of(row: Row) -> float | None:
    """Section 4: null becomes 100; null here means that it is no finite number."""
    return 100.0 if clean(row["max_score"]) is None else parse_number(row["max_score"])


def build_fact_attend(bronze: list[Row], dim_student: list[Row]) -> tuple[list[Row], list[Row]]:
    """Section 4: `silver.fact_attend` and what it refuses."""
    class_of = {s["student_id"]: s["class_id"] for s in dim_student}
    silver, refused = [], []
    for row in latest_versions(bronze, "attend_id", "created_at"):
        status = canonical_status(row["status"])
        reason = (
            fault_of_keys(row, "attend_id", class_of)
            or fault_of_date(row)
            or ("unknown_status" if status is None else None)
        )
        if reason:
            refused.append(quarantined(row, "attendance", reason))
            continue
        student_id = clean(row["student_id"]) or ""
        silver.append(
            {
                "attend_id": clean(row["attend_id"]),
                "student_id": student_id,
                "class_id": class_of[student_id],
                "attend_date": parse_date(row["date"]),
                "status": status,
                "is_present": status in PRESENT_STATUSES,
                "counts_for_day": False,
                "created_at": parse_timestamp(row["created_at"]),
            }
        )

    # Exactly one row counts per student and date: the latest, then present, then greatest id.
    days: dict[tuple[str, date], list[Row]] = defaultdict(list)
    for fact in silver:
        days[fact["student_id"], fact["attend_date"]].append(fact)
    for facts in days.values():
        counted = max(
            facts,
            key=lambda f: (
                f["created_at"] is not None,
                age_key(f["created_at"]),
                f["is_present"],
                f["attend_id"],
            ),
        )
        counted["counts_for_day"] = True
    return sorted(silver, key=lambda r: r["attend_id"]), refused


def build_fact_assess(bronze: list[Row], dim_student: list[Row]) -> tuple[list[Row], list[Row]]:
    """Section 4: `silver.fact_assess` and what it refuses."""
    class_of = {s["student_id"]: s["class_id"] for s in dim_student}
    silver, refused = [], []
    for row in latest_versions(bronze, "assessment_id", "created_at"):
        reason = (
            fault_of_keys(row, "assessment_id", class_of)
            or fault_of_date(row)
            or fault_of_score(row)
        )
        if reason:
            refused.append(quarantined(row, "assessments", reason))
            continue
        student_id = clean(row["student_id"]) or ""
        score, max_score = parse_number(row["score"]), max_score_of(row)
        assert score is not None
        assert max_score is not None
        silver.append(
            {
                "assess_id": clean(row["assessment_id"]),
                "student_id": student_id,
                "class_id": class_of[student_id],
                "subject": clean(row["subject"]) or "Unknown",
                "assess_date": parse_date(row["date"]),
                "score": score,
                "max_score": max_score,
                "score_pct": round_pct(score, max_score),
                "created_at": parse_timestamp(row["created_at"]),
            }
        )
    return sorted(silver, key=lambda r: r["assess_id"]), refused


# --------------------------------------------------------------------------------------------
# Section 5: gold
# --------------------------------------------------------------------------------------------


def build_class_daily_performance(silver: dict[str, list[Row]]) -> list[Row]:
    """Section 5: one row for every class and date with a counted attendance or an assessment."""
    attended: dict[tuple[str, date], list[Row]] = defaultdict(list)
    for fact in silver["fact_attend"]:
        if fact["counts_for_day"]:
            attended[fact["class_id"], fact["attend_date"]].append(fact)
    assessed: dict[tuple[str, date], list[Row]] = defaultdict(list)
    for fact in silver["fact_assess"]:
        assessed[fact["class_id"], fact["assess_date"]].append(fact)
    active: dict[str, int] = defaultdict(int)
    for student in silver["dim_student"]:
        active[student["class_id"]] += student["is_active"]

    gold = []
    for class_id, day in sorted({*attended, *assessed}):
        attendance = attended.get((class_id, day), [])
        assessments = assessed.get((class_id, day), [])
        with_attendance = len({f["student_id"] for f in attendance})
        present = sum(f["is_present"] for f in attendance)
        gold.append(
            {
                "class_id": class_id,
                "date": day,
                "total_students": active[class_id],
                "students_with_attendance": with_attendance,
                "present_count": present,
                "absent_count": sum(not f["is_present"] for f in attendance),
                "attendance_rate": round_rate(present, with_attendance),
                "students_with_assessment": len({f["student_id"] for f in assessments}),
                "assessment_count": len(assessments),
                "avg_score": round_mean([f["score_pct"] for f in assessments]),
                "attendance_coverage": round_rate(with_attendance, active[class_id]),
            }
        )
    return gold


def build_student_performance_summary(silver: dict[str, list[Row]]) -> list[Row]:
    """Section 5: one row for every student.

    Absent is every counted day that is not present, excused ones too, as in the class table.
    """
    counted: dict[str, list[Row]] = defaultdict(list)
    for fact in silver["fact_attend"]:
        if fact["counts_for_day"]:
            counted[fact["student_id"]].append(fact)
    scores: dict[str, list[float]] = defaultdict(list)
    for fact in silver["fact_assess"]:
        scores[fact["student_id"]].append(fact["score_pct"])

    gold = []
    for student in sorted(silver["dim_student"], key=lambda s: s["student_id"]):
        days = counted.get(student["student_id"], [])
        percentages = scores.get(student["student_id"], [])
        present = sum(d["is_present"] for d in days)
        absent = sum(not d["is_present"] for d in days)
        gold.append(
            {
                "student_id": student["student_id"],
                "class_id": student["class_id"],
                "is_active": student["is_active"],
                "total_attendance_days": len(days),
                "present_days": present,
                "absent_days": absent,
                "late_days": sum(d["status"] == "LATE" for d in days),
                "excused_days": sum(d["status"] == "EXCUSED" for d in days),
                "attendance_rate": round_rate(present, len(days)),
                "is_chronically_absent": len(days) >= 10 and absent * 10 >= len(days),
                "total_assessments": len(percentages),
                "avg_score": round_mean(percentages),
                "min_score": min(percentages, default=None),
                "max_score": max(percentages, default=None),
            }
        )
    return gold


# --------------------------------------------------------------------------------------------
# A warehouse
# --------------------------------------------------------------------------------------------


class Oracle:
    """A warehouse as the contract wants it after each run.

    `_load_id` runs through the sources in the order of SOURCES and, within one, through the
    paths; the contract says only that it grows, so compare it across sources by its order.

    A refused file keeps silver and gold as they are. With `wait_by_lineage` only what lies below
    the refused file's bronze table waits: a refused attendance file stops `fact_attend` and gold,
    but not `dim_student` and `fact_assess`.
    """

    def __init__(self, *, wait_by_lineage: bool = False) -> None:
        self.bronze: dict[str, list[Row]] = {source: [] for source in SOURCES}
        self.quarantine: dict[str, list[Row]] = {source: [] for source in SOURCES}
        self.silver: dict[str, list[Row]] = {
            "dim_student": [],
            "fact_attend": [],
            "fact_assess": [],
        }
        self.gold: dict[str, list[Row]] = {
            "class_daily_performance": [],
            "student_performance_summary": [],
        }
        self.ledger: list[Row] = []
        self.wait_by_lineage = wait_by_lineage
        # The source columns and `_extra` as text of every bronze row, in the order of `bronze`:
        # in Python 1 == 1.0 == True, but rows that differ so are not identical.
        self._identities: dict[str, list[Record]] = {source: [] for source in SOURCES}
        self._malformed: dict[tuple[str, str], list[Row]] = {}  # by source and path
        self._refused_by_silver: dict[str, list[Row]] = {source: [] for source in SOURCES}
        self._last_load_id = 0

    def run(self, landing: Path, now: datetime) -> None:
        """One run on the landing folder: files, ledger, bronze; then silver, quarantine, gold."""
        if now.tzinfo is None:
            now = now.replace(tzinfo=timezone.utc)
        found = discover(Path(landing))
        waiting = set()
        for source in SOURCES:
            for file in found:
                if file.source == source and not self._take_in(Path(landing), file, now):
                    waiting.add(source)
        self._build(waiting)

    # -- section 2: the ledger ------------------------------------------------------------------

    def _take_in(self, landing: Path, file: Found, now: datetime) -> bool:
        """Load a file if it is new; False where it is refused."""
        entry: Row = {
            "source": file.source,
            "path": file.path,
            "size_bytes": None,
            "sha256": None,
            "encoding": None,
            "rows_read": None,
            "rows_appended": None,
            "rows_rejected": None,
            "status": "loaded",
            "message": None,
            "_load_id": None,
            "loaded_at": now,
        }
        if file.leads_out:
            self._note({**entry, "status": "passed_over", "message": "leads out of the folder"})
            return True
        if file_format(file.path) == "parquet":
            return True

        try:
            path = landing / file.path
            try:
                if not path.is_file():
                    raise Refused("a dangling link, or no regular file")
                data = path.read_bytes()
            except OSError as error:
                raise Refused(f"can't be read: {error}") from None
            entry["size_bytes"] = len(data)
            entry["sha256"] = hashlib.sha256(data).hexdigest()
            if entry["sha256"] == self._last_loaded(file):
                return True
            contents = read_contents(data, file.path, file.source)
        except Refused as refusal:
            self._note({**entry, "status": "refused", "message": str(refusal)})
            return False

        self._last_load_id += 1
        entry["_load_id"] = self._last_load_id
        entry["encoding"] = contents.encoding
        entry["rows_read"] = len(contents.records)
        entry["rows_rejected"] = len(contents.malformed)
        load = self._upsert if file.source == "students" else self._append
        entry["rows_appended"] = load(file, contents.records, now)
        self._malformed[file.source, file.path] = [
            {
                **dict.fromkeys(COLUMNS[file.source]),
                "_extra": None,
                "_source_file": file.path,
                "_source_row": None,
                "_load_id": self._last_load_id,
                "reason": "malformed_record",
                "detail": malformed.detail,
                "_raw": malformed.raw,
            }
            for malformed in contents.malformed
        ]
        self.ledger.append(entry)
        return True

    def _last_loaded(self, file: Found) -> str | None:
        """The content (sha256) of the last loaded version of this path."""
        for entry in reversed(self.ledger):
            if (entry["status"], entry["source"], entry["path"]) == ("loaded", *file[:2]):
                return str(entry["sha256"])
        return None

    def _note(self, entry: Row) -> None:
        """One row for every version refused or passed over: that of the last attempt."""
        version = ("source", "path", "sha256", "status")
        self.ledger = [
            old for old in self.ledger if any(old[column] != entry[column] for column in version)
        ]
        self.ledger.append(entry)

    # -- section 3: bronze ----------------------------------------------------------------------

    def _bronze_row(self, file: Found, record: Record, number: int, now: datetime) -> Row:
        return {
            **record.columns,
            "_extra": None if record.extra is None else json.loads(record.extra),
            "_ingested_at": now,
            "_source_file": file.path,
            "_source_row": number,
            "_load_id": self._last_load_id,
        }

    def _append(self, file: Found, records: list[Record], now: datetime) -> int:
        """Section 3, facts: append a row unless an identical one is there."""
        there = {identity(record) for record in self._identities[file.source]}
        appended = 0
        for number, record in enumerate(records, 1):
            if identity(record) not in there:
                there.add(identity(record))
                self._identities[file.source].append(record)
                self.bronze[file.source].append(self._bronze_row(file, record, number, now))
                appended += 1
        return appended

    def _upsert(self, file: Found, records: list[Record], now: datetime) -> int:
        """Section 3, students: one row per id, the incoming one unless it is older."""
        rows, identities = self.bronze["students"], self._identities["students"]
        place = {clean(row["student_id"]): i for i, row in enumerate(rows)}
        without_id = {identity(r) for r in identities if clean(r.columns["student_id"]) is None}

        # Of the same id twice in the file, the later `updated_at`, then the later row.
        incoming: dict[str, int] = {}
        unnamed: list[int] = []
        for number, record in enumerate(records, 1):
            student_id = clean(record.columns["student_id"])
            if student_id is None:
                unnamed.append(number)
                continue
            rival = incoming.get(student_id)
            if rival is None or not first_is_later(records[rival - 1], record):
                incoming[student_id] = number

        changed = 0
        for number in sorted([*incoming.values(), *unnamed]):
            record = records[number - 1]
            student_id = clean(record.columns["student_id"])
            row = self._bronze_row(file, record, number, now)
            if student_id is None:
                if identity(record) in without_id:
                    continue
                without_id.add(identity(record))
            elif student_id in place:
                i = place[student_id]
                incoming_time = parse_timestamp(record.columns["updated_at"])
                stored_time = parse_timestamp(rows[i]["updated_at"])
                if record != identities[i] and not is_older(incoming_time, stored_time):
                    rows[i], identities[i] = row, record
                    changed += 1
                continue
            rows.append(row)
            identities.append(record)
            changed += 1
        return changed

    # -- sections 4 and 5 -----------------------------------------------------------------------

    def _build(self, waiting: set[str]) -> None:
        """Silver, quarantine and gold, as far as they need not wait for a refused file."""
        if waiting and not self.wait_by_lineage:
            waiting = set(SOURCES)
        silver, refused = self.silver, self._refused_by_silver
        if "students" not in waiting:
            built = build_dim_student(self.bronze["students"])
            silver["dim_student"], refused["students"] = built
            dim_student = silver["dim_student"]
            if "attendance" not in waiting:
                built = build_fact_attend(self.bronze["attendance"], dim_student)
                silver["fact_attend"], refused["attendance"] = built
            if "assessments" not in waiting:
                built = build_fact_assess(self.bronze["assessments"], dim_student)
                silver["fact_assess"], refused["assessments"] = built
        if not waiting:
            self.gold["class_daily_performance"] = build_class_daily_performance(silver)
            self.gold["student_performance_summary"] = build_student_performance_summary(silver)

        # Malformed records stand here by their file's newest loaded version, whatever waits.
        for source in SOURCES:
            self.quarantine[source] = list(refused[source])
            for (file_source, _), rows in sorted(self._malformed.items()):
                if file_source == source:
                    self.quarantine[source] += rows


def identity(record: Record) -> tuple[Any, ...]:
    """All source columns and `_extra`: two records are identical where these are equal."""
    return (*record.columns.values(), record.extra)


def first_is_later(first: Record, second: Record) -> bool:
    """Section 3: True where the first of two rows of one id in one file is the one to keep."""
    a = parse_timestamp(first.columns["updated_at"])
    b = parse_timestamp(second.columns["updated_at"])
    return is_older(b, a) or (a is not None and b is None)
