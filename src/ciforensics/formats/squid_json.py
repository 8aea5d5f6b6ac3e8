r"""Squid's JSON logformats: any keys, in any order, with the writer's vices.

Squid writes what the format says and never looks whether it is JSON. An absent value is a bare `-`, `%03>Hs`
of no answer is `000`, and a helper's answer logged raw (`%'ea`) is whatever the helper said: a bare word,
braces whose quotes Squid ate, half of it, two lines. So what is no JSON is mended in steps, and each step's
result must be JSON.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

import polars as pl

from ciforensics.contract import RECORDS
from ciforensics.formats import records, times

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ciforensics.contract import ReadOptions

# Names are compared in lower case with `_` for `-`, `.` and space. Bytes are named from where the proxy
# stands, as Squid's own codes are (`%<st` is *sent* to the client); `bytes_in` says not into what.
# fmt: off
_CI = {
    "namespace": ("namespace", "pod_namespace", "k8s_namespace_name", "kubernetes_namespace"),
    "pod": ("pod", "pod_name", "podname", "k8s_pod_name", "kubernetes_pod"),
    "node": ("node", "node_name", "nodename", "k8s_node_name", "kubernetes_node"),
    "ci_repo": ("ci_repo", "repo", "repository", "github_repository", "jobrepositoryname",
                "job_repository_name"),
    "workflow": ("workflow", "ci_workflow", "wf", "workflow_name", "workflowname", "github_workflow",
                 "jobworkflowref", "job_workflow_ref", "workflow_ref", "github_workflow_ref"),
    "job": ("job", "ci_job", "job_name", "jobname", "github_job", "jobdisplayname", "job_display_name"),
    "run_id": ("run_id", "ci_run_id", "runid", "workflowrunid", "workflow_run_id", "github_run_id"),
}
_FIELDS = {
    "ts": ("ts_end", "end_ts", "end", "end_time", "time_end", "ended_at", "finished_at", "completed_at",
           "ts", "timestamp", "@timestamp", "time", "datetime", "date", "logged_at", "time_local"),
    "started": ("ts_start", "start_ts", "start", "start_time", "time_start", "started_at", "timestamp_start"),
    "url": ("authority", "url", "uri", "ru", "request_uri", "request_url", "request_target", "target"),
    "host": ("host", "domain", "dst_host", "dest_host", "request_host"),
    "port": ("port", "dst_port", "dest_port", "request_port"),
    "sni": ("sni", "ssl_sni", "tls_sni", "server_name"),
    "method": ("method", "request_method", "http_method", "rm", "verb"),
    "status": ("status", "http_status", "status_code", "http_code", "response_code", "response_status",
               "code"),
    "result_code": ("result_code", "result", "squid_status", "squid_result", "cache_status", "cache_result",
                    "cache_code", "squid_code", "request_status", "action", "ss"),
    "bytes_up": ("bytes_up", "bytes_received", "request_bytes", "request_size", "req_bytes", "upload_bytes"),
    "bytes_down": ("bytes_down", "bytes_sent", "response_bytes", "response_size", "reply_size", "resp_bytes",
                   "download_bytes", "bytes", "size"),
    "duration_ms": ("duration_ms", "duration", "elapsed_ms", "elapsed", "response_time_ms", "response_time",
                    "request_time", "tr"),
    "client_ip": ("client_ip", "client", "client_addr", "client_address", "clientip", "src_ip", "src",
                  "source_ip", "remote_addr", "remote_ip", "remotehost", "remote_host", "ip"),
    "client_port": ("client_port", "src_port", "source_port", "remote_port"),
    "actor": ("user", "username", "user_name", "un", "ident", "login"),
    "user_agent": ("user_agent", "useragent", "ua", "agent", "http_user_agent"),
    "metadata": ("podmeta", "pod_meta", "metadata", "meta", "ext", "ea", "note", "notes", "external_acl",
                 "helper"),
    **_CI,
}
# fmt: on
_SAME = {"request_bytes": "bytes_up", "response_bytes": "bytes_down"}
_MAX_KEYS = 300
_MAX_MENDED = 1 << 18  # bytes: far above Squid's own lines, and one of 10 MB must not cost seconds

_OPENING = r'\{\s*"([^"\\]+)"\s*:'
_CONTROLS = [chr(code) for code in (*range(32), 127)]
_ESCAPED = [f"\\u{ord(char):04x}" for char in _CONTROLS]

# Well-formed fields, one key with anything, well-formed fields: the one is what the helper said.
_VALUE = r'(?:"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null|-)'
_KEY = r'"[^"\\]+"\s*:\s*'
_RAW = (
    rf'(?s)^(?<head>\{{\s*(?:{_KEY}{_VALUE}\s*,\s*)*"(?<key>[^"\\]+)"\s*:\s*)'
    rf"(?<raw>.*?)(?<tail>(?:\s*,\s*{_KEY}{_VALUE})*\s*\}}\s*)$"
)

# What the helper said, as each code logs it: raw, %ea, %"ea and %[ea, both, and raw between quotes.
_BARE = r"regexp_replace(said, '\\([\"\\])', '\1', 'g')"
_SPELLINGS = ("said", "TRY(url_decode(said))", _BARE, f"TRY(url_decode({_BARE}))", "said[2:-2]")

# What Squid made of `{"pod":"x","node":"y"}` by eating the quotes is read only where nothing else can have
# been meant: Kubernetes' own names, which hold neither comma nor colon. A workflow's could, and name a pod.
_DNS = r"[a-z0-9][a-z0-9.-]*"
_EATEN = rf"^\{{(?:(?:pod|namespace|node):{_DNS},)*(?:pod|namespace|node):{_DNS}\}}$"


def read(lines: pl.DataFrame, options: ReadOptions) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Reads records that begin with `{`; two glued on one line are two.

    Returns:
        The facts (see `squid_text`) and the records, or pieces of them, that are no JSON.
    """
    opens = lines["text"].str.contains(r"^\s*\{")
    good, bad = [], lines.filter(opens).with_columns(mended="text")
    for mend in (None, _plain, _split, _plain, _raw):
        if bad.is_empty():
            break
        tried = mend(bad) if mend else bad
        whole = _holds(tried["mended"], "OBJECT")
        good.append(tried.filter(whole))
        bad = tried.filter(~whole).select(bad.columns)
    rest = pl.concat([lines.filter(~opens), bad.select(lines.columns)]).sort("line_no", maintain_order=True)
    if not good:
        return _typed(lines.clear(), options), rest
    given = (
        pl.concat(good, how="diagonal")
        .sort("line_no", maintain_order=True)
        .rename({"text": "was", "mended": "text"})
    )
    facts = read_fields(given, _FIELDS, options.mapping).drop("text").rename({"was": "text"})
    return _typed(facts, options), rest


