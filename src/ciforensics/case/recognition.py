"""Which source a file is from, told by its first bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

from ciforensics import contract
from ciforensics.case import identify, stream
from ciforensics.errors import Unreadable
from ciforensics.formats import envelopes
from ciforensics.sources import all_sources

if TYPE_CHECKING:
    from collections.abc import Mapping


class Recognised(NamedTuple):
    """How a file is read.

    Attributes:
        log: the source that it is from.
        reader: how that source reads it.
        envelope: what its lines are wrapped in, if anything.
    """

    log: contract.Source
    reader: contract.Reader
    envelope: envelopes.Envelope | None


def recognise(head: bytes, options: Mapping[str, Any]) -> Recognised | None:
    """Which source a file with this head is from, and how it is read; None if nobody knows it.

    Raises:
        Unreadable: a source knows it, but cannot read it as it stands.
    """
    seen, envelope = look(head)
    asked = contract.ReadOptions(
        ZoneInfo(options.get("timezone") or "UTC"),
        options.get("mapping") or {},
        forced=bool(options.get("source")),
    )
    unreadable: Unreadable | None = None
    for log in all_sources():
        if options.get("source") not in {None, log.name}:
            continue
        try:
            reader = log.recognise(seen, asked)
        except Unreadable as error:
            unreadable = unreadable or error
            continue
        if reader is not None:
            if reader.blocks is None and envelopes.array_lines(head):
                reader = envelopes.array_reader(reader)
            return Recognised(log, reader, envelope)
    if unreadable is not None:
        raise unreadable
    return None


def look(head: bytes) -> tuple[contract.Head, envelopes.Envelope | None]:
    """What a source sees of a file's first bytes: whole lines, without the envelope that they are in."""
    whole = head if len(head) < identify.HEAD else head[: head.rfind(b"\n") + 1]
    # Not splitlines: it splits at U+2028 and 0x1E too.
    decoded = whole.decode("utf-8-sig", "replace").split("\n")
    lines = [line.rstrip("\r") for line in decoded if line.strip()]
    envelope = envelopes.detect(lines[:100])
    if entries := envelopes.array_lines(head):
        return contract.Head(head, tuple(entries)), envelopes.ENVELOPES["cloud-logging"]
    if envelope is not None:
        peeled = envelope.peel(stream.split(whole, 1)[0], True)[0]["text"].to_list()
        lines = [line for line in peeled if line.strip()]
    return contract.Head(head, tuple(lines)), envelope
