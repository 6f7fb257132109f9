"""Spark Connect servers for tests, on loopback: Sail, which needs no Java, and OSS Spark."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from student_pipeline.settings import PROJECT_ROOT

START_SECONDS = 120
SPARK_FOLDER = PROJECT_ROOT / "build" / "spark"
"""The environment of OSS Spark, which brings a server of its own under pyspark's name."""

SPARK_VERSION = "4.2.0"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return int(any_port.getsockname()[1])


@contextmanager
def sail(log: Path, *, within: Sequence[str] = ()) -> Iterator[str]:
    """A Sail server; yields its address.

    Args:
        within: a command that starts the command behind it.
    """
    port = free_port()
    command = [
        *within,
        str(Path(sys.executable).with_name("sail")),
        *("spark", "server", "--ip", "127.0.0.1", "--port", str(port)),
    ]
    with _process("Sail", command, log, {"RUST_LOG": "warn"}) as server:
        _wait_until("Sail", lambda: _listens(port), server, log)
        yield f"sc://127.0.0.1:{port}"


@dataclass
class Cluster:
    """OSS Spark: a master, its workers, and the Connect server.

    Attributes:
        remote: the address of the Connect server.
        workers: the processes of the workers; each leads a process group with its executors.
    """

    remote: str
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)


@contextmanager
def spark_cluster(
    log_folder: Path,
    *,
    workers: int = 2,
    worker_python: str | None = None,
    token: str = "",
) -> Iterator[Cluster]:
    """OSS Spark with a standalone master and workers of one core each.

    Args:
        worker_python: the Python that runs functions of ours; by default one like this one, with
            what such functions need.
        token: whoever connects must know it.
    """
    python = spark_python()
    log_folder.mkdir(parents=True, exist_ok=True)
    ports = {name: free_port() for name in ("master", "web", "connect")}
    home = subprocess.check_output(
        [str(python), "-c", "import pyspark; print(pyspark.__path__[0])"], text=True
    ).strip()
    environment = {
        "SPARK_HOME": home,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_NO_DAEMONIZE": "1",
        "PYSPARK_PYTHON": worker_python or str(python),
        "SPARK_WORKER_DIR": str(log_folder / "work"),
    }
    run = str(Path(home) / "bin" / "spark-class")
    url = f"spark://127.0.0.1:{ports['master']}"
    with ExitStack() as started:

        def start(name: str, *arguments: str) -> subprocess.Popen[bytes]:
            log = log_folder / f"{name}.log"
            return started.enter_context(_process(name, [run, *arguments], log, environment))

        master = start(
            "master",
            "org.apache.spark.deploy.master.Master",
            *("--host", "127.0.0.1", "--port", str(ports["master"])),
            *("--webui-port", str(ports["web"])),
        )
        _wait_until("master", lambda: _listens(ports["master"]), master, log_folder / "master.log")
        port = ports["connect"]
        # Only to localhost does pyspark send a token without TLS.
        cluster = Cluster(
            f"sc://localhost:{port}/;token={token}" if token else f"sc://127.0.0.1:{port}"
        )
        for number in range(workers):
            worker = start(
                f"worker{number}",
                "org.apache.spark.deploy.worker.Worker",
                *("--host", "127.0.0.1", "--cores", "1", "--memory", "3g"),
                *("--webui-port", str(free_port())),
                url,
            )
            cluster.workers.append(worker)
        _wait_until(
            "workers",
            lambda: _alive_workers(ports["web"]) == workers,
            master,
            log_folder / "master.log",
        )
        settings = {
            "spark.connect.grpc.binding.address": "127.0.0.1",
            "spark.connect.grpc.binding.port": str(ports["connect"]),
            "spark.executor.cores": "1",
            "spark.executor.memory": "2g",
            "spark.driver.memory": "2g",
            "spark.driver.host": "127.0.0.1",
            "spark.sql.shuffle.partitions": "4",
            "spark.ui.enabled": "false",
            "spark.sql.warehouse.dir": str(log_folder / "spark-warehouse"),
            **({"spark.connect.authenticate.token": token} if token else {}),
        }
        connect = start(
            "connect",
            "org.apache.spark.deploy.SparkSubmit",
            *("--master", url),
            *("--class", "org.apache.spark.sql.connect.service.SparkConnectServer"),
            *(part for name, value in settings.items() for part in ("--conf", f"{name}={value}")),
            "spark-internal",
        )
        _wait_until(
            "connect", lambda: _listens(ports["connect"]), connect, log_folder / "connect.log"
        )
        yield cluster


def spark_python() -> Path:
    """The Python of the environment with OSS Spark, which is made when it is missing."""
    python = SPARK_FOLDER / "venv" / "bin" / "python"
    ready = SPARK_FOLDER / f".ready-{SPARK_VERSION}"
    if not ready.exists():
        SPARK_FOLDER.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", str(SPARK_FOLDER / "venv")], check=True)
        subprocess.run(
            [
                *(str(python), "-m", "pip", "install", "--quiet"),
                *("--constraint", str(PROJECT_ROOT / "constraints.txt")),
                *(f"pyspark[connect]=={SPARK_VERSION}", "pyarrow", "pandas", "duckdb"),
            ],
            check=True,
        )
        ready.touch()
    return python


def _alive_workers(web_port: int) -> int:
    import json

    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{web_port}/json/", timeout=5) as answer:
            return int(json.load(answer)["aliveworkers"])
    except (OSError, ValueError):  # it does not answer yet, or has nothing to say yet
        return -1


def _listens(port: int) -> bool:
    with socket.socket() as knocking:
        return knocking.connect_ex(("127.0.0.1", port)) == 0


def _wait_until(
    name: str, ready: Callable[[], bool], server: subprocess.Popen[bytes], log: Path
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        if ready():
            return
        time.sleep(0.1)
    raise AssertionError(f"{name} did not start:\n{log.read_text()[-3000:]}")


@contextmanager
def _process(
    name: str, command: list[str], log: Path, more: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that leads a group of its own, which is ended with it."""
    with log.open("wb") as out:
        started = subprocess.Popen(
            command,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **more},
            start_new_session=True,
        )
    try:
        yield started
    finally:
        end(started)


def end(process: subprocess.Popen[bytes], how: signal.Signals = signal.SIGTERM) -> None:
    """End a server that was started here, and the processes of its group."""
    for number in (how, signal.SIGKILL):
        if process.poll() is not None and number == how:
            continue
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            continue
