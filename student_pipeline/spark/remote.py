"""The address of the Spark Connect server."""

from __future__ import annotations

from urllib.parse import urlparse

from student_pipeline.settings import SettingsError

REMOTE = "SPARK_REMOTE"
DEFAULT_PORT = 15002


def address(remote: str) -> tuple[str, int]:
    """Host and port of a server such as `sc://spark.example.org:15002/;token=…`.

    Raises:
        SettingsError: it is no such address. The message does not quote it: a token may stand in it.
    """
    about = urlparse(remote)
    try:
        port = about.port or DEFAULT_PORT
    except ValueError:
        port = 0
    if about.scheme != "sc" or not about.hostname or not port:
        scheme = f"one that begins with {about.scheme}:" if about.scheme else "none with a scheme"
        raise SettingsError(
            f"{REMOTE}: expected the address of a Spark Connect server such as "
            f"sc://spark.example.org:{DEFAULT_PORT}, found {scheme if remote else 'nothing'}."
        )
    # pyspark takes it apart as an http address, and quotes what it can't read.
    rest = urlparse(f"http{remote[2:]}")
    parameters = rest.params.split(";") if rest.params else []
    if (
        rest.path not in ("", "/")
        or rest.query
        or rest.fragment
        or any(parameter.count("=") != 1 for parameter in parameters)
    ):
        raise SettingsError(
            f"{REMOTE}: expected NAME=VALUE behind the port, as in sc://HOST:PORT/;token=…;use_ssl=true, "
            "found something else. Within a value write %2F for a slash, %3D for an equal sign, "
            "%3B for a semicolon, %3F for a question mark, %23 for a number sign."
        )
    return about.hostname, port
