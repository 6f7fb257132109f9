"""What goes wrong with a cluster is told in a sentence, with exit status 1, and changes nothing."""

from __future__ import annotations

import http.server
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pyspark.sql.connect.proto as messages
import pytest
from pyspark.sql.connect.proto import base_pb2_grpc as service

from student_pipeline.spark.store import Store
from student_pipeline_tests.command import Installation, Outcome
from student_pipeline_tests.spark.servers import free_port, sail
from student_pipeline_tests.test_cli import deliver_all, no_traceback


@pytest.fixture
def school(tmp_path: Path) -> Installation:
    school = Installation(tmp_path)
    deliver_all(school)
    return school


def run(school: Installation, remote: str, **more: str) -> Outcome:
    """`student-pipeline run` on a cluster."""
    outcome = school.command("run", **on_spark(school, remote, **more))
    no_traceback(outcome)
    return outcome


def on_spark(school: Installation, remote: str, **more: str) -> dict[str, str]:
    return {
        "STUDENT_PIPELINE_ENGINE": "spark",
        "SPARK_REMOTE": remote,
        "STUDENT_PIPELINE_WAREHOUSE": str(school.folder / "warehouse"),
        **more,
    }


def catalog(school: Installation) -> Any:
    return Store(str(school.folder / "warehouse")).read()


def reasons(outcome: Outcome) -> set[str]:
    """What the summary says of the steps that failed."""
    return set(re.findall(r"^FAILED \w+: (.*)$", outcome.out, re.MULTILINE))


def test_no_server(school: Installation) -> None:
    port = free_port()
    outcome = run(school, f"sc://127.0.0.1:{port}")
    assert outcome.status == 1
    assert reasons(outcome) == {
        f"SPARK_REMOTE: there is no Spark Connect server on 127.0.0.1:{port} (Connection refused)."
    }
    assert catalog(school) is None


@pytest.mark.parametrize("command", ["run", "status", "quarantine", "fingerprint"])
def test_no_address(school: Installation, command: str) -> None:
    outcome = school.command(command, **on_spark(school, ""))
    assert outcome.status == 2
    assert outcome.err.startswith("student-pipeline: SPARK_REMOTE is not set; with ")
    assert len(outcome.err.splitlines()) == 1


def test_another_kind_of_server(school: Installation) -> None:
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), http.server.BaseHTTPRequestHandler
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        outcome = run(school, f"sc://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert outcome.status == 1
    (reason,) = reasons(outcome)
    address = f"127.0.0.1:{server.server_port}"
    assert reason.startswith(f"SPARK_REMOTE: the server on {address} is no Spark Connect server. (")


class _OldServer(service.SparkConnectServiceServicer):
    """Says that it is Spark 3.5, to whoever asks; no such server can be had here."""

    def AnalyzePlan(self, request: Any, context: Any) -> Any:
        version = messages.AnalyzePlanResponse.SparkVersion(version="3.5.1")
        return messages.AnalyzePlanResponse(session_id=request.session_id, spark_version=version)

    def ReleaseSession(self, request: Any, context: Any) -> Any:
        return messages.ReleaseSessionResponse(session_id=request.session_id)


class _WantsToken(grpc.ServerInterceptor):
    """Refuses whoever does not know the token, as a server or the proxy before it does."""

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        if ("authorization", "Bearer open sesame") in details.invocation_metadata:
            return continuation(details)
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: context.abort(
                grpc.StatusCode.UNAUTHENTICATED, "Invalid authentication token"
            )
        )


@contextmanager
def old_server() -> Iterator[str]:
    """A server of an old Spark, behind a token; yields its address without that."""
    server = grpc.server(ThreadPoolExecutor(2), interceptors=[_WantsToken()])
    service.add_SparkConnectServiceServicer_to_server(_OldServer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"sc://localhost:{port}"  # where pyspark sends a token without TLS
    server.stop(None)


def test_wrong_token_and_old_version(school: Installation) -> None:
    with old_server() as remote:
        wrong = run(school, f"{remote}/;token=guessed")
        old = run(school, f"{remote}/;token=open sesame")
    address = remote.removeprefix("sc://")
    assert (wrong.status, old.status) == (1, 1)
    (reason,) = reasons(wrong)
    assert reason.startswith(
        f"SPARK_REMOTE: the server on {address} refused us: the token is wrong or missing; "
        "expected sc://HOST:PORT/;token=…."
    )
    assert "guessed" not in wrong.out + wrong.err
    assert reasons(old) == {
        f"SPARK_REMOTE: the server on {address} is Spark 3.5.1; expected 4.0 or later."
    }


@pytest.mark.parametrize("hidden", ["warehouse", "landing"])
def test_a_folder_that_the_workers_do_not_see(school: Installation, hidden: str) -> None:
    """Another file system is mounted there, for the server alone."""
    folder = school.folder / hidden
    folder.mkdir(exist_ok=True)
    elsewhere = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"']
    if subprocess.run([*elsewhere, str(folder), "true"], check=False).returncode:
        pytest.skip("only root may mount a file system")
    with sail(school.folder / "sail.log", within=(*elsewhere, str(folder))) as remote:
        outcome = run(school, remote)
    assert outcome.status == 1
    if hidden == "warehouse":
        assert reasons(outcome) == {
            f"STUDENT_PIPELINE_WAREHOUSE: what the cluster writes to {folder} can't be seen from "
            "here. It must be the same folder, or object store, for this process and every worker."
        }
        assert list(folder.iterdir()) == [folder / ".lock"]
    else:
        assert all(
            reason.startswith("The workers of the cluster don't see the landing folder: ")
            and "It must have the same path on every worker." in reason
            for reason in reasons(outcome)
        )
        assert len(reasons(outcome)) == 3


def test_a_server_that_goes_away_in_a_run(school: Installation, tmp_path: Path) -> None:
    """What was written until then stands; with a server again, the next run ends it."""
    with ThreadPoolExecutor(1) as beside, sail(tmp_path / "sail.log") as remote:
        going = beside.submit(run, school, remote)
        while not (found := catalog(school)) or "silver.dim_student" not in found.tables:
            assert not going.done(), going.result().out
            time.sleep(0.01)
    broken = going.result()
    assert broken.status == 1
    assert reasons(broken)
    for reason in reasons(broken):
        assert (
            reason.startswith(
                ("The cluster, or a worker of it, was lost: ", "SPARK_REMOTE: there is no Spark ")
            )
            or " can't be written and stays as it was. The cluster, or a worker " in reason
        ), reason
    with sail(tmp_path / "sail_again.log") as remote:
        assert run(school, remote).status == 0
        status = school.command("status", **on_spark(school, remote))
    assert status.status == 0
    assert "silver/fact_attend" in status.out
