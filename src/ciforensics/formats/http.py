"""URLs and user agents, taken apart in bulk: once for each distinct value, never once for each request."""

from __future__ import annotations

import polars as pl

_SCHEME = r"^[A-Za-z][A-Za-z0-9+.-]*$"
API_PATH = r"^(?:/api/v3)?/repos/([^/]+/[^/]+)"
_ARCHIVE_PATH = (
    r"^/([^/]+/[^/]+)/(?:archive|tarball|zipball|tar\.gz|zip|legacy\.tar\.gz|legacy\.zip|releases/download)/"
)
_REGISTRY_HOST = (
    r"(?:^|\.)(?:docker\.io|docker\.com|ghcr\.io|gcr\.io|quay\.io|mcr\.microsoft\.com|pkg\.dev"
    r"|pkg\.github\.com)(?::\d+)?$"
)

_AGENT = r"^(?<client>[^/\s()]+)(?:/[vV]?(?<client_version>[^\s]+))?\s*(?<rest>.*)$"
_LIBGIT2 = r"\(libgit2 ([^)\s]+)\)"
_ORCHESTRATION = r"\s*\bactions_orchestration_id/(\S+)"


def clean_method(column: str) -> pl.Expr:
    """Methods in upper case. What is no method stays as it is: upper case would hide a token's shape."""
    plain = pl.col(column).str.contains(r"^[A-Za-z-]{1,20}$")
    return pl.when(plain).then(pl.col(column).str.to_uppercase()).otherwise(column)


def split_urls(distinct: pl.Series) -> pl.DataFrame:
    """Takes URLs apart.

    Args:
        distinct: URLs, each once. A URL without a scheme is read as `host/path`.

    Returns:
        `url`, `host`, `path`, `query`, `asked_repo` and `service`, as in `tables.REQUESTS`, in their order.

    Example:
        >>> split_urls(pl.Series(["https://github.com/Acme/Web.git/info/refs?service=git-upload-pack"])).row(0)[1:]
        ('github.com', '/Acme/Web.git/info/refs', 'service=git-upload-pack', 'acme/web', 'git-upload-pack')
    """
    path, query = pl.col("path"), pl.col("query").fill_null("")
    git = (
        path.str.ends_with("/info/refs")
        | path.str.ends_with("/git-upload-pack")
        | path.str.ends_with("/git-receive-pack")
    )
    receive = path.str.ends_with("/git-receive-pack") | query.str.contains(
        "service=git-receive-pack", literal=True
    )
    api = (
        pl.col("host").str.starts_with("api.")
        | path.str.starts_with("/api/v3/")
        | path.str.starts_with("/api/graphql")
    )
    frame = _apart(distinct).with_columns(
        service=pl.when(git & receive)
        .then(pl.lit("git-receive-pack"))
        .when(git)
        .then(pl.lit("git-upload-pack"))
        .when(path.str.contains("/info/lfs", literal=True))
        .then(pl.lit("lfs"))
        .when(api)
        .then(pl.lit("api")),
        asked_repo=pl.lit(None, pl.String),
    )
    # Most URLs of a CI fleet are git's; the others' patterns cost more and are tried on what is left only.
    kinds = frame.with_row_index("nth").partition_by("service", as_dict=True)
    known = [_asked_repo(part, str(service)) for (service,), part in kinds.items()]
    return (
        pl.concat(known).sort("nth").select("url", "host", "path", "query", "asked_repo", "service")
        if known
        else frame
    )


