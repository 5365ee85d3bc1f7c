"""Text that a row can hold."""

from __future__ import annotations

import re

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable_text(text: str) -> str:
    """`text` with U+FFFD for NUL and lone surrogates, which no row can hold. For what models and tools wrote."""
    return _UNSTORABLE.sub("\ufffd", text)
