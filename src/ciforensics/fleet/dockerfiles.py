"""The Dockerfiles of the sample case, and what `ciforensics golden scan` says of them.

They explain the story: acme/payments pins the stock image, acme/mobile has a base of its own, and acme/ledger
and acme/orders build on golden ones, whose git is Debian trixie's. So did acme/billing, until it asked for a
Go of which there is no golden image yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ciforensics.kits.golden.catalogue import Catalogue, Image
from ciforensics.kits.golden.scan import json_line, scan_text

if TYPE_CHECKING:
    from datetime import datetime

CATALOGUE = Catalogue.model_construct(  # unchecked: this mirror has a name of its own
    organisations=("acme",),
    mirror="mirror.acme.example",
    images=(Image(name="golang:1.24-trixie", git="package"), Image(name="debian:trixie-slim", git="package")),
)

_PINNED = f"golang:1.24-bookworm@sha256:{'3f0c2e9a7b51d846' * 4}"
_GOLANG = """\
# syntax=docker/dockerfile:1
ARG GO=1.24-trixie
FROM --platform=$BUILDPLATFORM golang:${GO} AS build
RUN --mount=type=secret,id=github_token go mod download
FROM debian:trixie-slim
COPY --from=build /out/app /usr/bin/app
"""

DOCKERFILES = {
    (
        "acme/agent",
        "Dockerfile",
    ): "FROM rust:1.83-alpine AS build\nFROM scratch\nCOPY --from=build /agent /agent\n",
    ("acme/billing", "Dockerfile"): _GOLANG.replace("1.24", "1.25"),
    ("acme/data-platform", "images/etl/Dockerfile"): "ARG PYTHON=3.12\nFROM python:${PYTHON}-bookworm\n",
    (
        "acme/docs",
        "Dockerfile",
    ): "ARG BASE\nFROM ${BASE} AS theme\nFROM nginx:1.27\nCOPY --from=theme /site /site\n",
    ("acme/gateway", "Dockerfile"): "FROM mirror.acme.example/library/golang:1.24-bookworm\n",
    ("acme/infra", "e2e/Dockerfile"): "FROM mcr.microsoft.com/playwright:v1.49.0-noble\nRUN npm ci\n",
    ("acme/ledger", "Dockerfile"): _GOLANG,
    ("acme/legacy-erp", "Dockerfile"): "FROM debian:buster\nRUN make\n",
    (
        "acme/ml-models",
        "Dockerfile",
    ): "FROM nvcr.io/nvidia/pytorch:24.10-py3\nCOPY --from=busybox:1.37 /bin /bin\n",
    ("acme/mobile", "Dockerfile"): "FROM ghcr.io/acme/android-base:9\nRUN ./gradlew assembleBeta\n",
    ("acme/orders", "Dockerfile"): _GOLANG,
    (
        "acme/payments",
        "Dockerfile",
    ): f"FROM {_PINNED} AS build\nFROM {_PINNED}\nCOPY --from=build /app /app\n",
    ("acme/payments", "migrations/Dockerfile"): f"FROM {_PINNED}\n",
    ("acme/search", "Dockerfile"): "FROM golang:1.23-bookworm AS build\nFROM debian:bookworm-slim\n",
    ("acme/web", "Dockerfile"): "FROM node:22-bookworm AS build\nFROM build AS test\nFROM nginx:1.27\n",
    ("acme/web", "Dockerfile.tmpl"): "{% extends 'node' %}\nFROM {{ base }}\n",
}
"""Repository and path to the text, in the order of a scan. The last one is a template."""


def dockerfile_scan(ts: datetime) -> list[str]:
    """`ciforensics golden scan --by-folder --json` on a folder of all the repositories."""
    return [
        json_line(image, ts)
        for (repo, dockerfile), text in DOCKERFILES.items()
        for image in scan_text(text, dockerfile=dockerfile, ci_repo=repo, catalogue=CATALOGUE)
    ]
