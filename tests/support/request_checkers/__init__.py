"""What strict servers say to a request: one checker for each dialect and each vendor.

They are written from published types and from refusals that people met, and know nothing of our `Dialect`: what we send
must be right by the servers' own rules.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.request_checkers import anthropic, bedrock, gemini
from tests.support.request_checkers.chat_completions import CHECKERS
from tests.support.request_checkers.rules import Refused

__all__ = ["CHAT_SERVERS", "VENDORS", "Refused", "check_request"]

CHAT_SERVERS = tuple(CHECKERS)
_VENDORS: dict[str, Callable[[dict[str, Any]], None]] = {
    "anthropic": anthropic.check,
    "google": gemini.check,
    "bedrock": bedrock.check,
}
VENDORS = tuple(_VENDORS)


def check_request(server: str, body: dict[str, Any]) -> None:
    """Raise `Refused` with the words of `server` when it would not take `body`."""
    {**CHECKERS, **_VENDORS}[server](body)
