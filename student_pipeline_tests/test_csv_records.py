"""Delimited text to records: delimiters, quoting, headers, and lines that are broken."""

import itertools
import tracemalloc
from pathlib import Path

import pytest

from student_pipeline.ingest import csv_records
from student_pipeline.ingest.layout import HeaderMatcher
from student_pipeline.ingest.records import Malformed
from student_pipeline.ingest.snapshot import survey
from student_pipeline.sources import ATTENDANCE, STUDENTS
from student_pipeline_tests.pipeline import School, failed_checks
from student_pipeline_tests.test_delivery import load
from student_pipeline_tests.test_text import Reading, read, refusal


def roster(folder: Path, content: str, name: str = "students.csv") -> Reading:
    """Read a roster."""
    return read(folder, name, content)


def names(found: Reading) -> list[str | None]:
    """The `name` of every row."""
    return [row.get("name") for row in found.rows]


# --- delimiters -----------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("extension", ["csv", "tsv"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_header_tells_the_delimiter(
    tmp_path: Path, delimiter: str, extension: str, end: str
) -> None:
    others = "".join(character for character in ",;\t|" if character != delimiter)
    records = [["student_id", "name", "class_id"], ["1", f"a{others}b", "7A"], ["2", "", ""]]
    content = "".join(delimiter.join(fields) + end for fields in records)
    found = roster(tmp_path, content, f"students.{extension}")
    assert found.rows == [
        {"student_id": "1", "name": f"a{others}b", "class_id": "7A"},
        {"student_id": "2"},
    ]
    assert found.malformed == []


@pytest.mark.parametrize(
    ("header", "record", "row"),
    [
        # The most known columns, not the most fields.
        (
            "student_id;name,a,b,c;grade",
            "1;x;7",
            {"student_id": "1", "grade": "7", "_extra": {"name,a,b,c": "x"}},
        ),
        # Of equally many known columns the most fields.
        ("a;b,student_id", "1,2", {"student_id": "2", "_extra": {"a;b": "1"}}),
        ("student_id|a,b,c|d", "1|2|3", {"student_id": "1", "_extra": {"a,b,c": "2", "d": "3"}}),
        ("student_id", "1", {"student_id": "1"}),
        ("student_id", "1;2", {"student_id": "1;2"}),
    ],
)
def test_the_delimiter_that_makes_most_sense_of_the_header(
    tmp_path: Path, header: str, record: str, row: dict[str, object]
) -> None:
    assert roster(tmp_path, f"{header}\n{record}\n").rows == [row]


@pytest.mark.parametrize(
    "line", ["sep=;", "SEP=;", '"sep=;"', "sep=,", "sep=\t", "sep=", "\ufeffsep=;", "sep=;\r"]
)
def test_excels_separator_line_is_skipped(tmp_path: Path, line: str) -> None:
    found = roster(tmp_path, f"{line}\n\nstudent_id;name\n1;Ann\nbroken\n2;b\n3;c\n4;d\n5;e\n")
    assert found.rows[0] == {"student_id": "1", "name": "Ann"}
    assert [line for line, *_ in found.malformed] == [5]


def test_a_header_that_looks_like_a_separator_line_is_none(tmp_path: Path) -> None:
    assert roster(tmp_path, "sep=ab,student_id\nx,1\n").rows == [
        {"student_id": "1", "_extra": {"sep=ab": "x"}}
    ]


# --- quoting --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ('"Ann"', "Ann"),
        ('"Ann, B."', "Ann, B."),
        ('"Ann ""B"""', 'Ann "B"'),
        ('"two\nlines"', "two\nlines"),
        ('"two\r\nlines"', "two\r\nlines"),
        ('"one\n\n\nthree"', "one\n\n\nthree"),
        ('"a\rb"', "a\rb"),
        ('""""', '"'),
        ('Ann "B"', 'Ann "B"'),
        ("Ann\\", "Ann\\"),
        ("'Ann'", "'Ann'"),
        (" Ann ", " Ann "),
        (' "Ann"', ' "Ann"'),
        ("#Ann", "#Ann"),
        ("NULL", "NULL"),
        ('"Ann"x', "Annx"),
        ('"Ann" ', "Ann "),
        ('"A"n"n', 'An"n'),
        ("=1+1", "=1+1"),
        ("007", "007"),
        ("1e5", "1e5"),
        ("''", "''"),
        ("\u00a0", "\u00a0"),
        ("", None),
        ('""', None),
    ],
)
def test_fields_are_kept_exactly(tmp_path: Path, field: str, value: str | None) -> None:
    found = roster(tmp_path, f"student_id,name,class_id\n1,{field},7A\n2,Bob,7B\n")
    assert [names(found), found.malformed] == [[value, "Bob"], []]
    assert [row["class_id"] for row in found.rows] == ["7A", "7B"]


