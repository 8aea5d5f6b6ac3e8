"""The sample case: six hours of a made-up CI fleet, whose logs fit together and whose truth is known.

`python -m ciforensics.fleet DIR` writes it; with its own seed, byte for byte what `data/samples` holds.

The story. GitHub has told the organisation `acme` that it sends too many unauthenticated requests, and has
sent a CSV of the morning of 17 March 2026. All runners sit behind one address. What no log says alone:

- **acme/payments** is the worst offender by far: stock git 2.39.5 and four private libraries in every build,
  so four 401s that the same git then gets past. **acme/web**, **acme/search** and **acme/infra** do the same,
  less often. The workflow of acme/infra has quotes in its name, which break the plain wrapper's JSON.
- **acme/ledger** builds on the golden image: git 2.47.3, `proactive`, not one 401.
- **acme/mobile** is tagged `proactive` too, but with git 2.39.5, which ignores the option: its 401s go on.
- **acme/data-platform** has a token that was revoked: each fetch is refused twice and ends there.
- **acme/orders** moves from stock to golden at 09:00, and its 401s end.
- **acme/billing** moved at 07:30. From 10:00 on it asks for a newer Go, which has no golden image yet:
  the tag falls through to the stock one, and the 401s are back.
- **acme/legacy-erp** runs on old machines without the wrapper: the CSV has its 401s, and no log says whose.
- **acme/agent** fetches by libgit2, **acme/ml-models** by LFS and pip, **acme/docs** needs nothing private.
- **acme/gateway** pulls its base image first; a pull that fails is in the wrapper and leaves no docker event.
- Some tests start databases without the docker client: only docker's events know those pulls and containers.
- Beside the builds a cron job polls acme/gitops, and a release bot asks the API with an expired token.
- Until 09:00 only acme/ledger and acme/gateway pull through the registry mirror, then all do but acme/mobile,
  whose base image is on ghcr.io; now and then a daemon goes past the mirror after all.
- acme/ml-models sends megabytes to a bare address, and telemetry of acme/payments is denied by Squid.
- mitmproxy sees the pods of one node only, and was down from 09:12 to 09:42.
- The Dockerfiles were scanned when it was over: acme/payments pins stock images by digest, so none is golden.
- Somebody saved the jobs and the pods of arc-lab and arc-next, which link an address and a run.
"""

from __future__ import annotations

import gzip
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from ciforensics.fleet import logs
from ciforensics.fleet.dockerfiles import dockerfile_scan
from ciforensics.fleet.egress import MIRROR, with_egress
from ciforensics.fleet.model import (
    Background,
    Client,
    Errand,
    Fleet,
    Parameters,
    Pool,
    Workflow,
)
from ciforensics.fleet.run import simulate

SEED = 2026

STOCK = Client("git/2.39.5")
GOLDEN = Client("git/2.47.3 proactive", proactive=True)
TOO_OLD = Client("git/2.39.5 proactive")
REVOKED = Client("git/2.39.5", credentials="bad")
NOBODY = Client("git/2.39.5", credentials="none")
LIBGIT2 = Client("git/2.0 (libgit2 1.8.1)")
CHECKOUT = Client("git/2.51 (github-actions-checkout)", proactive=True)  # it sets the header itself
LFS = Client("git-lfs/3.6.1 (GitHub; linux amd64; go 1.23.3)")
GH = Client("GitHub CLI 2.63.2")
CURL = Client("curl/8.14.1", credentials="none")
GO = Client("Go-http-client/2.0", credentials="none")
CRON = Client("git/2.34.1")
BOT = Client("acme-release-bot/1.4", credentials="bad")
PIP = Client(
    'pip/24.3.1 {"ci":true,"cpu":"x86_64","distro":{"id":"bookworm","name":"Debian GNU/Linux",'
    '"version":"12"},"implementation":{"name":"CPython","version":"3.12.8"},'
    '"installer":{"name":"pip","version":"24.3.1"},"python":"3.12.8","system":{"name":"Linux","release":"6.6.56"}}',
    credentials="none",
)

