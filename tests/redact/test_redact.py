"""Secrets never land: what is found, what is left alone, and what the marks say."""
# ruff: noqa: E501 (a text and what becomes of it are read side by side)

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import subprocess
import sys
import time
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ciforensics import redact
from ciforensics.errors import CiforensicsError

if TYPE_CHECKING:
    from pathlib import Path

KEY = b"k" * 32

GITHUB = {
    "ghp": "ghp_" + "x" * 36,
    "gho": "gho_" + "x" * 36,
    "ghu": "ghu_" + "x" * 36,
    "ghs": "ghs_" + "x" * 36,
    "ghr": "ghr_" + "x" * 76,
    "github_pat": "github_pat_" + "x" * 22 + "_" + "y" * 59,
}
JWT = "eyJ" + "hbGciOiJub25lIn0" + ".eyJ" + "mYWtlIjoxfQ" + ".c2lnbmF0dXJl-_x"
BLOB = "eC1hY2Nlc3MtdG9r" + "ZW46ZmFrZWZha2U="  # x-access-token:fakefake
USER_BLOB = "dXNlcjpm" + "YWtlZmFrZQ=="  # user:fakefake
WORD = "fakefake"
PEM = "-----BEGIN RSA " + "PRIVATE KEY-----\nZmFrZWZha2U=\n-----END RSA " + "PRIVATE KEY-----"


def clean(text: str) -> str:
    """Redacts, and holds the result to what is true of every redaction."""
    redacted, count = redact.text(text, key=KEY)
    assert (redacted != text) == (count > 0)
    assert redact.text(redacted, key=KEY) == (redacted, 0)
    return redacted


SHAPES = [
    *GITHUB.values(),
    *(token[: len(kind) + 7] for kind, token in GITHUB.items()),
    JWT,
    JWT[: JWT.rindex(".")],
    BLOB,
]

