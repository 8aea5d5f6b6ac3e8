"""What comes with the code: its version, the notebooks and the samples."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from ciforensics.errors import CiforensicsError

__version__ = metadata.version("ciforensics")

_CHECKOUT = {"notebooks": "notebooks", "samples": "data/samples"}


def shipped_folder(name: str) -> Path:
    """The folder `notebooks` or `samples`: in the wheel, or in the checkout that an editable install runs.

    Example:
        >>> shipped_folder("samples").is_dir()
        True
    """
    package = Path(__file__).parent
    for folder in (package / name, package.parents[1] / _CHECKOUT[name]):
        if folder.is_dir():
            return folder
    raise CiforensicsError(
        f"This installation has no {name}.", hint="install ciforensics again, from a wheel or a checkout."
    )
