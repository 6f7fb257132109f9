"""The bulk reader gives exactly what the exact readers give, or leaves the file to them."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from student_pipeline.ingest import bulk
from student_pipeline.ingest.errors import FileRefused
from student_pipeline_tests.pipeline import School, failed_checks
from student_pipeline_tests.test_text import Reading, read

PLAIN = settings(derandomize=True, deadline=None, database=None, max_examples=90)
Outcome = Reading | str


class Readers:
    """Reads a file both ways.

    Attributes:
        taken: how many files the bulk reader took (True) and left to the exact ones (False).
    """

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.patch = patch
        self.taken: Counter[bool] = Counter()
        for name in ("stage_csv", "stage_json"):
            patch.setattr(bulk, name, self._counted(getattr(bulk, name)))

    def _counted(self, stage: Callable[..., bool]) -> Callable[..., bool]:
        def counted(*arguments: Any) -> bool:
            taken = stage(*arguments)
            self.taken[taken] += 1
            return taken

        return counted

    def bulk(self, name: str, content: bytes | str) -> Outcome:
        """The reading, or why there is none, by the bulk reader as far as it takes the file."""
        return self._read(name, content, min_bytes=0)

    def exact(self, name: str, content: bytes | str) -> Outcome:
        """The same by the exact readers."""
        return self._read(name, content, min_bytes=1 << 40)

    def _read(self, name: str, content: bytes | str, min_bytes: int) -> Outcome:
        self.patch.setattr(bulk, "MIN_BYTES", min_bytes)
        try:
            return read(self.folder, name, content)
        except FileRefused as refused:
            return str(refused)

    def assert_same(self, name: str, content: bytes | str) -> None:
        """Both readings are the same, and what is refused is refused both ways."""
        exact, by_bulk = self.exact(name, content), self.bulk(name, content)
        if isinstance(exact, str) and isinstance(by_bulk, str):
            return  # the order of the names in the sentence may differ
        assert by_bulk == exact


@pytest.fixture
def readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Readers:
    """Readers of an empty folder."""
    return Readers(tmp_path, monkeypatch)


# --- delimited text -------------------------------------------------------------------------------

FIELD = st.one_of(
    st.sampled_from(
        [
            "",
            " ",
            "0",
            "007",
            "1e5",
            "NULL",
            "é",
            "😀 x",
            "\\",
            "\\N",
            "\\,",
            "'x'",
            "#x",
            "a b ",
            "\u00a0",
        ]
    ),
    st.text(st.characters(exclude_characters='"', exclude_categories=("Cc", "Cs")), max_size=6),
    st.text("ab \t;|,'\\#", max_size=5),
)
QUOTED = st.sampled_from([None] * 4 + ['"%s"', '"a""%s"', '"%s"""', '"", ;%s|"'])
"""How a field stands in the file: as it is, or in quotes that end on its line."""
HEADERS = st.sampled_from(
    [
        ["student_id", "name"],
        ["name", "student_id", "class_id"],
        ["student_id", "Student Name", "zip", "name"],
        ["x", "student_id", "ü", "x", "X"],
        ["student_id", '"full\nname"'],
        ['"student_id"', '"full, name"', "class_id"],
        ["student_id", ""],
        ["student_id"],
        ["name", "grade"],
    ]
)


@st.composite
def delimited(draw: st.DrawFn) -> str:
    """A roster with lines of any number of fields, blank ones, and ends of all kinds."""
    delimiter = draw(st.sampled_from(",;\t|"))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    headers = draw(HEADERS)
    width = len(headers)
    count = st.sampled_from([width] * 6 + [0, 1, width + 1, width + 3, max(width - 1, 1)])
    lines = [delimiter.join(headers)]
    for size in draw(st.lists(count, max_size=12)):
        fields = draw(st.lists(FIELD, min_size=size, max_size=size))
        quoted = draw(st.lists(QUOTED, min_size=size, max_size=size))
        lines.append(
            delimiter.join(
                field.replace(delimiter, "") if quote is None else quote % field
                for field, quote in zip(fields, quoted, strict=True)
            )
        )
    above = draw(
        st.sampled_from(["", "", "\ufeff", end, f"sep={delimiter}{end}", f"\ufeff {end}{end}"])
    )
    return above + end.join(lines) + draw(st.sampled_from(["", end, end * 3]))