POOLS = (
    Pool("arc-lab", (("ci-node-a", 41),), proxy="mitmproxy"),
    Pool("arc-main", (("ci-node-b", 42), ("ci-node-c", 43)), proxy="squid"),
    Pool("arc-next", (("ci-node-d", 44),), "squid", "job", wrapper="rich", engine="29", orchestrated=True),
    Pool("arc-dind", (("ci-node-e", 45),), engine="20.10"),
    Pool("vm-legacy", (("ci-vm-1", 60),), wrapper=None, engine="17.03", tagged=False),
)
BESIDE = Pool("arc-blue", (("ci-node-f", 46),), proxy="squid")
LISTED = ("arc-lab", "arc-next")
"""Pools whose jobs and pods somebody saved: GitHub's API and kubectl forget them soon."""

ARC = ("arc-lab", "arc-main", "arc-main")
GO_PROXY, PYPI = "proxy.golang.org:443", "pypi.org:443"
POSTGRES = "mirror.acme.example/library/postgres:16-alpine"
FIXTURES = f"ghcr.io/acme/fixtures@sha256:{'5d41402abc4b2a76' * 4}"
DEBIAN = "http://deb.debian.org/debian/dists/bookworm/InRelease"


def _needs(repo: str, *libraries: str) -> tuple[Errand, ...]:
    """What most builds do: check out their own repository, then fetch private libraries in the build."""
    checkout = Errand("git", f"acme/{repo}", CHECKOUT, chance=0.6, delay=-18)
    return (checkout, *(Errand("git", f"acme/{library}", chance=0.95) for library in libraries))


WORKFLOWS = (
    Workflow(
        "acme/payments",
        "CI",
        "build",
        9,
        STOCK,
        _needs("payments", "libcore", "libauth", "libproto", "liblog"),
        (*ARC, "arc-next"),
        hosts=(MIRROR, GO_PROXY),
        services=(POSTGRES, "redis:7.4-alpine"),
    ),
    Workflow("acme/web", "Build and test", "image", 4, STOCK, _needs("web", "libcore", "libui"), ARC),
    Workflow("acme/search", "Reindex", "run", 3.5, STOCK, _needs("search", "libcore", "libproto"), ARC),
    Workflow(
        "acme/infra",
        'Integration "smoke" tests',
        "e2e",
        2.5,
        STOCK,
        _needs("infra", "libauth", "liblog"),
        ARC,
    ),
    Workflow(
        "acme/ledger",
        "Release",
        "image",
        3.5,
        GOLDEN,
        (
            *_needs("ledger", "libcore", "libauth", "libproto"),
            Errand("api", "repos/acme/ledger/releases/latest", GH),
        ),
        ("arc-lab", "arc-main", "arc-next"),
        hosts=(MIRROR, GO_PROXY),
        services=(POSTGRES,),
    ),
    Workflow("acme/mobile", "Beta", "apk", 3, TOO_OLD, _needs("mobile", "libproto", "libui", "libauth"), ARC),
    Workflow(
        "acme/data-platform",
        "ETL images",
        "image",
        3,
        REVOKED,
        _needs("data-platform", "libcore", "libetl"),
        ARC,
    ),
    Workflow(
        "acme/orders",
        "CI",
        "build",
        4,
        STOCK,
        _needs("orders", "libcore", "libauth", "libproto"),
        (*ARC, "arc-dind"),
        migrates=(3, GOLDEN),
        hosts=(MIRROR, GO_PROXY),
        services=(POSTGRES, "redis:7.4-alpine"),
    ),
    Workflow(
        "acme/legacy-erp",
        "Build",
        "build",
        3,
        STOCK,
        (*_needs("legacy-erp", "libcore", "libauth"), Errand("git", "acme/liblog", NOBODY, chance=0.5)),
        ("vm-legacy",),
    ),
    Workflow(
        "acme/agent",
        "Cargo build",
        "musl",
        2,
        LIBGIT2,
        (*_needs("agent", "libproto"), Errand("download", "acme/toolbox@v2.3.1", GO)),
        ARC,
    ),
    Workflow(
        "acme/ml-models",
        "Train image",
        "gpu",
        2,
        STOCK,
        (
            *_needs("ml-models"),
            Errand("lfs", "acme/ml-models", LFS, delay=12),
            Errand("archive", "acme/pytools@v0.9.2", PIP, private=False),
        ),
        ("arc-main", "arc-dind"),
        hosts=(MIRROR, PYPI, DEBIAN),
        oom=0.5,
    ),
    Workflow(
        "acme/docs",
        "Publish docs",
        "publish",
        2,
        STOCK,
        (*_needs("docs"), Errand("archive", "acme/docs-theme@v4.0.0", CURL, private=False)),
        ARC,
    ),
    Workflow(
        "acme/gateway",
        "Integration",
        "compose",
        2,
        STOCK,
        _needs("gateway", "libproto"),
        ("arc-next", "arc-dind"),
        base="mirror.acme.example/library/golang:1.24-bookworm",
        pull_fails=0.2,
        execs="/bin/sh -c migrate --user ci --password hunter2 up",
        services=(POSTGRES, "nats:2.10-alpine", FIXTURES),
    ),
)

