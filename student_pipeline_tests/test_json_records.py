"""JSON to records: shapes, numbers as their text, and records that are broken."""

import gzip
import json
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from student_pipeline.ingest import json_records
from student_pipeline.ingest.layout import HeaderMatcher
from student_pipeline.ingest.snapshot import survey
from student_pipeline.sources import ASSESSMENTS
from student_pipeline_tests.pipeline import School, failed_checks
from student_pipeline_tests.test_delivery import load
from student_pipeline_tests.test_text import Reading, read, refusal

PEOPLE = [
    {"student_id": "1", "name": "Ann"},
    {"student_id": "2", "name": "Zoë", "_extra": {"zip": "00501"}},
]
RECORDS = ['{"student_id": "1", "name": "Ann"}', '{"student_id": 2, "name": "Zoë", "zip": "00501"}']


def roster(folder: Path, content: str, name: str = "students.json") -> Reading:
    """Read a roster."""
    return read(folder, name, content)


def lines(folder: Path, *texts: str) -> Reading:
    """Read a roster of one record a line."""
    return read(folder, "students.jsonl", "\n".join(texts))


def broken(found: Reading) -> dict[int, str]:
    """Line -> raw text of the malformed records."""
    return {line: raw for line, _, raw in found.malformed}


# --- shapes ---------------------------------------------------------------------------------------

PRETTY = json.dumps([json.loads(record) for record in RECORDS], indent=2)


@pytest.mark.parametrize(
    "content",
    [
        f"[{','.join(RECORDS)}]",
        "[\n" + ",\n".join(RECORDS) + "\n]\n",
        "\n\n [" + "\r\n, ".join(RECORDS) + "]\r\n\r\n",
        PRETTY,
        "\ufeff" + PRETTY,
        f'{{"data": [{",".join(RECORDS)}]}}',
        f'{{"students": {PRETTY}}}',
        f'{{"DATA": {PRETTY}}}',
        json.dumps({"took": 1.5, "page": {"data": [1]}, "students": json.loads(PRETTY), "n": []}),
        json.dumps({"meta": None, "data": json.loads(PRETTY), "next": "x"}, indent=1),
        "\n".join(RECORDS),
        "\r\n".join(RECORDS) + "\r\n",
        "\n \n" + "\n\n".join(RECORDS) + "\n",
    ],
)
def test_a_json_file_may_hold(tmp_path: Path, content: str) -> None:
    for found in (
        read(tmp_path, "students.json", content),
        read(tmp_path, "students_1.json.gz", gzip.compress(content.encode())),
    ):
        assert (found.rows, found.malformed) == (PEOPLE, [])


@pytest.mark.parametrize("name", ["students.jsonl", "students.ndjson", "students.JSONL"])
def test_lines_of_records(tmp_path: Path, name: str) -> None:
    for content in ("\n".join(RECORDS), "\ufeff" + "\r\n\r\n".join(RECORDS) + "\n \n"):
        found = read(tmp_path, name, content)
        assert (found.rows, found.malformed) == (PEOPLE, [])
        assert read(tmp_path, f"{name}.gz", gzip.compress(content.encode())).rows == PEOPLE


@pytest.mark.parametrize(
    "content",
    [
        RECORDS[1],
        f"\n {RECORDS[1]} \n",
        json.dumps(json.loads(RECORDS[1]), indent=4),
        f"[{RECORDS[1]}]",
    ],
)
def test_a_single_record(tmp_path: Path, content: str) -> None:
    assert roster(tmp_path, content).rows == [PEOPLE[1]]


def test_the_array_may_stand_under_the_name_of_its_own_source_only(tmp_path: Path) -> None:
    content = json.dumps({"students": [{"attend_id": "A", "student_id": 1, "date": "d"}]})
    assert refusal(tmp_path, "attendance.json", content).startswith(
        "Expected the columns attend_id"
    )
    content = content.replace("students", "attendance")
    assert read(tmp_path, "attendance.json", content).ids == ["A"]