HEADERS = [
    ("Authorization: Bearer fakefake", "Authorization: Bearer [redacted:token:…]"),
    ("Authorization: Basic dXNlcjpmYWtlZmFrZQ==", "Authorization: Basic [redacted:basic]"),
    ("proxy-authorization: basic dXNlcjpmYWtlZmFrZQ==", "proxy-authorization: basic [redacted:basic]"),
    ("curl -H 'authorization: token fakefake' https://h/", "curl -H 'authorization: token [redacted:token:…]' https://h/"),
    ('curl -H "Authorization: Bearer fakefake" -v', 'curl -H "Authorization: Bearer [redacted:token:…]" -v'),
    ('Authorization: Digest u="fakefake", r="fakefake"\nHost: h', "Authorization: [redacted:authorization]\nHost: h"),
    (r"GET / HTTP/1.1\r\nAuthorization: Bearer fakefake\r\nHost: h", r"GET / HTTP/1.1\r\nAuthorization: Bearer [redacted:token:…]\r\nHost: h"),
    ("git -c http.extraheader=AUTHORIZATION: basic dXNlcjpmYWtlZmFrZQ== fetch", "git -c http.extraheader=AUTHORIZATION: basic [redacted:basic] fetch"),
    ("git -c http.https://github.com/.extraheader='AUTHORIZATION: basic dXNlcjpmYWtlZmFrZQ==' fetch", "git -c http.https://github.com/.extraheader='AUTHORIZATION: basic [redacted:basic]' fetch"),
    ('{"Authorization":"Basic dXNlcjpmYWtlZmFrZQ==","a":1}', '{"Authorization":"Basic [redacted:basic]","a":1}'),
    ('{"Authorization": ["Bearer fakefake"], "a": 1}', '{"Authorization": ["Bearer [redacted:token:…]"], "a": 1}'),
    ('[["Authorization", "Bearer fakefake"], ["Host", "h"]]', '[["Authorization", "Bearer [redacted:token:…]"], ["Host", "h"]]'),
    ('{"name": "Authorization", "value": "Bearer fakefake"}', '{"name": "Authorization", "value": "Bearer [redacted:token:…]"}'),
    (r'{"headers":"{\"Authorization\":\"Bearer fakefake\",\"a\":1}","b":2}', r'{"headers":"{\"Authorization\":\"Bearer [redacted:token:…]\",\"a\":1}","b":2}'),
    (r'{"headers":"{\"Authorization\": \"Bearer fakefake', r'{"headers":"{\"Authorization\": \"Bearer [redacted:token:…]'),
    ("h?x=Authorization%3A%20Bearer%20fakefake&y=1", "h?x=Authorization%3A%20Bearer%20[redacted:token:…]&y=1"),
    ("%7B%22Authorization%22%3A%22Bearer%20fakefake%22%2C%22a%22%3A1%7D", "%7B%22Authorization%22%3A%22Bearer%20[redacted:token:…]%22%2C%22a%22%3A1%7D"),
    ("13:Authorization,15:Bearer fakefake,]", "13:Authorization,15:Bearer [redacted:token:…],]"),
    ("13:Authorization,15:Bearer fakefake,]4:Host,1:h,]", "13:Authorization,15:Bearer [redacted:token:…],]4:Host,1:h,]"),
    ("6:Cookie,19:a=fakefake; b=fake,]4:Host,1:h,]", "6:Cookie,19:[redacted:cookie],]4:Host,1:h,]"),
    ('"name": "Cookie",\n  "value": "a=fakefake"', '"name": "Cookie",\n  "value": "[redacted:cookie]"'),
    ('"cookies": [\n {"name": "a", "value": "fakefake"}\n ], "x": 1', '"cookies": [\n [redacted:cookie]], "x": 1'),
    ('"token": ["fakefake", "fakefake2"], "x": 1', '"token": ["[redacted:token:…]", "[redacted:token:…]"], "x": 1'),
    ("curl -H PRIVATE-TOKEN:fakefake https://h/", "curl -H PRIVATE-TOKEN:[redacted:token:…] https://h/"),
    ("Cookie: a=fakefake; b=fakefake\r\nHost: h", "Cookie: [redacted:cookie]\r\nHost: h"),
    ('{"set-cookie":"a=fakefake; Path=/; HttpOnly","x":1}', '{"set-cookie":"[redacted:cookie]","x":1}'),
    ("curl --header 'Cookie: a=fakefake; b=\"fakefake\"' h", "curl --header 'Cookie: [redacted:cookie]' h"),
    ("GET /?x Basic dXNlcjpmYWtlZmFrZQ== end", "GET /?x Basic [redacted:basic] end"),
    ("sent Bearer fakefake12345678 there", "sent Bearer [redacted:token:…] there"),
]  # fmt: skip

