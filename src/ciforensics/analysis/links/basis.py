"""What the name of a request's sender rests on."""

from __future__ import annotations

from enum import StrEnum


class Basis(StrEnum):
    """A key that names the run, the model, or nothing.

    `views/links/exact_keys.sql` finds the first two keys, `sightings` the third.
    """

    ORCHESTRATION_ID = "orchestration id"
    ADDRESS = "address"
    SAME_REQUEST = "same request"
    MODEL = "model"
    UNATTRIBUTED = "unattributed"


EXACT = (Basis.ORCHESTRATION_ID, Basis.ADDRESS, Basis.SAME_REQUEST)
"""Keys that name the run."""
