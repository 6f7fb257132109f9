"""The example of a reverse proxy, with the real nginx and the real webserver behind it."""

import base64
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.sync.client import connect

from student_pipeline.jobs import JOB_NAME
from student_pipeline.settings import PROJECT_ROOT
from student_pipeline_tests.command import PLENTY_OF_SECONDS, Installation
from student_pipeline_tests.webserver import REPOSITORY, Webserver

SITE = PROJECT_ROOT / "deploy" / "nginx-site.conf"
USER, PASSWORD = "registrar", "correct horse"
CREDENTIALS = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

LAUNCH = {
    "query": "mutation ($run: ExecutionParams!) { launchRun(executionParams: $run) { __typename } }",
    "variables": {
        "run": {
            "selector": {**REPOSITORY, "pipelineName": JOB_NAME},
            "mode": "default",
            "runConfigData": {},
        }
    },
}

needs_nginx = pytest.mark.skipif(
    shutil.which("nginx") is None,
    reason="nginx is not installed; `apt-get install nginx-light` brings it",
)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + PLENTY_OF_SECONDS
    while True:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


@contextmanager
def running(folder: Path, port: int, *command: str, **environment: str) -> Iterator[None]:
    """A server, until the end of the block."""
    log = folder / f"{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_for(port, process, log)
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def webserver(school: Installation, *options: str) -> Iterator[Webserver]:
    """Dagster's webserver with the project's code."""
    port = free_port()
    address = ("--host", "127.0.0.1", "--port", str(port))
    code = ("--module-name", "student_pipeline.definitions")
    command = (sys.executable, "-m", "dagster_webserver", *address, *code, *options)
    with running(school.folder, port, *command, **school.environment()):
        yield Webserver(port)


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    school = Installation(tmp_path_factory.mktemp("school"))
    school.landing.mkdir()
    school.home.mkdir()
    shutil.copyfile(PROJECT_ROOT / ".dagster_home/dagster.yaml", school.home / "dagster.yaml")
    return school


@dataclass(frozen=True)
class Proxy:
    """nginx on loopback, and the certificate that it shows."""

    port: int
    http_port: int
    trust: ssl.SSLContext
    behind: Webserver

    def ask(self, path: str, body: object = None, **headers: str) -> tuple[int, str]:
        """(HTTP status, content) of a request; with a body it is a POST of JSON."""
        request = urllib.request.Request(
            f"https://localhost:{self.port}{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"}
            | {name.replace("_", "-"): value for name, value in headers.items()},
        )
        try:
            with urllib.request.urlopen(request, context=self.trust, timeout=60) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@pytest.fixture(scope="module")
def proxy(school: Installation) -> Iterator[Proxy]:
    folder = school.folder / "nginx"
    folder.mkdir()
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")),
        ],
        capture_output=True,
        check=True,
    )
    hashed = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"],
        input=PASSWORD.encode(),
        capture_output=True,
        check=True,
    ).stdout.decode()
    (folder / "users").write_text(f"{USER}:{hashed}")
    with webserver(school) as behind:
        port, http_port = free_port(), free_port()
        site = SITE.read_text(encoding="utf-8")
        for expected, here in {
            "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
            "listen 80;": f"listen 127.0.0.1:{http_port};",
            "http://127.0.0.1:3000;": f"http://127.0.0.1:{behind.port};",
            "/etc/nginx/student-pipeline/": f"{folder}/",
        }.items():
            assert expected in site
            site = site.replace(expected, here)
        places = "".join(
            f"{kind}_temp_path {folder}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = "user root;" if os.geteuid() == 0 else ""  # the files are in root's folder then
        (folder / "nginx.conf").write_text(
            f"{user}\npid {folder}/pid;\nevents {{}}\n"
            f"http {{\naccess_log {folder}/access.log;\n{places}{site}}}\n"
        )
        command = ("nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"))
        options = ("-e", "stderr", "-g", "daemon off;")
        with running(folder, port, *command, *options, PATH=os.environ["PATH"]):
            trust = ssl.create_default_context(cafile=str(folder / "certificate.pem"))
            yield Proxy(port, http_port, trust, behind)


@needs_nginx
@pytest.mark.parametrize("path", ["/", "/graphql", "/server_info", "/logs/x"])
@pytest.mark.parametrize(
    "credentials", [None, "Basic " + base64.b64encode(b"registrar:wrong").decode()]
)
def test_without_the_password_nothing_is_shown(
    proxy: Proxy, path: str, credentials: str | None
) -> None:
    headers = {"Authorization": credentials} if credentials else {}
    status, content = proxy.ask(path, **headers)
    assert status == 401
    assert "dagster" not in content.lower()


@needs_nginx
def test_with_the_password_all_of_it_works(proxy: Proxy) -> None:
    status, page = proxy.ask("/", Authorization=CREDENTIALS)
    assert (status, "dagster" in page.lower()) == (200, True)
    before = set(proxy.behind.history())
    status, content = proxy.ask("/graphql", LAUNCH, Authorization=CREDENTIALS)
    assert (status, json.loads(content)) == (
        200,
        {"data": {"launchRun": {"__typename": "LaunchRunSuccess"}}},
    )
    assert len(set(proxy.behind.history()) - before) == 1


@needs_nginx
def test_runs_can_be_followed_through_the_websocket(proxy: Proxy) -> None:
    with connect(
        f"wss://localhost:{proxy.port}/graphql",
        ssl=proxy.trust,
        subprotocols=["graphql-ws"],
        additional_headers={"Authorization": CREDENTIALS},
        open_timeout=PLENTY_OF_SECONDS,
    ) as socket_:
        socket_.send(json.dumps({"type": "connection_init"}))
        assert json.loads(socket_.recv(timeout=60)) == {"type": "connection_ack"}


@needs_nginx
@pytest.mark.parametrize("origin", ["cross-site", "same-site"])
def test_a_page_of_another_site_can_start_nothing(proxy: Proxy, origin: str) -> None:
    before = proxy.behind.history()
    for path, body in (
        ("/graphql", LAUNCH),
        ("/graphql?query={version}", None),
        ("/report_asset_materialization/x", {}),
    ):
        status, _ = proxy.ask(path, body, Authorization=CREDENTIALS, Sec_Fetch_Site=origin)
        assert status == 403, path
    assert proxy.behind.history() == before
    # A link from elsewhere opens the page, and the page itself may ask.
    for path, site in (("/runs", origin), ("/graphql?query={version}", "same-origin")):
        status, _ = proxy.ask(path, Authorization=CREDENTIALS, Sec_Fetch_Site=site)
        assert status == 200, path


@needs_nginx
def test_without_tls_there_is_only_the_way_to_tls(proxy: Proxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.http_port), timeout=60) as plain:
        plain.sendall(b"GET /runs HTTP/1.0\r\nHost: pipeline.example.org\r\n\r\n")
        answer = plain.recv(4096).decode()
    assert answer.startswith("HTTP/1.1 301 ")
    assert re.search(r"^Location: https://pipeline\.example\.org/runs\r$", answer, re.MULTILINE)


def test_a_read_only_webserver_shows_and_starts_nothing(school: Installation) -> None:
    with webserver(school, "--read-only") as viewer:
        before = viewer.history()
        answer = viewer.ask(LAUNCH["query"], **LAUNCH["variables"])
        assert answer == {"launchRun": {"__typename": "UnauthorizedError"}}
        assert viewer.history() == before