def _apart(distinct: pl.Series) -> pl.DataFrame:
    """Scheme, host, path and query by plain splits: a third of the time of one pattern with groups."""
    frame = pl.DataFrame({"url": distinct.cast(pl.String)})
    plain = (
        pl.col("url").str.split("#").list.first()
        if distinct.str.contains("#", literal=True).any()
        else pl.col("url")
    )
    both = plain.str.splitn("://", 2).struct
    has_scheme = both[1].is_not_null() & both[0].str.contains(_SCHEME)
    frame = frame.with_columns(
        scheme=pl.when(has_scheme).then(both[0].str.to_lowercase()),
        rest=pl.when(has_scheme).then(both[1]).otherwise(plain),
    )
    address = pl.col("rest").str.splitn("?", 2).struct
    frame = frame.with_columns(address=address[0], query=address[1])
    slash = pl.col("address").str.splitn("/", 2).struct
    host = slash[0].str.to_lowercase()
    if frame["address"].str.contains("@", literal=True).any():
        host = host.str.split("@").list.last()
    return frame.select(
        "url",
        host=pl.when(pl.col("scheme") == "http")
        .then(host.str.strip_suffix(":80"))
        .otherwise(host.str.strip_suffix(":443")),
        path=pl.when(slash[1].is_not_null()).then(pl.concat_str(pl.lit("/"), slash[1])),
        query=pl.when(pl.col("query") != "").then(pl.col("query")),
    )


def _asked_repo(part: pl.DataFrame, service: str) -> pl.DataFrame:
    path = pl.col("path")
    if service.startswith("git-"):
        repo = (
            path.str.strip_suffix("/info/refs")
            .str.strip_suffix("/git-upload-pack")
            .str.strip_suffix("/git-receive-pack")
        )
        repo = repo.str.strip_prefix("/").str.strip_suffix(".git")
    elif service == "lfs":
        repo = path.str.splitn("/info/lfs", 2).struct[0].str.strip_prefix("/").str.strip_suffix(".git")
    elif service == "api":
        repo = path.str.extract(API_PATH)
    else:
        archive = pl.col("host").str.starts_with("codeload.") | path.str.contains(_ARCHIVE_PATH)
        registry = pl.col("host").str.contains(_REGISTRY_HOST) | path.str.contains(r"^/v2(?:/|$)")
        repo = path.str.extract(_ARCHIVE_PATH)
        part = part.with_columns(
            service=pl.when(archive)
            .then(pl.lit("archive"))
            .when(registry)
            .then(pl.lit("registry"))
            .when(pl.col("url").is_not_null())
            .then(pl.lit("other"))
        )
    return part.with_columns(asked_repo=repo.str.to_lowercase())


def split_user_agents(distinct: pl.Series) -> pl.DataFrame:
    """Takes user agents apart.

    `git/2.0 (libgit2 0.28.0)` is libgit2, not git 2.0; a leading `v` of a version is cut off; an Actions
    orchestration id is a key of its own and no part of the tag.

    Args:
        distinct: user agents, each once.

    Returns:
        `user_agent`, `client`, `client_version`, `client_tag` and `orchestration_id`, in the order given.

    Example:
        >>> agents = split_user_agents(pl.Series(["git/v2.53.0 proactive", "git/2.0 (libgit2 0.28.0)"]))
        >>> agents.drop("user_agent").rows()
        [('git', '2.53.0', 'proactive', None), ('libgit2', '0.28.0', None, None)]
    """
    agent = pl.col("user_agent")
    libgit2 = agent.str.extract(_LIBGIT2)
    return (
        pl.DataFrame({"user_agent": distinct.cast(pl.String)})
        .with_columns(
            agent.str.replace(_ORCHESTRATION, "").str.extract_groups(_AGENT).struct.unnest(),
            orchestration_id=agent.str.extract(_ORCHESTRATION),
        )
        .with_columns(
            client=pl.when(libgit2.is_not_null())
            .then(pl.lit("libgit2"))
            .otherwise(pl.col("client").str.to_lowercase()),
            client_version=pl.coalesce(libgit2, "client_version"),
            client_tag=pl.col("rest").str.replace(_LIBGIT2, "").str.strip_chars(),
        )
        .with_columns(client_tag=pl.when(pl.col("client_tag") != "").then(pl.col("client_tag")))
        .select("user_agent", "client", "client_version", "client_tag", "orchestration_id")
    )