def test_a_field_may_be_very_long(tmp_path: Path) -> None:
    long = "x" * 3_000_000
    found = roster(tmp_path, f'student_id,name\n1,{long}\n2,"{long}\n{long}"\n')
    assert names(found) == [long, f"{long}\n{long}"]


def test_a_record_longer_than_the_limit_is_malformed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_records, "MAX_RECORD_CHARS", 40)
    content = (
        "student_id,name\n"
        f"1,{'a' * 37}\n"  # the line end is one of the 40 characters
        f"2,{'b' * 36}\n"
        f"3,{'c' * 500}\n"  # neither the record nor its rest is taken for a row
        f'4,"{"d" * 20}\n{"e" * 20}"\n'
        "5,Eve\n"
    )
    found = roster(tmp_path, content)
    assert found.ids == ["2", "5"]
    assert [(line, sentence.split(":")[1]) for line, sentence, _ in found.malformed] == [
        (2, " the line can't be split into fields (it is longer than 40 characters)."),
        (4, " the line can't be split into fields (it is longer than 40 characters)."),
        (5, " a quoted field does not end where it should."),
        (6, " expected 2 fields, found 1."),
    ]


# --- lines ----------------------------------------------------------------------------------------


def test_blank_lines_are_no_records(tmp_path: Path) -> None:
    found = roster(tmp_path, "\n \nstudent_id,name\n\n\n1,Ann\n\r\n2,Bob\n\n\n,\n3,Cid\n4,D\n")
    assert found.rows == [
        {"student_id": "1", "name": "Ann"},
        {"student_id": "2", "name": "Bob"},
        {},  # fields without anything in them are a record
        {"student_id": "3", "name": "Cid"},
        {"student_id": "4", "name": "D"},
    ]
    assert found.malformed == []


@pytest.mark.parametrize(
    ("line", "count"),
    [("2", 1), ("  ", 1), ("2,Bob", 2), ("2,Bob,7A,", 4), (",,,,", 5), ('"2,Bob,7A"', 1)],
)
def test_a_wrong_number_of_fields(tmp_path: Path, line: str, count: int) -> None:
    lines = ["student_id,name,class_id", "1,Ann,7A", line, "3,Cid,7C"]
    for end in ("\n", "\r\n"):
        found = roster(tmp_path, end.join(lines))
        assert found.ids == ["1", "3"]
        sentence = f"Line 3: expected 3 fields, found {count}."
        assert found.malformed == [(3, sentence, line)]


def test_lines_are_counted_as_an_editor_counts_them(tmp_path: Path) -> None:
    content = '\n\nstudent_id,"na\nme"\n1,"a\nb\nc"\n\nx\n2,"d\n""e"\ny\n3,f\n'
    found = roster(tmp_path, content)
    assert names(found) == ["a\nb\nc", 'd\n"e', "f"]
    assert [(line, raw) for line, _, raw in found.malformed] == [(9, "x"), (12, "y")]


