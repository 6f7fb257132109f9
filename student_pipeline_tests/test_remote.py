"""Landing folders that are not on the local disk: S3, and what else fsspec opens."""

import gzip
from collections.abc import Iterator
from typing import Any

import botocore.session
import dagster as dg
import fsspec
import pytest
from botocore.exceptions import IncompleteReadError
from moto.server import ThreadedMotoServer

from student_pipeline.ingest import discovery
from student_pipeline.sources import STUDENTS
from student_pipeline_tests.pipeline import School, errors, failed_checks
from student_pipeline_tests.test_delivery import load

ROSTER = "student_id,name\n1,Ann\n2,Bob\n"


class Bucket:
    """A bucket on a server of this process."""

    name = "school"
    url = "s3://school/in box"

    def __init__(self, client: Any) -> None:
        self._client = client

    def put(self, path: str, content: str | bytes) -> None:
        """Put an object below the landing folder, replacing the one of that name."""
        body = content.encode() if isinstance(content, str) else content
        self._client.put_object(Bucket=self.name, Key=f"in box/{path}", Body=body)

    def remove(self, path: str) -> None:
        """Remove an object."""
        self._client.delete_object(Bucket=self.name, Key=f"in box/{path}")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The address of an S3 that forgets."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty bucket; the environment leads there."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    client = botocore.session.get_session().create_client("s3")
    client.create_bucket(Bucket=Bucket.name)
    for found in client.list_objects_v2(Bucket=Bucket.name).get("Contents", []):
        client.delete_object(Bucket=Bucket.name, Key=found["Key"])
    return Bucket(client)


def bronze(school: School) -> dict[str, str]:
    """Student id -> file."""
    return dict(school.query("SELECT student_id, _source_file FROM bronze.students"))


def test_files_are_found_as_they_are_locally(bucket: Bucket) -> None:
    names = [
        "Students.CSV",
        "students/a b/'x';*[y]?.json.gz",
        "students//c.csv",
        "students_é#%.csv",
    ]
    hidden = ["students/.b/c.csv", "students.csv~"]
    others = ["students/", "students/readme", "old/students.csv", "students2.csv", "/students.csv"]
    for name in (*names, *hidden, *others):
        bucket.put(name, ROSTER)
    found = discovery.find_files(bucket.url, STUDENTS)
    assert [file.path for file in found] == sorted([*names, *hidden])
    assert {file.path for file in found if file.passed_over} == set(hidden)
    assert [file.path for file in discovery.find_files(f"{bucket.url}/", STUDENTS)] == [
        file.path for file in found
    ]


def test_a_bucket_is_loaded_and_what_changes_in_it(bucket: Bucket, school: School) -> None:
    bucket.put("students.csv", ROSTER)
    bucket.put("students/2.json.gz", gzip.compress(b'[{"student_id": "3"}]'))
    bucket.put("attendance.csv", "attend_id,student_id,date,status\nA1,1,2026-01-05,P\n")
    bucket.put("students_2.csv.tmp", "half")
    result = school.run(url=bucket.url)
    assert result.success, (errors(result), failed_checks(result))
    first = {"1": "students.csv", "2": "students.csv", "3": "students/2.json.gz"}
    assert bronze(school) == first
    entries = "SELECT path, size_bytes, status, rows_appended FROM ops.source_files ORDER BY ALL"
    assert school.query(entries) == [
        ("attendance.csv", 51, "loaded", 1),
        ("students.csv", len(ROSTER), "loaded", 2),
        ("students/2.json.gz", len(gzip.compress(b'[{"student_id": "3"}]')), "loaded", 1),
        ("students_2.csv.tmp", None, "passed_over", 0),
    ]

    # In the same process, with whatever fsspec remembers: a changed, a new and a removed file.
    bucket.put("students.csv", ROSTER.replace("Bob", "Bea"))
    bucket.put("students_3.csv", "student_id\n4\n")
    bucket.remove("students/2.json.gz")
    assert school.run(url=bucket.url).success
    assert bronze(school) == first | {"4": "students_3.csv"}
    assert school.query("SELECT name FROM bronze.students WHERE student_id = '2'") == [("Bea",)]
    assert school.query("SELECT count(*) FROM ops.source_files WHERE status = 'loaded'") == [(5,)]


