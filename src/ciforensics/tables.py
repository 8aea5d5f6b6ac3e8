"""The tables of a case: the data dictionary, and all that the program knows of a table.

A name means one thing, and has one type, everywhere. The meanings become DuckDB column comments and what
`ciforensics sources` prints. A table is created, loaded, narrowed and given pseudonyms by what stands here.
"""

from __future__ import annotations

from datetime import timedelta

from ciforensics.schema import Apart, Column, Kind, Table

SOURCE = Column("source", Kind.TERM, "which log said so, e.g. github_csv")
FILE_ID = Column("file_id", Kind.NUMBER, "which ingested file, see table files")
LINE_NO = Column(
    "line_no", Kind.NUMBER, "line where the record starts, from 1; for HAR and .mitm the entry's number"
)
PLACE = (SOURCE, FILE_ID, LINE_NO)

TS = Column("ts", Kind.TIME, "when, UTC, as the log's own clock had it")
TS_KIND = Column("ts_kind", Kind.TERM, "what ts marks: start, end or logged")
TS_RESOLUTION = Column(
    "ts_resolution_ms", Kind.MILLISECONDS, "how finely ts was written, in ms: 1000 for whole seconds"
)
OBSERVED = (*PLACE, TS, TS_KIND, TS_RESOLUTION)
DURATION = Column("duration_ms", Kind.MILLISECONDS, "how long it took, in ms")
CLIENT_IP = Column("client_ip", Kind.TEXT, "address that sent it, as the observer saw it", "client.address")
NAMESPACE = Column("namespace", Kind.NAMESPACE, "Kubernetes namespace of the pod", "k8s.namespace.name")
POD = Column("pod", Kind.RUNNER, "pod name; on ARC also the runner's name", "k8s.pod.name")
NODE = Column("node", Kind.NODE, "node that ran the pod", "k8s.node.name")
CI_REPO = Column(
    "ci_repo", Kind.REPO, "owner/name of the repository whose workflow ran", "vcs.repository.name"
)
WORKFLOW = Column(
    "workflow", Kind.WORKFLOW, "workflow name, or its file's path where it has none", "cicd.pipeline.name"
)
JOB = Column(
    "job",
    Kind.JOB,
    "job id in the workflow file (matrix legs share it); in jobs and pods its display name (they differ)",
    "cicd.pipeline.task.name",
)
RUN_ID = Column("run_id", Kind.RUN, "the workflow run's number", "cicd.pipeline.run.id")
RUN = (CI_REPO, WORKFLOW, JOB, RUN_ID)
RUN_ATTEMPT = Column("run_attempt", Kind.NUMBER, "attempt of the run, from 1: a re-run keeps its run_id")
RUNNER = Column("runner", Kind.RUNNER, "runner name; on ARC the pod's name", "cicd.worker.name")
ORCHESTRATION = Column("orchestration_id", Kind.ORCHESTRATION, "ACTIONS_ORCHESTRATION_ID: one job of one run")
METHOD = Column("method", Kind.TERM, "HTTP method, upper case", "http.request.method")
PATH = Column("path", Kind.URL, "path of the URL", "url.path")
QUERY = Column("query", Kind.URL, "what follows the ? of the URL", "url.query")
ASKED_REPO = Column(
    "asked_repo", Kind.REPO, "owner/name of what was asked for, lower case: not of who asked, see ci_repo"
)
STATUS = Column("status", Kind.CODE, "HTTP status of the answer", "http.response.status_code")
USER_AGENT = Column("user_agent", Kind.USER_AGENT, "User-Agent header, secrets out", "user_agent.original")
REQUEST_ID = Column("request_id", Kind.REQUEST, "the server's id of the request")
ACTOR = Column("actor", Kind.USER, "user or app the server took the request for", "user.name")
ACTION = Column("action", Kind.TERM, "what happened, e.g. pull, create, die; of GitHub e.g. git.clone")

