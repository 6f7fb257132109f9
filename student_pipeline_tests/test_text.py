"""Bytes to text: encodings, packing, and files with nothing in them.

`read` is for the other tests of single files, too: a file as the pipeline reads it.
"""

import functools
import gzip
import io
import json
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from student_pipeline.ingest import discovery, snapshot, staging
from student_pipeline.ingest.errors import FileRefused
from student_pipeline.ingest.layout import HeaderMatcher
from student_pipeline.ingest.limits import Limits
from student_pipeline.sources import SOURCES
from student_pipeline_tests.pipeline import School
from student_pipeline_tests.test_delivery import load

Aliases = Mapping[str, Sequence[str]]


@dataclass
class Reading:
    """What of a file is ready to be loaded.

    Attributes:
        rows: the columns that are not null, `_extra` parsed, in the file's order.
        malformed: (line, sentence, raw text).
    """

    rows: list[dict[str, Any]]
    malformed: list[tuple[int, str, str]]
    encoding: str | None

    @property
    def ids(self) -> list[str | None]:
        """The first column of every row."""
        return [next(iter(row.values()), None) for row in self.rows]


def read(folder: Path, name: str, content: bytes | str, aliases: Aliases | None = None) -> Reading:
    """Put a file into a folder and read it as the pipeline does, inside a transaction.

    Raises:
        FileRefused: as the pipeline refuses it.
    """
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    source = next(source for source in SOURCES.values() if name.startswith(source.name))
    (found,) = [f for f in discovery.find_files(str(folder), source) if f.path == name]
    engine = _engine()
    engine.begin()
    try:
        with tempfile.TemporaryDirectory() as spool:
            taken = snapshot.take(found, Path(spool), Limits())
            matcher = HeaderMatcher(source, aliases or {})
            staged = staging.stage(engine, taken, matcher, Path(spool))
        rows = engine.execute(f"SELECT * FROM {staging.ROWS} ORDER BY rowid").fetchall()
        malformed = engine.execute(f"SELECT * FROM {staging.MALFORMED} ORDER BY rowid").fetchall()
    finally:
        engine.rollback()
    assert (staged.rows, staged.malformed) == (len(rows), len(malformed))
    return Reading([_filled(row, source.columns) for row in rows], malformed, staged.encoding)


def refusal(folder: Path, name: str, content: bytes | str, aliases: Aliases | None = None) -> str:
    """Why the pipeline refuses a file."""
    with pytest.raises(FileRefused) as caught:
        read(folder, name, content, aliases)
    return str(caught.value)


@functools.cache
def _engine() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def _filled(row: tuple[Any, ...], columns: Mapping[str, object]) -> dict[str, Any]:
    named = dict(zip((*columns, "_extra"), row, strict=True))
    if named["_extra"] is not None:
        named["_extra"] = json.loads(named["_extra"], parse_float=str, parse_int=str)
    return {name: value for name, value in named.items() if value is not None}


ROSTER = "student_id,name\n1,Zoë\n2,Łucja\n3,Ann\n"
PEOPLE = [
    {"student_id": "1", "name": "Zoë"},
    {"student_id": "2", "name": "Łucja"},
    {"student_id": "3", "name": "Ann"},
]

# --- encodings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (ROSTER.encode(), "utf-8"),
        (ROSTER.encode("utf-8-sig"), "utf-8"),
        (ROSTER.encode("utf-16"), "utf-16"),
        (b"\xff\xfe" + ROSTER.encode("utf-16-le"), "utf-16"),
        (b"\xfe\xff" + ROSTER.encode("utf-16-be"), "utf-16"),
        (b"\xff\xfe" + ROSTER.replace("\n", "\r\n").encode("utf-16-le"), "utf-16"),
    ],
)
def test_unicode_with_and_without_a_mark(tmp_path: Path, content: bytes, encoding: str) -> None:
    found = read(tmp_path, "students.csv", content)
    assert (found.rows, found.malformed, found.encoding) == (PEOPLE, [], encoding)


