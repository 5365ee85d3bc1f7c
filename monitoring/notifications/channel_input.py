"""What people enter for a channel, checked: names, addresses and secrets of each kind."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from foundation.errors import InvalidInput
from monitoring.models import NotificationChannel
from monitoring.notifications.senders.webhook import read_secret

Kind = NotificationChannel.Kind

MAX_NAME: Final = 60
MAX_ADDRESSES: Final = 20
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?")
# "Integration key" on PagerDuty's page of the service.
_ROUTING_KEY: Final = re.compile(r"[A-Za-z0-9]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelInput:
    """A channel as somebody wants it. `address` is what a channel of that kind has: e-mail addresses, one on a line, or
    the URL of a webhook; Slack and PagerDuty have none, only a secret."""

    name: str
    kind: NotificationChannel.Kind
    address: str = ""
    enabled: bool = True
    fallback_id: UUID | None = None


def check_name(name: str) -> str:
    """The name of a channel. Raises `InvalidInput`."""
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise InvalidInput(
            f"A name is at most {MAX_NAME} small letters, digits, hyphens and underscores.", pointer="/name"
        )
    return name


def check_address(kind: NotificationChannel.Kind, address: str) -> str:
    """The address as its column has it, "" for none yet. Raises `InvalidInput`."""
    match kind:
        case Kind.EMAIL:
            return "\n".join(_email_addresses(address))
        case Kind.WEBHOOK:
            return check_url(address, pointer="/address") if address.strip() else ""
        case _:
            return ""


def check_secret(kind: NotificationChannel.Kind, secret: str) -> str:
    """A secret that somebody entered. Raises `InvalidInput`, with nothing of it."""
    secret = secret.strip()
    match kind:
        case Kind.EMAIL:
            raise InvalidInput(
                "A channel for e-mail has no secret: the mail server is in EMAIL_URL.", pointer="/secret"
            )
        case Kind.SLACK:
            return check_url(secret, pointer="/secret")
        case Kind.PAGERDUTY:
            if not _ROUTING_KEY.fullmatch(secret):
                raise InvalidInput("An integration key of Events API v2 has 32 letters and digits.", pointer="/secret")
            return secret
        case _:
            try:
                read_secret(secret)
            except ValueError as error:
                raise InvalidInput(str(error), pointer="/secret") from None
            return secret


def check_url(text: str, *, pointer: str) -> str:
    """A URL that may be posted to: https on the public internet, or an origin that the environment lists.

    Where a name leads is judged at each delivery. Raises `InvalidInput`.
    """
    # With the first channel: the package's HTTP client is 9 MB, and every web process loads the forms of channels.
    from foundation.http import AddressRefused, parse_target
    from foundation.http.addresses import is_public_text
    from foundation.http.target import PUBLIC_PORTS

    try:
        target = parse_target(text.strip())
    except AddressRefused:
        raise InvalidInput("An address as in https://hooks.example.org/abc is expected.", pointer=pointer) from None
    is_public = target.port in PUBLIC_PORTS and (not target.is_literal or is_public_text(target.host))
    if target.origin not in settings.BANDSTAND.alert_hosts and not (target.scheme == "https" and is_public):
        raise InvalidInput(
            "The address must begin with https:// and lead to the public internet on an ordinary port, unless "
            "BANDSTAND_ALERT_HOSTS lists its host and port.",
            pointer=pointer,
        )
    return text.strip()


def describe_address(channel: NotificationChannel) -> str:
    """Where a channel leads, without what of an address may be secret."""
    if channel.kind == Kind.EMAIL:
        return ", ".join(channel.address.split())
    if channel.kind == Kind.PAGERDUTY:
        return urlsplit(settings.BANDSTAND.pagerduty_url).netloc
    # An origin has its port, also the usual one.
    return urlsplit(channel.address).netloc.removesuffix(":443")


def _email_addresses(text: str) -> list[str]:
    addresses = list(dict.fromkeys(text.replace(",", " ").replace(";", " ").split()))
    if len(addresses) > MAX_ADDRESSES:
        raise InvalidInput(f"At most {MAX_ADDRESSES} addresses; use a list of the mail server.", pointer="/address")
    for address in addresses:
        try:
            validate_email(address)
        except ValidationError:
            raise InvalidInput("One e-mail address on a line is expected.", pointer="/address") from None
    return addresses
