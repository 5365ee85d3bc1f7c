"""What removes the secrets of this installation from what leaves it for somebody to look into."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings

from foundation.scrubbing import Scrubber


def secret_scrubber() -> Callable[[str], str]:
    """A function that returns a text without the secrets of this installation, and without what is shaped like a
    key."""
    config = settings.BANDSTAND
    mail_server = config.mail_server
    passwords = [settings.DATABASES["default"].get("PASSWORD"), mail_server.password if mail_server else None]
    return Scrubber([*config.secrets(), *(str(password) for password in passwords if password)]).text