def test_windows_1252_when_it_is_no_utf_8(tmp_path: Path) -> None:
    found = read(tmp_path, "students.csv", "student_id,name\n1,Zoë “Z” €\n".encode("cp1252"))
    assert found.rows == [{"student_id": "1", "name": "Zoë “Z” €"}]
    assert found.encoding == "windows-1252"


def test_the_encoding_holds_for_json_too(tmp_path: Path) -> None:
    content = '[{"student_id": 1, "name": "Zoë"}]'
    for codec, encoding in (
        ("cp1252", "windows-1252"),
        ("utf-16", "utf-16"),
        ("utf-8-sig", "utf-8"),
    ):
        found = read(tmp_path, "students.json", content.encode(codec))
        assert found.rows == [{"student_id": "1", "name": "Zoë"}]
        assert found.encoding == encoding


@pytest.mark.parametrize("byte", [0x81, 0x8D, 0x8F, 0x90, 0x9D])
def test_bytes_that_windows_1252_does_not_define(tmp_path: Path, byte: int) -> None:
    bad = b"2,A" + bytes([byte]) + b"n"
    found = read(tmp_path, "students.csv", b"student_id,name\n1,Zo\xeb\n" + bad + b"\n3,Ann\n")
    assert found.encoding == "windows-1252"
    assert found.rows == [{"student_id": "1", "name": "Zoë"}, {"student_id": "3", "name": "Ann"}]
    assert found.malformed == [
        (
            3,
            "Line 3: expected windows-1252 text, found bytes that are no text.",
            f"2,A\\x{byte:02x}n",
        )
    ]


def test_one_valid_character_makes_a_mixed_file_utf_8(tmp_path: Path) -> None:
    mixed = b"student_id,name\n1,Zo\xc3\xab\n2,Zo\xeb\n3,Ann\n"
    found = read(tmp_path, "students.csv", mixed)
    assert found.encoding == "utf-8"
    assert found.ids == ["1", "3"]
    assert found.malformed == [
        (3, "Line 3: expected utf-8 text, found bytes that are no text.", "2,Zo\\xeb")
    ]
    # Without that character the same bytes are Windows-1252.
    found = read(tmp_path, "students.csv", mixed.replace(b"\xc3\xab", b"e"))
    assert found.encoding == "windows-1252"
    assert [row["name"] for row in found.rows] == ["Zoe", "Zoë", "Ann"]


@pytest.mark.parametrize(
    ("sequence", "encoding"),
    [
        (b"\xc3\xab", "utf-8"),
        (b"\xe2\x82\xac", "utf-8"),
        (b"\xf0\x9f\x98\x80", "utf-8"),
        (b"\xf4\x8f\xbf\xbf", "utf-8"),
        (b"\xc1\xbf", "windows-1252"),  # an overlong form
        (b"\xe0\x9f\xbf", "windows-1252"),  # another one
        (b"\xed\xa0\x80", "windows-1252"),  # half a surrogate pair
        (b"\xf4\x90\x80\x80", "windows-1252"),  # beyond Unicode
        (b"\xe2\x82", "windows-1252"),  # cut off
    ],
)
def test_which_bytes_are_a_utf_8_character(tmp_path: Path, sequence: bytes, encoding: str) -> None:
    rows = b"student_id,name\n" + b"1,Ann\n" * 9 + b"2,Zo\xeb\n3," + sequence + b"\n"
    assert read(tmp_path, "students.csv", rows).encoding == encoding


def test_a_character_across_the_pieces_in_which_a_file_is_surveyed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = "student_id,name\n1,😀\n".encode() + b"2,Zo\xeb\n"
    path = tmp_path / "students.csv"
    path.write_bytes(content)
    for size in range(1, len(content)):
        monkeypatch.setattr(snapshot, "CHUNK_BYTES", size)
        assert snapshot.survey(path).encoding == "utf-8"


def test_a_broken_byte_in_utf_16(tmp_path: Path) -> None:
    content = b"\xff\xfe" + "student_id,name\n1,Ann\n2,Bob\n".encode("utf-16-le")
    half = "\ud800".encode("utf-16-le", "surrogatepass")
    found = read(tmp_path, "students.csv", content.replace("B".encode("utf-16-le"), half))
    assert found.ids == ["1"]
    assert [(line, raw) for line, _, raw in found.malformed] == [(3, "2,\\x00\\xd8ob")]
    odd = read(tmp_path, "students.csv", content + b"3")
    assert odd.ids == ["1", "2"]
    assert [raw for _, _, raw in odd.malformed] == ["\\x33"]