def test_an_object_under_data_is_no_array(tmp_path: Path) -> None:
    found = roster(tmp_path, '{"student_id": 1, "data": {"a": [1]}, "students": 2}')
    assert found.rows == [{"student_id": "1", "_extra": {"data": {"a": ["1"]}, "students": "2"}}]


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('"x"', "x"),
        ('" x "', " x "),
        ('"007"', "007"),
        ("17", "17"),
        ("-0", "-0"),
        ("1.50", "1.50"),
        ("1e2", "1e2"),
        ("1E+02", "1E+02"),
        ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("1e999", "1e999"),
        ("NaN", "NaN"),
        ("true", "true"),
        ("false", "false"),
        ("null", None),
        ('""', None),
        ('"null"', "null"),
        ("[]", "[]"),
        ("{}", "{}"),
        ('[1, "é", 1.50, null, true]', '[1,"é",1.50,null,true]'),
        ('{"a": {"b": [1e2]}, "a": ""}', '{"a":{"b":[1e2]},"a":""}'),
        ('"\\u00e9\\n\\t\\"\\\\\\/"', 'é\n\t"\\/'),
        ('"\\ud83d\\ude00"', "😀"),
        ('"\\u0001"', "\x01"),
    ],
)
@pytest.mark.parametrize("shape", ["%s", "[%s]", '{"data": [%s]}', '%s\n{"student_id": 2}'])
def test_values_are_kept_as_they_stand(
    tmp_path: Path, value: str, text: str | None, shape: str
) -> None:
    record = f'{{"student_id": 1, "name": {value}, "x": {value}}}'
    found = roster(tmp_path, shape % record)
    assert found.malformed == []
    assert found.rows[0].get("name") == text
    if text is None:
        assert "_extra" not in found.rows[0]


def test_extra_keeps_json_values(school: School) -> None:
    extra = '"z": 1.50, "b": true, "n": null, "e": "", "o": {"k": [1e2, null]}, "a": "00501"'
    school.deliver("students.json", f'[{{"student_id": 17, {extra}}}]')
    school.deliver("students_2.json", '[{"student_id": 18, "x": NaN, "y": -Infinity}]')
    load(school)
    assert school.query("SELECT student_id, _extra::VARCHAR FROM bronze.students ORDER BY 1") == [
        ("17", '{"a":"00501","b":true,"o":{"k":[1e2,null]},"z":1.50}'),
        ("18", '{"x":NaN,"y":-Infinity}'),
    ]


def test_a_key_that_stands_twice(tmp_path: Path) -> None:
    found = lines(
        tmp_path, '{"name": "a", "student_id": 1, "x": 1, "name": "b", "x": 2, "x": null}'
    )
    assert found.rows == [
        {"student_id": "1", "name": "a", "_extra": {"name": "b", "x": "1", "x_2": "2"}}
    ]


def test_keys_may_differ_from_record_to_record(tmp_path: Path) -> None:
    found = lines(
        tmp_path,
        '{"student_id": 1, "student_name": "Ann"}',
        '{"Student ID": 2, "name": "Bob", "student_name": "B."}',
        '{"student_name": "C.", "name": "Cid", "STUDENT_ID": 3}',
        '{"name": "nobody"}',
        "{}",
    )
    assert found.rows == [
        {"student_id": "1", "name": "Ann"},
        {"student_id": "2", "name": "Bob", "_extra": {"student_name": "B."}},
        {"student_id": "3", "name": "C.", "_extra": {"name": "Cid"}},
        {"name": "nobody"},
        {},
    ]


def test_many_different_keys(tmp_path: Path) -> None:
    texts = [f'{{"student_id": {n}, "k{n}": {n}}}' for n in range(2500)]
    found = lines(tmp_path, *texts)
    assert [row["_extra"] for row in found.rows] == [{f"k{n}": str(n)} for n in range(2500)]