@pytest.mark.parametrize(
    ("lines", "ids", "malformed"),
    [
        # A quote that nothing closes: reading goes on at the next line.
        (['1,"Ann', "2,Bob", "3,Cid"], ["2", "3"], {2: '1,"Ann'}),
        (["1,Ann", "2,Bob", '3,"Cid'], ["1", "2"], {4: '3,"Cid'}),
        (['1,"Ann', '2,"Bob', "3,Cid"], ["3"], {2: '1,"Ann', 3: '2,"Bob'}),
        # One that a later line seems to close, in the middle of a field.
        (['1,"Ann', '2,"Bob"', "3,Cid"], ["2", "3"], {2: '1,"Ann'}),
        (['1,"Ann', "2,B", '3,C "x" y', "4,D"], ["2", "3", "4"], {2: '1,"Ann'}),
        # One that a later line closes where a field may end: the lines between are in the field.
        (['1,"Ann', '2,Bob"', "3,Cid"], ["1", "3"], {}),
        # Broken quoting, and then a quote that nothing closes.
        (['","x" ,"', "2,Bob"], ["2"], {2: '","x" ,"'}),
        (['"1"x,"', '2,Bob"', "3,Cid"], ["2", "3"], {2: '"1"x,"'}),
    ],
)
def test_broken_quoting_does_not_swallow_the_lines_below(
    tmp_path: Path, lines: list[str], ids: list[str], malformed: dict[int, str]
) -> None:
    found = roster(tmp_path, "\n".join(["student_id,name", *lines, ""]))
    assert found.ids == ids
    assert {line: raw for line, _, raw in found.malformed} == malformed
    for line, sentence, _ in found.malformed:
        assert sentence == f"Line {line}: a quoted field does not end where it should."


def test_a_wrong_number_of_fields_over_several_lines_is_one_record(tmp_path: Path) -> None:
    found = roster(tmp_path, 'student_id,name\n1,"A\n9,n",x\n2,Bob\n')
    assert found.ids == ["2"]
    assert found.malformed == [(2, "Line 2: expected 2 fields, found 3.", '1,"A\n9,n",x')]


def test_a_file_full_of_open_quotes_is_read_in_one_pass_each(tmp_path: Path) -> None:
    """Every second line opens a quote that no line closes properly."""
    lines = [f'{n},"x' if n % 2 else f"{n},y" for n in range(4000)]
    path = tmp_path / "students.csv"
    path.write_text("student_id,name\n" + "\n".join(lines))
    matcher = HeaderMatcher(STUDENTS, {})
    text = survey(path)
    header = csv_records.read_header(path, text, matcher)
    records = list(csv_records.read_records(path, text, header, matcher))
    rows = [record for record in records if not isinstance(record, Malformed)]
    assert [row[0] for row in rows] == [str(n) for n in range(0, 4000, 2)]


BARE = "expected lines that end in LF or CRLF, found a carriage return alone"


@pytest.mark.parametrize(
    ("content", "ids", "malformed"),
    [
        ("1,A\rnn\n2,Bob\n", ["2"], {2: "1,A\rnn"}),
        ("1,Ann\r2,Bob\n3,Cid\n", ["3"], {2: "1,Ann\r2,Bob"}),
        ("1,Ann\r\r\n2,Bob\n", ["2"], {2: "1,Ann"}),
        ("1,Ann\n2,Bob\r", ["1"], {3: "2,Bob"}),
        ('1,"Ann"\r3,x\n2,Bob\n', ["2"], {2: '1,"Ann"\r3,x'}),
        # The field over two lines is sound: its second line is no record of its own.
        ('1,"A\n9,nn",\rx\n2,Bob\n', ["2"], {2: '1,"A\n9,nn",\rx'}),
        ('1,"A\rnn"\r\n2,Bob\r\n', ["1", "2"], {}),
        ("1,Ann\n\r\r\n2,Bob\n", ["1", "2"], {}),
    ],
)
def test_a_carriage_return_alone_ends_no_line(
    tmp_path: Path, content: str, ids: list[str], malformed: dict[int, str]
) -> None:
    found = roster(tmp_path, "student_id,name\n" + content)
    assert found.ids == ids
    assert {line: raw for line, _, raw in found.malformed} == malformed
    for line, sentence, _ in found.malformed:
        assert sentence == f"Line {line}: {BARE}."


@pytest.mark.parametrize("content", ["student_id,name\r1,Ann\r", "student_id,name\r\r\n1,Ann\n"])
def test_a_header_that_ends_in_a_carriage_return_alone_is_refused(
    tmp_path: Path, content: str
) -> None:
    message = refusal(tmp_path, "students.csv", content)
    assert message == f"Expected a header line, found one that can't be read: {BARE}."


