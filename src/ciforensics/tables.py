"""The tables of a case: the data dictionary.

A name means one thing, and has one type, everywhere. Times are UTC `TIMESTAMP` in microseconds, text is
`VARCHAR`, counts and bytes `BIGINT`, durations in milliseconds `DOUBLE`, flags `BOOLEAN`. The meanings
become DuckDB column comments and what `ciforensics sources` prints.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One column: its name, DuckDB type, meaning, and OpenTelemetry name where one exists."""

    name: str
    type: str
    meaning: str
    otel: str | None = None

    @property
    def comment(self) -> str:
        """The meaning, with the OpenTelemetry name behind it."""
        return f"{self.meaning} (OpenTelemetry: {self.otel})" if self.otel else self.meaning


@dataclass(frozen=True)
class Table:
    """One table: what a row of it is, and its columns."""

    name: str
    meaning: str
    columns: tuple[Column, ...]

    @property
    def types(self) -> dict[str, str]:
        """Column name to DuckDB type, in order."""
        return {column.name: column.type for column in self.columns}


SOURCE = Column("source", "VARCHAR", "which log said so, e.g. github_csv")
FILE_ID = Column("file_id", "BIGINT", "which ingested file, see table files")
LINE_NO = Column(
    "line_no", "BIGINT", "line where the record starts, from 1; for HAR and .mitm the entry's number"
)
PLACE = (SOURCE, FILE_ID, LINE_NO)

TS = Column("ts", "TIMESTAMP", "when, UTC, as the log's own clock had it")
TS_KIND = Column("ts_kind", "VARCHAR", "what ts marks: start, end or logged")
TS_RESOLUTION = Column(
    "ts_resolution_ms", "DOUBLE", "how finely ts was written, in ms: 1000 for whole seconds"
)
DURATION = Column("duration_ms", "DOUBLE", "how long it took, in ms")
CLIENT_IP = Column("client_ip", "VARCHAR", "address that sent it, as the observer saw it", "client.address")
NAMESPACE = Column("namespace", "VARCHAR", "Kubernetes namespace of the pod", "k8s.namespace.name")
POD = Column("pod", "VARCHAR", "pod name; on ARC also the runner's name", "k8s.pod.name")
NODE = Column("node", "VARCHAR", "node that ran the pod", "k8s.node.name")
CI_REPO = Column(
    "ci_repo", "VARCHAR", "owner/name of the repository whose workflow ran", "vcs.repository.name"
)
WORKFLOW = Column(
    "workflow", "VARCHAR", "workflow name, or its file's path where it has none", "cicd.pipeline.name"
)
JOB = Column(
    "job",
    "VARCHAR",
    "job id in the workflow file (matrix legs share it); in jobs and pods its display name (they differ)",
    "cicd.pipeline.task.name",
)
RUN_ID = Column("run_id", "VARCHAR", "the workflow run's number", "cicd.pipeline.run.id")
RUN_ATTEMPT = Column("run_attempt", "BIGINT", "attempt of the run, from 1: a re-run keeps its run_id")
RUNNER = Column("runner", "VARCHAR", "runner name; on ARC the pod's name", "cicd.worker.name")
ORCHESTRATION = Column("orchestration_id", "VARCHAR", "ACTIONS_ORCHESTRATION_ID: one job of one run")
STATUS = Column("status", "SMALLINT", "HTTP status of the answer", "http.response.status_code")

IMAGE = (
    Column(
        "image",
        "VARCHAR",
        "image name, registry included, without tag and digest",
        "container.image.name",
    ),
    Column("image_tag", "VARCHAR", "tag of the image", "container.image.tags"),
    Column("image_digest", "VARCHAR", "digest of the image, sha256:…", "container.image.repo_digests"),
)