URLS = [
    ("https://x-access-token:fakefake@github.com/o/r.git", "https://github.com/o/r.git"),
    ("https://fakefake@github.com/o/r.git", "https://github.com/o/r.git"),
    ("https://fakefake:x-oauth-basic@github.com/o/r.git", "https://github.com/o/r.git"),
    ("https://fakefake:@github.com/o/r.git", "https://github.com/o/r.git"),
    ("https://me:fake@fakefake@github.com/o/r", "https://github.com/o/r"),
    ("https://AWS:fake/fake+fakefake@registry.example:5000/v2/", "https://registry.example:5000/v2/"),
    ("https://me:fake%2Ffake%40fakefake@github.com/o/r", "https://github.com/o/r"),
    ("https://me%3Afakefake%40github.com/o/r", "https://github.com/o/r"),
    ("ssh://git:fakefake@host/o/r", "ssh://host/o/r"),
    ("ftp://me:fakefake@host/file", "ftp://host/file"),
    ("docker://me:fakefake@alpine@sha256:" + "0" * 64, "docker://alpine@sha256:" + "0" * 64),
    ("HTTPS_PROXY=http://me:fakefake@proxy:3128 x", "HTTPS_PROXY=http://proxy:3128 x"),
    (r'{"u":"https:\/\/me:fakefake@github.com\/o\/r"}', r'{"u":"https:\/\/github.com\/o\/r"}'),
    ("https://h/?u=https%3A%2F%2Fme%3Afakefake%40github.com%2Fo", "https://h/?u=https%3A%2F%2Fgithub.com%2Fo"),
    ("https://h/?u=https%253A%252F%252Fme%253Afakefake%2540github.com", "https://h/?u=https%253A%252F%252Fgithub.com"),
    ("cut https://x-access-token:fakefake", "cut https://"),
    ("https://h/p?token=fakefake&x=1", "https://h/p?token=[redacted:token:…]&x=1"),
    ("https://h/p?x=1&access_token=fakefake#frag", "https://h/p?x=1&access_token=[redacted:token:…]#frag"),
    ("https://h/cb#access_token=fakefake&state=1", "https://h/cb#access_token=[redacted:token:…]&state=1"),
    ("https://h/p?private_token=fakefake", "https://h/p?private_token=[redacted:token:…]"),
    ("https://h/p?client_secret=fakefake&a=b", "https://h/p?client_secret=[redacted:secret]&a=b"),
    ("https://h/p?refresh_token=fakefake", "https://h/p?refresh_token=[redacted:token:…]"),
    ("https://h/p?id_token=fakefake", "https://h/p?id_token=[redacted:token:…]"),
    ("https://h/p?api_key=fakefake&apikey=fakefake", "https://h/p?api_key=[redacted:token:…]&apikey=[redacted:token:…]"),
    ("https://h/p?password=fakefake", "https://h/p?password=[redacted:password]"),
    ("https://h/p?sv=1&sig=fakefake%3D&se=2", "https://h/p?sv=1&sig=[redacted:signature]&se=2"),
    ("https://h/p?Signature=fakefake", "https://h/p?Signature=[redacted:signature]"),
    ("https://h/p?X-Amz-Signature=fakefake", "https://h/p?X-Amz-Signature=[redacted:signature]"),
    ("https://h/p?X-Goog-Signature=fakefake", "https://h/p?X-Goog-Signature=[redacted:signature]"),
    ("https://h/p?X-Amz-Credential=fakefake%2Faws", "https://h/p?X-Amz-Credential=[redacted:credential]"),
    ("https://h/p?X-Amz-Security-Token=fakefake", "https://h/p?X-Amz-Security-Token=[redacted:token:…]"),
    ("https://h/oauth/callback?code=fakefake&state=1", "https://h/oauth/callback?code=[redacted:token:…]&state=1"),
    ("https://h/p?jwt=fakefake&auth=fakefake", "https://h/p?jwt=[redacted:token:…]&auth=[redacted:token:…]"),
    ("https://h/r?to=%2Fp%3Ftoken%3Dfakefake%26x%3D1", "https://h/r?to=%2Fp%3Ftoken%3D[redacted:token:…]%26x%3D1"),
    ("https://h/r?to=%252Fp%253Fsig%253Dfakefake%2526x", "https://h/r?to=%252Fp%253Fsig%253D[redacted:signature]%2526x"),
    (r'{"u":"https://h/p?token=fakefake\u0026x=1"}', r'{"u":"https://h/p?token=[redacted:token:…]\u0026x=1"}'),
    ("GET /p?x=1&amp;sig=fakefake HTTP/1.1", "GET /p?x=1&amp;sig=[redacted:signature] HTTP/1.1"),
    ("token=fakefake&x=1", "token=[redacted:token:…]&x=1"),
]  # fmt: skip