# --- headers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        "student_id",
        "Student ID",
        "StudentID",
        "Student.ID",
        "STUDENT-ID",
        " student  id ",
        "\ufeffstudent_id",
        "(student)_id:",
        "s t u d e n t i d",
        "__student__id__",
        '"student\nid"',
    ],
)
def test_headers_are_matched_by_letters_and_digits(tmp_path: Path, header: str) -> None:
    assert roster(tmp_path, f"{header},name\n1,Ann\n").rows == [{"student_id": "1", "name": "Ann"}]


@pytest.mark.parametrize(
    "header", ["studentid2", "student", "id", "student_îd", "студент", "№", "_"]
)
def test_other_headers_are_not(tmp_path: Path, header: str) -> None:
    message = refusal(tmp_path, "students.csv", f"{header},name\n1,Ann\n")
    assert message == (
        "Expected the column student_id, found only 'name' and 1 field without a known name."
    )


@pytest.mark.parametrize(
    ("source", "alias", "column"),
    [
        ("students", "student_name", "name"),
        ("students", "Grade Level", "grade"),
        ("students", "EnrollmentStatus", "status"),
        ("attendance", "attendance_id", "attend_id"),
        ("attendance", "attendance_date", "date"),
        ("attendance", "attend_date", "date"),
        ("assessments", "assess_id", "assessment_id"),
        ("assessments", "assessment_date", "date"),
        ("assessments", "assess_date", "date"),
    ],
)
def test_the_other_headers_of_the_contract(
    tmp_path: Path, source: str, alias: str, column: str
) -> None:
    header = {
        "students": "student_id,{}",
        "attendance": "attend_id,student_id,date,{}",
        "assessments": "assessment_id,student_id,date,{}",
    }[source].split(",")
    header = [alias if name in ("{}", column) else name for name in header]
    header = list(dict.fromkeys(header))
    content = ",".join(header) + "\n" + ",".join(f"v{n}" for n in range(len(header))) + "\n"
    (row,) = read(tmp_path, f"{source}.csv", content).rows
    assert row[column] == f"v{header.index(alias)}"
    assert "_extra" not in row


def test_an_alias_belongs_to_its_source(tmp_path: Path) -> None:
    assert roster(tmp_path, "student_id,attend_id,date\n1,2,3\n").rows == [
        {"student_id": "1", "_extra": {"attend_id": "2", "date": "3"}}
    ]


def test_columns_may_come_in_any_order_and_be_missing(tmp_path: Path) -> None:
    content = "updated_at,grade,student_id\n2026-01-05,7,1\n"
    assert roster(tmp_path, content).rows == [
        {"student_id": "1", "grade": "7", "updated_at": "2026-01-05"}
    ]


def test_two_headers_for_one_column(tmp_path: Path) -> None:
    content = "name,student_id,Student Name,STUDENT_ID,name\n,1,b,2,c\n"
    (row,) = roster(tmp_path, content).rows
    # The first is the column, even where it is empty; the others keep their headers.
    assert row == {
        "student_id": "1",
        "_extra": {"Student Name": "b", "STUDENT_ID": "2", "name": "c"},
    }


def test_the_same_unknown_header_again(tmp_path: Path) -> None:
    content = "student_id,x,x,x_2,x,,\n1,a,b,c,d,e,f\n"
    (row,) = roster(tmp_path, content).rows
    assert row["_extra"] == {"x": "a", "x_2": "b", "x_2_2": "c", "x_3": "d", "": "e", "_2": "f"}


def test_what_the_contract_does_not_know_is_kept(tmp_path: Path) -> None:
    content = 'student_id,Zip,é "x",empty,a.b/c~d\n01,00501,"ü, ""q""\n",,$[0]\n2,,,,\n'
    first, second = roster(tmp_path, content).rows
    assert first == {
        "student_id": "01",
        "_extra": {"Zip": "00501", 'é "x"': 'ü, "q"\n', "a.b/c~d": "$[0]"},
    }
    assert second == {"student_id": "2"}


