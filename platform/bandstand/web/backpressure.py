"""Flow control between Twisted, which says when a client reads too slowly, and coroutines, which can wait."""

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
        """Whether the gate opened in time."""
        try:
            await asyncio.wait_for(self._open.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def open(self) -> None:
        """Let everybody through."""
        self._open.set()

    # Twisted's names.
    def pauseProducing(self) -> None:  # noqa: N802
        self._open.clear()

    def resumeProducing(self) -> None:  # noqa: N802
        self._open.set()

    def stopProducing(self) -> None:  # noqa: N802
        self._open.set()