COMMANDS = [
    ("docker login -u me --password fakefake ghcr.io", "docker login -u me --password [redacted:password] ghcr.io"),
    ("docker login -u me --password=fakefake ghcr.io", "docker login -u me --password=[redacted:password] ghcr.io"),
    ("docker login -u me -p fakefake ghcr.io", "docker login -u me -p [redacted:password] ghcr.io"),
    ("docker login -u me -pfakefake ghcr.io", "docker login -u me -p[redacted:password] ghcr.io"),
    ("docker login -p 'fake fakefake' ghcr.io", "docker login -p '[redacted:password]' ghcr.io"),
    ('{"Cmd":["docker","login","-p","fake fakefake","h"]}', '{"Cmd":["docker","login","-p","[redacted:password]","h"]}'),
    ('["docker", "login", "--password", "fakefake"]', '["docker", "login", "--password", "[redacted:password]"]'),
    ("curl -u me:fakefake https://h/", "curl -u [redacted:password] https://h/"),
    ("curl -ume:fakefake https://h/", "curl -u[redacted:password] https://h/"),
    ("curl --user 'me:fake fakefake' https://h/", "curl --user '[redacted:password]' https://h/"),
    ("docker build --build-arg NPM_TOKEN=fakefake .", "docker build --build-arg NPM_TOKEN=[redacted:token:…] ."),
    ("docker build --build-arg 'A_SECRET=fake fakefake' .", "docker build --build-arg 'A_SECRET=[redacted:secret]' ."),
    ("docker run -e DB_PASSWORD=fakefake img", "docker run -e DB_PASSWORD=[redacted:password] img"),
    ("docker run -eDB_PASSWD=fakefake img", "docker run -eDB_PASSWD=[redacted:password] img"),
    ('docker run -e "DB_PWD=fake fakefake" img', 'docker run -e "DB_PWD=[redacted:password]" img'),
    ('docker run --env DB_PASS="fake fakefake" img', 'docker run --env DB_PASS="[redacted:password]" img'),
    ("docker run --env=API_KEY=fakefake img", "docker run --env=API_KEY=[redacted:token:…] img"),
    ("docker run --env AWS_SECRET_ACCESS_KEY=fakefake i", "docker run --env AWS_SECRET_ACCESS_KEY=[redacted:secret] i"),
    ("docker run -e GOOGLE_CREDENTIALS='{fake fakefake}' i", "docker run -e GOOGLE_CREDENTIALS='[redacted:credential]' i"),
    ("docker run -e NPM_AUTH=fakefake i", "docker run -e NPM_AUTH=[redacted:token:…] i"),
    ("docker run -e SIGNING_PRIVATE_KEY=fakefake i", "docker run -e SIGNING_PRIVATE_KEY=[redacted:private_key] i"),
    ("docker secret --secret fakefake", "docker secret --secret [redacted:secret]"),
    ("sh -c 'export DB_PASSWORD=fakefake'", "sh -c 'export DB_PASSWORD=[redacted:password]'"),
    ('exec_create: sh -c "PGPASSWORD=fakefake psql"', 'exec_create: sh -c "PGPASSWORD=[redacted:password]"'),
    (r'{"cmd":"sh -c \"export T_TOKEN=fakefake\"","x":1}', r'{"cmd":"sh -c \"export T_TOKEN=[redacted:token:…]\"","x":1}'),
    (r'{"a":"-e \"P_PASSWORD=fake \\\"fakefake\\\" x\" img"}', r'{"a":"-e \"P_PASSWORD=[redacted:password]\" img"}'),
    ("PASSWORD=fake&fakefake;fakefake make", "PASSWORD=[redacted:password] make"),
    (r"PASSWORD=fake\ fakefake make", "PASSWORD=[redacted:password] make"),
    ("npm config set //npm.pkg.github.com/:_authToken=fakefake", "npm config set //npm.pkg.github.com/:_authToken=[redacted:token:…]"),
    ('echo "machine github.com login me password fakefake" > .netrc', 'echo "machine github.com login me password [redacted:password]" > .netrc'),
    ("sshpass -p fakefake ssh h", "sshpass -p [redacted:password] ssh h"),
    ("password: fakefake", "password: [redacted:password]"),
    ("password = fakefake", "password = [redacted:password]"),
    ('{"db_password":"fake \\"fakefake","user":"me"}', '{"db_password":"[redacted:password]","user":"me"}'),
    ('{"name":"DB_PASSWORD","value":"fakefake"}', '{"name":"DB_PASSWORD","value":"[redacted:password]"}'),
    ('{"cut":1,"password":"fakefake', '{"cut":1,"password":"[redacted:password]'),
    ('{"auth":"dXNlcjpmYWtlZmFrZQ=="}', '{"auth":"[redacted:basic]"}'),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), HEADERS + URLS + COMMANDS)
