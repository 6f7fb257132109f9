"""What a worker makes of a source file: its records, and what became of the file."""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from student_pipeline.spark import worker

PEOPLE = {
    "csv": "student_id,name,zip\n1,Ann,9\n2,Zoë,00501\n3,,9\n",
    "tsv": "student_id\tname\tzip\n1\tAnn\t9\n2\tZoë\t00501\n3\t\t9\n",
    "json": '[{"student_id":"1","name":"Ann","zip":"9"},{"student_id":2,"name":"Zoë","zip":"00501"},'
    '{"student_id":"3","name":null,"zip":"9"}]',
    "jsonl": '{"student_id":"1","name":"Ann","zip":"9"}\n\n'
    '{"student_id":2,"name":"Zoë","zip":"00501"}\n{"student_id":"3","name":null,"zip":"9"}\n',
}
RECORDS = [
    [1, "1", "Ann", '{"zip": "9"}'],
    [2, "2", "Zoë", '{"zip": "00501"}'],
    [3, "3", None, '{"zip": "9"}'],
]
"""The records of each of these: number, id, name, other columns."""


def read(path: Path, format: str, loaded: str | None = None) -> tuple[list[Any], list[Any], Any]:
    """Records (number, id, name, others), malformed ones (line, raw), what is said of the file."""
    asked = {
        "file": 7,
        "path": path.name,
        "location": str(path),
        "format": format,
        "gzipped": path.suffix == ".gz",
        "loaded_sha256": loaded,
    }
    settings = {"source": "students", "aliases": {}, "limits": {}, "landing": ""}
    answer = pa.Table.from_batches(
        list(worker.read_files([pa.RecordBatch.from_pylist([asked])], settings))
    ).to_pylist()
    assert {line["_file"] for line in answer} == {7}
    records = [
        [line["_source_row"], line["student_id"], line["name"], line["_extra"]]
        for line in answer
        if line["part"] == "row"
    ]
    malformed = [[line["line"], line["raw"]] for line in answer if line["part"] == "malformed"]
    (about,) = (line["about"] for line in answer if line["part"] == "about")
    return records, malformed, json.loads(about)


def write(path: Path, content: str) -> Path:
    data = content.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def delivered(folder: Path, name: str) -> Path:
    """A file with the three records, of the format that its name says."""
    path = folder / name
    if name.endswith(".parquet"):
        people = write(folder / "people.csv", PEOPLE["csv"])
        with duckdb.connect() as connection:
            connection.execute(
                f"COPY (SELECT * FROM read_csv('{people}', all_varchar = true)) "
                f"TO '{path}' (FORMAT parquet)"
            )
        return path
    return write(path, PEOPLE[name.removeprefix("students.").removesuffix(".gz")])


@pytest.mark.parametrize(
    "name",
    [f"students.{format}{packed}" for format in PEOPLE for packed in ("", ".gz")]
    + ["students.parquet"],
)
def test_the_records_of_a_file(tmp_path: Path, name: str) -> None:
    path = delivered(tmp_path, name)
    format = name.split(".")[1]
    records, malformed, about = read(path, format)
    assert [[*record[:3], json.loads(record[3])] for record in records] == [
        [*record[:3], json.loads(record[3])] for record in RECORDS
    ]
    assert malformed == []
    data = path.read_bytes()
    assert (about["status"], about["rows"], about["malformed"]) == (worker.READ, 3, 0)
    assert about["size_bytes"] == len(data)
    assert about["sha256"] == hashlib.sha256(data).hexdigest()
    assert about["encoding"] == (None if format == "parquet" else "utf-8")
    assert read(path, format, loaded=about["sha256"])[0] == []
    assert read(path, format, loaded=about["sha256"])[2]["status"] == worker.SAME


def test_what_is_no_record_stands_with_its_line(tmp_path: Path) -> None:
    path = write(
        tmp_path / "students.jsonl", '{"student_id":"1"}\n{"student_id":\n{"student_id":"2"}'
    )
    records, malformed, about = read(path, "jsonl")
    assert [(number, id_) for number, id_, *_ in records] == [(1, "1"), (2, "2")]
    assert malformed == [[2, '{"student_id":']]
    assert (about["rows"], about["malformed"]) == (2, 1)
    assert about["first"].startswith("Line 2: ")


def test_many_records_come_in_portions_and_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "BATCH_RECORDS", 2)
    records, _, about = read(delivered(tmp_path, "students.csv"), "csv")
    assert [(number, id_) for number, id_, *_ in records] == [(1, "1"), (2, "2"), (3, "3")]
    assert about["rows"] == 3


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("students.csv", "", "Expected records, found an empty file of 0 bytes."),
        ("students.json", " \n", "Expected JSON, found only blanks."),
        ("students.csv", "name\nAnn\n", "student_id"),
        ("students.parquet", "no parquet", "Parquet"),
    ],
)
def test_a_refused_file(tmp_path: Path, name: str, content: str, sentence: str) -> None:
    path = write(tmp_path / name, content)
    _, _, about = read(path, name.split(".")[1])
    assert about["status"] == worker.REFUSED
    assert sentence in about["message"]


def test_a_file_that_the_worker_does_not_see(tmp_path: Path) -> None:
    _, _, about = read(tmp_path / "students.csv", "csv")
    assert about["status"] == worker.UNSEEN
    assert "students.csv" in about["message"]


def test_a_file_that_grows_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read of it counts for nothing."""
    path = delivered(tmp_path, "students.csv")
    survey = worker.survey

    def grow_and_survey(copied: Path) -> Any:
        path.write_text(PEOPLE["csv"] + "4,Bo,\n")
        return survey(copied)

    monkeypatch.setattr(worker, "survey", grow_and_survey)
    _, _, about = read(path, "csv")
    assert about["status"] == worker.CHANGED
    assert "students.csv" in about["message"]


def test_a_worker_without_duckdb_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = delivered(tmp_path, "students.parquet")
    monkeypatch.setitem(sys.modules, "duckdb", None)
    _, _, about = read(path, "parquet")
    assert (about["status"], about["message"]) == (worker.UNREADABLE, "the package duckdb")
