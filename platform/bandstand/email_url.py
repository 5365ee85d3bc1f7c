"""The SMTP server, parsed from EMAIL_URL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import unquote, urlsplit

# For one socket operation; a slower server is retried later.
TIMEOUT_SECONDS: Final = 10
_SENDER: Final = re.compile(r"(?:[^<>@\r\n]*<[^<>@\s]+@[^<>@\s]+>|[^<>@\s]+@[^<>@\s]+)")


class Encryption(StrEnum):
    STARTTLS = "smtp"  # refused if the server does not offer it
    TLS = "smtps"
    NONE = "smtp+plain"


_PORTS: Final = {Encryption.STARTTLS: 587, Encryption.TLS: 465, Encryption.NONE: 25}


@dataclass(frozen=True, slots=True)
class MailServer:
    """An SMTP server with its credentials; an empty user: no authentication."""

    host: str
    port: int
    encryption: Encryption
    user: str = ""
    password: str = ""


def read_server(url: str) -> MailServer:
    """The server of `smtp://user:password@host:port`. Raises `ValueError` with a message that quotes nothing of it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("must be an address as in smtp://user:password@mail.example.org:587") from None
    if parts.scheme not in set(Encryption) or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ValueError(f"must be {', '.join(f'{scheme}://…' for scheme in Encryption)}, with a host and no path")
    encryption = Encryption(parts.scheme)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if bool(user) != bool(password):
        raise ValueError("must hold a user name and a password, or neither")
    if user and encryption is Encryption.NONE:
        raise ValueError("must be smtp:// or smtps:// where there is a password")
    return MailServer(parts.hostname, port or _PORTS[encryption], encryption, user, password)


def check_sender(value: str) -> str:
    """Return `value` if it is a valid From header. Raises `ValueError`."""
    if not _SENDER.fullmatch(value) or not value.isprintable():
        raise ValueError("must be an address, as in Bandstand <chat@example.org>")
    return value