IMAGE = (
    Column(
        "image",
        Kind.TEXT,
        "image name, registry included, without tag and digest",
        "container.image.name",
    ),
    Column("image_tag", Kind.TEXT, "tag of the image", "container.image.tags"),
    Column("image_digest", Kind.TEXT, "digest of the image, sha256:…", "container.image.repo_digests"),
)

REQUESTS = Table(
    "requests",
    "one HTTP request as one observer saw it",
    (
        *OBSERVED,
        METHOD,
        Column("url", Kind.URL, "the whole URL, secrets out", "url.full"),
        Column(
            "host",
            Kind.TEXT,
            "host of the URL, lower case, port kept if not the scheme's own",
            "server.address",
        ),
        PATH,
        QUERY,
        ASKED_REPO,
        Column(
            "service",
            Kind.TERM,
            "git-upload-pack, git-receive-pack, lfs, api, archive, registry or other, from the URL",
        ),
        STATUS,
        USER_AGENT,
        Column("client", Kind.TEXT, "program in the user agent, lower case, e.g. git", "user_agent.name"),
        Column("client_version", Kind.TEXT, "its version, a leading v cut off", "user_agent.version"),
        Column("client_tag", Kind.TEXT, "what follows the version, e.g. proactive"),
        Column("authenticated", Kind.FLAG, "whether the request carried a credential, where the log says so"),
        Column("request_bytes", Kind.NUMBER, "bytes of the request body", "http.request.body.size"),
        Column("response_bytes", Kind.NUMBER, "bytes of the response body", "http.response.body.size"),
        DURATION,
        CLIENT_IP,
        Column("client_port", Kind.NUMBER, "port that sent it: with client_ip one connection", "client.port"),
        REQUEST_ID,
        ACTOR,
        ORCHESTRATION,
    ),
    time="ts",
    apart=(  # written wide, 2 M rows took 6 s, so 1.6 s
        Apart("url", ("host", "path", "query", "asked_repo", "service")),
        Apart("user_agent", ("client", "client_version", "client_tag"), also=("orchestration_id",)),
    ),
)

TUNNELS = Table(
    "tunnels",
    "one CONNECT through a proxy",
    (
        *OBSERVED,
        Column("host", Kind.TEXT, "host that the tunnel led to, lower case", "server.address"),
        Column("port", Kind.NUMBER, "port that the tunnel led to", "server.port"),
        Column("bytes_up", Kind.NUMBER, "bytes from the client, CONNECT header included"),
        Column("bytes_down", Kind.NUMBER, "bytes to the client, the proxy's own reply header included"),
        DURATION,
        STATUS,
        Column("result_code", Kind.TERM, "Squid result code, e.g. TCP_TUNNEL"),
        CLIENT_IP,
        NAMESPACE,
        POD,
        NODE,
        *RUN,
        Column("metadata", Kind.DOCUMENT, "what the proxy's helper said of the client, whole"),
    ),
    time="ts",
)

INVOCATIONS = Table(
    "invocations",
    "one docker command on a runner",
    (
        *PLACE,
        TS,
        TS_RESOLUTION,
        *RUN,
        RUN_ATTEMPT,
        ORCHESTRATION,
        RUNNER,
        POD,
        Column("command", Kind.TERM, "docker subcommand; build also for buildx build and --context x build"),
        Column("args", Kind.TEXT, "the command line behind it, secrets out"),
        Column("image", Kind.TEXT, "image named on the command line", "container.image.name"),
        Column("exit_code", Kind.NUMBER, "exit code, where the log says so", "process.exit.code"),
        DURATION,
        Column("salvaged", Kind.FLAG, "the line was broken and was put together again"),
    ),
    time="ts",
    reach=timedelta(minutes=10),  # a build sends its requests while it runs
)

