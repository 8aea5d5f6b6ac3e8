"""What all commands share: one console, one table."""

from __future__ import annotations

from pathlib import Path

import ciforensics.cli

FOLDER = Path(ciforensics.cli.__file__).parent


def test_only_the_console_writes_to_a_terminal() -> None:
    texts = {path.name: path.read_text("utf-8") for path in FOLDER.glob("*.py")}
    del texts["console.py"]
    assert len(texts) > 8
    assert [name for name, text in texts.items() if "Console(" in text or "Table(" in text] == []
