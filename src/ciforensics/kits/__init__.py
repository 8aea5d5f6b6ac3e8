"""What gets deployed to where requests are made: loggers that write what ciforensics reads best.

| module | what it is |
|---|---|
| `kit` | what a kit is: its keys, what values they take, its files |
| `export` | finds the kits, writes one out |
| `docker_wrapper`, `docker_events`, `squid`, `golden_images`, `mitmproxy` | a kit each: files and a page |
| `scheduled_report` | a kit that records nothing: it runs the report on what the others wrote |
"""

from __future__ import annotations

from pathlib import Path

MITMPROXY_ADDON = Path(__file__).parent / "mitmproxy" / "addon.py"
"""The addon for mitmdump: one file that needs nothing but mitmproxy, so it can be copied anywhere."""