DOCKER_EVENTS = Table(
    "docker_events",
    "one event of one docker daemon",
    (
        *PLACE,
        TS,
        Column("type", Kind.TERM, "container, image, network, volume, builder, daemon, …"),
        ACTION,
        Column("object_id", Kind.TEXT, "id of what it happened to; for a pull the reference"),
        Column("name", Kind.TEXT, "container, network or volume name", "container.name"),
        *IMAGE,
        Column("exit_code", Kind.NUMBER, "exit code of the container or exec", "process.exit.code"),
        *RUN,
        POD,
        Column("attributes", Kind.DOCUMENT, "the event's attributes, whole, secrets out"),
    ),
    time="ts",
)

JOBS = Table(
    "jobs",
    "one CI job, as GitHub's API had it when it was asked; without a job, one workflow run",
    (
        *PLACE,
        Column("started_at", Kind.TIME, "when the job started, UTC, cut to whole seconds"),
        Column(
            "completed_at", Kind.TIME, "when the job ended, UTC, cut to whole seconds; NULL: it still ran"
        ),
        *RUN,
        RUN_ATTEMPT,
        RUNNER,
        Column("conclusion", Kind.TERM, "success, failure, cancelled, …", "cicd.pipeline.task.run.result"),
    ),
    time="started_at",
    end="completed_at",
)

PODS = Table(
    "pods",
    "one pod's hold on an address; without an address, which job a runner pod took",
    (
        *PLACE,
        Column("from_ts", Kind.TIME, "when the pod started, UTC: it got the address then or soon after"),
        Column("to_ts", Kind.TIME, "when it ended, UTC, cut to whole seconds; NULL: it had not yet"),
        CLIENT_IP,
        NAMESPACE,
        POD,
        NODE,
        RUNNER,
        *RUN,
    ),
    time="from_ts",
    end="to_ts",
)

BASE_IMAGES = Table(
    "base_images",
    "one image that an instruction of a Dockerfile names, as one scan found it",
    (
        *PLACE,
        TS,
        CI_REPO,
        Column("dockerfile", Kind.TEXT, "its path from the top of the repository", "code.file.path"),
        Column(
            "line", Kind.NUMBER, "line of the Dockerfile where the instruction starts", "code.line.number"
        ),
        Column("stage", Kind.TEXT, "name of the stage, or its number from 0 where it has none"),
        Column("instruction", Kind.TERM, "FROM; COPY and RUN only take files out of an image"),
        Column("reference", Kind.TEXT, "the image as the Dockerfile names it"),
        *IMAGE,
        Column("registry", Kind.TEXT, "host that the image comes from; docker.io where none is named"),
        Column("platform", Kind.TEXT, "what --platform says"),
        Column("served_by", Kind.TERM, "golden, cache, bypassed (goes past the mirror) or unknown"),
        Column("reason", Kind.TERM, "why"),
    ),
    time="ts",
    lasting=True,
)

AUDIT_EVENTS = Table(
    "audit_events",
    "one git operation or API request in GitHub's audit log, however often it was delivered",
    (
        *PLACE,
        TS,
        ACTION,
        ACTOR,
        ASKED_REPO,
        Column("public_repo", Kind.FLAG, "whether that repository was public then"),
        Column("transport", Kind.TERM, "http or ssh, of git", "network.protocol.name"),
        METHOD,
        PATH,
        QUERY,
        Column("route", Kind.URL, "the path with {names} for its variable parts", "http.route"),
        STATUS,
        Column("rate_limit_remaining", Kind.NUMBER, "requests left to that caller in its hour"),
        USER_AGENT,
        ORCHESTRATION,
        Column("hashed_token", Kind.TOKEN, "GitHub's hash of the token: the same token, the same hash"),
        Column("programmatic_access_type", Kind.TERM, "what kind of token it was"),
        CLIENT_IP,
        REQUEST_ID,
        Column("document_id", Kind.REQUEST, "GitHub's id of the event, else its hash", "log.record.uid"),
    ),
    time="ts",
    identity="document_id",
)

