"""Parquet files: typed columns as text, what is left over, and files that are damaged."""

import io
import random
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from student_pipeline.ingest.errors import FileRefused
from student_pipeline.sources import ATTENDANCE
from student_pipeline_tests.pipeline import School, failed_checks
from student_pipeline_tests.test_delivery import load
from student_pipeline_tests.test_text import Reading, read, refusal


def parquet(columns: dict[str, Any] | list[tuple[str, Any]], **options: Any) -> bytes:
    """A Parquet file; a list of columns may have a name twice."""
    pairs = list(columns.items()) if isinstance(columns, dict) else columns
    arrays = [values if isinstance(values, pa.Array) else pa.array(values) for _, values in pairs]
    file = io.BytesIO()
    table = pa.Table.from_arrays(arrays, names=[name for name, _ in pairs])
    pq.write_table(table, file, **options)
    return file.getvalue()


def roster(folder: Path, columns: Any, **options: Any) -> Reading:
    """Read a roster."""
    return read(folder, "students.parquet", parquet(columns, **options))


DAMAGED = "Expected a whole Parquet file, found one that is damaged or incomplete, or no Parquet."


@pytest.mark.parametrize("compression", ["snappy", "none", "zstd", "gzip"])
def test_text_columns(tmp_path: Path, compression: str) -> None:
    columns = {
        "student_id": ["007", " 8 ", None, ""],
        "Student Name": ["Zoë, 😀", 'a "b"\nc', "", None],
    }
    found = roster(tmp_path, columns, compression=compression)
    assert found.rows == [
        {"student_id": "007", "name": "Zoë, 😀"},
        {"student_id": " 8 ", "name": 'a "b"\nc'},
        {},
        {},
    ]
    assert (found.malformed, found.encoding) == ([], None)


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([1, None, -3], ["1", None, "-3"]),
        (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
        ([17.0, 17.5, None, -0.5, 1e300], ["17", "17.5", None, "-0.5", "1e+300"]),
        ([1.0, float("nan"), float("inf"), -0.0], ["1", "nan", "inf", "0"]),
        (pa.array([9.0, 0.1], pa.float32()), ["9", "0.1"]),
        ([Decimal("1.50"), Decimal("-0.05")], ["1.50", "-0.05"]),
        ([True, False, None], ["true", "false", None]),
        ([date(2026, 1, 5)], ["2026-01-05"]),
        ([datetime(2026, 1, 5, 10, 30)], ["2026-01-05 10:30:00"]),
        ([datetime(2026, 1, 5, 10, tzinfo=timezone.utc)], ["2026-01-05 10:00:00+00"]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (pa.array(["a", None], pa.large_string()), ["a", None]),
        (pa.array(["é".encode(), b"\xff\x00"], pa.binary()), ["é", "\\xFF\\x00"]),
        ([[1, None], [], None], ["[1,null]", "[]", None]),
        ([{"a": 1, "b": None}, None], ['{"a":1,"b":null}', None]),
        (pa.nulls(2), [None, None]),
    ],
)
def test_typed_columns_become_text(tmp_path: Path, values: Any, texts: list[str | None]) -> None:
    ids = [str(number) for number in range(len(values))]
    found = roster(tmp_path, {"name": values, "student_id": ids})
    assert [row["student_id"] for row in found.rows] == ids
    assert [row.get("name") for row in found.rows] == texts


def test_what_the_contract_does_not_know_is_kept(school: School) -> None:
    columns = {
        "student_id": ["1", "2"],
        "zip": ["00501", ""],
        "n": [1.5, None],
        "d": [Decimal("1.50"), None],
        "b": [True, None],
        "day": [date(2026, 1, 5), None],
        "o": [{"k": None, "l": [1]}, None],
        "q\"u'o.x/y": ["z", None],
        "photo": pa.array([b"\xff", None], pa.binary()),
        "filename": ["f", None],
    }
    school.deliver("students.parquet", parquet(columns))
    load(school)
    assert school.query("SELECT student_id, _extra::VARCHAR FROM bronze.students ORDER BY 1") == [
        (
            "1",
            '{"b":true,"d":1.50,"day":"2026-01-05","filename":"f","n":1.5,"o":{"k":null,"l":[1]},'
            '"photo":"\\\\xFF","q\\"u\'o.x/y":"z","zip":"00501"}',
        ),
        ("2", None),
    ]


