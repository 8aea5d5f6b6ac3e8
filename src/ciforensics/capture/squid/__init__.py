"""Placeholder."""

from __future__ import annotations

from pathlib import Path

from ciforensics.capture.kit import PATH, File, Key, Kit

KIT = Kit(
    name="squid",
    summary="placeholder",
    folder=Path(__file__).parent,
    keys=(Key("docker", "Where install.sh moves the real docker binary", PATH, "/usr/bin/docker.original"),),
    files={"README.md": File()},
    source="squid",
)