FILES = Table(
    "files",
    "one ingested file",
    (
        FILE_ID,
        Column("path", Kind.PATH, "where it was last found", "log.file.path"),
        SOURCE,
        Column("format", Kind.TERM, "dialect of the log, envelopes and compression in front"),
        Column("bytes", Kind.NUMBER, "its size, decompressed"),
        Column("records", Kind.NUMBER, "records in it: rows + rejected + skipped"),
        Column("rows", Kind.NUMBER, "records that became rows"),
        Column("rejected", Kind.NUMBER, "records that could not be read, see table rejected"),
        Column("skipped", Kind.NUMBER, "records that hold nothing to report, see table skipped"),
        Column("redacted", Kind.NUMBER, "secrets that were taken out"),
        Column(
            "provisional",
            Kind.NUMBER,
            "records at its end that may still be being written; read again next time",
        ),
        Column("first_ts", Kind.TIME, "earliest time in it, UTC"),
        Column("last_ts", Kind.TIME, "latest time in it, UTC"),
        Column("in_order", Kind.FLAG, "its rows never go back in time"),
        Column("ingested_at", Kind.TIME, "when it was last read, UTC"),
        Column("version", Kind.TERM, "version of ciforensics that read it"),
    ),
)

N_LINES = Column("n_lines", Kind.NUMBER, "how many lines the record spans")

REJECTED = Table(
    "rejected",
    "one record that could not be read",
    (
        *PLACE,
        N_LINES,
        Column("reason", Kind.TERM, "why"),
        Column("text", Kind.RECORD, "the record, secrets out, cut at 4 kB"),
    ),
)

SKIPPED = Table(
    "skipped",
    "records of one file that hold nothing to report, by reason",
    (
        SOURCE,
        FILE_ID,
        Column("reason", Kind.TERM, "why"),
        Column("records", Kind.NUMBER, "how many"),
    ),
)


def _of(kind: Kind, **meanings: str) -> tuple[Column, ...]:
    return tuple(Column(name, kind, meaning) for name, meaning in meanings.items())


PROGRESS = Table(
    "store.progress",
    "where reading a file ended, and how to tell the file again",
    (
        FILE_ID,
        *_of(
            Kind.NUMBER,
            head_bytes="bytes at its start that tell it",
            edge_bytes="bytes before the boundary that tell it",
            boundary="byte where the last whole record ends",
            boundary_line="number of the line that begins there",
            header_bytes="bytes of its header",
            blank_bytes="bytes that belong to no record",
            record_bytes="bytes of whole records",
            provisional_bytes="bytes after the boundary",
        ),
        *_of(
            Kind.TEXT,
            head_sha256="SHA-256 of the head_bytes",
            edge_sha256="SHA-256 of the edge_bytes",
            tail_sha256="SHA-256 of what follows the boundary, read as provisional",
        ),
        *_of(Kind.NOTES, settled="counts of whole records", options="how it was read"),
    ),
)

SEGMENTS = Table(
    "store.segments",
    "one stretch of a file that one ingest read",
    (
        FILE_ID,
        *_of(Kind.NUMBER, first_byte="where it begins", end_byte="where it ends"),
        Column("sha256", Kind.TEXT, "SHA-256 of its bytes"),
    ),
)

TWINS = Table(
    "store.twins",
    "two files of one proxy's traffic, see twins_found",
    (
        FILE_ID,
        *_of(
            Kind.NUMBER,
            twin_file_id="the other file",
            left_out_file_id="which of the two is left out",
            pairs="rows that both hold",
        ),
        Column("share", Kind.SHARE, "their share of the rows of the one that has more where both overlap"),
    ),
)

EVIDENCE = (REQUESTS, TUNNELS, INVOCATIONS, DOCKER_EVENTS, JOBS, PODS, BASE_IMAGES, AUDIT_EVENTS)
TABLES = {table.name: table for table in (*EVIDENCE, FILES, REJECTED, SKIPPED)}
STORED = (*TABLES.values(), PROGRESS, SEGMENTS, TWINS)
"""All that a case is created with; what begins with `store` is for the ingest alone."""
