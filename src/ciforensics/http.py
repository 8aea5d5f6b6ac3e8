"""URLs and user agents, taken apart in bulk: once for each distinct value, never once for each request."""

from __future__ import annotations

import polars as pl

_URL = (
    r"^(?:(?<scheme>[A-Za-z][A-Za-z0-9+.-]*)://)?(?:[^/?#@]*@)?(?<host>[^/?#]*)(?<path>[^?#]*)(?:\?(?<query>[^#]*))?"
)
_GIT_PATH = r"^/(.+?)(?:\.git)?/(?:info/refs|git-upload-pack|git-receive-pack|info/lfs(?:/.*)?)$"
_API_PATH = r"^(?:/api/v3)?/repos/([^/]+/[^/]+)"
_ARCHIVE_PATH = r"^/([^/]+/[^/]+)/(?:archive|tarball|zipball|tar\.gz|zip|legacy\.tar\.gz|legacy\.zip|releases/download)/"
_REGISTRY_HOST = (
    r"(?:^|\.)(?:docker\.io|docker\.com|ghcr\.io|gcr\.io|quay\.io|mcr\.microsoft\.com|pkg\.dev|pkg\.github\.com)(?::\d+)?$"
)

_AGENT = r"^(?<client>[^/\s()]+)(?:/[vV]?(?<client_version>[^\s]+))?\s*(?<rest>.*)$"
_LIBGIT2 = r"\(libgit2 ([^)\s]+)\)"
_ORCHESTRATION = r"\s*\bactions_orchestration_id/(\S+)"


def urls(distinct: pl.Series) -> pl.DataFrame:
    """Takes URLs apart.

    Args:
        distinct: URLs, each once. A URL without a scheme is read as `host/path`.

    Returns:
        `url`, `host`, `path`, `query`, `asked_repo` and `service`, as in `tables.REQUESTS`, in the order given.

    Example:
        >>> urls(pl.Series(["https://github.com/Acme/Web.git/info/refs?service=git-upload-pack"])).row(0)[1:]
        ('github.com', '/Acme/Web.git/info/refs', 'service=git-upload-pack', 'acme/web', 'git-upload-pack')
    """
    parts = pl.col("url").str.extract_groups(_URL).struct
    host, path, query = pl.col("host"), pl.col("path"), pl.col("query").fill_null("")
    git = path.str.ends_with("/info/refs") | path.str.contains(r"/git-(?:upload|receive)-pack$")
    api = host.str.starts_with("api.") | path.str.contains(r"^/api/(?:v3|graphql)(?:/|$)")
    receive = path.str.ends_with("/git-receive-pack") | query.str.contains("service=git-receive-pack", literal=True)
    archive = host.str.starts_with("codeload.") | path.str.contains(_ARCHIVE_PATH)
    return (
        pl.DataFrame({"url": distinct.cast(pl.String)})
        .with_columns(parts.unnest())
        .with_columns(
            host=pl.when(pl.col("scheme").str.to_lowercase() == "http")
            .then(host.str.to_lowercase().str.strip_suffix(":80"))
            .otherwise(host.str.to_lowercase().str.strip_suffix(":443")),
            path=pl.when(path != "").then(path),
            query=pl.when(pl.col("query") != "").then(pl.col("query")),
        )
        .with_columns(
            service=pl.when(git & receive)
            .then(pl.lit("git-receive-pack"))
            .when(git)
            .then(pl.lit("git-upload-pack"))
            .when(path.str.contains(r"/info/lfs(?:/|$)"))
            .then(pl.lit("lfs"))
            .when(api)
            .then(pl.lit("api"))
            .when(archive)
            .then(pl.lit("archive"))
            .when(host.str.contains(_REGISTRY_HOST) | path.str.contains(r"^/v2(?:/|$)"))
            .then(pl.lit("registry"))
            .when(pl.col("url").is_not_null())
            .then(pl.lit("other")),
            asked_repo=pl.coalesce(
                path.str.extract(_GIT_PATH),
                pl.when(api).then(path.str.extract(_API_PATH)),
                path.str.extract(_ARCHIVE_PATH),
            ).str.to_lowercase(),
        )
        .select("url", "host", "path", "query", "asked_repo", "service")
    )


def user_agents(distinct: pl.Series) -> pl.DataFrame:
    """Takes user agents apart.

    `git/2.0 (libgit2 0.28.0)` is libgit2, not git 2.0; a leading `v` of a version is cut off; an Actions
    orchestration id is a key of its own and no part of the tag.

    Args:
        distinct: user agents, each once.

    Returns:
        `user_agent`, `client`, `client_version`, `client_tag` and `orchestration_id`, in the order given.

    Example:
        >>> user_agents(pl.Series(["git/v2.53.0 proactive", "git/2.0 (libgit2 0.28.0)"])).rows()
        [('git/v2.53.0 proactive', 'git', '2.53.0', 'proactive', None), ('git/2.0 (libgit2 0.28.0)', 'libgit2', '0.28.0', None, None)]
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
            client=pl.when(libgit2.is_not_null()).then(pl.lit("libgit2")).otherwise(pl.col("client").str.to_lowercase()),
            client_version=pl.coalesce(libgit2, "client_version"),
            client_tag=pl.col("rest").str.replace(_LIBGIT2, "").str.strip_chars(),
        )
        .with_columns(client_tag=pl.when(pl.col("client_tag") != "").then(pl.col("client_tag")))
        .select("user_agent", "client", "client_version", "client_tag", "orchestration_id")
    )