def test_headers_that_stand_twice(tmp_path: Path) -> None:
    columns = [
        ("x", ["a"]),
        ("o", [{"x": 1, "y": {"x": [2]}}]),
        ("student_id", ["1"]),
        ("STUDENT_ID", ["2"]),
        ("X", ["b"]),
        ("x", ["c"]),
        ("Student Id", ["3"]),
    ]
    (row,) = roster(tmp_path, columns).rows
    assert row == {
        "student_id": "1",
        "_extra": {
            "x": "a",
            "o": {"x": "1", "y": {"x": ["2"]}},
            "STUDENT_ID": "2",
            "X": "b",
            "x_2": "c",
            "Student Id": "3",
        },
    }


def test_rows_keep_the_files_order(tmp_path: Path) -> None:
    ids = [str(number) for number in range(50_000)]
    assert roster(tmp_path, {"student_id": ids}, row_group_size=1000).ids == ids


def test_no_rows(tmp_path: Path) -> None:
    found = roster(tmp_path, {"student_id": pa.array([], pa.string())})
    assert (found.rows, found.malformed) == ([], [])


def test_a_required_column_is_missing(tmp_path: Path) -> None:
    message = refusal(tmp_path, "students.parquet", parquet({"name": ["Ann"], "id": ["1"]}))
    assert message == (
        "Expected the column student_id, found only 'name' and 1 field without a known name."
    )


@pytest.mark.parametrize("content", [b"PAR1", b"student_id\n1\n", b"PAR1" * 20, b"\0" * 100])
def test_what_is_no_parquet_file_is_refused(tmp_path: Path, content: bytes) -> None:
    assert refusal(tmp_path, "students.parquet", content) == DAMAGED


def _damaged(content: bytes, random_: random.Random) -> bytes:
    """The file with some bytes changed, lost or cut off."""
    damaged = bytearray(content)
    at = random_.randrange(4, len(content) - 4)
    kind = random_.randrange(3)
    if kind == 0:
        damaged[at] ^= random_.randrange(1, 256)
    elif kind == 1:
        del damaged[at : at + random_.randrange(1, 50)]
    else:
        del damaged[at:]
    return bytes(damaged)


def test_a_damaged_file_is_read_or_refused(tmp_path: Path) -> None:
    """Whatever the damage: one of the two, and no other error that would stop the other files."""
    ids = [f"S{number}" for number in range(300)]
    whole = parquet({"student_id": ids, "n": list(range(300)), "o": [[1, 2]] * 300})
    random_ = random.Random(20260630)
    refused = 0
    for _ in range(150):
        content = _damaged(whole, random_)
        try:
            read(tmp_path, "students.parquet", content)
        except FileRefused as error:
            refused += 1
            assert str(error) == DAMAGED or "Expected the column student_id" in str(error)  # noqa: PT017
    assert refused > 75


def test_a_damaged_file_does_not_stop_the_others(school: School) -> None:
    ids = [f"S{number}" for number in range(500)]
    whole = parquet({"student_id": ids}, compression="none", use_dictionary=False)
    at = whole.index(b"S250")
    school.deliver("students_1.parquet", whole[:at] + b"\xff\xfe\xfd\xfc" + whole[at + 4 :])
    school.deliver("students_2.parquet", parquet({"student_id": ["x"]}))
    school.deliver("students_3.csv", "student_id\ny\n")
    result = school.run()
    assert not result.success
    sentence = failed_checks(result)["bronze/students: files_readable"]
    assert f"1 file was refused. students_1.parquet: {DAMAGED}" in sentence
    assert school.query("SELECT student_id FROM bronze.students ORDER BY 1") == [("x",), ("y",)]
    school.deliver("students_1.parquet", whole)
    assert school.run().success
    assert school.query("SELECT count(*) FROM silver.dim_student") == [(502,)]


def test_the_same_facts_in_another_format_are_the_same(school: School) -> None:
    school.deliver(
        "attendance_1.csv",
        "attend_id,student_id,date,status,created_at,note\nA,1,2026-01-05,P,,x\nB,1,2026-01-06,A,,\n",
    )
    columns = {
        "attend_id": ["A", "B", "C"],
        "student_id": [1, 1, 1],
        "date": [date(2026, 1, 5), date(2026, 1, 6), date(2026, 1, 7)],
        "status": ["P", "A", "P"],
        "note": ["x", None, None],
    }
    school.deliver("attendance_2.parquet", parquet(columns))
    load(school, ATTENDANCE)
    counts = "path, encoding, rows_read, rows_appended, rows_rejected"
    assert school.query(f"SELECT {counts} FROM ops.source_files ORDER BY path") == [
        ("attendance_1.csv", "utf-8", 2, 2, 0),
        ("attendance_2.parquet", None, 3, 1, 0),
    ]
    assert school.query("SELECT attend_id, _source_row FROM bronze.attendance ORDER BY 1") == [
        ("A", 1),
        ("B", 2),
        ("C", 3),
    ]
