"""The secrets and URLs of channels: encrypted in their rows, and bound to where they may be sent."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings

from foundation.encryption import SecretCipher, SecretUnreadable
from monitoring.models import NotificationChannel

Kind = NotificationChannel.Kind


def origin_of(address: str) -> str:
    """Scheme, host and port of a URL, in lower case."""
    parts = urlsplit(address)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    host = parts.hostname or ""
    return f"{parts.scheme}://[{host}]:{port}" if ":" in host else f"{parts.scheme}://{host}:{port}"


def encrypt_secret(channel: NotificationChannel, secret: str) -> str:
    """The content of the column `secret` for the channel as it is now."""
    return _cipher().encrypt(secret, bound_to=_binding(channel))


def decrypt_secret(channel: NotificationChannel) -> str:
    """The channel's secret, "" if it has none. Raises `SecretUnreadable`, also where the address leads elsewhere than
    when the secret was entered."""
    if not channel.secret:
        return ""
    return _cipher().decrypt(channel.secret, bound_to=_binding(channel))


def set_webhook_url(channel: NotificationChannel, url: str) -> None:
    """Set the URL of a webhook, or "" for none: its origin in `address`, all of it encrypted."""
    channel.address = origin_of(url) if url else ""
    channel.url = _cipher().encrypt(url, bound_to=_url_binding(channel)) if url else ""


def read_address(channel: NotificationChannel) -> str:
    """Where a channel leads, as somebody entered it: e-mail addresses, or the URL of a webhook, which may carry a
    token. Raises `SecretUnreadable`."""
    if channel.kind != Kind.WEBHOOK or not channel.url:
        return channel.address
    return _cipher().decrypt(channel.url, bound_to=_url_binding(channel))


def has_secret_for(channel: NotificationChannel) -> bool:
    """Whether the channel has a secret that can be used where it leads now."""
    try:
        return decrypt_secret(channel) != ""
    except SecretUnreadable:
        return False


def reencrypt_secrets() -> int:
    """Encrypt what a previous key has encrypted with the present one; return how many secrets and URLs. What neither
    reads stays as it is: its key may come back."""
    cipher, changed = _cipher(), 0
    for column in ("secret", "url"):
        for pk, stored in NotificationChannel.objects.exclude(**{column: ""}).values_list("pk", column):
            try:
                text = cipher.reencrypt(stored)
            except SecretUnreadable:
                continue
            if text is not None:
                # Not over one that was entered meanwhile.
                rows = NotificationChannel.objects.filter(pk=pk, **{column: stored})
                changed += rows.update(**{column: text})
    return changed


def _url_binding(channel: NotificationChannel) -> str:
    return f"notification channel url {origin_of(channel.address)}"


def _binding(channel: NotificationChannel) -> str:
    # PagerDuty's address is the environment's, so all that its key is bound to is the kind.
    origin = "" if channel.kind in (Kind.PAGERDUTY, Kind.EMAIL) else origin_of(channel.address)
    return f"notification channel {channel.kind} {origin}"


def _cipher() -> SecretCipher:
    config = settings.BANDSTAND
    keys = [config.encryption_key, *filter(None, [config.encryption_key_previous])]
    return SecretCipher([key.get_secret_value() for key in keys])