def test_a_required_column_must_be_in_some_record(tmp_path: Path) -> None:
    assert lines(tmp_path, '{"name": "Ann"}', '{"student_id": null}').rows == [{"name": "Ann"}, {}]
    message = refusal(tmp_path, "students.jsonl", '{"name": "Ann"}\n{"class_id": "7A"}')
    assert message == "Expected the column student_id, found only 'name', 'class_id'."
    message = refusal(tmp_path, "students.json", "{}")
    assert message.startswith("Expected the column student_id, found only no columns")


# --- broken records -------------------------------------------------------------------------------

GOOD = [f'{{"student_id": "g{n}"}}' for n in range(8)]


@pytest.mark.parametrize(
    ("element", "kind"),
    [
        ("17", "a number"),
        ('"Ann"', "a text"),
        ("null", "null"),
        ("true", "a truth value"),
        ("[]", "an array"),
        ('[{"student_id": 1}]', "an array"),
    ],
)
def test_an_element_that_is_no_object(tmp_path: Path, element: str, kind: str) -> None:
    sentence = f"Line 3: expected a JSON object, found {kind}."
    array = roster(tmp_path, "[\n" + ",\n".join([GOOD[0], element, *GOOD[1:]]) + "]")
    line = lines(tmp_path, "", GOOD[0], f"  {element}\r", *GOOD[1:])
    for found in (array, line):
        assert found.ids == [f"g{n}" for n in range(8)]
        assert found.malformed == [(3, sentence, element)]


@pytest.mark.parametrize(
    "line",
    [
        '{"student_id": 1',
        '{"student_id": 1}}',
        '{"student_id": 1} x',
        '{"student_id": 1}{"student_id": 2}',
        '{"student_id": 1,}',
        "{'student_id': 1}",
        "{student_id: 1}",
        '{"student_id": 01}',
        '{"student_id": .5}',
        '{"student_id": 5.}',
        '{"student_id": +5}',
        '{"student_id": tRue}',
        '{"student_id": nan}',
        '{"student_id": "\\x"}',
        '{"student_id": "1}',
        '{"student_id": 1} // note',
        '{"student_id": 1}\x0b',
        '{"student_id": 1}\u00a0',
        "student_id,name",
        "]",
    ],
)
@pytest.mark.parametrize("at", [0, 4, 8])
def test_a_broken_line_stops_nothing(tmp_path: Path, line: str, at: int) -> None:
    texts = [*GOOD[:at], line, *GOOD[at:]]
    sentence = f"Line {at + 1}: expected a JSON object, found a line that is no JSON."
    for name in ("students.jsonl", "students.json"):
        if name.endswith(".json") and line == "]" and at == 0:
            continue
        found = read(tmp_path, name, "\n".join(texts))
        assert found.ids == [f"g{n}" for n in range(8)]
        assert found.malformed == [(at + 1, sentence, line)]


def test_a_json_file_whose_first_line_is_another_value_has_lines(tmp_path: Path) -> None:
    for first in ("null", "17", '["header"]', "# comment", "{"):
        found = roster(tmp_path, "\n".join([first, *GOOD]))
        assert found.ids == [f"g{n}" for n in range(8)]
        assert broken(found) == {1: first}


@pytest.mark.parametrize("escape", ["\\ud800", "\\udfff", "\\ude00\\ud83d", "\\u0000"])
@pytest.mark.parametrize(
    "record", ['{{"student_id": "{}"}}', '{{"{}": 1}}', '{{"x": [{{"y": "{}"}}]}}']
)
def test_text_that_is_none(tmp_path: Path, escape: str, record: str) -> None:
    bad = record.format(escape)
    for found in (
        roster(tmp_path, f"[{','.join([bad, *GOOD])}]"),
        lines(tmp_path, bad, *GOOD),
    ):
        assert found.ids == [f"g{n}" for n in range(8)]
        assert found.malformed == [
            (1, "Line 1: expected text, found characters that are no text.", bad)
        ]