def test_a_secret_is_replaced_where_it_stands(text: str, expected: str) -> None:
    redacted = clean(text)
    assert re.sub(r":[0-9a-f]{8}\]", ":…]", redacted) == expected
    assert WORD not in redacted
    assert "YWtl" not in redacted


@pytest.mark.parametrize("token", SHAPES)
@pytest.mark.parametrize(
    "around",
    [
        "{}", "fatal: {} is bad", "x{}.", "https://h/{}/x", "https://h/x?t={}&y=1", "https://{}@github.com/o/r",
        "https://x-access-token:{}@github.com/o/r", "https%3A%2F%2Fx%3A{}%40h%2Fo", "docker login -u x -p {} ghcr.io",
        '{{"a":"{}","b":1}}', '{{"a":"{}', r'{{"a":"{{\"b\":\"{}\"}}', "Authorization: token {}", "Cookie: s={}; x=1",
        "a={}", "a_token={}", "'{}'", "%22{}%22", "<{}>", "({})",
    ],
)  # fmt: skip
def test_a_token_is_known_by_its_shape_whatever_is_around_it(token: str, around: str) -> None:
    redacted = clean(around.format(token))
    assert token not in redacted
    assert not re.search(r"xxxx|yyyy|ZmFr|mYWtl|hbGci|c2ln", redacted)


@pytest.mark.parametrize(
    "text", [PEM, PEM.replace("\n", "\\n"), quote(PEM), f'{{"k":"{PEM[:45]}', f"K='{PEM}' x"]
)
def test_a_private_key_goes_whole(text: str) -> None:
    redacted = clean(text)
    assert "[redacted:private_key]" in redacted
    assert "ZmFr" not in redacted
    assert "KEY-" not in redacted


@pytest.mark.parametrize(
    "text",
    [
        "", "***", "git-upload-pack", "/login/oauth/authorize", "https://github.com/login/oauth/authorize?client_id=1",
        "https://github.com/acme/token-service", "https://github.com/acme/token-service.git/info/refs?service=git-upload-pack",
        "https://github.com/acme/password-store.git", "https://h/secret-scanning/alerts?page=2", "sha256:" + "ab" * 32,
        "ab" * 20, "https://github.com/o/r/commit/" + "ab" * 20, "git/2.53.0 proactive", 'pip/23.2.1 {"ci":null,"cpu":"x"}',
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)", "curl/8.14.1",
        "GitHubActionsRunner-linux-x64/2.328.0 ClientId/1 RunnerId/2 (HttpProxyConfigured/True)",
        "bot/1 (+https://example.com/bot; me@example.com)", "author=me", "?author=me&authority=x", "tokens=5", "max_tokens=5",
        "?tokens=5", "token_type=bearer", "?design=1&sigma=2&code=7", "exit code=1", "me@example.com", "mailto:me@example.com",
        "git@github.com:o/r.git", "ssh://git@github.com/o/r.git", "https://git@github.com/o/r", "https://h/~me@x/y?e=a@b",
        "ghcr.io/o/r@sha256:" + "ab" * 32, "docker://alpine@sha256:" + "ab" * 32, "docker://alpine:3.18@sha256:" + "ab" * 32,
        "ghcr.io/acme/auth:1.2", "acme/secret:latest", "ghcr.io/acme/api-key:1", '"cookies": [', '"token": {"x": 1}', '"cookies": [ ]', "https://h:8080", "https://h:8080/a", "https://[::1]:8080/",
        "docker run -u 1000:1000 -p 8080:80 img", "git push -u origin HEAD:main", "date -u +%H:%M", "docker login ghcr.io",
        "docker login -u AWS --password-stdin ghcr.io", "docker run --env-file secret.env img", "docker run -e NPM_TOKEN img",
        "docker build --secret id=npm_token,src=/run/x .", "docker build --secret=id=a,env=B .", "-v $PWD:/src", "PWD=/work",
        'WWW-Authenticate: Basic realm="GitHub"', 'WWW-Authenticate: Bearer realm="https://h/token",service="h"',
        "Basic authentication is over", "Basic integration2", "the Bearer of this", "BYPASS=1", "compass=north",
        '{"password":"","token":null,"authorization":true}', "token=***", "Authorization: basic ***", "password=[REDACTED]",
        "https://x-access-token:***@github.com/o/r", "https://***@github.com/o/r", "?token=&x=1", "GET /p?token= HTTP/1.1",
        "git -c http.extraheader='AUTHORIZATION: basic ***' fetch", "eyJhbGciOiJub25lIn0", "2026-11-24T03:05:05Z", "ghs_x",
        "squid TCP_TUNNEL/200 CONNECT github.com:443", "repo:actions/checkout", "auth", "passwd", "GITHUB_ACTIONS=true",
    ],
)  # fmt: skip
def test_what_is_no_secret_stays_as_it_is(text: str) -> None:
    assert redact.text(text, key=KEY) == (text, 0)


