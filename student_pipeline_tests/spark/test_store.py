"""The warehouse folder: its pointer, its lock, on a local disk and on S3."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from student_pipeline.settings import SettingsError
from student_pipeline.spark.remote import address
from student_pipeline.spark.store import LOCK, Catalog, LockLost, Store, StoreBusy, StoreError
from student_pipeline_tests.test_remote import Bucket, bucket, endpoint

__all__ = ["bucket", "endpoint"]

PLACES = ("a folder", "S3")


@pytest.fixture(params=PLACES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty warehouse."""
    if request.param == "S3":
        there: Bucket = request.getfixturevalue("bucket")
        return f"s3://{there.name}/warehouse"
    return str(tmp_path)


def made(url: str) -> Store:
    store = Store(url)
    store.make()
    return store


def quiet(sentence: str) -> None:
    """Nobody listens."""


def test_what_is_in_force_is_what_was_written_last(url: str) -> None:
    store = made(url)
    assert store.read() is None
    for version in (1, 2):
        with store.lock(0, quiet):
            store.write(Catalog(version, {"silver.fact_attend": {}}))
    assert Store(url).read() == Catalog(2, {"silver.fact_attend": {}})


def test_the_second_run_waits_for_the_first(url: str) -> None:
    first, second, told = made(url), Store(url), []
    with first.lock(0, quiet):
        with pytest.raises(StoreBusy, match=rf"in use by process {os.getpid()} on ") as busy:
            second.lock(1, told.append).__enter__()
        assert "Nothing was changed." in str(busy.value)
        assert told[0].startswith(f"Waiting for the warehouse {url}: it is in use by process ")
        letting_go = threading.Event()
        waiting = threading.Thread(target=_take_and_leave, args=(second, letting_go))
        waiting.start()
        assert not letting_go.wait(0.3)
    assert letting_go.wait(20)
    waiting.join()
    with first.lock(0, quiet):
        pass


def _take_and_leave(store: Store, done: threading.Event) -> None:
    with store.lock(20, quiet):
        done.set()


def test_a_run_whose_lock_was_taken_away_changes_nothing_more(url: str) -> None:
    """Somebody removed it by hand, and another run began."""
    first, second = made(url), Store(url)
    with first.lock(0, quiet):
        first.write(Catalog(1))
        first.remove(LOCK)
        with second.lock(0, quiet):
            second.write(Catalog(2))
            for change in (lambda: first.write(Catalog(3)), lambda: first.sweep(["ops"], set())):
                with pytest.raises(LockLost, match="was taken away from this run"):
                    change()
            assert second.read() == Catalog(2)
            with pytest.raises(StoreBusy):
                Store(url).lock(0, quiet).__enter__()
    with first.lock(0, quiet):
        pass


def test_a_pointer_that_is_no_pointer(tmp_path: Path) -> None:
    (tmp_path / "catalog.json").write_text('{"format": 7}')
    with pytest.raises(StoreError, match="has the format 7; expected 1"):
        Store(str(tmp_path)).read()


@pytest.mark.parametrize(
    "remote",
    [
        "sc://h:15002/;token=c2Vjcm==",
        "sc://h:15002/;token=sec/ret",
        "sc://h:15002/;token=sec;ret",
        "sc://h:15002/;token=sec#ret",
        "sc://h:15002/;token=sec?ret",
        "sc://h:15002/secret",
    ],
)
def test_a_token_that_must_be_written_otherwise_is_not_quoted(remote: str) -> None:
    with pytest.raises(SettingsError, match="Within a value write %2F for a slash") as refused:
        address(remote)
    for secret in ("sec", "c2Vjcm"):
        assert secret not in str(refused.value)


def test_an_address() -> None:
    assert address("sc://h") == ("h", 15002)
    assert address("sc://h:1/;token=c2Vjcm%3D%3D;use_ssl=true") == ("h", 1)