def test_line_and_raw_text_of_a_broken_element(tmp_path: Path) -> None:
    bad = '[\n  {"student_id": 9}\n]'
    found = roster(
        tmp_path, '{\n"data":\n[' + GOOD[0] + ",\n\n " + ",".join([bad, *GOOD[1:]]) + "]}"
    )
    assert found.malformed == [(5, "Line 5: expected a JSON object, found an array.", bad)]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('[{"student_id": 1}, {"student_id": 2}', "it ends on line 1 where ',' should come"),
        ('[\n{"student_id": 1},\n', "the value that starts on line 3 is broken or breaks off"),
        ('[\n{"student_id": 1},\n]', "the value that starts on line 3 is broken or breaks off"),
        ('[{"student_id": 1}, {"student_', "the value that starts on line 1 is broken or breaks"),
        ('[{"student_id": 1} {"student_id": 2}]', "line 1 has '{' where ',' should come"),
        ('[{"student_id": 1}]]', "something follows the JSON on line 1"),
        ('[{"student_id": 1}] [{"student_id": 1}]', "something follows the JSON on line 1"),
        ('{"data": [{"student_id": 1}]', "it ends on line 1 where ',' should come"),
        ('{"data": [{"student_id": 1}', "it ends on line 1 where ',' should come"),
        ('{"student_id": 1', "it ends on line 1 where ',' should come"),
        ('{\n"student_id": 1,\n', "the value that starts on line 3 is broken or breaks off"),
        ('{\n"student_id" 1}', "line 2 has '1' where ':' should come"),
        ("{1: 2}", "line 1 has a key that is no text"),
        ("[", "the value that starts on line 1 is broken or breaks off"),
        ("{", "the value that starts on line 1 is broken or breaks off"),
        ("17", "line 1 has '1' where '{' should come"),
        ("student_id,name\n1,Ann", "line 1 has 's' where '{' should come"),
        ('"text"', "line 1 has '\"' where '{' should come"),
    ],
)
def test_a_half_written_file_is_refused(tmp_path: Path, content: str, found: str) -> None:
    message = refusal(tmp_path, "students.json", content)
    assert message.startswith(f"Expected whole JSON, found that {found}")


@pytest.mark.parametrize("end", range(1, len(PRETTY), 7))
def test_wherever_an_array_breaks_off_nothing_of_it_is_read(tmp_path: Path, end: int) -> None:
    assert refusal(tmp_path, "students.json", PRETTY[:end]).startswith("Expected whole JSON")


# --- pieces ---------------------------------------------------------------------------------------

TRICKY = [
    {"student_id": "1", "name": 'a "b" \\ é😀', "x": [1.25, -3e5, {"k": "]}"}]},
    {"student_id": 123456.789e-10, "name": True, "x": {"a": {}}},
    {"student_id": -0.5, "name": None, "x": ""},
]


@pytest.mark.parametrize("size", [*range(1, 40), 63, 64, 65, 127])
def test_records_across_the_pieces_in_which_a_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    contents = [
        json.dumps(TRICKY),
        json.dumps(TRICKY, indent=3, ensure_ascii=False),
        json.dumps({"took": 12.75, "n": 1e22, "students": TRICKY, "rate": -1.5e-7, "ok": True}),
        json.dumps({"x": -12.75e-3, "student_id": 1.5, "name": 12345.678, "y": True}, indent=1),
    ]
    whole = [roster(tmp_path, content) for content in contents]
    assert [len(found.rows) for found in whole] == [3, 3, 3, 1]
    monkeypatch.setattr(json_records, "CHUNK_CHARS", size)
    assert [roster(tmp_path, content) for content in contents] == whole


def test_a_record_longer_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_records, "MAX_RECORD_CHARS", 50)
    monkeypatch.setattr(json_records, "CHUNK_CHARS", 10)
    long = f'{{"student_id": "{"x" * 200}"}}'
    found = lines(tmp_path, GOOD[0], long, *GOOD[1:])
    assert found.ids == [f"g{n}" for n in range(8)]
    assert broken(found) == {2: long[:50]}
    message = refusal(tmp_path, "students.json", f"[{GOOD[0]},\n{long}]")
    assert message.startswith("Expected whole JSON, found that the value that starts on line 2")