def test_nul_is_no_text(tmp_path: Path) -> None:
    found = read(tmp_path, "students.csv", b"student_id,name\n1,A\0n\n2,Bob\n")
    assert found.ids == ["2"]
    assert [raw for _, _, raw in found.malformed] == ["1,A\\x00n"]
    found = read(tmp_path, "students.jsonl", b'{"student_id": "1\0"}\n{"student_id": "2"}\n')
    assert found.ids == ["2"]
    assert [raw for _, _, raw in found.malformed] == ['{"student_id": "1\\x00"}']


def test_utf_16_without_a_mark_is_refused_in_words(tmp_path: Path) -> None:
    message = refusal(tmp_path, "students.csv", ROSTER.encode("utf-16-le"))
    assert message.startswith("Expected a header line of text, found bytes that are no text")


def test_odd_characters_come_through_unchanged(tmp_path: Path) -> None:
    odd = "\u00a0 \u200bÅ\u2028\u2029\x85\x0b\x0c\x1c\x1f\x7f\ufeff\U0010ffff "
    found = read(tmp_path, "students.csv", f"student_id,name\n1,{odd}\n2,x\n")
    assert [row["name"] for row in found.rows] == [odd, "x"]


# --- packed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["students.csv.gz", "students.CSV.GZ", "students_1.tsv.gz"])
def test_a_packed_file_is_unpacked(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, name, gzip.compress(ROSTER.encode())).rows == PEOPLE


def test_a_packed_file_of_several_parts(tmp_path: Path) -> None:
    middle = len(ROSTER.encode()) // 2
    parts = (ROSTER.encode()[:middle], ROSTER.encode()[middle:])
    assert read(tmp_path, "students.csv.gz", b"".join(map(gzip.compress, parts))).rows == PEOPLE


def _flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


PACKED = gzip.compress(ROSTER.encode(), mtime=0)


@pytest.mark.parametrize(
    "content",
    [
        PACKED[:-1],
        PACKED[:-9],
        PACKED[:12],
        _flipped(PACKED, -8),  # the check sum
        _flipped(PACKED, 10),  # the packed bytes
        PACKED + b"something else",
        ROSTER.encode(),
        zlib.compress(ROSTER.encode()),
        b"\x1f",
    ],
)
def test_a_broken_packed_file_is_refused(tmp_path: Path, content: bytes) -> None:
    message = refusal(tmp_path, "students.csv.gz", content)
    assert message.startswith("Expected a gzip file, found one that is broken or incomplete")


# --- formats --------------------------------------------------------------------------------------


def _parquet(record: dict[str, str]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({name: [value] for name, value in record.items()}), file)
    return file.getvalue()


