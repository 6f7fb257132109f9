"""Reading delimited text record by record, exactly and as a stream."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from student_pipeline.ingest.errors import FileRefused
from student_pipeline.ingest.layout import HeaderMatcher, Layout
from student_pipeline.ingest.records import (
    MAX_RECORD_CHARS,
    Malformed,
    Record,
    arrange,
    read_line,
)
from student_pipeline.ingest.snapshot import TextSurvey, is_text, open_text, printable

DELIMITERS = (",", ";", "\t", "|")

_SEPARATOR_LINE = re.compile(r"""\s*"?sep=.?"?\s*""", re.IGNORECASE | re.DOTALL)
_BARE_CR = "expected lines that end in LF or CRLF, found a carriage return alone"

MIN_READ_AGAIN_CHARS = 256 << 20
MAX_READ_AGAIN_TIMES = 10
"""How much of a file may be read again after quotes that do not end: the greater of the two.

Each such quote may swallow a record's length of lines below: with one in every line, reading a file
would take as long as its length squared.
"""

csv.field_size_limit(MAX_RECORD_CHARS)


@dataclass(frozen=True)
class CsvHeader:
    """What the head of a delimited file says.

    Attributes:
        lines: physical lines up to and with the header.
        one_line: whether the header itself is one of them.
    """

    delimiter: str
    layout: Layout
    lines: int
    one_line: bool


class _TooLong(csv.Error):
    """The record is longer than `MAX_RECORD_CHARS`."""


class _Lines:
    """The lines of a file, with their numbers; lines can be given back."""

    def __init__(self, stream: IO[str], skip: int = 0) -> None:
        self._stream = stream
        self._given_back: list[str] = []
        self.number = 0
        self.taken: list[str] = []
        self._taken_chars = 0
        self.again_chars = 0
        for _ in range(skip):
            self.start_record()
            next(self, None)

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = (
            self._given_back.pop()
            if self._given_back
            else read_line(self._stream, MAX_RECORD_CHARS)
        )
        if not line:
            raise StopIteration
        self.number += 1
        self.taken.append(line)
        self._taken_chars += len(line)
        if self._taken_chars >= MAX_RECORD_CHARS:
            raise _TooLong(f"it is longer than {MAX_RECORD_CHARS:,} characters")
        return line

    def start_record(self) -> None:
        """Forget the lines of the last record."""
        self.taken.clear()
        self._taken_chars = 0

    def give_back_all_but_first(self) -> None:
        """Let the lines after the first that were taken be read again."""
        again = self.taken[1:]
        self._given_back.extend(reversed(again))
        self.number -= len(again)
        self.again_chars += sum(map(len, again))
        del self.taken[1:]


def read_header(path: Path, survey: TextSurvey, matcher: HeaderMatcher) -> CsvHeader:
    """The delimiter and the layout that the header line tells.

    The delimiter is the one under which the header gives the most known columns, then the most
    fields. Blank lines and Excel's `sep=` line above the header are passed over.

    Raises:
        FileRefused: there is no header, it can't be read, or a required column is missing.
    """
    with open_text(path, survey.encoding) as stream:
        lines = _Lines(stream)
        first = _first_filled_line(lines)
        if _SEPARATOR_LINE.fullmatch(first):
            _first_filled_line(lines)
        before = lines.number - 1
    headers: list[str] = []
    delimiter, taken, problem = DELIMITERS[0], 0, ""
    for candidate in DELIMITERS:
        with open_text(path, survey.encoding) as stream:
            fields, lines_taken, unreadable = _header_fields(_Lines(stream, before), candidate)
        problem = problem or unreadable
        if _merit(fields, matcher) > _merit(headers, matcher):
            headers, delimiter, taken = fields, candidate, lines_taken
    if not headers:
        raise FileRefused(f"Expected a header line, found one that can't be read: {problem}.")
    if not all(map(is_text, headers)):
        raise FileRefused(
            "Expected a header line of text, found bytes that are no text; "
            "is it UTF-16 without a byte-order mark, or no text file?"
        )
    layout = matcher.layout(headers)
    matcher.require_columns(set(layout.columns), headers)
    return CsvHeader(delimiter, layout, before + taken, one_line=taken == 1)


def read_records(
    path: Path, survey: TextSurvey, header: CsvHeader, matcher: HeaderMatcher
) -> Iterator[Record | Malformed]:
    """The records below the header, in order. Blank lines are none.

    Text behind a closing quote is read as Python's csv module reads it, as more of the field. Where
    a quoted field does not end, or only after it swallowed lines below, the line where the record
    starts is malformed and reading goes on at the next.

    Raises:
        FileRefused: so many quotes do not end that reading would take too long.
    """
    source, layout = matcher.source, header.layout
    width = len(layout.headers)
    may_read_again = max(MIN_READ_AGAIN_CHARS, MAX_READ_AGAIN_TIMES * path.stat().st_size)
    with open_text(path, survey.encoding) as stream:
        lines = _Lines(stream, header.lines)
        reader = csv.reader(lines, delimiter=header.delimiter, strict=True)
        while True:
            lines.start_record()
            start = lines.number + 1
            problem = ""
            try:
                fields = next(reader, None)
            except csv.Error as error:
                fields, problem = _read_again(lines, error, header.delimiter)
                if lines.again_chars > may_read_again:
                    raise FileRefused(
                        "Expected quoted fields that end, found many that do not, "
                        f"up to line {start}."
                    ) from error
                reader = csv.reader(lines, delimiter=header.delimiter, strict=True)
            if fields is None:
                return
            if not fields and not problem:
                continue
            raw = "".join(lines.taken)
            if not survey.clean and not is_text(raw):
                problem = f"expected {survey.encoding} text, found bytes that are no text"
            if not problem and _ends_in_bare_cr(lines.taken[-1]):
                problem = _BARE_CR
            if not problem and len(fields) != width:
                problem = f"expected {width} fields, found {len(fields)}"
            if problem:
                yield Malformed(start, problem, printable(raw.rstrip("\r\n")))
            else:
                yield arrange(source, layout, fields)


def _first_filled_line(lines: _Lines) -> str:
    try:
        for line in lines:
            lines.start_record()
            if line.strip():
                return line
    except _TooLong as error:
        raise FileRefused(
            f"Expected a header line, found one that can't be read: {error}."
        ) from error
    raise FileRefused("Expected a header line, found only blank lines.")


def _header_fields(lines: _Lines, delimiter: str) -> tuple[list[str], int, str]:
    """The header's fields as a delimiter splits them, its number of lines, and why it has none."""
    lines.start_record()
    try:
        fields = next(csv.reader(lines, delimiter=delimiter))
    except csv.Error as error:
        return [], 0, _problem(error)
    if _ends_in_bare_cr(lines.taken[-1]):
        return [], 0, _BARE_CR
    return fields, len(lines.taken), ""


