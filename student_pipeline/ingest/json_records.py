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
_BLANKS = re.compile(r"[ \t\r\n]*")


_NO_JSON = object()
"""Stands for the value of a line that is no JSON."""


class _Broken(Exception):
    """The text is no JSON from here on."""


def shape(path: Path, survey: TextSurvey, format_: str, source: Source) -> Shape:
    """How the records stand in a JSON file.

    `lines`: one record a line; `array`: an array of them; `document`: one object, which is a record
    or holds the array.
    """
    if format_ in ("jsonl", "ndjson"):
        return "lines"
    with open_text(path, survey.encoding) as stream:
        first = _first_filled_line(stream)
        if not first:
            return "nothing"
        if first.lstrip()[0] != "{":
            return "array"
        if _is_object(first):
            return "lines" if _first_filled_line(stream) else "document"
    # The first line is no whole object: it may still be a broken line among whole ones.
    with open_text(path, survey.encoding) as stream:
        if _reads_as_document(stream, _holders(source)):
            return "document"
    with open_text(path, survey.encoding) as stream:
        return "lines" if any(map(_is_object, stream)) else "document"


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
                problem = _problem(value, raw)
                if problem:
                    yield Malformed(line, problem, printable(raw))
                    continue
                assert isinstance(value, Pairs)
                layout = matcher.layout([key for key, _ in value])
                present.update(layout.columns)
                if len(names) < 30:
                    names.update(dict.fromkeys(layout.headers))
                readable += 1
                yield arrange(source, layout, [item for _, item in value])
        except _Broken as error:
            raise FileRefused(f"Expected whole JSON, found that {error}.") from error
        except RecursionError as error:
            raise FileRefused("Expected records, found JSON that is nested too deeply.") from error
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


def _lines(stream: IO[str]) -> Iterator[tuple[int, str, object]]:
    """(line number, raw text, value) of every filled line."""
    number = 0
    while line := stream.readline(MAX_RECORD_CHARS):
        number += 1
        raw = line.strip(" \t\r\n")
        if raw:
            try:
                value = _DECODER.decode(raw)
            except (ValueError, RecursionError):
                value = _NO_JSON
            yield number, raw, value


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
            pairs.append((key, scanner.value()[1]))
    scanner.expect("}")
    if not held:
        yield line, json_text(pairs), pairs


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
    while line := stream.readline(MAX_RECORD_CHARS):
        if line.strip(" \t\r\n"):
            return line
    return ""


def _is_object(line: str) -> bool:
    try:
        return isinstance(_DECODER.decode(line.strip(" \t\r\n")), Pairs)
    except (ValueError, RecursionError):
        return False


def _reads_as_document(stream: IO[str], holders: set[str]) -> bool:
    with suppress(_Broken, RecursionError):
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
            except ValueError as error:
                pending = len(self._window) - self._at
                if pending > MAX_RECORD_CHARS or not self._read_more():
                    problem = str(error).split(":")[0].lower()
                    raise _Broken(
                        f"the value that starts on line {self.line} is broken or breaks off ({problem})"
                    ) from error
                continue
            # A number at the window's edge may go on.
            if end == len(self._window) and self._read_more():
                continue
            raw = self._window[self._at : end]
            self._move(end)
            return raw, value

    def _move(self, to: int) -> None:
        self.line += self._window.count("\n", self._at, to)
        self._at = to

    def _read_more(self) -> bool:
        chunk = "" if self._ended else self._stream.read(max(CHUNK_CHARS, len(self._window)))
        self._ended = not chunk
        self._window = self._window[self._at :] + chunk
        self._at = 0
        return bool(chunk)