def test_delimited_text(readers: Readers) -> None:
    @PLAIN
    @given(delimited())
    @example("student_id,name\r\n1,a\r\n\r\n2\r\n\r\n\r\n3,b,c,d\r\n4,\r\n,\r\n")
    @example("\n\nsep=;\nstudent_id;name\n1\n\n \n2;b\n;\n\t\n3;c;d")
    @example("student_id,x\n1,\x1b\n2,\x7f\n")
    @example('student_id,"full\nname"\nbroken\n1,a\n2,b\n')
    @example('student_id,name,x\n"1","a,""b""",""\n"2"\n"3","x, y",,"z"\n""\n"4","",","')
    def compare(content: str) -> None:
        readers.assert_same("students.csv", content)

    compare()
    assert readers.taken[True] > 20


def test_any_text_below_a_header(readers: Readers) -> None:
    @PLAIN
    @given(
        st.text("12,,\n\n\r\" '\\;\t\x00\x0bé\u2028", max_size=40), st.sampled_from(["\n", "\r\n"])
    )
    def compare(content: str, end: str) -> None:
        readers.assert_same("students.csv", f"student_id,name{end}{content}")

    compare()
    assert readers.taken[True] > 10


@pytest.mark.parametrize(
    "content",
    [
        b"student_id,name\n1,Zo\xeb\n",
        "student_id,name\n1,Zoë\n".encode("utf-16"),
        b'student_id,name\n1,"Ann\n"\n',
        b'student_id,name\n1,"Ann\n',
        b'student_id,name\n1,"Ann"e\n',
        b'student_id,name\n1, "Ann"\n',
        b"student_id,name\n1,5' 10\"\n",
        b"student_id,name\n1,Ann\r\n2,Bob\n",
        b"student_id,name\n1,A\0\n",
        b"student_id,name\n1,A\x1bnn\n",
        b"student_id\n1\n\n2\n",
    ],
)
def test_text_that_is_not_plain_is_left_to_the_exact_reader(
    readers: Readers, content: bytes
) -> None:
    readers.assert_same("students.csv", content)
    assert readers.taken[True] == 0


@pytest.mark.parametrize("line", ["2,%s", "%s"])
def test_a_line_longer_than_the_engine_reads(readers: Readers, line: str) -> None:
    """DuckDB drops one that is longer than its buffer of 32 MB without a word."""
    content = f"student_id,name\n1,a\n{line}\n3,c\nbroken\n"
    readers.assert_same("students.csv", content % ("x" * 40_000_000))
    assert readers.taken[True] == 0
    readers.assert_same("students.csv", content % ("é" * 4_000))
    assert readers.taken[True] == 1


def test_a_long_line_is_kept_whole(readers: Readers) -> None:
    for length in (9_000, 9_999, 10_000, 10_001, 500_000):
        readers.assert_same("students.csv", f"student_id,name\n1,{'x' * length}\n{'y' * length}\n")
        readers.assert_same("students.csv", f"student_id,name\n1,x\n{'é' * (length // 2)}\n")


# --- JSON -----------------------------------------------------------------------------------------

USUAL_KEYS = ("name", "student_name", "grade", "status", "zip", "Student ID")
ODD_KEYS = ("", "Zip", "NAME", "a/b~c", "é", "$.x", "x'\"y")
KEYS = st.lists(st.sampled_from([*USUAL_KEYS, *ODD_KEYS]), max_size=4)
SIMPLE = st.one_of(
    st.sampled_from(["1", "17", "-5", "0", "1.5", "-2.25", "100.0", "9007199254740993", "true"]),
    st.sampled_from(
        ["false", "null", '""', '"null"', '"1.50"', '"a,}b"', '"\\u00e9\\n\\/"', '"{"']
    ),
    st.text(max_size=6).map(json.dumps),
    st.text(st.characters(codec="utf-8"), max_size=6).map(
        lambda text: json.dumps(text, ensure_ascii=False)
    ),
    st.integers(-(2**70), 2**70).map(str),
    st.decimals(-1000, 1000, places=2).map(str),
)
ODD_NUMBERS = ("1.50", "1e2", "-0", "-0.0", "1E400", "0.00001", "0.10", "1.00", "1234567890.5")
NO_NUMBERS = ("NaN", "-Infinity", "nan", "inf", "Inf", "01", "1.", ".5", "+1", "tru")
ODD_TEXTS = ('"\\ud83d\\ude00"', '"\\ud800"', '"\\u0000"', '"\\u001b"', '"\\u001B"', '"\x01"')
NESTED = ("[]", "{}", "[1, 2]", '{"a": null}')
ODD = (*ODD_NUMBERS, *NO_NUMBERS, *ODD_TEXTS, *NESTED)


