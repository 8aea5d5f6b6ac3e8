"""What the logs about docker share: command lines, image references, CI keys, objects glued into one line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import polars as pl

from ciforensics.contract import RECORDS
from ciforensics.formats import records

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Mapping

CI_KEYS: Mapping[str, tuple[str, ...]] = {
    "ci_repo": ("repo", "repository", "ci_repo", "github_repository", "GITHUB_REPOSITORY"),
    "workflow": ("workflow", "workflow_name", "github_workflow", "GITHUB_WORKFLOW"),
    "job": ("job", "job_id", "github_job", "GITHUB_JOB"),
    "run_id": ("run_id", "runId", "github_run_id", "GITHUB_RUN_ID"),
    "pod": ("pod", "pod_name", "POD_NAME", "hostname", "HOSTNAME"),
}
"""Our column to the keys that writers use for it, best first. `job_name` is none: ours is an id."""


def join_arguments(words: pl.Series) -> pl.Series:
    """Arguments as one line: a JSON array is joined, quoted as a shell would need it; other text stays.

    Example:
        >>> join_arguments(pl.Series("args", ['["-t","a b","."]', "[no list"])).to_list()
        ["-t 'a b' .", '[no list']
    """
    if not words.str.starts_with("[").any():
        return words
    con = records.scratch()
    con.register("words", records.Stream(words.alias("word").to_frame().with_row_index("nth")))
    query = con.sql(
        r"""
        SELECT coalesce(array_to_string(list_transform(
            CASE WHEN word LIKE '[%' THEN TRY(from_json(word, '["VARCHAR"]')) END,
            lambda w: CASE WHEN regexp_full_match(w, '[\w@%+=:,./-]+') THEN w
                           ELSE '''' || replace(w, '''', '''"''"''') || '''' END), ' '), word) AS line
        FROM words ORDER BY nth
        """
    )
    line = pl.DataFrame(query)["line"].alias(words.name)
    con.unregister("words")
    return line


_DOCKER = r"^(?:\S*/)?docker(?:\.original|\.real|\.exe)?\s+"
_VALUE = r"(?:=|\s+)(?:'[^']*'|\S+)"
_GLOBAL_OPTIONS = (
    rf"^(?:(?:--(?:config|context|host|log-level|tlscacert|tlscert|tlskey){_VALUE}"
    r"|-[cHl](?:=|\s*)(?:'[^']*'|\S+)"
    r"|(?:--debug|--tlsverify|--tls|-D)(?:=\S+)?)(?:\s+|$))+"
)
_BUILD = (
    r"^(?:(?:buildx|builder)(?:\s+(?:--builder(?:=|\s+)\S+|--debug|-D))*\s+(?:build|b)|image\s+build)(?:\s|$)"
)
_IMAGE = r"^image\s+(pull|push|save|load|import|tag|history)(?:\s|$)"
_CONTAINER = (
    r"^container\s+(run|create|exec|start|stop|restart|kill|rm|cp|commit|attach|logs|wait|export)(?:\s|$)"
)
_WORD = r"^(-[^\s=]+|\S+)"


def find_subcommands(lines: pl.Series) -> pl.Series:
    r"""The docker subcommand of each command line.

    `build` also for `buildx build`, `buildx b`, `builder build` and `image build`; `docker image pull` is
    `pull`, as docker's manual has it. Global options in front are passed over when the line shows what
    follows them. When nothing does, as where the log holds only the first argument, the option itself is
    all that is known, and is what comes back.

    Args:
        lines: command lines, with or without `docker` in front.

    Returns:
        The subcommands; null for an empty line.

    Example:
        >>> lines = ["docker --context x buildx build -t a .", "buildx", "--context", "image pull alpine", ""]
        >>> find_subcommands(pl.Series(lines)).to_list()
        ['build', 'buildx', '--context', 'pull', None]
    """
    words = pl.col("text").str.strip_chars().str.replace(_DOCKER, "")
    behind = words.str.replace(_GLOBAL_OPTIONS, "")
    known = pl.when(behind != "").then(behind).otherwise(words)
    named = pl.coalesce(known.str.extract(_IMAGE), known.str.extract(_CONTAINER), known.str.extract(_WORD))
    command = pl.when(known.str.contains(_BUILD)).then(pl.lit("build")).otherwise(named)
    return _each_once(lines, command=command)["command"]


_BARE_DIGEST = r"^(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})$"
_REFERENCE = (
    r"^(?P<image>[^@\s]*?)(?::(?P<tag>[0-9A-Za-z_][0-9A-Za-z_.-]{0,127}))?"
    r"(?:@(?P<digest>[A-Za-z][0-9A-Za-z_.+-]*:[0-9a-fA-F]{32,}))?$"
)


def image_parts(references: pl.Series) -> pl.DataFrame:
    """Splits image references into `image` (registry included), `image_tag` and `image_digest`.

    Args:
        references: what docker calls the images. A bare `sha256:…` is a digest without a name; what is no
            reference at all comes back whole as the image.

    Returns:
        The three columns; null for a part that the reference does not have.

    Example:
        >>> image_parts(pl.Series(["127.0.0.1:5000/library/golang:1.24", "localhost:5000/app"])).rows()
        [('127.0.0.1:5000/library/golang', '1.24', None), ('localhost:5000/app', None, None)]
    """
    text = pl.col("text")
    bare = text.str.contains(_BARE_DIGEST)
    parts = text.str.extract_groups(_REFERENCE)
    return _each_once(
        references,
        image=null_if_blank(pl.when(~bare).then(pl.coalesce(parts.struct["image"], text))),
        image_tag=pl.when(~bare).then(parts.struct["tag"]),
        image_digest=pl.when(bare).then(text).otherwise(parts.struct["digest"]),
    )


def _each_once(texts: pl.Series, **columns: pl.Expr) -> pl.DataFrame:
    """Columns worked out of `text` once for each distinct text: logs repeat themselves."""
    frame = texts.alias("text").to_frame()
    few = frame.unique().with_columns(**columns)
    return frame.join(few, on="text", how="left", maintain_order="left").drop("text")


def null_if_blank(text: pl.Expr) -> pl.Expr:
    """The text, null instead of an empty one: shells write unset variables as empty."""
    return pl.when(text != "").then(text)


def point_at(*keys: str) -> str:
    """A JSON pointer: unlike a JSON path it takes any key, whatever the characters in it.

    Example:
        >>> point_at("Actor", "a/b")
        '/Actor/a~1b'
    """
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)


def object_keys(texts: pl.Series) -> tuple[pl.Series, dict[str, list[str]]]:
    """The keys of JSON objects, those at their top, in order and as often as they are written.

    A log has few kinds of lines, so it pays to know which keys a batch has before asking for dozens of
    aliases: 51 paths take 2.5 times as long as the 6 that are there, and this look a tenth of it.

    Args:
        texts: the records.

    Returns:
        For each text its keys as a JSON list, null where it is no JSON object or an empty one; what each
        distinct list holds.

    Example:
        >>> kinds, known = object_keys(pl.Series(['{"a":1,"b":2}', "{oops"]))
        >>> kinds.to_list(), known
        (['["a","b"]', None], {'["a","b"]': ['a', 'b']})
    """
    con = records.scratch()
    con.register("texts", records.Stream(texts.alias("text").to_frame().with_row_index("nth")))
    # json_valid first: each error that TRY catches costs 40 µs, forty times what a good record does.
    query = con.sql(
        """
        SELECT CASE WHEN json_valid(text) THEN nullif(to_json(TRY(json_keys(text)))::VARCHAR, '[]') END kind
        FROM texts ORDER BY nth
        """
    )
    kinds = pl.DataFrame(query)["kind"]
    con.unregister("texts")
    return kinds, {kind: json.loads(kind) for kind in kinds.drop_nulls().unique()}


def unglue(broken: pl.DataFrame, start: re.Pattern[str]) -> pl.DataFrame:
    r"""Splits records at every place where another one begins in the middle of the text.

    Args:
        broken: records that are not valid JSON.
        start: finds the beginnings; its group `start` is where the new record starts.

    Returns:
        The pieces as records, each with the line where it starts.

    Example:
        >>> import re
        >>> broken = pl.DataFrame({"line_no": [7], "n_lines": [2], "text": ['{"a":"x{"a":"y\nz"}']})
        >>> unglue(broken, re.compile(r'(?P<start>[{]"a":)')).rows()
        [(7, 1, '{"a":"x'), (7, 2, '{"a":"y\nz"}')]
    """
    return pl.DataFrame(list(_pieces(broken, start)), schema=RECORDS, orient="row")


def _pieces(broken: pl.DataFrame, start: re.Pattern[str]) -> Iterable[tuple[int, int, str]]:
    for line_no, n_lines, text in broken.select("line_no", "n_lines", "text").iter_rows():
        begins = sorted({0, *(match.start("start") for match in start.finditer(text))})
        if len(begins) == 1:
            yield line_no, n_lines, text
            continue
        line = line_no
        for begin, end in zip(begins, [*begins[1:], len(text)], strict=True):
            piece = text[begin:end]
            breaks = piece.count("\n")
            yield line, breaks + 1, piece
            line += breaks
