"""Refusals one after the other, in turns of those who are refused.

To refuse costs the process about as much as to serve something small, and most clients that are refused ask again at
once: a thousand connections of one client would be refused all day. So a client waits for its refusal until it has had
its turn. Who is refused once in a while does not wait at all.
"""

from __future__ import annotations

import asyncio
from typing import Final

from bandstand.web.asgi_types import Receive
from foundation.fair_shares import FairShares

PER_SECOND: Final = 25.0
# With more, refusals are made at once: those that wait are connections, with their memory.
MAX_WAITING: Final = 2000
_DISCONNECTED: Final = frozenset({"http.disconnect", "websocket.disconnect"})


class PacedRefusals:
    """The refusals of one process."""

    def __init__(self, *, per_second: float = PER_SECOND, max_waiting: int = MAX_WAITING) -> None:
        self._interval_seconds = 1 / per_second
        self._max_waiting = max_waiting
        self._loop: asyncio.AbstractEventLoop | None = None

    async def wait(self, requester: str, receive: Receive | None = None) -> bool:
        """Wait until `requester` may be refused once more; return whether the client is still there.

        With `receive` what the client sends meanwhile is dropped, and its going away is noticed.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            # The first; or one of before has ended with its timers, in tests.
            self._loop, self._waiting = loop, 0
            # One refusal at a time, which lasts for the interval: the pace.
            self._shares: FairShares[_Refusal] = FairShares(1, 1)
        if self._waiting >= self._max_waiting:
            return True
        refusal = _Refusal(requester)
        if self._shares.add(requester, refusal):
            self._end_later(refusal)
            return True
        self._waiting += 1
        try:
            return await _granted_before_disconnect(refusal.granted, receive)
        finally:
            self._waiting -= 1
            if not refusal.is_begun:
                self._shares.remove(requester, refusal)

    def _end_later(self, refusal: _Refusal) -> None:
        asyncio.get_running_loop().call_later(self._interval_seconds, self._end, refusal)

    def _end(self, refusal: _Refusal) -> None:
        following = self._shares.finish(refusal.requester)
        if following is not None:
            following.begin()
            self._end_later(following)


class _Refusal:
    def __init__(self, requester: str) -> None:
        self.requester = requester
        self.is_begun = False
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def begin(self) -> None:
        self.is_begun = True
        if not self.granted.done():
            self.granted.set_result(None)


async def _granted_before_disconnect(granted: asyncio.Future[None], receive: Receive | None) -> bool:
    if receive is None:
        await granted
        return True
    gone = asyncio.ensure_future(_disconnect(receive))
    try:
        await asyncio.wait({granted, gone}, return_when=asyncio.FIRST_COMPLETED)
        return granted.done()
    finally:
        gone.cancel()


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] not in _DISCONNECTED:
        pass