def test_a_file_of_a_bucket_is_refused_by_name(bucket: Bucket, school: School) -> None:
    bucket.put("students.csv", ROSTER)
    bucket.put("students_2.csv.gz", b"no gzip")
    assert load(school, url=bucket.url)["files_refused"] == 1
    ((message,),) = school.query(
        "SELECT message FROM ops.source_files WHERE path = 'students_2.csv.gz'"
    )
    assert message.startswith("Expected a gzip file")
    assert set(bronze(school)) == {"1", "2"}


def test_an_object_that_is_gone_when_it_is_fetched(bucket: Bucket, school: School) -> None:
    bucket.put("students_1.csv", ROSTER)
    bucket.put("students_2.csv", "student_id\n3\n")
    with pytest.raises(dg.Failure, match=r"The file students_2\.csv vanished while it was read\."):
        load(school, url=bucket.url, found=lambda: bucket.remove("students_2.csv"))
    load(school, url=bucket.url)
    assert set(bronze(school)) == {"1", "2"}


def test_a_connection_that_breaks_while_an_object_is_fetched(
    bucket: Bucket, school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("students.csv", ROSTER)

    def get_file(*_: object, **__: object) -> None:
        raise IncompleteReadError(actual_bytes=1, expected_bytes=30)

    with monkeypatch.context() as patch:
        patch.setattr(fsspec.get_filesystem_class("s3"), "get_file", get_file)
        with pytest.raises(
            dg.Failure, match=r"The file students\.csv could not be fetched: 1 read"
        ):
            load(school, url=bucket.url)
    assert load(school, url=bucket.url)["rows_added"] == 2


def test_a_bucket_that_does_not_exist(bucket: Bucket, school: School) -> None:
    result = school.run(url="s3://nowhere/in")
    assert not result.success
    assert set(errors(result)) == {"The landing folder s3://nowhere/in does not exist."}


def test_a_folder_without_objects_is_an_empty_one(bucket: Bucket, school: School) -> None:
    result = school.run(url="s3://school/empty")
    assert not result.success
    sentence = failed_checks(result)["bronze/students: not_empty"]
    assert "no source file in the landing folder s3://school/empty" in sentence


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("nope://x", "can't be opened: Protocol not known: nope."),
        ("s3://", "can't be opened: Cannot traverse all of S3."),
    ],
)
def test_an_address_that_is_none(bucket: Bucket, url: str, problem: str) -> None:
    with pytest.raises(discovery.LandingError) as caught:
        discovery.find_files(url, STUDENTS)
    assert str(caught.value) == f"The landing folder {url} {problem}"
    assert not caught.value.may_pass


def test_a_server_that_does_not_answer_may_do_so_later(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    filesystem = fsspec.get_filesystem_class("s3")
    monkeypatch.setattr(filesystem, "retries", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    filesystem.clear_instance_cache()
    with pytest.raises(discovery.LandingError) as caught:
        discovery.find_files(bucket.url, STUDENTS)
    assert str(caught.value).startswith(
        f"The landing folder {bucket.url} can't be listed: Could not connect to the endpoint URL"
    )
    assert caught.value.may_pass


def test_any_file_system_that_fsspec_knows(school: School) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/district/students/a.csv", ROSTER.encode())
    memory.pipe("/district/students_2.jsonl.gz", gzip.compress(b'{"student_id": 3}\n'))
    try:
        load(school, url="memory://district")
        first = {"1": "students/a.csv", "2": "students/a.csv", "3": "students_2.jsonl.gz"}
        assert bronze(school) == first
        memory.pipe("/district/students/a.csv", f"{ROSTER}9,Zoe\n".encode())
        load(school, url="memory://district")
        assert bronze(school) == first | {"9": "students/a.csv"}
    finally:
        memory.rm("/district", recursive=True)