def test_the_same_token_has_the_same_mark_wherever_it_stood() -> None:
    token = GITHUB["ghs"]
    places = [
        token,
        f"?token={token}",
        f"Authorization: Bearer {token}",
        f"password={token}.",
        f"{{'a': '{token}'}}",
    ]
    marks = {re.search(r"\[redacted:.*?\]", clean(place))[0] for place in places}  # type: ignore[index]
    opaque = [
        "?token=fakefake&",
        "Authorization: token fakefake",
        '{"apiKey":"fakefake"}',
        "%3Ftoken%3Dfakefake%26",
        "(token=fakefake).",
    ]
    opaque_marks = {re.search(r"\[redacted:.*?\]", clean(place))[0] for place in opaque}  # type: ignore[index]
    assert len(marks) == len(opaque_marks) == 1
    assert re.fullmatch(r"\[redacted:ghs:[0-9a-f]{8}\]", marks.pop())
    assert redact.text(token, key=KEY) != redact.text(token, key=b"o" * 32)


def test_urls_are_urls_afterwards() -> None:
    for text, _ in URLS:
        if text.startswith("https://"):
            assert urlsplit(clean(text)).netloc == urlsplit(clean(text)).hostname or ":5000" in text
    assert (
        urlsplit(clean(f"https://x-access-token:{GITHUB['ghs']}@github.com/o/r?token=fakefake")).path
        == "/o/r"
    )


SURROUNDINGS = st.text() | st.lists(
    st.sampled_from(
        [
            *("token=", "Authorization: ", "Basic ", "Bearer ", "https://", "@", "%3A", "%40", "://", ":", "&", "?", '"', "'"),
            *("\\", '\\"', " ", "\n", "-p ", "login ", "-u ", "password", ": ", "=", ",", "[redacted:", "]", "***", "eyJ", "."),
            *("ghs_", "ghp_abcdef", "eyJabcdef", "cookie: ", "-----BEGIN PRIVATE KEY-----", "%22", "%26", "sig=", "x", "a b"),
            *("[redacted:token:01234567]", "[redacted:cookie]", "[redacted:cookie:01234567]", "{", "}", "[", "code=", "oauth"),
        ]
    ),
    max_size=12,
).map("".join)  # fmt: skip


@given(before=SURROUNDINGS, after=SURROUNDINGS, token=st.sampled_from([*GITHUB.values(), JWT]))
@settings(max_examples=400)
def test_no_surroundings_hide_a_token(before: str, after: str, token: str) -> None:
    redacted = clean(before + token + after)
    assert token not in redacted
    assert not re.search(r"xxxx|yyyy|mYWtl|hbGci|c2ln", redacted)


PLAIN = st.lists(
    st.sampled_from(
        [
            "https://",
            "token=",
            "&token=",
            "?sig=",
            "&",
            "#",
            "/",
            "=",
            "a.b",
            "login",
            "-p",
            "basic+",
            "bearer+",
            "dXNlcjpmYWtlZmFrZQ",
            "ghs_",
            "abcdef",
            "eyJ",
            ".",
            "-u",
            "curl",
            "x",
        ]
    ),
    max_size=12,
).map("".join)


