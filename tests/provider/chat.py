"""A vendor's message in the words of a chat completion, which is what scripts are read from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def chat_messages(role: str, text: str, calls: Sequence[Any]) -> list[dict[str, Any]]:
    """One message; none where nothing was said."""
    if not text and not calls:
        return []
    return [{"role": role, "content": text, **({"tool_calls": calls} if calls else {})}]
