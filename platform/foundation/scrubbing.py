"""Removes secrets from log lines and error reports.

Secrets are recognised by value, not by the name of a field, so that keys within tracebacks, URLs and responses of
providers are removed as well.
"""

import json
import re
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

MARK: Final = "[scrubbed]"
MIN_SECRET_LENGTH: Final = 6  # shorter values would match ordinary words
MAX_DEPTH: Final = 12
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
        forms = {form for secret in secrets if len(secret) >= MIN_SECRET_LENGTH for form in _forms(secret)}
        # Longest first: one secret may be the beginning of another.
        patterns = [re.escape(form) for form in sorted(forms, key=len, reverse=True)]
        self._pattern = re.compile("|".join([*patterns, *SHAPES]))

    def text(self, value: str) -> str:
        """Return `value` with secrets replaced by `MARK`."""
        return self._pattern.sub(MARK, value)

    def tree(self, value: Any, depth: int = 0) -> Any:
        """Return a copy of nested dicts and sequences without secrets, also in keys; below `MAX_DEPTH` as text."""
        if isinstance(value, int | float | bool) or value is None:
            return value
        if isinstance(value, dict) and depth < MAX_DEPTH:
            return {self.tree(key, depth + 1): self.tree(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset) and depth < MAX_DEPTH:
            return [self.tree(item, depth + 1) for item in value]
        if isinstance(value, bytes | bytearray):
            value = bytes(value).decode("utf-8", errors="replace")
        return self.text(str(value))


def _forms(secret: str) -> Iterable[str]:
    yield secret
    yield quote(secret, safe="")
    yield json.dumps(secret)[1:-1]
    yield repr(secret)[1:-1]
