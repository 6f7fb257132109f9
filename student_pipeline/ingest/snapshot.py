"""A delivered file as a local, unpacked one, with its hash and its encoding."""

import codecs
import gzip
import hashlib
import os
import re
import stat
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, cast

from student_pipeline.ingest.discovery import FoundFile
from student_pipeline.ingest.errors import FileRefused, SourceChanged
from student_pipeline.ingest.limits import Limits

CHUNK_BYTES = 1 << 20

_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r"))

Encoding = Literal["utf-8", "utf-16", "windows-1252"]

_MULTI_BYTE_UTF8 = re.compile(
    rb"[\xC2-\xDF][\x80-\xBF]"
    rb"|\xE0[\xA0-\xBF][\x80-\xBF]|[\xE1-\xEC\xEE\xEF][\x80-\xBF]{2}|\xED[\x80-\x9F][\x80-\xBF]"
    rb"|\xF0[\x90-\xBF][\x80-\xBF]{2}|[\xF1-\xF3][\x80-\xBF]{3}|\xF4[\x80-\x8F][\x80-\xBF]{2}"
)
"""One well-formed UTF-8 character beyond ASCII (the Unicode standard, table 3-7)."""


@dataclass(frozen=True)
class Snapshot:
    """What was delivered, on the local disk.

    Attributes:
        path: the unpacked bytes.
        size_bytes, sha256: of the bytes as delivered.
        unpacked_bytes: size after unpacking.
        version: what the local file was like when it was opened, to notice a change.
    """

    file: FoundFile
    path: Path
    size_bytes: int
    sha256: str
    unpacked_bytes: int
    version: tuple[int, ...] | None

    def require_unchanged(self) -> None:
        """Raise `SourceChanged` when the local file is no longer what was hashed."""
        if self.version is not None and _version(self.file) != self.version:
            raise SourceChanged(f"The file {self.file.path} changed while it was read.")


@dataclass(frozen=True)
class TextSurvey:
    """What the bytes of a text file are like.

    Attributes:
        encoding: how they become text.
        clean: every byte is text, and there is no NUL.
        plain: besides, it is UTF-8 without control characters but tab, LF and CR.
        even: besides, lines end alike, in LF or in CRLF, and none is longer than two chunks.
    """

    encoding: Encoding
    clean: bool = False
    plain: bool = False
    even: bool = False


def take(file: FoundFile, spool: Path, limits: Limits) -> Snapshot:
    """Bring the file to the local disk, unpacked, and hash it. It is read once, as a stream.

    A local file that is not packed stays where it is.

    Args:
        spool: an empty folder for what has to be copied.

    Raises:
        FileRefused: the file can't be read, or is or unpacks to more than the limits allow.
        SourceChanged: it is gone, or could not be fetched.
    """
    version = _version(file)
    try:
        if file.filesystem is None and not file.gzipped:
            limits.require_size(os.stat(file.location).st_size)
            digest, size = _hash(Path(file.location))
            return Snapshot(file, Path(file.location), size, digest, size, version)
        delivered = spool / "delivered"
        if file.filesystem is None:
            delivered = Path(file.location)
        else:
            _fetch(file, delivered, limits)
        digest, size = _hash(delivered)
        if not file.gzipped:
            return Snapshot(file, delivered, size, digest, size, version)
        unpacked = spool / "unpacked"
        with gzip.open(delivered) as packed, unpacked.open("wb") as out:
            while chunk := packed.read(CHUNK_BYTES):
                out.write(chunk)
                limits.require_unpacked_size(out.tell(), size)
        return Snapshot(file, unpacked, size, digest, unpacked.stat().st_size, version)
    except FileNotFoundError as error:
        raise SourceChanged(f"The file {file.path} vanished while it was read.") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FileRefused(
            "Expected a gzip file, found one that is broken or incomplete."
        ) from error
    except OSError as error:
        raise FileRefused(f"The file can't be read: {error.strerror or error}.") from error


def survey(path: Path) -> TextSurvey:
    """How the bytes of a file become text, and how plain it is; the file is read as a stream.

    UTF-16 shows by its byte-order mark. A file that is not valid UTF-8 is Windows-1252, unless it
    holds a valid multi-byte UTF-8 character.
    """
    with path.open("rb") as stream:
        if stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return TextSurvey("utf-16")
    if not _is_utf8(path):
        return TextSurvey("utf-8" if _has_multi_byte_utf8(path) else "windows-1252")
    plain, nul, short_lines = True, False, True
    returns = line_feeds = crlf = 0
    tail = b""
    for chunk in _chunks(path):
        if len(chunk.translate(None, _CONTROLS)) < len(chunk):
            plain = False
            nul |= b"\0" in chunk
        short_lines &= b"\n" in chunk or len(chunk) < CHUNK_BYTES
        # Only where there is a carriage return somewhere does it matter how many there are.
        if b"\r" in chunk or returns:
            returns += chunk.count(b"\r")
            crlf += chunk.count(b"\r\n") + (tail == b"\r" and chunk[:1] == b"\n")
        line_feeds += chunk.count(b"\n")
        tail = chunk[-1:]
    one_ending = returns == crlf and crlf in (0, line_feeds)
    return TextSurvey(
        "utf-8",
        clean=not nul,
        plain=plain,
        even=plain and one_ending and short_lines,
    )


