"""Files that somebody made to do harm are refused with a sentence; the others load."""

import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from student_pipeline.ingest import csv_records, json_records
from student_pipeline_tests.command import Installation
from student_pipeline_tests.pipeline import School, failed_checks

ROSTER = "student_id,name\n1,Ann\n"
LIMITS = {
    "file_megabytes_limit": 120,
    "unpacking_ratio_limit": 200,
    "column_count_limit": 1000,
    "record_count_limit": 1_000_000,
}


def gzip_bomb(head: bytes, megabytes: int) -> bytes:
    """A gzip file that unpacks to a roster of so many megabytes of blanks."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = packer.compress(head)
    blanks = b" " * 1_000_000
    for _ in range(megabytes):
        packed += packer.compress(blanks)
    return packed + packer.flush()


def parquet_of(path: Path, columns: dict[str, Any]) -> bytes:
    pq.write_table(pa.table(columns), path)
    return path.read_bytes()


def csv_with_many_columns(_: Path) -> bytes:
    return b"student_id" + b",a" * 1_000_000 + b"\n1\n"


def json_with_many_keys(_: Path) -> bytes:
    return json.dumps([{"student_id": 1} | {f"k{n}": n for n in range(1000)}]).encode()


def json_with_many_keys_in_a_document(_: Path) -> bytes:
    return (b'{"student_id": "1"' + b',"k": "aaaaaaaaaaaaaaaaaaaa"' * 800_000) + b"}"


def parquet_with_many_columns(spool: Path) -> bytes:
    return parquet_of(spool, {"student_id": ["1"]} | {f"c{n}": [None] for n in range(1000)})


def parquet_with_many_records(spool: Path) -> bytes:
    ids = pa.DictionaryArray.from_arrays(pa.array([0] * 1_000_001, pa.int8()), ["1"])
    content = parquet_of(spool, {"student_id": ids})
    assert len(content) < 5_000
    return content


def deeply_nested_json(_: Path) -> bytes:
    return b'[{"student_id": "1", "more": ' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}]"


def quotes_that_do_not_end(_: Path) -> bytes:
    return b"student_id,name\n" + b'x","\n' * 200_000


# Content by name, and the sentence that the ledger then has.
HOSTILE: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "ratio.csv.gz": (
        lambda _: gzip_bomb(b"student_id,name\n2,", 110),
        "Expected a file that unpacks to at most 200 times its size, found one that unpacks to "
        "more (unpacking_ratio_limit).",
    ),
    "many_columns.csv": (
        csv_with_many_columns,
        "Expected at most 1,000 columns, found 1,000,001 (column_count_limit).",
    ),
    "many_columns.parquet": (
        parquet_with_many_columns,
        "Expected at most 1,000 columns, found 1,001 (column_count_limit).",
    ),
    "many_keys.json": (
        json_with_many_keys,
        "Expected at most 1,000 columns, found 1,001 (column_count_limit).",
    ),
    "one_object.json": (
        json_with_many_keys_in_a_document,
        "Expected whole JSON, found that the record on line 1 is longer than 16,777,216 characters.",
    ),
    "many_records.parquet": (
        parquet_with_many_records,
        "Expected at most 1,000,000 records, found 1,000,001 (record_count_limit).",
    ),
    "many_records.csv": (
        lambda _: b"student_id,name\n" + b"1,a\n" * 1_000_001,
        "Expected at most 1,000,000 records, found 1,000,001 (record_count_limit).",
    ),
    "deep.json": (
        deeply_nested_json,
        "Expected whole JSON, found that the value that starts on line 1 is nested too deeply.",
    ),
    "long_field.csv": (
        lambda _: b"student_id,name\n1," + b"x" * 17_000_000 + b"\n",
        "Expected at most 20% malformed records, found 1 of 1. The first: Line 2: the line can't "
        "be split into fields (it is longer than 16,777,216 characters).",
    ),
    "long_header.csv": (
        lambda _: b"student_id," + b"x" * 17_000_000 + b"\n",
        "Expected a header line, found one that can't be read: it is longer than 16,777,216 "
        "characters.",
    ),
}


Attacked = tuple[School, dict[str, str]]


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Attacked:
    """A school with one good file and all the hostile ones, and its refusals after a run."""
    school = School(tmp_path_factory.mktemp("school"), rules=LIMITS)
    school.deliver("students.csv", ROSTER)
    for name, (content, _) in HOSTILE.items():
        school.deliver(f"students/{name}", content(school.folder / "spool"))
    big = school.deliver("students/sparse.csv", ROSTER)
    with big.open("r+b") as file:
        file.truncate(121_000_000)
    school.deliver(
        "students/sparse.csv.gz", gzip_bomb(b"student_id,name\n", 121) + b"\0" * 1_000_000
    )
    result = school.run()
    assert set(failed_checks(result)) == {"bronze/students: files_readable"}
    refusals = school.query("SELECT path, message FROM ops.source_files WHERE status = 'refused'")
    return school, dict(refusals)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_with_a_sentence(attacked: Attacked, name: str) -> None:
    assert attacked[1][f"students/{name}"] == HOSTILE[name][1]


def test_a_file_that_is_too_big_is_refused_packed_or_not(
    attacked: Attacked,
) -> None:
    refusals = attacked[1]
    assert refusals["students/sparse.csv"] == (
        "Expected at most 120 megabytes, found 121 (file_megabytes_limit)."
    )
    assert refusals["students/sparse.csv.gz"] == (
        "Expected a file that unpacks to at most 120 megabytes, found one that unpacks to more "
        "(file_megabytes_limit)."
    )


def test_the_good_file_beside_them_loads(attacked: Attacked) -> None:
    school, refusals = attacked
    assert len(refusals) == len(HOSTILE) + 2
    assert school.query("SELECT student_id, name FROM bronze.students") == [("1", "Ann")]


def test_within_the_limits_all_of_it_loads(school: School) -> None:
    school.rules = {"column_count_limit": 1000, "record_count_limit": 1000}
    school.deliver("students.csv", "student_id" + ",a" * 999 + "\n" + f"1{',' * 999}\n" * 1000)
    small = gzip.compress(b"student_id,name\n2," + b"x" * 1_000_000 + b"\n")
    assert len(small) < 2_000  # a ratio of more than 500, but of a small file
    school.deliver("students_2.csv.gz", small)
    assert failed_checks(school.run()) == {}
    assert school.query("SELECT student_id FROM bronze.students ORDER BY ALL") == [("1",), ("2",)]


def test_quotes_that_do_not_end_cost_no_more_than_they_may(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_records, "MIN_READ_AGAIN_CHARS", 10_000_000)
    school.deliver("students.csv", ROSTER)
    school.deliver("students_2.csv", quotes_that_do_not_end(school.folder))
    result = school.run()
    sentence = failed_checks(result)["bronze/students: files_readable"]
    assert (
        "students_2.csv: Expected quoted fields that end, found many that do not, up to line 12."
        in sentence
    )
    assert school.query("SELECT student_id FROM bronze.students") == [("1",)]


def test_a_value_that_memory_does_not_hold_is_refused(school: School) -> None:
    school.deliver("students.csv", ROSTER)
    blanks = parquet_of(school.folder / "spool", {"student_id": ["2"], "name": [" " * 150_000_000]})
    assert len(blanks) < 20_000_000
    school.deliver("students_2.parquet", blanks)
    result = school.run(memory_limit="100MB")
    assert (
        "students_2.parquet: Expected values that the run's memory can hold, found larger ones "
        "(memory_limit)." in failed_checks(result)["bronze/students: files_readable"]
    )
    assert school.query("SELECT student_id FROM bronze.students") == [("1",)]


def test_a_few_quotes_that_do_not_end_stop_no_file(school: School) -> None:
    good = "".join(f"{n},Name\n" for n in range(100))
    school.deliver("students.csv", "student_id,name\n" + '"7,Open\n' * 5 + good)
    assert failed_checks(school.run()) == {}
    assert school.query("SELECT count(*) FROM bronze.students") == [(100,)]
    assert school.query("SELECT count(*) FROM quarantine.students") == [(5,)]


def test_a_document_may_hold_as_much_as_a_record(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_records, "MAX_RECORD_CHARS", 60)
    school.deliver("students.json", '{\n"student_id": "1",\n"name": "' + "x" * 30 + '"\n}')
    school.deliver("students_2.json", '{\n"student_id": "2",\n"name": "' + "x" * 50 + '"\n}')
    assert "students_2.json" in failed_checks(school.run())["bronze/students: files_readable"]
    assert school.query("SELECT student_id FROM bronze.students") == [("1",)]


def test_names_of_files_are_only_names(tmp_path: Path) -> None:
    school = Installation(tmp_path)
    school.deliver("students.csv", ROSTER)
    names = [
        "students_'; DROP TABLE bronze.students; --.csv",
        'students_".csv',
        "students_*.csv",
        "students_$(touch hacked).csv",
        "students_{{ 1 }}.csv",
        "students_%s{0}.csv",
        "students/a..csv",
        "students/up\\..\\..\\etc.csv",
    ]
    for number, name in enumerate(names, 2):
        school.deliver(name, f"student_id,name\n{number},Ann\n")
    school.deliver("students_\x1b[2J\x07\n.csv", "nothing\n")
    outcome = school.command("run")
    assert outcome.status == 1
    assert "students_\\x1b[2J\\x07\\n.csv" in outcome.out
    assert "\x1b[2J" not in outcome.out + outcome.err
    assert len(school.tables()["bronze.students"]) == 1 + len(names)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("landing", "warehouse.duckdb", "home", "published")
    }
