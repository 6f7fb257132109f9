"""Reading JSON record by record, exactly and as a stream."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Literal

from student_pipeline.ingest.errors import FileRefused
from student_pipeline.ingest.layout import HeaderMatcher
from student_pipeline.ingest.records import (
    MAX_RECORD_CHARS,
    Malformed,
    NumberText,
    Pairs,
    Record,
    arrange,
    json_text,
    read_line,
)
from student_pipeline.ingest.snapshot import TextSurvey, is_text, open_text, printable
from student_pipeline.sources import Source

CHUNK_CHARS = 1 << 18

Shape = Literal["array", "lines", "document", "nothing"]

_DECODER = json.JSONDecoder(
    parse_float=NumberText,
    parse_int=NumberText,
    parse_constant=NumberText,
    object_pairs_hook=Pairs,
    strict=False,
)
_BLANK_CHARS = " \t\r\n"
_BLANKS = re.compile(f"[{_BLANK_CHARS}]*")

_NO_JSON = object()
"""Stands for the value of a line that is no JSON."""


class _Broken(Exception):
    """The text is no JSON from here on."""


def shape(path: Path, survey: TextSurvey, format_: str, source: Source) -> Shape:
    """How the records stand in a JSON file.

    `lines`: one record a line; `array`: an array of them; `document`: one object, which is a record
    or holds the array. A file that is neither an array nor an object, but of which some line is
    one, has lines, some of them broken.
    """
    if format_ in ("jsonl", "ndjson"):
        return "lines"
    with open_text(path, survey.encoding) as stream:
        first = _first_filled_line(stream)
        several = bool(_first_filled_line(stream))
    if not first:
        return "nothing"
    if several and _value(first) is not _NO_JSON:
        return "lines"
    start = first.lstrip(_BLANK_CHARS)[0]
    if start == "[":
        return "array"
    if not several:
        return "document"
    if start == "{":
        with open_text(path, survey.encoding) as stream:
            if _reads_as_document(stream, _holders(source)):
                return "document"
    with open_text(path, survey.encoding) as stream:
        some_record = any(isinstance(_value(line), Pairs) for line in _lines_of(stream))
    return "lines" if some_record else "document"


def read_records(
    path: Path, survey: TextSurvey, shape_: Shape, matcher: HeaderMatcher
) -> Iterator[Record | Malformed]:
    """The records of a JSON file, in order.

    Raises:
        FileRefused: it is no JSON, it breaks off, or a required column is in no record.
    """
    source = matcher.source
    present: set[str] = set()
    names: dict[str, None] = {}
    readable = 0
    with open_text(path, survey.encoding) as stream:
        try:
            values = (
                _lines(stream)
                if shape_ == "lines"
                else _elements(_Scanner(stream), _holders(source))
            )
            for line, raw, value in values:
                try:
                    problem = _problem(value, raw)
                    if not problem and isinstance(value, Pairs):
                        layout = matcher.layout([key for key, _ in value])
                        record = arrange(source, layout, [item for _, item in value])
                except RecursionError:
                    problem = "expected a record, found JSON that is nested too deeply"
                if problem:
                    yield Malformed(line, problem, printable(raw))
                    continue
                present.update(layout.columns)
                if len(names) < 30:
                    names.update(dict.fromkeys(layout.headers))
                readable += 1
                yield record
        except _Broken as error:
            raise FileRefused(f"Expected whole JSON, found that {error}.") from error
    if readable:
        matcher.require_columns(present, list(names))


def _holders(source: Source) -> set[str]:
    """The keys of a document under which its array of records may stand."""
    return {"data", source.name}


def _problem(value: object, raw: str) -> str:
    if value is _NO_JSON:
        return "expected a JSON object, found a line that is no JSON"
    if not isinstance(value, Pairs):
        return f"expected a JSON object, found {_kind(value)}"
    if not is_text(raw) or ("\\u" in raw and not _is_text_throughout(value)):
        return "expected text, found characters that are no text"
    return ""


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, NumberText):
        return "a number"
    return {bool: "a truth value", str: "a text", list: "an array"}.get(
        type(value), "something else"
    )


def _is_text_throughout(value: object) -> bool:
    """Whether every text in a JSON value can be stored (`\\ud800` and `\\u0000` can't)."""
    if isinstance(value, Pairs):
        return all(is_text(key) and _is_text_throughout(item) for key, item in value)
    if isinstance(value, list):
        return all(map(_is_text_throughout, value))
    return not isinstance(value, str) or is_text(value)


def _lines_of(stream: IO[str]) -> Iterator[str]:
    """The lines; of one that is too long for a record, the start alone, which is no JSON."""
    while line := read_line(stream, MAX_RECORD_CHARS):
        yield line


def _lines(stream: IO[str]) -> Iterator[tuple[int, str, object]]:
    """(line number, raw text, value) of every filled line."""
    for number, line in enumerate(_lines_of(stream), 1):
        raw = line.strip(_BLANK_CHARS)
        if raw:
            yield number, raw, _value(raw)


def _value(line: str) -> object:
    """The JSON value of a line; `_NO_JSON` where it is none."""
    try:
        return _DECODER.decode(line.strip(_BLANK_CHARS))
    except (ValueError, RecursionError):
        return _NO_JSON


def _elements(scanner: "_Scanner", holders: set[str]) -> Iterator[tuple[int, str, object]]:
    """(line number, raw text, value) of every record of an array or a document."""
    if scanner.peek() == "[":
        yield from _array(scanner)
    else:
        yield from _document(scanner, holders)
    if scanner.peek():
        raise _Broken(f"something follows the JSON on line {scanner.line}")


def _document(scanner: "_Scanner", holders: set[str]) -> Iterator[tuple[int, str, object]]:
    """The records of an object that holds them in an array; else the object itself."""
    line = scanner.line
    scanner.expect("{")
    pairs = Pairs()
    held = False
    chars = 0
    while scanner.peek() != "}":
        if pairs or held:
            scanner.expect(",")
        _, key = scanner.value()
        if not isinstance(key, str) or isinstance(key, NumberText):
            raise _Broken(f"line {scanner.line} has a key that is no text")
        scanner.expect(":")
        if key.strip().lower() in holders and scanner.peek() == "[":
            held = True
            yield from _array(scanner)
        else:
            raw, value = scanner.value()
            pairs.append((key, value))
            chars += len(key) + len(raw)
            if chars > MAX_RECORD_CHARS:
                raise _Broken(
                    f"the record on line {line} is longer than {MAX_RECORD_CHARS:,} characters"
                )
    scanner.expect("}")
    if held:
        return
    try:
        raw = json_text(pairs)
    except RecursionError as error:
        raise _Broken(f"the record on line {line} is nested too deeply") from error
    yield line, raw, pairs


def _array(scanner: "_Scanner") -> Iterator[tuple[int, str, object]]:
    scanner.expect("[")
    first = True
    while scanner.peek() != "]":
        if not first:
            scanner.expect(",")
            scanner.peek()
        first = False
        line = scanner.line
        raw, value = scanner.value()
        yield line, raw, value
    scanner.expect("]")


def _first_filled_line(stream: IO[str]) -> str:
    """The next line that is not blank, or the start of it; empty at the end."""
    while line := read_line(stream, CHUNK_CHARS):
        if line.strip(_BLANK_CHARS):
            return line
    return ""


def _reads_as_document(stream: IO[str], holders: set[str]) -> bool:
    with suppress(_Broken):
        for _ in _elements(_Scanner(stream), holders):
            pass
        return True
    return False


class _Scanner:
    """JSON values of a stream, one at a time, of which only a window is in memory."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._window = ""
        self._at = 0
        self._ended = False
        self.line = 1

    def peek(self) -> str:
        """The next character that is not blank; empty at the end."""
        while True:
            start = self._at
            match = _BLANKS.match(self._window, start)
            self._move(match.end() if match else start)
            if self._at < len(self._window):
                return self._window[self._at]
            if not self._read_more():
                return ""

    def expect(self, character: str) -> None:
        """Step over a character that must come next."""
        found = self.peek()
        if found != character:
            where = f"line {self.line} has {found!r}" if found else f"it ends on line {self.line}"
            raise _Broken(f"{where} where {character!r} should come")
        self._move(self._at + 1)

    def value(self) -> tuple[str, object]:
        """(raw text, value) of what comes next."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._window, self._at)
            except RecursionError as error:
                raise _Broken(
                    f"the value that starts on line {self.line} is nested too deeply"
                ) from error
            except ValueError as error:
                pending = len(self._window) - self._at
                if pending > MAX_RECORD_CHARS or not self._read_more():
                    problem = str(error).split(":")[0].lower()
                    raise _Broken(
                        f"the value that starts on line {self.line} is broken or breaks off "
                        f"({problem})"
                    ) from error
                continue
            # A number at the window's edge may go on: `1` with `.5`, `e5` or `e+5`.
            if end > len(self._window) - 3 and self._read_more():
                continue
            raw = self._window[self._at : end]
            self._move(end)
            return raw, value

    def _move(self, to: int) -> None:
        self.line += self._window.count("\n", self._at, to)
        self._at = to

    def _read_more(self) -> bool:
        pending = len(self._window) - self._at
        chunk = "" if self._ended else self._stream.read(max(CHUNK_CHARS, pending))
        self._ended = not chunk
        if chunk:
            self._window = self._window[self._at :] + chunk
            self._at = 0
        return bool(chunk)
