"""The HTTP request of a channel, and what its response means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from foundation.clock import now
from foundation.graphemes import cut_text
from foundation.names import clean_name
from foundation.scrubbing import Scrubber
from monitoring.notifications.message import DeliveryOutcome

if TYPE_CHECKING:
    from foundation.http import Fetched, GuardedClient

CONNECT_SECONDS: Final = 5.0
TOTAL_SECONDS: Final = 20.0
MAX_RESPONSE_BYTES: Final = 16 * 1024
MAX_ERROR: Final = 200
# Of 4xx: those that say "not now".
_TEMPORARY: Final = frozenset({408, 409, 425, 429})


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A POST of JSON. With `keeps_trying` every error but 410 may pass; else only those that HTTP calls temporary.
    `explains` says that the body of an error is one line for people, as the receiver's documentation has it."""

    url: str = field(repr=False)
    content: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    keeps_trying: bool = False
    explains: bool = True


async def send_request(client: GuardedClient, request: HttpRequest, *, secret: str) -> DeliveryOutcome:
    """Send it and return what its response means. What errors say contains neither `secret` nor the URL."""
    # Not with the forms of channels, which every web process loads.
    from foundation.http import AddressRefused, Unreachable

    try:
        response = await client.post(
            request.url,
            content=request.content,
            headers={"Content-Type": "application/json", **request.headers},
            max_bytes=MAX_RESPONSE_BYTES,
            connect_seconds=CONNECT_SECONDS,
            total_seconds=TOTAL_SECONDS,
        )
    except AddressRefused as error:
        hint = "BANDSTAND_ALERT_HOSTS lists hosts of private networks."
        return DeliveryOutcome(error=f"{error.detail} {hint}", is_permanent=True)
    except Unreachable as error:
        return DeliveryOutcome(error=error.detail)
    if 200 <= response.status < 300:
        return DeliveryOutcome(succeeded=True, status_code=response.status)
    return DeliveryOutcome(
        error=_describe(response, request, secret),
        status_code=response.status,
        is_permanent=_is_permanent(response.status, keeps_trying=request.keeps_trying),
        retry_seconds=parse_retry_after(response.retry_after),
    )


def _is_permanent(status: int, *, keeps_trying: bool) -> bool:
    if keeps_trying:
        return status == 410 or status < 400
    return status < 500 and status not in _TEMPORARY


def _describe(response: Fetched, request: HttpRequest, secret: str) -> str:
    text = f"The receiver answers {response.status}"
    if 300 <= response.status < 400:
        return f"{text}: it wants to send us elsewhere, and redirects are not followed."
    if not request.explains:
        return f"{text}."
    from foundation.http import decode_text

    # The token of an address is a part of its path.
    scrubber = Scrubber([secret, request.url, *urlsplit(request.url).path.split("/")])
    explanation = scrubber.text(clean_name(decode_text(response.body, response.charset)))
    return cut_text(f"{text}: {explanation}" if explanation else f"{text}.", MAX_ERROR, mark="…")


def parse_retry_after(value: str) -> float | None:
    """The seconds of a Retry-After header; None for one that cannot be read."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, (parsedate_to_datetime(value) - now()).total_seconds())
    except (TypeError, ValueError):
        return None