FORMATS: dict[str, Callable[[dict[str, str]], bytes]] = {
    "csv": lambda record: f"{','.join(record)}\n{','.join(record.values())}".encode(),
    "tsv": lambda record: "{}\n{}".format("\t".join(record), "\t".join(record.values())).encode(),
    "json": lambda record: json.dumps([record]).encode(),
    "jsonl": lambda record: json.dumps(record).encode(),
    "ndjson": lambda record: json.dumps(record).encode(),
    "parquet": _parquet,
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("format_", FORMATS)
def test_any_source_may_come_in_any_format(tmp_path: Path, source: str, format_: str) -> None:
    record = {name: f"0{number}é" for number, name in enumerate(SOURCES[source].columns)}
    content = FORMATS[format_](record | {"more": "007"})
    expected = [record | {"_extra": {"more": "007"}}]
    assert read(tmp_path, f"{source}.{format_}", content).rows == expected
    if format_ != "parquet":
        assert read(tmp_path, f"{source}.{format_}.gz", gzip.compress(content)).rows == expected


# --- nothing in it --------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", ["csv", "tsv", "json", "parquet", "csv.gz", "json.gz"])
def test_a_file_without_bytes_is_refused(tmp_path: Path, extension: str) -> None:
    content = gzip.compress(b"") if extension.endswith("gz") else b""
    message = refusal(tmp_path, f"students.{extension}", content)
    assert message == "Expected records, found an empty file of 0 bytes."


@pytest.mark.parametrize("extension", ["jsonl", "ndjson", "jsonl.gz", "ndjson.gz", "JSONL"])
@pytest.mark.parametrize("blanks", ["", "\n", "  \r\n\n"])
def test_lines_of_records_may_be_none(tmp_path: Path, extension: str, blanks: str) -> None:
    content = gzip.compress(blanks.encode()) if extension.endswith("gz") else blanks.encode()
    found = read(tmp_path, f"students.{extension}", content)
    assert (found.rows, found.malformed) == ([], [])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("students.csv", "student_id,name"),
        ("students.csv", "student_id,name\r\n\r\n"),
        ("students.csv", "\ufeffsep=;\nstudent_id;name\n"),
        ("students.tsv", "student_id\tname\n"),
        ("students.csv", "student_id"),
        ("students.json", "[]"),
        ("students.json", " [\n] \n"),
        ("students.json", '{"data": []}'),
        ("students.json", '{"took": 1.5, "students": [ ], "next": null}'),
    ],
)
def test_a_header_alone_or_an_empty_array_has_no_rows(
    tmp_path: Path, name: str, content: str
) -> None:
    found = read(tmp_path, name, content)
    assert (found.rows, found.malformed) == ([], [])


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("students.csv", "\n \n\t\r\n", "Expected a header line, found only blank lines."),
        ("students.csv", "\ufeff", "Expected a header line, found only blank lines."),
        ("students.csv", "sep=,\n", "Expected a header line, found only blank lines."),
        ("students.json", " \n\t", "Expected JSON, found only blanks."),
        ("students.json", "\ufeff", "Expected JSON, found only blanks."),
    ],
)
def test_blanks_alone_are_refused(tmp_path: Path, name: str, content: str, sentence: str) -> None:
    assert refusal(tmp_path, name, content) == sentence


# --- end to end -----------------------------------------------------------------------------------


def test_the_ledger_says_how_a_file_was_read(school: School) -> None:
    school.deliver("students/1.csv", "student_id,name\n1,Zoë\n")
    school.deliver("students/2.csv", "student_id,name\n2,Zoë\n".encode("cp1252"))
    school.deliver("students/3.csv", "student_id,name\n3,Zoë\n".encode("utf-16"))
    school.deliver("students/4.csv.gz", gzip.compress("student_id,name\n4,Zoë\n".encode()))
    school.deliver("students/5.jsonl", "")
    school.deliver("students/6.csv", "student_id,name\n")
    load(school)
    assert school.query("SELECT path, encoding, rows_read FROM ops.source_files ORDER BY path") == [
        ("students/1.csv", "utf-8", 1),
        ("students/2.csv", "windows-1252", 1),
        ("students/3.csv", "utf-16", 1),
        ("students/4.csv.gz", "utf-8", 1),
        ("students/5.jsonl", "utf-8", 0),
        ("students/6.csv", "utf-8", 0),
    ]
    assert school.query("SELECT DISTINCT name FROM bronze.students") == [("Zoë",)]


def test_undecodable_records_stand_in_the_quarantine(school: School) -> None:
    school.deliver(
        "students.csv", "student_id,name\n1,Zoë\n".encode() + b"2,Zo\xeb\n" + b"3,A\n4,B\n5,C\n"
    )
    assert school.run().success
    (row,) = school.rows("quarantine.students")
    assert row["reason"] == "malformed_record"
    assert row["detail"] == "Line 3: expected utf-8 text, found bytes that are no text."
    assert row["_raw"] == "2,Zo\\xeb"
    assert (row["_source_file"], row["_source_row"], row["_load_id"]) == ("students.csv", None, 1)
    assert (row["student_id"], row["name"], row["_extra"]) == (None, None, None)
    assert school.query("SELECT student_id, _source_row FROM bronze.students ORDER BY ALL") == [
        ("1", 1),
        ("3", 2),
        ("4", 3),
        ("5", 4),
    ]
