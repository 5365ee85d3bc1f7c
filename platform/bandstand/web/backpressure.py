"""Flow control: lets coroutines wait while a client reads too slowly for Twisted's write buffer."""

import asyncio


class Gate:
    """Closed while a connection's write buffer is full. A Twisted "push producer"."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()

    @property
    def closed(self) -> bool:
        return not self._open.is_set()

    async def wait(self, seconds: float) -> bool:
        """Wait for the gate to open; return whether it did within `seconds`."""
        try:
            await asyncio.wait_for(self._open.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def open(self) -> None:
        """Open the gate and wake all waiters."""
        self._open.set()

    # Twisted's names.
    def pauseProducing(self) -> None:  # noqa: N802
        self._open.clear()

    def resumeProducing(self) -> None:  # noqa: N802
        self._open.set()

    def stopProducing(self) -> None:  # noqa: N802
        self._open.set()
