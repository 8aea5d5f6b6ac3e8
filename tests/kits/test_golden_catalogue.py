"""A catalogue is read whole, or refused with a sentence that says where and what."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ciforensics.errors import CiforensicsError
from ciforensics.kits.golden.catalogue import Credentials, Image, parse_catalogue, read_catalogue

if TYPE_CHECKING:
    from pathlib import Path

LEAST = "organisations: [acme]\nmirror: europe-docker.pkg.dev/acme-ci/mirror\nimages: [debian:trixie]\n"


def test_what_is_left_out_has_a_default() -> None:
    catalogue = parse_catalogue(LEAST)
    assert catalogue.scopes == ("https://github.com/acme/",)
    assert catalogue.images == (Image(name="debian:trixie", git="source", user="root"),)
    assert (catalogue.golden, catalogue.cache) == ("golden-images", "dockerhub-cache")
    assert catalogue.credentials == Credentials(secret="github_token", environment="GITHUB_TOKEN")


def test_everything_can_be_said(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        """
organisations: [acme, Acme]
mirror: europe-docker.pkg.dev/acme-ci/mirror
images:
  - golang:1.24-bookworm
  - {name: "registry.example.com:5000/acme/base:1", git: as-is, user: "app:app"}
forge: https://ghe.example.com
endpoint: http://mirror.example.com:5000
golden: gold
cache: hub
credentials: {secret: a, environment: B}
"""
    )
    catalogue = read_catalogue(tmp_path / "c.yaml")
    assert catalogue.scopes == ("https://ghe.example.com/acme/", "https://ghe.example.com/Acme/")
    assert catalogue.images[1] == Image(
        name="registry.example.com:5000/acme/base:1", git="as-is", user="app:app"
    )
    assert [image.hub for image in catalogue.images] == [True, False]
    assert catalogue.credentials == Credentials(secret="a", environment="B")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it takes organisations, mirror"),
        ("[]", "is [], not a mapping"),
        ("a: b: c", "is no YAML"),
        ("a: 2026-99-99", "is no YAML"),
        ("images: [debian:trixie]", "does not say organisations and mirror"),
        (LEAST + "organizations: [a]", "did you mean organisations?"),
        (LEAST + "7: a", "there are organisations, mirror"),
        (LEAST + "forge: http://github.com", "not https:// and a host"),
        (LEAST + "forge: https://github.com/acme", "not https:// and a host"),
        (LEAST + "endpoint: http://a/b", "not a URL without a path"),
        (LEAST + "golden: 7", "golden is 7, not a repository"),
        (LEAST + "credentials: secret", "credentials is 'secret', not a mapping"),
        (LEAST + "credentials: {secrets: a}", "did you mean secret?"),
        (LEAST + "credentials: {secret: a/b}", "credentials: secret is 'a/b'"),
        (LEAST.replace("[acme]", "acme"), "organisations is 'acme', not a list"),
        (LEAST.replace("[acme]", "[]"), "organisations is [], not a list"),
        (LEAST.replace("acme]", "a/b]"), "organisations[0] is 'a/b', not an organisation"),
        (LEAST.replace("acme]", "'a\\nb']"), "organisations[0] is 'a\\\\nb'"),
        (LEAST.replace("europe-docker.pkg.dev", "gcr.io"), "not a repository of Artifact Registry"),
        (LEAST.replace("debian:trixie", "debian"), "not an image with a tag"),
        (LEAST.replace("debian:trixie", f"debian@sha256:{'0' * 64}"), "and no digest"),
        (LEAST.replace("debian:trixie", "'a b:1'"), "not an image with a tag"),
        (LEAST.replace("debian:trixie", "{nam: a}"), "did you mean name?"),
        (LEAST.replace("debian:trixie", "{git: source}"), "images[0] does not say name"),
        (LEAST.replace("debian:trixie", "{name: 'a:1', git: apt}"), "not one of source, package, as-is"),
        (LEAST.replace("debian:trixie", "a:1, library/a:1"), "is library/a:1 again"),
        ("a: &a [*a]", "'a' is no entry"),
        (LEAST.replace("debian:trixie", "'../etc:1'"), "not an image with a tag"),
        ("a: !!timestamp foo", "is no YAML"),
        ("a: !!bool foo", "is no YAML"),
        ("a: !!int ''", "is no YAML"),
        (f"a: 1{':1' * 300}.5", "is no YAML"),
        (LEAST.replace("[acme]", f"0x{'f' * 5000}"), "is a very large number, not a list"),
        (
            "".join(f"- &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 9)}]\n" for n in range(12)),
            "not a mapping",
        ),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(text: str, said: str) -> None:
    with pytest.raises(CiforensicsError) as refused:
        parse_catalogue(text, name="c.yaml")
    assert said in str(refused.value)
    assert str(refused.value).startswith("c.yaml")
    assert "\nHint: " in str(refused.value)


def test_a_catalogue_that_is_not_there_or_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name in ("missing", "binary", "."):
        with pytest.raises(CiforensicsError, match="cannot be read"):
            read_catalogue(tmp_path / name)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.text() | JSON.map(yaml.safe_dump))
def test_no_text_makes_it_fail_otherwise(text: str) -> None:
    with pytest.raises(CiforensicsError):
        parse_catalogue(text)


@given(
    key=st.sampled_from(["organisations", "mirror", "images", "forge", "endpoint", "golden", "credentials"]),
    value=JSON,
)
def test_no_value_makes_it_fail_otherwise(key: str, value: object) -> None:
    document = yaml.safe_load(LEAST) | {key: value}
    with suppress(CiforensicsError):
        parse_catalogue(yaml.safe_dump(document))
