"""Secrets, taken out of whatever is about to leave the process in a log line or an error report.

Scrubbing goes by value, not by the name of a field: a key that a traceback, a URL or a provider's answer repeats is
found wherever it stands.
"""

import json
import re
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

MARK: Final = "[scrubbed]"
SHORTEST: Final = 6  # a shorter "secret" would be found in ordinary words
DEEPEST: Final = 12
SHAPES: Final = (
    r"\bbs_[A-Za-z0-9_\-]{8,}",  # our API keys
    r"\bsk-[A-Za-z0-9_\-]{8,}",  # model providers' keys
    r"(?i:\bbearer\s+)[A-Za-z0-9._~+/=\-]{8,}",
    r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)",  # user and password of an address
    r"(?<=/)[0-9a-z]{6,8}-[0-9a-f]{32}\b",  # the tokens of links for a new password
    r"(?i:\b(?:__Host-bandstand|bandstand_\d+|sessionid|csrftoken)=)[A-Za-z0-9]{8,}",
)


class Scrubber:
    """Replaces known secrets and everything shaped like a key by `[scrubbed]`."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if len(secret) >= SHORTEST for form in _forms(secret)}
        # Longest first: one secret may be the beginning of another.
        patterns = [re.escape(form) for form in sorted(forms, key=len, reverse=True)]
        self._pattern = re.compile("|".join([*patterns, *SHAPES]))

    def text(self, value: str) -> str:
        """`value` without secrets."""
        return self._pattern.sub(MARK, value)

    def tree(self, value: Any, depth: int = 0) -> Any:
        """A copy of nested dicts and sequences without secrets, in keys too; what is too deep becomes text."""
        if isinstance(value, int | float | bool) or value is None:
            return value
        if isinstance(value, dict) and depth < DEEPEST:
            return {self.tree(key, depth + 1): self.tree(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset) and depth < DEEPEST:
            return [self.tree(item, depth + 1) for item in value]
        if isinstance(value, bytes | bytearray):
            value = bytes(value).decode("utf-8", errors="replace")
        return self.text(str(value))


def _forms(secret: str) -> Iterable[str]:
    yield secret
    yield quote(secret, safe="")
    yield json.dumps(secret)[1:-1]
    yield repr(secret)[1:-1]
