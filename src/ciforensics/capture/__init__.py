"""What gets deployed to where requests are made: loggers that write what ciforensics reads best."""

from __future__ import annotations

from pathlib import Path

MITMPROXY_ADDON = Path(__file__).with_name("mitmproxy_addon.py")
"""The addon for mitmdump: one file that needs nothing but mitmproxy, so it can be copied anywhere."""