@st.composite
def json_record(draw: st.DrawFn, keys: list[str], value: st.SearchStrategy[str]) -> str:
    """The text of an object, with blanks here and there."""
    blank = st.sampled_from(["", "", "", " ", "\t"])
    members = [
        f"{draw(blank)}{json.dumps(key, ensure_ascii=False)}{draw(blank)}:{draw(blank)}{draw(value)}"
        for key in keys
    ]
    return "{" + ",".join(members) + draw(blank) + "}"


@st.composite
def json_file(draw: st.DrawFn, value: st.SearchStrategy[str]) -> tuple[str, str]:
    """(name, content) of an array or of lines; now and then with records of other keys."""
    usual = ["student_id", *draw(KEYS)]
    other = draw(KEYS) if draw(st.integers(0, 4)) == 0 else usual[:2]
    keys = st.sampled_from([list(dict.fromkeys(usual)), other])
    records = [draw(json_record(draw(keys), value)) for _ in range(draw(st.integers(1, 5)))]
    if draw(st.booleans()):
        between = draw(st.sampled_from([",", ",\n", " ,\r\n ", ",\n\n"]))
        content = draw(st.sampled_from(["[", "\n[ ", "\ufeff["])) + between.join(records)
        return "students.json", content + draw(st.sampled_from(["]", "\n]\n", " ] \r\n\n"]))
    end = draw(st.sampled_from(["\n", "\r\n", "\n\n", "\n \n", " \n"]))
    above = draw(st.sampled_from(["", "", "\n", "\ufeff"]))
    content = above + end.join(records) + draw(st.sampled_from(["", end]))
    return draw(st.sampled_from(["students.jsonl", "students.json"])), content


def test_plain_json(readers: Readers) -> None:
    @PLAIN
    @given(json_file(SIMPLE))
    @example(("students.jsonl", '{"student_id":1,"zip":"null"}\n{"student_id":2,"zip":null}'))
    @example(("students.json", '[{"student_id":1,"b":"\\u00e9","a":true},{"a":""}]'))
    @example(("students.jsonl", '{"student_id":1.10}'))
    @example(("students.jsonl", '{"student_id":1,"Zip":1}\n{"student_id":2,"zip":2}'))
    @example(("students.jsonl", '{"student_id":1,"student_id":2}'))
    @example(("students.jsonl", '{"Student ID":1}\n{"student_id":2}'))
    @example(("students.jsonl", '{"student_id":1}\x0b\n{"student_id":2}'))
    def compare(file: tuple[str, str]) -> None:
        readers.assert_same(*file)

    compare()
    assert readers.taken[True] > 30


def test_odd_json(readers: Readers) -> None:
    @PLAIN
    @given(json_file(st.one_of(SIMPLE, st.sampled_from(ODD))))
    def compare(file: tuple[str, str]) -> None:
        readers.assert_same(*file)

    compare()
    assert readers.taken[False] > 20


def test_broken_json(readers: Readers) -> None:
    @PLAIN
    @given(json_file(SIMPLE), st.data())
    def compare(file: tuple[str, str], data: st.DataObject) -> None:
        name, content = file
        at = data.draw(st.integers(0, len(content)))
        gone = data.draw(st.integers(0, 3))
        put = data.draw(
            st.sampled_from(["", "", ",", "}", "{", "]", '"', "\n", " ", "x", "\\", "\x0c"])
        )
        readers.assert_same(name, content[:at] + put + content[at + gone :])

    compare()


@pytest.mark.parametrize("value", ODD)
def test_each_odd_value(readers: Readers, value: str) -> None:
    records = ['{"student_id": 1, "zip": "x"}', f'{{"student_id": {value} , "zip":{value}\t}}']
    readers.assert_same("students.json", f"[{','.join(records)}]")
    readers.assert_same("students.jsonl", "\n".join(records))


# --- in the pipeline ------------------------------------------------------------------------------