def _merit(fields: list[str], matcher: HeaderMatcher) -> tuple[int, int]:
    """How well fields look like the header: by known columns, then by number."""
    return matcher.known_columns(fields), len(fields)


def _read_again(lines: _Lines, error: csv.Error, delimiter: str) -> tuple[list[str], str]:
    """The fields of a record whose quoting is not strict; or else none, and the problem.

    Afterwards `lines.taken` are the lines of the record.
    """
    swallowed = len(lines.taken) > 1
    if _is_bare_cr(error) or (isinstance(error, _TooLong) and not swallowed):
        return [], _problem(error)
    lines.give_back_all_but_first()
    lenient = csv.reader([lines.taken[0], "\n"], delimiter=delimiter)
    try:
        fields = next(lenient)
    except csv.Error as second:
        return [], _problem(second)
    if swallowed or lenient.line_num > 1:
        return [], "a quoted field does not end where it should"
    return fields, ""


def _is_bare_cr(error: csv.Error) -> bool:
    return str(error).startswith("new-line character")


def _problem(error: csv.Error) -> str:
    return _BARE_CR if _is_bare_cr(error) else f"the line can't be split into fields ({error})"


def _ends_in_bare_cr(line: str) -> bool:
    """Whether a line ends in a CR that is not part of CRLF; the csv module passes over those."""
    return line.endswith(("\r", "\r\r\n"))
