"""HAR files and other JSON arrays of any size, read one element at a time."""

from __future__ import annotations

import codecs
import io
import json
import re
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO

from ciforensics.errors import Unreadable
from ciforensics.formats.records import block_of, read_remainder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ciforensics.contract import Block

STEP = 1 << 20
MAX_ELEMENT = 256 << 20
"""Characters of one element, or of what stands before the first: more is damage, not data."""
MAX_INFLATED = 1 << 30
MAX_ENTRIES = 1_000_000
"""What a `.zhar` may hold: mitmproxy had all of it in memory when it wrote it."""

# A quote within a JSON string is always written \", so this matches a key of that name and nothing else.
HAR_OPENING = re.compile(r'"entries"\s*:\s*\[')
ARRAY_OPENING = re.compile(r"^\ufeff?\s*\[")
_SEPARATOR = re.compile(r"\s*,?\s*")
_SURROGATE = re.compile("[\ud800-\udfff]")


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 40 else float(digits)  # Python refuses to read very long ones


_DECODER = json.JSONDecoder(parse_int=_integer, strict=False)


def loads(text: str, at: int = 0) -> tuple[Any, int]:
    """Reads one JSON value at a place of a text, and where it ends.

    Raises:
        ValueError: there is no whole value, or one nested deeper than anything real.
    """
    try:
        return _DECODER.raw_decode(text, at)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def dumps(value: Any) -> str:
    r"""JSON that every reader takes: without halves of surrogate pairs, which Python lets through.

    Example:
        >>> dumps({"agent": "caf\udce9"})
        '{"agent":"caf\ufffd"}'
    """
    try:
        return _SURROGATE.sub("\ufffd", json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


class JsonText:
    """A text that grows out of a stream, and knows how many bytes of it are done with."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        # Bytes that are no UTF-8 come back as they were, so that the count stays exact.
        self._decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
        self.text = ""
        self.at = 0
        self.seen = 0
        self.done = 0

    def more(self) -> bool:
        """Reads as much again as is waiting; False: that was all."""
        data = self._stream.read(max(STEP, len(self.text) - self.at))
        self.seen += len(data)
        self.text = self.text[self.at :] + self._decode(data, final=not data)
        self.at = 0
        return bool(data)

    def take(self, until: int) -> int:
        """Is done with the text up to here; says how many bytes that was."""
        text = self.text[self.at : until]
        size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogateescape"))
        self.at = until
        self.done += size
        return size

    def opened(self, opening: re.Pattern[str]) -> tuple[int, str]:
        """Takes what comes before the first element: how many bytes, and what is wrong with them."""
        while not (match := opening.search(self.text)) and len(self.text) < MAX_ELEMENT and self.more():
            pass
        if match or not self.text.strip():
            return self.take(match.end() if match else len(self.text)), ""
        return 0, "no array"

    def gap(self) -> int:
        """Takes what stands between two elements."""
        taken = 0
        while True:
            match = _SEPARATOR.match(self.text, self.at)
            taken += self.take(match.end() if match else self.at)
            if self.at < len(self.text) or not self.more():
                return taken

    def next(self) -> str:
        """The character that comes next, or nothing."""
        return self.text[self.at : self.at + 1]

    def element(self) -> Any:
        """The JSON value that starts here; raises ValueError where there is none."""
        while True:
            try:
                value, end = loads(self.text, self.at)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated") or error.pos >= len(self.text.rstrip()) - 16
                if not cut or len(self.text) - self.at > MAX_ELEMENT or not self.more():
                    raise
            else:
                self.take(end)
                return value

    def closed(self, outside: str) -> tuple[int, int, str]:
        """Takes the end of the array and what follows it: bytes settled, bytes that wait, what is wrong."""
        while len(self.text) - self.at < STEP and self.more():
            pass
        rest = self.text[self.at :]
        try:
            if not rest[loads(outside + rest)[1] - len(outside) :].strip():
                return self.take(len(self.text)), 0, ""
        except ValueError:
            if not rest.strip("]} \t\r\n"):
                return 0, self.take(len(self.text)), ""
        return 0, 0, "more than one document"


def read_elements(
    stream: BinaryIO,
    first: int,
    *,
    reduce: Callable[[Any], Any],
    opening: re.Pattern[str] = ARRAY_OPENING,
    per_block: int = 5000,
) -> Iterator[Block]:
    r"""The elements of a JSON array, as blocks of records. What follows a damaged one is a last record.

    Args:
        stream: at the start of the file, or behind an element.
        first: number of the next element; 1 is the start of the file.
        reduce: what to keep of an element.
        opening: up to the bracket that opens the array.
        per_block: elements in a block at most; a block also ends after 16 MiB.

    Example:
        >>> import io
        >>> blocks = read_elements(io.BytesIO(b'[ {"a": 1},\n{"a": 2}, {"a'), 1, reduce=lambda x: x)
        >>> [(one.records["text"].to_list(), one.end, one.blank, one.provisional) for one in blocks]
        [(['{"a":1}', '{"a":2}'], 22, 6, False), (['entry 3: Unterminated string starting at'], 25, 0, True)]
    """
    source = JsonText(stream)
    texts: list[str] = []
    start = waits = 0
    closed = False
    blank, wrong = source.opened(opening) if first == 1 else (0, "")
    while not wrong:
        blank += source.gap()
        if not source.next():
            break
        if source.next() == "]":
            settled, waits, wrong = source.closed('{"log":{"entries":[' if opening is HAR_OPENING else "[")
            blank += settled
            closed = not (wrong or waits)
            break
        try:
            texts.append(dumps(reduce(source.element())))
        except ValueError as error:
            wrong = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        if len(texts) >= per_block or source.done - start >= 16 * STEP:
            yield block_of(texts, first=first, end=source.done, blank=blank)
            first, texts, blank, start = first + len(texts), [], 0, source.done
    settled_end = source.done - waits
    if settled_end > start:
        # The next ingest can go on behind an entry, but not behind the opening alone.
        opening_alone = first == 1 and not texts and not closed
        yield block_of(texts, first=first, end=settled_end, blank=blank, provisional=opening_alone)
    first += len(texts)
    if waits:
        yield block_of([], first=first, end=source.done, blank=waits, provisional=True)
    if wrong:
        text = f"entry {first}: {wrong}"
        yield from read_remainder(stream, source.seen - source.done, text=text, first=first, end=source.done)


class _Inflated(io.RawIOBase):
    """A zlib stream unpacked. One that breaks off just ends."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._zlib = zlib.decompressobj()
        self._size = 0
        self.seen = 0
        self.wrong = ""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # the stub has Buffer, which has no len
        data = b""
        while not data and not self._zlib.eof and not self.wrong:
            packed = self._zlib.unconsumed_tail or self._stream.read(STEP)
            self.seen += 0 if self._zlib.unconsumed_tail else len(packed)
            try:
                data = self._zlib.decompress(packed, len(buffer))
            except zlib.error as error:
                self.wrong = str(error)
            if not packed and not data and not self._zlib.eof:
                self.wrong = "the compressed stream breaks off"
        self._size += len(data)
        if self._size > MAX_INFLATED:
            raise _too_big()
        buffer[: len(data)] = data
        return len(data)


def _too_big() -> Unreadable:
    return Unreadable(
        f"This packed HAR holds more than {MAX_INFLATED:,} bytes or {MAX_ENTRIES:,} entries.",
        hint="unpack it and ingest the .har: python -c 'import sys, zlib; "
        "sys.stdout.buffer.write(zlib.decompress(sys.stdin.buffer.read()))' < FLOWS.zhar > FLOWS.har",
    )


def read_inflated(stream: BinaryIO, first: int, *, reduce: Callable[[Any], Any]) -> Iterator[Block]:
    """The entries of a HAR that mitmproxy packed with zlib (`.zhar`), which is read whole: one block."""
    plain = _Inflated(stream)
    inner = io.BufferedReader(plain, STEP)
    texts: list[str] = []
    provisional = False
    for one in read_elements(inner, first, reduce=reduce, opening=HAR_OPENING):
        texts += one.records["text"].to_list()
        provisional |= one.provisional
        if len(texts) > MAX_ENTRIES:
            raise _too_big()
    if plain.wrong and not provisional:
        texts.append(plain.wrong)
    while data := stream.read(STEP):
        plain.seen += len(data)
    if plain.seen:
        yield block_of(texts, first=first, end=plain.seen, provisional=provisional or bool(plain.wrong))


def describe_entry(entry: Any, *, all_headers: bool) -> dict[str, Any]:
    """What is to be known of a HAR entry, in the names that our mitmproxy addon uses.

    Args:
        entry: the entry, from whoever wrote it.
        all_headers: the writer leaves no header out, so no Authorization header means no credential.

    Example:
        >>> headers = [{"name": "AUTHORIZATION", "value": "basic …"}]
        >>> entry = {"request": {"headers": headers}, "response": {"status": 401}}
        >>> row = describe_entry(entry, all_headers=True)
        >>> row["status"], row["authenticated"], row["redacted"]
        (401, True, 1)
    """
    if not isinstance(entry, dict):
        return {}
    request, response = _object(entry.get("request")), _object(entry.get("response"))
    asked, answered = _headers(request), _headers(response)
    url = request.get("url")
    scheme = url.partition(":")[0].lower() if isinstance(url, str) else ""
    return {
        "timestamp": entry.get("startedDateTime"),
        "method": request.get("method"),
        "url": url,
        "status": response.get("status"),
        "user_agent": asked.get("user-agent", [None])[0],
        "content_length": answered.get("content-length", [response.get("bodySize")])[0],
        "request_bytes": asked.get("content-length", [request.get("bodySize")])[0],
        "duration_ms": entry.get("time"),
        "authenticated": True if any(asked.get("authorization", [])) else False if all_headers else None,
        "request_id": answered.get("x-github-request-id", [None])[0],
        "redacted": sum(
            len(asked.get(name, [])) for name in ("authorization", "proxy-authorization", "cookie")
        ),
        "flow_type": scheme
        if scheme in ("blob", "chrome-extension", "data", "file", "moz-extension")
        else "http",
        "cached": bool(entry.get("_fromCache")),
    }


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _headers(message: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Header values by name in lower case."""
    headers: dict[str, list[Any]] = {}
    listed = message.get("headers")
    for header in listed if isinstance(listed, list) else []:
        if isinstance(header, dict):
            headers.setdefault(str(header.get("name")).lower(), []).append(header.get("value"))
    return headers
