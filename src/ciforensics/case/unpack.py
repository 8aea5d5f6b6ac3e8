"""Files as they were before they were compressed, with a limit on what they may unpack to."""

from __future__ import annotations

import gzip
import io
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

import zstandard

from ciforensics.errors import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    _Raw = io.BufferedReader | gzip.GzipFile | zstandard.ZstdDecompressionReader

MAX_UNCOMPRESSED = 64 << 30
"""What one compressed file may grow to, unless the user says otherwise."""

_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


class Content(io.RawIOBase):
    """The decompressed bytes of a file, with a limit on what compressed input may grow to.

    Args:
        raw: the stream as opened.
        name: what to call the file in an error.
        limit: decompressed bytes at most; None for plain files.

    Attributes:
        broken: why a compressed stream ended early, or "".
    """

    def __init__(self, raw: _Raw, *, name: str, limit: int | None) -> None:
        self._raw = raw
        self._name = name
        self._limit = limit
        self._read = 0
        self.broken = ""

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Plain files are; compressed ones would be unpacked again from the start."""
        return self._limit is None

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As the file below."""
        return self._raw.seek(offset, whence)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # the stub has Buffer, which has no len
        """Reads into `buffer`; raises `Unreadable` past the limit; a cut archive just ends."""
        try:
            data = self._raw.read1(len(buffer))  # what is there, so that an error behind it loses nothing
        except (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError) as error:
            self.broken = f"the compressed stream breaks off: {error}"
            return 0
        self._read += len(data)
        if self._limit is not None and self._read > self._limit:
            raise Unreadable(
                f"{self._name} unpacks to more than {self._limit:,} bytes.",
                hint="if that is what it should hold, raise the limit with --max-uncompressed.",
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Closes the file below as well."""
        self._raw.close()
        super().close()


@contextmanager
def open_content(path: Path, *, limit: int) -> Iterator[tuple[BinaryIO, Content, str]]:
    """Opens a file, gunzips or unzstds it by its first bytes, whatever its name.

    Yields:
        The stream, the `Content` below it and the name of the compression, "" for none.
    """
    with path.open("rb") as file:
        compression = next((name for magic, name in _MAGIC.items() if file.peek(4).startswith(magic)), "")
        raw: _Raw = file
        if compression == "gzip":
            raw = gzip.GzipFile(fileobj=file)
        elif compression == "zstd":
            raw = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        content = Content(raw, name=path.name, limit=limit if compression else None)
        with io.BufferedReader(content, 1 << 20) as stream:
            yield stream, content, compression
