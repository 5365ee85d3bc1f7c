"""Sends what the watchdog has to say, and calls the address that notices when nobody calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from bandstand.supervisor.terminal import print_error

if TYPE_CHECKING:
    from foundation.http import GuardedClient

SEND_SECONDS: Final = 10.0


class NotDelivered(Exception):
    """The address did not take it; the message says why, without the address."""


class Messenger:
    """Requests to the addresses of the environment, which are secret: nothing here says them."""

    def __init__(self, *, webhook: str | None, heartbeat_url: str | None) -> None:
        self._webhook = webhook
        self._heartbeat_url = heartbeat_url
        self._client: GuardedClient | None = None
        self._fault = ""

    @property
    def has_webhook(self) -> bool:
        return self._webhook is not None

    @property
    def has_heartbeat(self) -> bool:
        return self._heartbeat_url is not None

    async def send(self, text: str) -> None:
        """POST `{"text": text}` to the webhook: what Slack and Mattermost take, and anything can read. Raises
        `NotDelivered`."""
        assert self._webhook is not None
        await self._request("POST", self._webhook, {"text": text})

    async def call_heartbeat(self) -> bool:
        """GET the heartbeat's address; return whether it answered. The first failure after a success is printed."""
        assert self._heartbeat_url is not None
        try:
            await self._request("GET", self._heartbeat_url, None)
        except NotDelivered as error:
            if str(error) != self._fault:
                print_error(f"BANDSTAND_HEARTBEAT_URL: {error}")
            self._fault = str(error)
            return False
        self._fault = ""
        return True

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

    async def _request(self, method: str, url: str, body: dict[str, str] | None) -> None:
        # Imported by who needs it: an HTTP client costs the supervisor a fifth of a second.
        import aiohttp

        from foundation.http import AddressRefused

        try:
            async with (
                asyncio.timeout(SEND_SECONDS),
                self._open_client()
                .session(fresh=True)
                .request(method, url, json=body, allow_redirects=False) as answer,
            ):
                status = answer.status
        except TimeoutError:
            raise NotDelivered(f"no answer within {SEND_SECONDS:.0f} s") from None
        except (aiohttp.ClientError, AddressRefused, OSError, ValueError) as error:
            # Its text may hold the address.
            raise NotDelivered(f"it cannot be reached ({type(error).__name__})") from None
        if not 200 <= status < 300:
            raise NotDelivered(f"it answers {status}")

    def _open_client(self) -> GuardedClient:
        if self._client is None:
            from foundation.http import GuardedClient, allowed_origin

            # The operator has named them: they may stand on this machine or in this network.
            urls = [url for url in (self._webhook, self._heartbeat_url) if url]
            self._client = GuardedClient(allow_origins=frozenset(map(allowed_origin, urls)))
        return self._client


async def retry(send: Callable[[], Awaitable[None]], *, first_seconds: float, longest_seconds: float) -> None:
    """Call `send` until it is delivered, after pauses that double from `first_seconds` to `longest_seconds`; the first
    failure is printed."""
    pause = first_seconds
    while True:
        try:
            await send()
        except NotDelivered as error:
            if pause == first_seconds:
                print_error(f"BANDSTAND_WATCHDOG_WEBHOOK: {error}; trying again")
        else:
            return
        await asyncio.sleep(pause)
        pause = min(2 * pause, longest_seconds)
