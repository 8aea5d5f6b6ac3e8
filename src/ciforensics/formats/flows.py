"""`.mitm` dumps, read by the user's own mitmdump: mitmproxy itself never becomes a dependency.

A dump is flows one after the other, each a tnetstring: `<length>:<that many bytes>}`. The lengths say where
each flow ends; what is in it only mitmproxy knows for all of its versions.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ciforensics.errors import Unreadable
from ciforensics.formats.records import STEP, block_of, read_remainder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ciforensics.contract import Block

SLICE = 64 << 20
"""Bytes of flows that one run of mitmdump converts."""
MAX_FLOW = 256 << 20
VARIABLE = "CIFORENSICS_MITMDUMP"
ADDON = Path(__file__).with_name("mitmproxy_addon.py")
"""The addon for mitmdump: one file that needs nothing but mitmproxy, so it can be copied anywhere."""

_KEYS = (
    b"backup|client_conn|comment|error|id|intercepted|is_replay|marked|messages|metadata|mode|request|response|"
    b"server_conn|timestamp_created|type|version|websocket"
)
OPENING = re.compile(rb"[1-9]\d{0,11}:\d{1,2}:(?:" + _KEYS + rb")[;,]")
_PREFIX = re.compile(rb"[1-9]\d{0,11}:")
_LINE = '{"flow": '
_COMMAND = f"mitmdump -q -n -s {ADDON.name} --set ciforensics_convert=true < flows.mitm > flows.jsonl"


def find_mitmdump() -> str:
    """Where the user's mitmdump is; raises `Unreadable` with the way round where there is none."""
    named = os.environ.get(VARIABLE)
    program = shutil.which(named or "mitmdump")
    if program is None:
        raise Unreadable(
            f"This is a mitmproxy dump, and there is no {named or 'mitmdump'} here to read it with.",
            hint="install mitmproxy 11 or later apart from this, e.g. `pipx install mitmproxy`, or set "
            f"{VARIABLE} to its mitmdump; or copy {ADDON} to where there is one, run\n"
            f"    {_COMMAND}\nthere and ingest flows.jsonl.",
        )
    return program


def read_flows(stream: BinaryIO, first: int, *, program: str) -> Iterator[Block]:
    """The flows of a dump, as blocks of the JSON lines that our mitmproxy addon makes of them.

    Args:
        stream: at the start of a flow.
        first: the number of that flow.
        program: the mitmdump to run.

    Raises:
        Unreadable: mitmdump does not do what it should, e.g. because another version wrote the dump.
    """
    waiting: list[bytes] = []
    size = end = 0
    while True:
        data, skipped, wrong = _flow(stream)
        if waiting and (not data or size + len(data) > SLICE):
            yield block_of(_converted(waiting, program), first=first, end=end)
            first, waiting, size = first + len(waiting), [], 0
        if data:
            waiting.append(data)
            size += len(data)
            end += len(data)
        elif skipped > MAX_FLOW and not wrong:
            end += skipped
            yield block_of([f"flow {first}: its {skipped:,} bytes are too many"], first=first, end=end)
            first += 1
        else:
            if wrong:
                yield from read_remainder(
                    stream, skipped, text=f"flow {first}: {wrong}", first=first, end=end
                )
            return


def _flow(stream: BinaryIO) -> tuple[bytes, int, str]:
    """The next flow; if it is none, how many bytes were read and what is wrong with them ("" at the end)."""
    prefix = stream.read(1)
    while prefix and not prefix.endswith(b":") and len(prefix) < 13 and (byte := stream.read(1)):
        prefix += byte
    if not _PREFIX.fullmatch(prefix):
        cut = prefix.isdigit() and len(prefix) < 13
        return b"", len(prefix), "cut off" if cut else "no mitmproxy flow" if prefix else ""
    whole = len(prefix) + int(prefix[:-1]) + 1
    data = prefix
    seen = len(data)
    while seen < whole and (more := stream.read(min(STEP, whole - seen))):
        seen += len(more)
        data = data + more if whole <= MAX_FLOW else more
    if seen < whole:
        return b"", seen, "cut off"
    if not data.endswith(b"}"):
        return b"", seen, "no mitmproxy flow"
    return (data, seen, "") if whole <= MAX_FLOW else (b"", seen, "")


def _converted(batch: list[bytes], program: str) -> list[str]:
    """Runs mitmdump over some flows: a line for each of them."""
    with tempfile.TemporaryDirectory(prefix="ciforensics-") as empty:
        command = [program, "-q", "-n", "-s", str(ADDON), "--set", f"confdir={empty}"]
        command += ["--set", "flow_detail=0", "--set", "ciforensics_convert=true"]
        environment = {
            "HOME": empty,
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUTF8": "1",
        }
        size = sum(map(len, batch))
        limit = 60 + size / STEP * 16
        try:
            done = subprocess.run(
                command,
                input=b"".join(batch),
                capture_output=True,
                check=False,
                cwd=empty,
                env=environment,
                timeout=limit,
            )
        except subprocess.TimeoutExpired as error:
            raise Unreadable(
                f"{program} took more than {limit:.0f} s over {size:,} bytes.",
                hint=f"try it by hand: `{_COMMAND}`",
            ) from error
        except OSError as error:
            raise Unreadable(
                f"{program} cannot be run: {error.strerror}.", hint=f"set {VARIABLE} to a mitmdump that can."
            ) from error
    printed = done.stdout.decode("utf-8", "replace").splitlines()
    lines = [line for line in printed if line.startswith(_LINE)]
    if len(lines) != len(batch):
        said = [line for line in printed if not line.startswith(_LINE)] + done.stderr.decode(
            "utf-8", "replace"
        ).splitlines()
        words = " ".join(said)[-500:] or "nothing"
        raise Unreadable(
            f"{program} gave {len(lines)} of {len(batch)} flows and said: {words}",
            hint=f"it takes mitmproxy 11 or later (`{program} --version`); {VARIABLE} can name another.",
        )
    for line in lines:
        if "flow format version" in line and (sentence := json.loads(line).get("unreadable")):
            raise Unreadable(
                sentence, hint=f"set {VARIABLE} to a mitmdump of the version that wrote this dump."
            )
    return lines
