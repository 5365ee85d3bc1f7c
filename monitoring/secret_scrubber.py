"""What removes the secrets of this installation from what leaves it for somebody to look into."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings

from foundation.scrubbing import Scrubber


def secret_scrubber() -> Callable[[str], str]:
    """A function that returns a text without the secrets of this installation, and without what is shaped like a
    key."""
    password = settings.DATABASES["default"].get("PASSWORD") or ""
    return Scrubber([*settings.BANDSTAND.secrets(), str(password)]).text
