"""A file that is written beside and swapped in: the old one or the new one, never half of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ciforensics.swap import replacing

if TYPE_CHECKING:
    from pathlib import Path


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "answer.txt"
    path.write_text("old")
    with replacing(path) as new:
        new.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_stays_where_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "answer.txt"
    path.write_text("old")
    with pytest.raises(TypeError), replacing(path) as new, new.open("w") as file:
        file.writelines(["half", None])  # type: ignore[list-item]
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("private", [True, False])
def test_a_private_file_is_for_its_owner_alone(tmp_path: Path, *, private: bool) -> None:
    path = tmp_path / "names.csv"
    with replacing(path, private=private) as new:
        new.write_text("names")
    assert (path.stat().st_mode & 0o077 == 0) == private
