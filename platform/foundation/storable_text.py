"""Text that PostgreSQL can store."""

from __future__ import annotations

import re

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable_text(text: str) -> str:
    """`text` with U+FFFD for NUL and lone surrogates, which PostgreSQL cannot store. For output of models and tools."""
    return _UNSTORABLE.sub("\ufffd", text)