@example(text="-u0BASIC+I000I000&CURL")
@given(text=SURROUNDINGS | PLAIN)
@settings(max_examples=400)
def test_redacting_twice_is_redacting_once(text: str) -> None:
    once = clean(text)
    assert clean(once) == once


@given(
    secret=st.text("abc XYZ019'$&;,|<>#@!/+=.-_~^()[]{}", min_size=4, max_size=30).map(
        lambda text: "S" + text + "S"
    ),
)
def test_a_quoted_password_goes_whole_whatever_is_in_it(secret: str) -> None:
    quoted = shlex.quote(secret)
    if quoted == secret:
        quoted = f"'{secret}'"
    as_json = json.dumps({"password": secret, "x": 1})
    for text in (f'docker run -e PASSWORD="{secret}" img', as_json, json.dumps({"line": as_json})):
        redacted = clean(text)
        assert secret not in redacted
        assert redacted.count("[redacted:password]") == 1


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | SURROUNDINGS,
        lambda node: (
            st.lists(node) | st.dictionaries(SURROUNDINGS | st.sampled_from(["token", "password"]), node)
        ),
        max_leaves=8,
    )
)
def test_json_stays_json_and_is_stable(value: object) -> None:
    text = json.dumps(value)
    once, count = redact.frame(pl.DataFrame({"metadata": [text]}), key=KEY)
    json.loads(once["metadata"][0])
    twice = redact.frame(once, key=KEY)
    assert (twice[0]["metadata"][0], twice[1]) == (once["metadata"][0], 0)
    assert (once["metadata"][0] != text) == (count > 0)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"db_password": "fakefake", "pod": "p"}, {"db_password": "[redacted:password]", "pod": "p"}),
        ({"password": 1234, "secret": {"a": ["fakefake"]}}, {"password": "[redacted:password]", "secret": "[redacted:secret]"}),
        ({"a": [{"Authorization": "Basic " + USER_BLOB}]}, {"a": [{"Authorization": "Basic [redacted:basic]"}]}),
        ({"Cookie": ["a=fakefake"], "token": True}, {"Cookie": "[redacted:cookie]", "token": True}),
        ({"args": ["login", "-p", "fakefake"]}, {"args": ["login", "-p", "[redacted:password]"]}),
        ([["Cookie", "a=fakefake"], ["Host", "h"]], [["Cookie", "[redacted:cookie]"], ["Host", "h"]]),
        ({"exec": "sh -c 'PASSWORD=\"fake fakefake\" x'"}, {"exec": "sh -c 'PASSWORD=\"[redacted:password]\" x'"}),
        ({"https://me:fakefake@h/": 1, "https://h/": 2}, {"https://h/": 1, "https://h/ (2)": 2}),
        ({"https://me:fakefake@h/": "ü"}, {"https://h/": "ü"}),
        ({"exitCode": "3", "author": "me", "token": "***"}, {"exitCode": "3", "author": "me", "token": "***"}),
    ],
)  # fmt: skip
def test_json_columns_lose_values_by_their_names(value: object, expected: object) -> None:
    rows, _ = redact.frame(pl.DataFrame({"attributes": [json.dumps(value)]}), key=KEY)
    assert json.loads(rows["attributes"][0]) == expected


@pytest.mark.parametrize(
    "text",
    [
        '{"pass\\u0077ord":"fakefake"}',
        "[" * 100_000 + '"PASSWORD=fakefake"' + "]" * 100_000,
        '{"n":' + "9" * 5000 + ',"password":"fakefake"}',
        '{"n":1e999,"password":"fakefake"}',
    ],
)
def test_json_that_hides_or_overflows_is_redacted_and_valid(text: str) -> None:
    rows, count = redact.frame(pl.DataFrame({"metadata": [text]}), key=KEY)
    assert count == 1
    assert WORD not in rows["metadata"][0]
    json.loads(rows["metadata"][0])


