"""Webhooks that are signed as Standard Webhooks 1.0 says (https://www.standardwebhooks.com).

Signed by hand: what is needed of the `standardwebhooks` package is one HMAC, and its `sign` takes the time of an aware
datetime in any zone for UTC. The tests hold the published example against it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from typing import Final

from foundation.clock import now
from monitoring.notifications.message import NotificationMessage, Recipient
from monitoring.notifications.senders.http_request import HttpRequest

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - how a secret begins
# As the specification says: 192 to 512 bits.
MIN_KEY_BYTES: Final = 24
MAX_KEY_BYTES: Final = 64


def make_secret() -> str:
    """A new signing secret, as receivers' libraries take it."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode("ascii")


def read_secret(text: str) -> bytes:
    """The key of a signing secret `whsec_…`. Raises `ValueError`."""
    try:
        key = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not text.startswith(SECRET_PREFIX) or not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise ValueError(f"{SECRET_PREFIX} and {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes in base64 are expected.")
    return key


def sign(secret: str, *, message_id: str, timestamp: int, content: bytes) -> str:
    """The value of `webhook-signature`. `message_id` holds no full stop, which separates what is signed."""
    signed = b".".join([message_id.encode(), str(timestamp).encode(), content])
    digest = hmac.new(read_secret(secret), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode('ascii')}"


def make_request(recipient: Recipient, messages: Sequence[NotificationMessage]) -> HttpRequest:
    """The request of the one message in `messages`."""
    (message,) = messages
    body = {
        "type": f"alert.{message.kind.value}",
        "timestamp": message.created_at.isoformat(),
        "data": {"kind": message.kind.value, **message.content.dump()},
    }
    content = json.dumps(body, separators=(",", ":")).encode()
    timestamp = int(now().timestamp())
    headers = {
        "webhook-id": message.id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(recipient.secret, message_id=message.id, timestamp=timestamp, content=content),
    }
    # What a stranger's server answers is not shown: it may be a page, or what nobody here should read.
    return HttpRequest(recipient.address, content, headers, keeps_trying=True, explains=False)
