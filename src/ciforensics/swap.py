"""Files that are written beside and swapped in: a reader finds the old or the new one, never half of it."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def replacing(path: Path, *, private: bool = False) -> Iterator[Path]:
    """Gives a path to write to; that file takes the place of `path` when the block ends without an error.

    Args:
        path: the file to write, there or not; its folder must be there.
        private: nobody but the owner may read it (mode 0600).

    Raises:
        OSError: the folder is not there or cannot be written.

    Example:
        >>> path = Path(tempfile.mkdtemp()) / "answer.txt"
        >>> with replacing(path) as new:
        ...     _ = new.write_text("42")
        >>> path.read_text()
        '42'
    """
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as beside:
        new = Path(beside) / path.name
        if private:
            new.touch(mode=0o600)
        yield new
        swap_in(new, path)


def swap_in(new: Path, path: Path) -> None:
    """Puts a complete file in the place of another on its disk; a crash leaves one of the two, whole."""
    with new.open("rb+") as file:
        os.fsync(file.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