REQUESTS = Table(
    "requests",
    "one HTTP request as one observer saw it",
    (
        *PLACE,
        TS,
        TS_KIND,
        TS_RESOLUTION,
        Column("method", "VARCHAR", "HTTP method, upper case", "http.request.method"),
        Column("url", "VARCHAR", "the whole URL, secrets out", "url.full"),
        Column(
            "host",
            "VARCHAR",
            "host of the URL, lower case, port kept if not the scheme's own",
            "server.address",
        ),
        Column("path", "VARCHAR", "path of the URL", "url.path"),
        Column("query", "VARCHAR", "what follows the ? of the URL", "url.query"),
        Column(
            "asked_repo", "VARCHAR", "owner/name in the URL, lower case: what was asked for, not who asked"
        ),
        Column(
            "service",
            "VARCHAR",
            "git-upload-pack, git-receive-pack, lfs, api, archive, registry or other, from the URL",
        ),
        STATUS,
        Column("user_agent", "VARCHAR", "User-Agent header, secrets out", "user_agent.original"),
        Column("client", "VARCHAR", "program in the user agent, lower case, e.g. git", "user_agent.name"),
        Column("client_version", "VARCHAR", "its version, a leading v cut off", "user_agent.version"),
        Column("client_tag", "VARCHAR", "what follows the version, e.g. proactive"),
        Column("authenticated", "BOOLEAN", "whether the request carried a credential, where the log says so"),
        Column("request_bytes", "BIGINT", "bytes of the request body", "http.request.body.size"),
        Column("response_bytes", "BIGINT", "bytes of the response body", "http.response.body.size"),
        DURATION,
        CLIENT_IP,
        Column("client_port", "BIGINT", "port that sent it: with client_ip one connection", "client.port"),
        Column("request_id", "VARCHAR", "the server's id of the request"),
        Column("actor", "VARCHAR", "user or app the server took the request for", "user.name"),
        ORCHESTRATION,
    ),
)

TUNNELS = Table(
    "tunnels",
    "one CONNECT through a proxy",
    (
        *PLACE,
        TS,
        TS_KIND,
        TS_RESOLUTION,
        Column("host", "VARCHAR", "host that the tunnel led to, lower case", "server.address"),
        Column("port", "BIGINT", "port that the tunnel led to", "server.port"),
        Column("bytes_up", "BIGINT", "bytes from the client, CONNECT header included"),
        Column("bytes_down", "BIGINT", "bytes to the client, the proxy's own reply header included"),
        DURATION,
        STATUS,
        Column("result_code", "VARCHAR", "Squid result code, e.g. TCP_TUNNEL"),
        CLIENT_IP,
        NAMESPACE,
        POD,
        NODE,
        CI_REPO,
        WORKFLOW,
        JOB,
        RUN_ID,
        Column("metadata", "JSON", "what the proxy's helper said of the client, whole"),
    ),
)

INVOCATIONS = Table(
    "invocations",
    "one docker command on a runner",
    (
        *PLACE,
        TS,
        TS_RESOLUTION,
        CI_REPO,
        WORKFLOW,
        JOB,
        RUN_ID,
        RUN_ATTEMPT,
        ORCHESTRATION,
        RUNNER,
        POD,
        Column("command", "VARCHAR", "docker subcommand; build also for buildx build and --context x build"),
        Column("args", "VARCHAR", "the command line behind it, secrets out"),
        Column("image", "VARCHAR", "image named on the command line", "container.image.name"),
        Column("exit_code", "BIGINT", "exit code, where the log says so", "process.exit.code"),
        DURATION,
        Column("salvaged", "BOOLEAN", "the line was broken and was put together again"),
    ),
)

DOCKER_EVENTS = Table(
    "docker_events",
    "one event of one docker daemon",
    (
        *PLACE,
        TS,
        Column("type", "VARCHAR", "container, image, network, volume, builder, daemon, …"),
        Column("action", "VARCHAR", "what happened, e.g. pull, create, die, exec_create"),
        Column("object_id", "VARCHAR", "id of what it happened to; for a pull the reference"),
        Column("name", "VARCHAR", "container, network or volume name", "container.name"),
        *IMAGE,
        Column("exit_code", "BIGINT", "exit code of the container or exec", "process.exit.code"),
        CI_REPO,
        WORKFLOW,
        JOB,
        RUN_ID,
        POD,
        Column("attributes", "JSON", "the event's attributes, whole, secrets out"),
    ),
)

