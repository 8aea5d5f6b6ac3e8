"""What speaks for a sender of a request."""

from __future__ import annotations

from enum import StrEnum


class Clue(StrEnum):
    """What speaks for a sender, in the order in which it is weighed; a key decides alone."""

    KEY = "key"
    ACTIVITY = "activity"
    URL = "url"
    USER_AGENT = "user agent"
    OUTCOME = "outcome"
    DELAY = "delay"
    SAME_REQUEST = "same request"
    CALIBRATION = "calibration"