def test_extra_is_the_same_text_whatever_the_order_of_the_columns(school: School) -> None:
    school.deliver("attendance_1.csv", "attend_id,student_id,date,b,a\nA,1,2026-01-05,x,y\n")
    school.deliver("attendance_2.csv", "a,date,b,attend_id,student_id\ny,2026-01-05,x,A,1\n")
    assert load(school, ATTENDANCE)["rows_added"] == 1
    assert school.query("SELECT attend_id, _extra::VARCHAR FROM bronze.attendance") == [
        ("A", '{"a":"y","b":"x"}')
    ]


@pytest.mark.parametrize(
    ("header", "missing"),
    [
        ("attend_id,student_id", "the column date"),
        ("attend_id,date", "the column student_id"),
        ("status,created_at", "the columns attend_id, student_id, date"),
    ],
)
def test_a_required_column_is_missing(tmp_path: Path, header: str, missing: str) -> None:
    message = refusal(tmp_path, "attendance.csv", f"{header}\na,b\n")
    found = ", ".join(repr(name) for name in header.split(","))
    assert message == f"Expected {missing}, found only {found}."


def test_without_a_header_line_no_student_is_named(school: School) -> None:
    """The sentence goes to the event log, where names of students must not be."""
    school.deliver("students.csv", "1001,Ann Smith,7A\n1002,Bob Jones,7B\n")
    sentence = failed_checks(school.run())["bronze/students: files_readable"]
    assert (
        "students.csv: Expected the column student_id, found only 3 fields without a known name "
        "(is the header line missing?)."
    ) in sentence
    assert "Ann" not in sentence
    assert "1001" not in sentence


def test_a_header_of_hundreds_is_told_in_short(tmp_path: Path) -> None:
    header = ",".join(["name", *(f"{'x' * 200}{n}" for n in range(900))])
    message = refusal(tmp_path, "students.csv", f"{header}\n")
    assert message == (
        "Expected the column student_id, found only 'name' and 900 fields without a known name."
    )


def test_configured_aliases(school: School) -> None:
    school.rules = {
        "header_aliases": {
            "students": {"student_id": ["Schüler-Nr."], "class_id": ["homeroom", "name_2"]},
            "attendance": {"status": ["mark"]},
        }
    }
    school.deliver("students.csv", "schüler nr,Home Room,mark,student_id\n01,7A,x,9\n")
    school.deliver("attendance.csv", "attend_id,student_id,date,MARK\nA,01,2026-01-05,P\n")
    result = school.run()
    assert result.success, failed_checks(result)
    assert school.query("SELECT student_id, class_id, _extra::VARCHAR FROM bronze.students") == [
        ("01", "7A", '{"mark":"x","student_id":"9"}')
    ]
    assert school.query("SELECT student_id, status FROM silver.fact_attend") == [("01", "PRESENT")]


def test_an_alias_without_letters_matches_nothing(tmp_path: Path) -> None:
    aliases = {"student_id": ["#"]}
    message = refusal(tmp_path, "students.csv", ",name\n1,Ann\n", aliases)
    assert message == (
        "Expected the column student_id, found only 'name' and 1 field without a known name."
    )


# --- memory ---------------------------------------------------------------------------------------


def test_a_big_file_is_never_in_memory_whole(tmp_path: Path) -> None:
    path = tmp_path / "attendance.csv"
    line = f'"A{{}}",S1,2026-01-05,P,"{"x" * 2000}\ny"\n'
    with path.open("w") as file:
        file.write("attend_id,student_id,date,status,note\n")
        file.writelines(line.format(n) for n in range(30_000))
    assert path.stat().st_size > 60_000_000
    matcher = HeaderMatcher(ATTENDANCE, {})
    tracemalloc.start()
    try:
        text = survey(path)
        header = csv_records.read_header(path, text, matcher)
        records = csv_records.read_records(path, text, header, matcher)
        first = next(records)
        count = 1 + sum(1 for _ in itertools.islice(records, 30_000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(first, list)
    assert first[0] == "A0"
    assert count == 30_000
    assert peak < 30_000_000