JOBS = Table(
    "jobs",
    "one CI job, as GitHub's API had it when it was asked; without a job, one workflow run",
    (
        *PLACE,
        Column("started_at", "TIMESTAMP", "when the job started, UTC, cut to whole seconds"),
        Column(
            "completed_at", "TIMESTAMP", "when the job ended, UTC, cut to whole seconds; NULL: it still ran"
        ),
        CI_REPO,
        WORKFLOW,
        JOB,
        RUN_ID,
        RUN_ATTEMPT,
        RUNNER,
        Column("conclusion", "VARCHAR", "success, failure, cancelled, …", "cicd.pipeline.task.run.result"),
    ),
)

PODS = Table(
    "pods",
    "one pod's hold on an address; without an address, which job a runner pod took",
    (
        *PLACE,
        Column("from_ts", "TIMESTAMP", "when the pod started, UTC: it got the address then or soon after"),
        Column("to_ts", "TIMESTAMP", "when it ended, UTC, cut to whole seconds; NULL: it had not yet"),
        CLIENT_IP,
        NAMESPACE,
        POD,
        NODE,
        RUNNER,
        CI_REPO,
        WORKFLOW,
        JOB,
        RUN_ID,
    ),
)

BASE_IMAGES = Table(
    "base_images",
    "one image that an instruction of a Dockerfile names, as one scan found it",
    (
        *PLACE,
        TS,
        CI_REPO,
        Column("dockerfile", "VARCHAR", "its path from the top of the repository", "code.file.path"),
        Column("line", "BIGINT", "line of the Dockerfile where the instruction starts", "code.line.number"),
        Column("stage", "VARCHAR", "name of the stage, or its number from 0 where it has none"),
        Column("instruction", "VARCHAR", "FROM; COPY and RUN only take files out of an image"),
        Column("reference", "VARCHAR", "the image as the Dockerfile names it"),
        *IMAGE,
        Column("registry", "VARCHAR", "host that the image comes from; docker.io where none is named"),
        Column("platform", "VARCHAR", "what --platform says"),
        Column("served_by", "VARCHAR", "golden, cache, bypassed (goes past the mirror) or unknown"),
        Column("reason", "VARCHAR", "why"),
    ),
)

FILES = Table(
    "files",
    "one ingested file",
    (
        FILE_ID,
        Column("path", "VARCHAR", "where it was last found", "log.file.path"),
        SOURCE,
        Column("format", "VARCHAR", "dialect of the log, envelopes and compression in front"),
        Column("bytes", "BIGINT", "its size, decompressed"),
        Column("records", "BIGINT", "records in it: rows + rejected + skipped"),
        Column("rows", "BIGINT", "records that became rows"),
        Column("rejected", "BIGINT", "records that could not be read, see table rejected"),
        Column("skipped", "BIGINT", "records that hold nothing to report, see table skipped"),
        Column("redacted", "BIGINT", "secrets that were taken out"),
        Column(
            "provisional",
            "BIGINT",
            "records at its end that may still be being written; read again next time",
        ),
        Column("first_ts", "TIMESTAMP", "earliest time in it, UTC"),
        Column("last_ts", "TIMESTAMP", "latest time in it, UTC"),
        Column("in_order", "BOOLEAN", "its rows never go back in time"),
        Column("ingested_at", "TIMESTAMP", "when it was last read, UTC"),
        Column("version", "VARCHAR", "version of ciforensics that read it"),
    ),
)

N_LINES = Column("n_lines", "BIGINT", "how many lines the record spans")

REJECTED = Table(
    "rejected",
    "one record that could not be read",
    (
        *PLACE,
        N_LINES,
        Column("reason", "VARCHAR", "why"),
        Column("text", "VARCHAR", "the record, secrets out, cut at 4 kB"),
    ),
)

SKIPPED = Table(
    "skipped",
    "records of one file that hold nothing to report, by reason",
    (
        SOURCE,
        FILE_ID,
        Column("reason", "VARCHAR", "why"),
        Column("records", "BIGINT", "how many"),
    ),
)

EVIDENCE = (REQUESTS, TUNNELS, INVOCATIONS, DOCKER_EVENTS, JOBS, PODS, BASE_IMAGES)
TABLES = {table.name: table for table in (*EVIDENCE, FILES, REJECTED, SKIPPED)}