def _holds(texts: pl.Series, *kinds: str) -> pl.Series:
    """Which texts are JSON of these kinds. Asked first, for what TRY() has to catch costs 6 µs a record."""
    con = records.scratch()
    con.register("batch", records.Stream(texts.to_frame("text").with_row_index("nth")))
    query = "SELECT CASE WHEN json_valid(text) THEN json_type(text) END AS kind FROM batch ORDER BY nth"
    kind = pl.DataFrame(con.sql(query), schema={"kind": pl.String})["kind"]
    con.unregister("batch")
    return kind.is_in(kinds).fill_null(value=False)


def read_fields(
    frame: pl.DataFrame, names: Mapping[str, Iterable[str]], mapping: Mapping[str, str]
) -> pl.DataFrame:
    """The fields of JSON records, by any of their names, as `records.json_fields` gives them.

    Only keys that occur are looked for: a look-up of all names would cost four times as much.

    Example:
        >>> frame = pl.DataFrame({"text": ['{"User-Agent":"git/2.39.5"}']})
        >>> read_fields(frame, {"user_agent": ["user_agent"]}, {})["user_agent"].to_list()
        ['git/2.39.5']
    """
    asked = {_SAME.get(column, column): key for column, key in mapping.items()}
    keys = _keys(frame)
    spelled: dict[str, list[str]] = {}
    for key in keys:
        spelled.setdefault(normalise(key), []).append(key)
    paths = {
        column: [f'$."{key}"' for name in several for key in spelled.get(name, ())]
        for column, several in names.items()
    }
    taken = {name for several in names.values() for name in several}
    if "metadata" in paths:
        paths["metadata"] += _objects(frame, [key for key in keys if normalise(key) not in taken])
    for column in asked.keys() & names.keys():
        parts = asked[column].split(".")
        paths[column] = [f'$."{asked[column]}"', "$" + "".join(f'."{part}"' for part in parts if part)]
    return records.json_fields(frame, {column: several for column, several in paths.items() if several})


