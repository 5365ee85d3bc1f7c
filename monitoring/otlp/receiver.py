"""The receiver of traces: where it is, what it wants to be sent, and what it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp
from yarl import URL

from foundation.clock import now
from foundation.http import AddressRefused, GuardedClient, allowed_origin

TRACES_PATH: Final = "/v1/traces"
SEND_SECONDS: Final = 15.0
MAX_ANSWER_BYTES: Final = 64 * 1024
# What OTLP calls a fault of the data. All else may be otherwise after a while, a wrong key among it.
_BAD_DATA: Final = frozenset({400, 413, 415, 422})


class NotSent(Exception):
    """It may be taken later. `retry_seconds` is how long the receiver wants to be left alone, if it says so."""

    def __init__(self, reason: str, retry_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.retry_seconds = retry_seconds


class ExportRefused(Exception):
    """The receiver will never take it."""


@dataclass(frozen=True, slots=True)
class ReceiverConfig:
    """The address of a receiver, to which `/v1/traces` is added, and the headers of each request, which are secret."""

    endpoint: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class Receiver:
    """Sends messages, one after the other, on one event loop. Close it there."""

    def __init__(self, config: ReceiverConfig) -> None:
        """Raises `AddressRefused` for an endpoint that is not a plain http(s) address."""
        base = URL(config.endpoint)
        self._url = base.with_path(base.raw_path.rstrip("/") + TRACES_PATH, encoded=True)
        self._headers = {**config.headers, "Content-Type": "application/x-protobuf"}
        # The operator has named it: it may stand on this machine or in this network.
        self._client = GuardedClient(allow_origins=frozenset({allowed_origin(config.endpoint)}))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def send(self, content: bytes) -> bytes:
        """Send one message and return the body of the answer. Raises `NotSent`, `ExportRefused`. What they say contains
        neither headers nor what was sent."""
        try:
            async with asyncio.timeout(SEND_SECONDS):
                request = self._client.session().post(
                    self._url, data=content, headers=self._headers, allow_redirects=False
                )
                async with request as response:
                    return await _read(response)
        except TimeoutError:
            raise NotSent("The receiver did not answer in time.") from None
        except (aiohttp.ClientError, AddressRefused, OSError, ValueError) as error:
            raise NotSent(f"The receiver cannot be reached ({type(error).__name__}).") from None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    if response.status in _BAD_DATA:
        raise ExportRefused(f"The receiver refuses ({response.status}).")
    if not 200 <= response.status < 300:
        raise NotSent(f"The receiver answers {response.status}.", _retry_seconds(response.headers.get("Retry-After")))
    return await response.content.read(MAX_ANSWER_BYTES)


def _retry_seconds(value: str | None) -> float | None:
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - now()).total_seconds())
    except (TypeError, ValueError):
        return None
