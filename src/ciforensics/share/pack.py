"""The files that are shared, as one zip."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from ciforensics.swap import replacing

if TYPE_CHECKING:
    import os

_LONG_AGO = (1980, 1, 1, 0, 0, 0)


def shared_files(folder: Path) -> list[Path]:
    """What is shared of a folder: all but hidden files, the index first."""
    files = [
        path
        for path in folder.rglob("*")
        if (path.is_symlink() or path.is_file())
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    return sorted(
        files, key=lambda path: (path != folder / "index.html", path.relative_to(folder).as_posix())
    )


def write_zip(folder: str | os.PathLike[str], zip_file: str | os.PathLike[str]) -> None:
    """Packs what `find_leaks` has searched; the same files make the same zip, byte for byte.

    Args:
        folder: the report's folder.
        zip_file: the zip to write; replaced when the new one is complete.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "index.html").write_text("<p>hello")
        >>> write_zip(folder, folder / ".report.zip")
        >>> zipfile.ZipFile(folder / ".report.zip").namelist()
        ['index.html']
    """
    folder, zip_file = Path(folder), Path(zip_file)
    files = [path for path in shared_files(folder) if path.resolve() != zip_file.resolve()]
    with replacing(zip_file) as new, zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in files:
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _LONG_AGO)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            packed.writestr(entry, path.read_bytes())