FALLS_BACK = Workflow(
    "acme/billing",
    "CI",
    "build",
    4.5,
    STOCK,
    _needs("billing", "libcore", "libtax"),
    ("arc-blue",),
    migrates=(1.5, GOLDEN),
    falls_back=4,
    hosts=(MIRROR, GO_PROXY),
)

BACKGROUND = (
    Background(7, Errand("git", "acme/gitops", CRON)),
    Background(8, Errand("api", "repos/acme/releases/dispatches", BOT)),
    Background(4, Errand("archive", "acme/toolbox@v2.3.1", CURL, private=False)),
)


def sample_fleet(seed: int = SEED) -> Fleet:
    """The fleet of the sample case."""
    alone = Parameters(
        seed=seed,
        start=datetime(2026, 3, 17, 6, tzinfo=UTC),
        hours=6,
        workflows=WORKFLOWS,
        pools=POOLS,
        background=BACKGROUND,
        rhythm=(0.6, 0.8, 1.1, 1.3, 1.2, 1.0),
        gap=(3.2, 3.7),
    )
    other = replace(alone, seed=seed + 1, workflows=(FALLS_BACK,), pools=(BESIDE,), background=())
    return with_egress(simulate(alone)).beside(simulate(other))


def sample_files(seed: int = SEED) -> dict[str, bytes]:
    """The files of the sample case: name to content.

    Example:
        >>> sorted(sample_files())[:3]
        ['docker-events.jsonl', 'docker-wrapper.1.jsonl.gz', 'docker-wrapper.jsonl']
    """
    fleet = sample_fleet(seed)
    wrapper = logs.docker_wrapper(fleet, 3)
    # A runner whose disk ran full: the line ends in the middle of its repo, and nothing can put it together.
    login = next(nth for nth, line in enumerate(wrapper) if '"cmd":"login"' in line)
    wrapper[login] = wrapper[login][: wrapper[login].index('","workflow"') - 3]
    squid = logs.squid(fleet)
    # A helper that let a newline into its answer: Squid writes it as it is.
    pods = [nth for nth, line in enumerate(squid) if '"node":"ci-node-c"' in line]
    pod = pods[len(pods) // 3]
    squid[pod] = squid[pod].replace('"node":"ci-node-c"', '"node":"ci-node-c\n"')
    return {
        "github-support.csv": logs.github_csv(fleet).encode(),
        "github-support-morning.csv": logs.github_csv_of_another_export(fleet, 1.25).encode(),
        "mitmproxy.jsonl": _lines(logs.mitmproxy(fleet)),
        "squid-connect.jsonl": _lines(squid),
        "docker-wrapper.1.jsonl.gz": _gzip(_lines(logs.docker_wrapper(fleet, 0, 3))),
        "docker-wrapper.jsonl": _lines(wrapper),
        "docker-events.jsonl": _lines(logs.docker_events(fleet)),
        "jobs.jsonl": _lines(logs.jobs(fleet, LISTED)),
        "dockerfile-scan.jsonl": _lines(dockerfile_scan(fleet.parameters.start + timedelta(hours=6))),
        "pods.json": logs.pods(fleet, LISTED).encode(),
        "truth.csv": logs.truth(fleet).encode(),
    }


def _lines(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _gzip(data: bytes) -> bytes:
    """Without a name and a time, so that the same content makes the same file."""
    out = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=0) as file:
        file.write(data)
    return out.getvalue()