def test_big_lines_of_records_are_read_in_parallel_and_keep_their_order(readers: Readers) -> None:
    """More bytes than DuckDB gives to one thread."""
    note = "x" * 400
    content = "\n".join(
        f'{{"attend_id": "A{n}", "student_id": 1, "date": "", "note": "{note}{n}"}}'
        for n in range(90_000)
    )
    found = readers.bulk("attendance.jsonl", content)
    assert isinstance(found, Reading)
    assert readers.taken == {True: 1}
    assert found.ids == [f"A{n}" for n in range(90_000)]
    assert [row["_extra"]["note"] for row in found.rows] == [f"{note}{n}" for n in range(90_000)]


def test_a_big_file_is_read_in_parallel_and_keeps_its_order(readers: Readers) -> None:
    """More bytes than DuckDB gives to one thread, and more rows than a group of its storage."""
    note = "x" * 300
    lines = [f"A{n:07d},S{n % 97},2026-01-05,P,,{note}{n}" for n in range(125_000)]
    lines[100] = "broken"
    lines[90_000] = f"\n{lines[90_000]},x"
    found = readers.bulk(
        "attendance.csv", "\n".join(["attend_id,student_id,date,status,created_at,note", *lines])
    )
    assert isinstance(found, Reading)
    assert readers.taken == {True: 1}
    kept = [n for n in range(125_000) if n not in (100, 90_000)]
    assert found.ids == [f"A{n:07d}" for n in kept]
    assert [row["_extra"]["note"] for row in found.rows] == [f"{note}{n}" for n in kept]
    assert found.malformed == [
        (102, "Line 102: expected 6 fields, found 1.", "broken"),
        (90_003, "Line 90003: expected 6 fields, found 7.", lines[90_000].strip()),
    ]


def attendance(rows: int) -> list[dict[str, str]]:
    """Plain records."""
    return [
        {
            "attend_id": f"A{n}",
            "student_id": f"S{n % 97}",
            "date": f"2026-01-{n % 28 + 1:02d}",
            "status": "P",
            "seq": str(n),
        }
        for n in range(rows)
    ]


@pytest.mark.parametrize("name", ["attendance.csv", "attendance.json"])
def test_a_big_file_in_a_run(school: School, name: str) -> None:
    records = attendance(60_000)
    content = json.dumps(records)
    if name.endswith("csv"):
        content = "\n".join([",".join(records[0]), *(",".join(row.values()) for row in records)])
    assert len(content) > bulk.MIN_BYTES
    school.deliver(name, content)
    school.deliver("students.csv", "student_id\n" + "\n".join(f"S{n}" for n in range(97)))
    result = school.run()
    assert result.success, failed_checks(result)
    wrong = "attend_id <> 'A' || _source_row - 1 OR created_at IS NOT NULL OR status <> 'P'"
    assert school.query(
        f"SELECT count(*), min(_source_row), max(_source_row), count(*) FILTER ({wrong}), "
        "count(DISTINCT _extra::VARCHAR) FROM bronze.attendance"
    ) == [(60_000, 1, 60_000, 0, 60_000)]


def test_a_big_file_with_one_broken_record_does_not_stop_the_run(school: School) -> None:
    """An error in the engine would abort the transaction of the whole delivery."""
    lines = [json.dumps(record) for record in attendance(15_000)]
    whole = "[" + ",\n".join(lines)  # but for its end
    lines.insert(9000, '{"attend_id": "x"')
    assert min(len(whole), len("\n".join(lines))) > bulk.MIN_BYTES
    school.deliver("attendance_1.csv", "attend_id,student_id,date,status\nB,S1,2026-01-05,P\n")
    school.deliver("attendance_2.jsonl", "\n".join(lines))
    school.deliver("attendance_3.json", whole)
    school.deliver("students.csv", "student_id\n" + "\n".join(f"S{n}" for n in range(97)))
    sentence = failed_checks(school.run())["bronze/attendance: files_readable"]
    assert sentence.startswith(
        "1 file was refused. attendance_3.json: Expected whole JSON, found that it ends on line 15000"
    )
    assert school.query("SELECT count(*) FROM bronze.attendance") == [(15_001,)]
    assert school.query("SELECT detail, _raw FROM quarantine.attendance") == [
        (
            "Line 9001: expected a JSON object, found a line that is no JSON.",
            '{"attend_id": "x"',
        )
    ]
    school.deliver("attendance_3.json", f"{whole}]")
    assert school.run().success