def test_json_that_does_not_parse_is_read_as_text() -> None:
    rows, count = redact.frame(pl.DataFrame({"metadata": ['{"token":"fakefake","x":']}), key=KEY)
    assert count == 1
    assert re.fullmatch(r'\{"token":"\[redacted:token:[0-9a-f]{8}\]","x":', rows["metadata"][0])


def test_a_frame_is_redacted_column_by_column_and_counted_by_row() -> None:
    rows = pl.DataFrame(
        {
            "line_no": [1, 2, 3, 4],
            "url": ["https://h/?token=fakefake", "https://h/", None, "https://h/?token=fakefake"],
            "user_agent": ["git/2.53.0", "x ghs_" + "x" * 36, "git/2.53.0", None],
            "actor": ["token=fakefake"] * 4,
        }
    )
    redacted, count = redact.frame(rows, key=KEY, skip=["actor"])
    mark = redact.text("?token=fakefake", key=KEY)[0]
    assert redacted["url"].to_list() == [f"https://h/{mark}", "https://h/", None, f"https://h/{mark}"]
    assert redacted["user_agent"][1].startswith("x [redacted:ghs:")
    assert redacted["actor"].equals(rows["actor"])
    assert redacted.schema == rows.schema
    assert count == 3
    assert redact.frame(redacted, key=KEY, skip=["actor"])[1] == 0


def test_a_frame_without_rows_or_secrets_comes_back_as_it_is() -> None:
    rows = pl.DataFrame(
        {"url": ["https://h/"], "metadata": [None]}, schema={"url": pl.String, "metadata": pl.String}
    )
    for frame in (rows, rows.clear()):
        redacted, count = redact.frame(frame, key=KEY)
        assert redacted.equals(frame)
        assert count == 0


def test_a_login_is_known_by_the_command_beside_its_arguments() -> None:
    rows = pl.DataFrame(
        {"command": ["login", "run", None], "args": ["-u me -p fakefake h", "-p 80:80 img", "-p 1:1"]}
    )
    redacted, count = redact.frame(rows, key=KEY)
    assert redacted["args"].to_list() == ["-u me -p [redacted:password] h", "-p 80:80 img", "-p 1:1"]
    assert count == 1


@pytest.mark.parametrize(
    "piece",
    [
        *("token=", "eyJ", "ghs_", "://", "://a:b", "Authorization: Digest ", "cookie:", 'password="', "password='\\", "&code="),
        *("-----BEGIN ", "-----BEGIN PRIVATE KEY", "basic ", "a-", "-p ", "login -p '", "%253A%252F%252F", "@", ":\\/", "-u a:"),
        *("&x", "a.", "eyJaaaaaa.", "[redacted:token:01234567]", "\\", "https://@", "pass", "bearer a"),
    ],
)  # fmt: skip
def test_hostile_repetition_takes_linear_time(piece: str) -> None:
    short, long = (piece * (size // len(piece)) for size in (20_000, 200_000))
    best = {}
    for text in (short, long):
        started = time.perf_counter()
        redact.text(text + "@", key=KEY)
        best[len(text)] = time.perf_counter() - started
    assert best[len(long)] < 5, best


def test_the_key_is_private_and_stays_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    key = redact.load_key()
    path = tmp_path / "config" / "ciforensics" / "redaction.key"
    assert len(key) == 32
    assert redact.load_key() == key == path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["redaction.key"]
    path.chmod(0o644)
    redact.load_key()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_processes_that_start_at_once_end_with_one_key(tmp_path: Path) -> None:
    code = "from ciforensics import redact; print(redact.load_key().hex())"
    env = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    assert len({process.communicate(timeout=60)[0] for process in started}) == 1


def test_a_broken_key_is_refused_with_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "ciforensics").mkdir()
    (tmp_path / "ciforensics" / "redaction.key").write_bytes(b"short")
    with pytest.raises(CiforensicsError, match="holds 5 bytes, expected 32"):
        redact.load_key()


def test_a_config_folder_that_cannot_be_made_is_said_with_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    with pytest.raises(CiforensicsError, match="XDG_CONFIG_HOME"):
        redact.load_key()
