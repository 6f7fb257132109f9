"""Reading delimited text record by record, exactly and as a stream."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

from student_pipeline.ingest.errors import FileRefused
from student_pipeline.ingest.layout import HeaderMatcher, Layout
from student_pipeline.ingest.records import MAX_RECORD_CHARS, Malformed, Record, arrange
from student_pipeline.ingest.snapshot import TextSurvey, is_text, open_text, printable

DELIMITERS = (",", ";", "\t", "|")

csv.field_size_limit(MAX_RECORD_CHARS)


@dataclass(frozen=True)
class CsvHeader:
    """What the head of a delimited file says.

    Attributes:
        lines: physical lines up to and with the header.
    """

    delimiter: str
    layout: Layout
    lines: int


class _Lines:
    """The lines of a file, with their numbers; lines can be given back."""

    def __init__(self, stream: IO[str], number: int = 0) -> None:
        self._stream = stream
        self._given_back: list[str] = []
        self.number = number
        self.taken: list[str] = []
        self._taken_chars = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = (
            self._given_back.pop() if self._given_back else self._stream.readline(MAX_RECORD_CHARS)
        )
        if not line:
            raise StopIteration
        self.number += 1
        self.taken.append(line)
        self._taken_chars += len(line)
        if self._taken_chars > MAX_RECORD_CHARS:
            raise csv.Error("the record is too long")
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
        first = _first_line(lines)
        if (
            first.strip().strip('"').lower().startswith("sep=")
            and len(first.strip().strip('"')) <= 5
        ):
            first = _first_line(lines)
        before = lines.number - 1
        following = list(islice(stream, 100))  # a quoted header name may hold line breaks
    text = [first, *following]
    candidates = {delimiter: _header_fields(text, delimiter) for delimiter in DELIMITERS}
    delimiter, (headers, taken) = max(
        candidates.items(), key=lambda item: (matcher.known_columns(item[1][0]), len(item[1][0]))
    )
    if not all(map(is_text, headers)):
        raise FileRefused(
            "Expected a header line of text, found bytes that are no text; "
            "is it UTF-16 without a byte-order mark, or no text file?"
        )
    layout = matcher.layout(headers)
    matcher.require_columns(set(layout.columns), headers)
    return CsvHeader(delimiter, layout, before + taken)


def read_records(
    path: Path, survey: TextSurvey, header: CsvHeader, matcher: HeaderMatcher
) -> Iterator[Record | Malformed]:
    """The records below the header, in order. Blank lines are none.

    Text behind a closing quote is read as Python's csv module reads it, as more of the field. Where
    a quoted field does not end, or only after it swallowed lines below, the line where the record
    starts is malformed and reading goes on at the next.
    """
    source, layout = matcher.source, header.layout
    width = len(layout.headers)
    with open_text(path, survey.encoding) as stream:
        for _ in range(header.lines):
            stream.readline()
        lines = _Lines(stream, header.lines)
        reader = csv.reader(lines, delimiter=header.delimiter, strict=True)
        while True:
            lines.start_record()
            start = lines.number + 1
            problem = ""
            try:
                fields = next(reader, None)
            except csv.Error as error:
                unclosed = len(lines.taken) > 1 or "end of data" in str(error)
                lines.give_back_all_but_first()
                fields, problem = _read_leniently(lines.taken[0], header.delimiter)
                if unclosed:
                    problem = "a quoted field does not end where it should"
                reader = csv.reader(lines, delimiter=header.delimiter, strict=True)
            if fields is None:
                return
            if not fields and not problem:
                continue
            raw = "".join(lines.taken)
            if not survey.clean and not is_text(raw):
                problem = f"expected {survey.encoding} text, found bytes that are no text"
            if not problem and len(fields) != width:
                problem = f"expected {width} fields, found {len(fields)}"
            if problem:
                yield Malformed(start, problem, printable(raw.rstrip("\r\n")))
            else:
                yield arrange(source, layout, fields)


def _first_line(lines: _Lines) -> str:
    for line in lines:
        if line.strip():
            return line
    raise FileRefused("Expected a header line, found only blank lines.")


def _header_fields(text: list[str], delimiter: str) -> tuple[list[str], int]:
    """The header's fields and the number of lines it takes, read with a delimiter."""
    reader = csv.reader(text, delimiter=delimiter)
    try:
        return next(reader), reader.line_num
    except csv.Error as error:
        raise FileRefused(
            f"Expected a header line that ends in LF or CRLF, found one that can't be read ({error})."
        ) from error


def _read_leniently(line: str, delimiter: str) -> tuple[list[str], str]:
    """The fields of one line whose quoting is broken, and the problem if that fails, too."""
    try:
        return next(csv.reader([line], delimiter=delimiter)), ""
    except csv.Error as error:
        return [], f"the line can't be split into fields ({error})"