def normalise(key: str) -> str:
    """A key as the tables of names have it."""
    return re.sub(r"[-. ]", "_", key.lower())


def _keys(frame: pl.DataFrame) -> list[str]:
    """The keys that occur, most frequent first; those that no JSON path can name are left out."""
    con = records.scratch()
    con.register("batch", records.Stream(frame.select("text")))
    query = "SELECT key FROM (SELECT unnest(TRY(json_keys(text))) AS key FROM batch) GROUP BY key"
    keys = con.execute(f"{query} ORDER BY count(*) DESC, key LIMIT {_MAX_KEYS}").fetchall()
    con.unregister("batch")
    return [key for (key,) in keys if re.fullmatch(r'[^"\\\x00-\x1f]+', key)]


def _objects(frame: pl.DataFrame, keys: list[str]) -> list[str]:
    """Paths of keys of names unknown to us that hold an object: what else would the helper's word be."""
    if not keys:
        return []
    any_of = "|".join(re.escape(key) for key in keys)
    holding = frame["text"].str.extract(rf'"({any_of})"\s*:\s*"?(?:\{{|%7[bB])')
    return [f'$."{key}"' for key in keys if key in set(holding.unique())]


def _plain(bad: pl.DataFrame) -> pl.DataFrame:
    """Bare dashes, numbers with zeros in front, control characters within quotes."""
    return bad.with_columns(mended=_mend(pl.col("text")))


def _mend(text: pl.Expr) -> pl.Expr:
    return (
        text.str.replace_all(r'([^\\]":\s*)-(\s*[,}])', "${1}null${2}")
        .str.replace_all(r'([^\\]":\s*)0+([0-9]+\s*[,}])', "${1}${2}")
        .str.replace_many(_CONTROLS, _ESCAPED)
    )


def _split(bad: pl.DataFrame) -> pl.DataFrame:
    """Records glued together, whole or after the stump of one: each starts with the format's first key."""
    short = bad["text"].str.len_bytes() <= _MAX_MENDED
    several = short & (bad["text"].str.count_matches(_OPENING) > 1)
    pieces = []
    for line_no, n_lines, text in bad.filter(several).select("line_no", "n_lines", "text").iter_rows():
        first = re.match(_OPENING, text.lstrip())
        starts = [match.start() for match in re.finditer(_OPENING, text) if first and match[1] == first[1]]
        cuts = [0, *starts[1:], len(text)]
        if len(cuts) == 2:
            pieces.append((line_no, n_lines, text))
            continue
        for begin, end in itertools.pairwise(cuts):
            piece = text[begin:end].strip("\n")
            pieces.append((line_no + text.count("\n", 0, begin), piece.count("\n") + 1, piece))
    split = pl.DataFrame(pieces, schema=RECORDS, orient="row").with_columns(mended="text")
    return pl.concat([bad.filter(~several).with_columns(mended="text"), split])


def _raw(bad: pl.DataFrame) -> pl.DataFrame:
    """A value that is no JSON, where its key may hold the helper's word: no other field of ours."""
    short = pl.when(pl.col("text").str.len_bytes() <= _MAX_MENDED).then("text")
    pieces = bad.with_columns(short.str.extract_groups(_RAW).alias("pieces")).unnest("pieces")
    known = [name for column, names in _FIELDS.items() if column != "metadata" for name in names]
    key = pl.col("key").str.to_lowercase().str.replace_all(r"[-. ]", "_")
    mended = _mend(pl.concat_str(pl.col("head"), pl.lit("null"), pl.col("tail")))
    return pieces.with_columns(mended=pl.when(~key.is_in(known)).then(mended))