@pytest.mark.parametrize("depth", [sys.getrecursionlimit() // 4, 100_000])
def test_records_that_are_nested_too_deeply(tmp_path: Path, depth: int) -> None:
    deep = f'{{"student_id": 1, "x": {"[" * depth}{"]" * depth}}}'
    found = lines(tmp_path, deep, *GOOD)
    assert found.ids[-8:] == [f"g{n}" for n in range(8)]
    assert len(found.rows) + len(found.malformed) == 9
    if depth == 100_000:
        assert list(broken(found)) == [1]
        for content in (f"[{deep}]", deep, f'{{"data": [{deep}]}}'):
            message = refusal(tmp_path, "students.json", content)
            assert "nested too deeply" in message


@pytest.mark.parametrize("depth", range(100, 1000, 60))
def test_every_depth_is_read_or_told(tmp_path: Path, depth: int) -> None:
    deep = f'{{"student_id": 1, "x": {"[" * depth}"\\u0041"{"]" * depth}}}'
    found = lines(tmp_path, deep, *GOOD)
    assert (len(found.rows), len(found.malformed)) in ((9, 0), (8, 1))


# --- end to end -----------------------------------------------------------------------------------


def test_assessments_as_they_come(school: School) -> None:
    school.deliver("students.csv", "student_id\n007\n17\n")
    records: list[dict[str, Any]] = [
        {"assessment_id": 1, "student_id": "007", "date": "2026-01-05", "score": 1.5},
        {"assess_id": "2", "student_id": 17, "assess_date": "2026-01-05", "score": "9"},
    ]
    school.deliver("assessments.json", json.dumps(records).replace("1.5", "1.50"))
    school.deliver("assessments_2.jsonl", "\n".join([json.dumps(records[1])] * 5 + ["{"]))
    result = school.run()
    assert result.success, failed_checks(result)
    assert school.query(
        "SELECT assessment_id, student_id, date, score, _source_file, _source_row "
        "FROM bronze.assessments ORDER BY 1"
    ) == [
        ("1", "007", "2026-01-05", "1.50", "assessments.json", 1),
        ("2", "17", "2026-01-05", "9", "assessments.json", 2),
    ]
    assert school.query("SELECT detail, _raw, _source_row FROM quarantine.assessments") == [
        ("Line 6: expected a JSON object, found a line that is no JSON.", "{", None)
    ]


def test_a_half_written_file_does_not_stop_the_others(school: School) -> None:
    school.deliver("students.json", f"[{','.join(GOOD)}]")
    school.deliver("students_2.json", '[{"student_id": "h1"},\n{"student_id": "h2"}')
    result = school.run()
    assert not result.success
    assert failed_checks(result)["bronze/students: files_readable"] == (
        "1 file was refused. students_2.json: Expected whole JSON, found that it ends on line 2 "
        "where ',' should come. Mend or remove what was refused; everything else was loaded."
    )
    assert school.query("SELECT count(*) FROM bronze.students WHERE student_id LIKE 'g%'") == [(8,)]
    assert school.query("SELECT count(*) FROM bronze.students") == [(8,)]


# --- memory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["lines", "document"])
def test_a_big_file_is_never_in_memory_whole(tmp_path: Path, shape: str) -> None:
    path = tmp_path / "assessments.json"
    record = f'{{"assessment_id": "A%d", "student_id": 1, "date": "", "note": "{"x" * 4000}"}}'
    opening, between, end = {
        "lines": ("", "\n", ""),
        "document": ('{"data": [', ",", "]}"),  # its array is read as any other is
    }[shape]
    with path.open("w") as file:
        file.write(opening)
        for n in range(15_000):
            file.write((between if n else "") + record % n)
        file.write(end)
    assert path.stat().st_size > 60_000_000
    matcher = HeaderMatcher(ASSESSMENTS, {})
    text = survey(path)
    tracemalloc.start()
    try:
        assert json_records.shape(path, text, "json", ASSESSMENTS) == shape
        count = sum(1 for _ in json_records.read_records(path, text, shape, matcher))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 15_000
    assert peak < 30_000_000
