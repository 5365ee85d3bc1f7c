"""Places to work at, for which those who wait take turns."""

from __future__ import annotations

import asyncio

from foundation.fair_shares import FairShares


class Places:
    """So many places, of which no requester has more than half, but None, which is the owner. For one event loop."""

    def __init__(self, total: int) -> None:
        self._shares: FairShares[_Request] = FairShares(total, max(1, total // 2))

    async def acquire(self, requester: str | None) -> None:
        """Wait for a place. A call that is cancelled has none."""
        request = _Request()
        if self._shares.add(requester, request):
            return
        try:
            await request.granted
        except asyncio.CancelledError:
            if request.has_place:  # since a moment ago
                self.release(requester)
            else:
                self._shares.remove(requester, request)
            raise

    def release(self, requester: str | None) -> None:
        """Free a place of `requester`."""
        following = self._shares.finish(requester)
        if following is not None:
            following.grant()


class _Request:
    def __init__(self) -> None:
        self.has_place = False
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def grant(self) -> None:
        self.has_place = True
        if not self.granted.done():
            self.granted.set_result(None)