def _typed(facts: pl.DataFrame, options: ReadOptions) -> pl.DataFrame:
    """Fields as found to facts as the text formats have them."""
    absent = [pl.lit(None, pl.String).alias(name) for name in (*_FIELDS, "raw") if name not in facts.columns]
    plain = [name for name in _FIELDS if name not in {"metadata", "user_agent"}]
    # An object under a name of ours is not the field: `"client":{"ip":…}` needs `--map client_ip=client.ip`.
    facts = facts.with_columns(absent).with_columns(
        pl.when(~pl.col(name).str.starts_with("{")).then(name) for name in plain
    )
    end, start = (times.parse(facts[name], options.timezone) for name in ("ts", "started"))
    took = (end["ts"] - start["ts"]).dt.total_microseconds() / 1000
    facts = facts.with_columns(
        ts=end["ts"].fill_null(start["ts"]),
        ts_resolution_ms=end["ts_resolution_ms"].fill_null(start["ts_resolution_ms"]),
        ts_kind=pl.when(end["ts"].is_null() & start["ts"].is_not_null())
        .then(pl.lit("start"))
        .otherwise(pl.lit("end")),
        duration_ms=pl.coalesce(_word("duration_ms"), took.cast(pl.String)),
        # `host` may be mapped to what Squid logs as %ru.
        url=pl.coalesce("url", pl.when(pl.col("host").str.contains(r"://|:[0-9]+$|^error:")).then("host")),
        metadata=pl.coalesce("metadata", "raw").str.strip_chars(" ").replace({"-": None, "": None}),
        # %Ss/%03>Hs is often one field, under either name.
        status=pl.coalesce(pl.col("status", "result_code").str.extract(r"^(?:[A-Z_]+/)?([0-9]{1,3})$")),
        result_code=pl.coalesce(pl.col("result_code", "status").str.extract(r"^([A-Z][A-Z_]+)(?:[/:]|$)")),
    )
    said = _said(facts["metadata"].drop_nulls().unique(), options.mapping)
    facts = facts.rename({"metadata": "said"}).join(
        said, on="said", how="left", maintain_order="left", suffix="_said"
    )
    both = [pl.coalesce(_word(name), _word(f"{name}_said")).alias(name) for name in _CI]
    run_id = pl.when(pl.col("run_id") != "0").then("run_id")
    path = pl.col("workflow").str.replace(r"^[^/\s]+/[^/\s]+/(\.github/workflows/[^@]+)@.*$", "${1}")
    return facts.with_columns(both).with_columns(run_id=run_id, workflow=path)


def _word(name: str) -> pl.Expr:
    text = pl.col(name).str.strip_chars()
    return pl.when(~text.is_in(["", "-", "null"])).then(text)


def _said(said: pl.Series, mapping: Mapping[str, str]) -> pl.DataFrame:
    r"""What the helper said, as JSON, and what it says of the client.

    It is taken as it is, else URL-decoded (`%ea`), without backslashes (`%"ea`, `%[ea`) or without the quotes
    around it; what is no JSON object or array either way is kept as a JSON string.
    """
    frames, left = [], said.sort()
    for spelling in _SPELLINGS:
        if len(left):
            frame = _spelled(left, spelling)
            read = _holds(frame["metadata"], "OBJECT", "ARRAY")
            frames.append(frame.filter(read))
            left = frame.filter(~read)["said"]
    frame = pl.concat([*frames, _spelled(left, "to_json(said)::VARCHAR")])
    metadata = read_fields(frame.with_columns(text="metadata"), _CI, mapping)
    absent = [pl.lit(None, pl.String).alias(name) for name in _CI if name not in metadata.columns]
    eaten = pl.col("said").str.contains(_EATEN)
    once = {
        name: pl.when(eaten & (pl.col("said").str.count_matches(rf"[{{,]{name}:") == 1)).then(
            pl.col("said").str.extract(rf"[{{,]{name}:({_DNS})")
        )
        for name in ("namespace", "pod", "node")
    }
    metadata = metadata.with_columns(absent).with_columns(
        pl.coalesce(name, word).alias(name) for name, word in once.items()
    )
    return metadata.select("said", "metadata", *(pl.col(name).alias(f"{name}_said") for name in _CI))


def _spelled(said: pl.Series, spelling: str) -> pl.DataFrame:
    con = records.scratch()
    con.register("batch", records.Stream(said.to_frame("said")))
    query = con.sql(f"SELECT said, {spelling} AS metadata FROM batch")
    frame = pl.DataFrame(query, schema={"said": pl.String, "metadata": pl.String})
    con.unregister("batch")
    return frame
