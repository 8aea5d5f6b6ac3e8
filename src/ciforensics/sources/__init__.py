"""One module a log. A new log is one file here, one sample, one test; nothing registers it."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ciforensics.contract import Source


@cache
def all_sources() -> tuple[Source, ...]:
    """Every source, found by looking into this folder.

    Example:
        >>> [source.name for source in all_sources()][:2]
        ['docker_events', 'docker_wrapper']
    """
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return tuple(importlib.import_module(f"{__name__}.{name}").SOURCE for name in names)