def open_text(path: Path, encoding: Encoding) -> IO[str]:
    """The file as text. Lines end in LF; a byte that is no text becomes a lone surrogate."""
    codec = "utf-8-sig" if encoding == "utf-8" else encoding
    return path.open(encoding=codec, errors="mark_undecodable", newline="\n")


SETTLED_SECONDS = 2
"""A file that changed this recently may change again within one tick of the file system's clock."""


def signature(file: FoundFile) -> str | None:
    """What tells this version of the file from any other without reading it; None if nothing does.

    Of a local file those are its inode, size and times, of which nobody can set the time of the
    last change; of a remote one it is its ETag.

    Raises:
        FileRefused, SourceChanged: as `take`, of a local file.
    """
    if file.filesystem is not None:
        try:
            about = file.filesystem.info(file.location)
        except Exception:  # noqa: BLE001 - any; what is wrong is said by `take`, which reads the file
            return None
        return f"{about['ETag']} {about.get('LastModified')}" if about.get("ETag") else None
    version = _version(file)
    assert version
    changed_at = version[-1] / 1e9
    if time.time() - changed_at < SETTLED_SECONDS:
        return None
    return " ".join(map(str, version))


_NO_TEXT = re.compile("[\x00\ud800-\udfff]")


def is_text(text: str) -> bool:
    """Whether it holds neither NUL nor undecodable bytes (nor half a surrogate pair)."""
    return not _NO_TEXT.search(text)


def printable(text: str) -> str:
    """The text with undecodable bytes written as `\\xNN`, so that it can be stored."""
    return _NO_TEXT.sub(
        lambda found: (
            f"\\x{ord(found[0]) & 0xFF:02x}"
            if found[0] < "\ud800" or "\udc00" <= found[0] <= "\udcff"
            else f"\\u{ord(found[0]):04x}"
        ),
        text,
    )


def _mark_undecodable(error: UnicodeError) -> tuple[str, int]:
    """Decode a bad byte to U+DC00 plus the byte, as `surrogateescape` does, for any codec."""
    bad = cast(UnicodeDecodeError, error)
    return "".join(chr(0xDC00 + byte) for byte in bad.object[bad.start : bad.end]), bad.end


codecs.register_error("mark_undecodable", _mark_undecodable)


def _version(file: FoundFile) -> tuple[int, ...] | None:
    """What tells one version of a local file from another without reading it."""
    if file.filesystem is not None:
        return None
    try:
        status = os.stat(file.location)
    except FileNotFoundError as error:
        if os.path.islink(file.location):
            raise FileRefused("The file can't be read: it is a link to nothing.") from error
        raise SourceChanged(f"The file {file.path} vanished while it was read.") from error
    except OSError as error:
        raise FileRefused(f"The file can't be read: {error.strerror}.") from error
    if not stat.S_ISREG(status.st_mode):
        raise FileRefused("Expected a regular file, found a pipe, socket or device.")
    # Who writes may set the time of the last write, but not that of the last change.
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _fetch(file: FoundFile, to: Path, limits: Limits) -> None:
    """Copy a file of a remote file system to the local disk."""
    assert file.filesystem is not None
    try:
        limits.require_size(file.filesystem.size(file.location) or 0)
        file.filesystem.get_file(file.location, str(to))
    except (FileNotFoundError, PermissionError, FileRefused):
        raise
    except Exception as error:  # every file system has its own for a broken connection
        raise SourceChanged(f"The file {file.path} could not be fetched: {error}.") from error


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            yield chunk


def _hash(path: Path) -> tuple[str, int]:
    digest = hashlib.sha256()
    size = 0
    for chunk in _chunks(path):
        digest.update(chunk)
        size += len(chunk)
    return digest.hexdigest(), size


def _is_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for chunk in _chunks(path):
            if not chunk.isascii() or decoder.getstate()[0]:
                decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _has_multi_byte_utf8(path: Path) -> bool:
    tail = b""
    for chunk in _chunks(path):
        piece = tail + chunk
        if _MULTI_BYTE_UTF8.search(piece):
            return True
        tail = piece[-3:]
    return False
