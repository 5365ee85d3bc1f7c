"""The embedded PostgreSQL as one of the supervised processes."""

import asyncio
import threading
import time
from pathlib import Path

from bandstand.embedded import Cluster, EmbeddedError
from bandstand.supervisor.child import next_pause
from bandstand.supervisor.errors import CannotStart
from bandstand.supervisor.terminal import print_error


class Database:
    """The embedded PostgreSQL: started first, restarted when it exits, stopped last."""

    def __init__(self, data_dir: Path) -> None:
        self.cluster = Cluster(data_dir)
        self.failures = 0
        self._ending = False
        # A start or stop in its thread outlives a cancelled task.
        self._busy = threading.Lock()
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the server, after stopping one that a dead supervisor left running. Raises CannotStart."""
        try:
            await asyncio.to_thread(self._start)
        except EmbeddedError as error:
            raise CannotStart(str(error)) from None
        self._keeper = asyncio.create_task(self._keep(), name="postgres")

    async def stop(self, within_seconds: float) -> None:
        """Stop the server; after `within_seconds` it is killed."""
        self._ending = True
        try:
            await asyncio.to_thread(self._stop, within_seconds)
        except EmbeddedError as error:
            print_error(str(error))
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])

    def _start(self, *, restart: bool = False) -> None:
        with self._busy:
            if not restart and self.cluster.exists:
                self.cluster.stop(within_seconds=5.0)
            if not self._ending:
                self.cluster.start()

    def _stop(self, within_seconds: float) -> None:
        with self._busy:
            if self.cluster.exists:
                self.cluster.stop(within_seconds=within_seconds)

    async def _keep(self) -> None:
        pause = 0.0
        while True:
            start = time.monotonic()
            await asyncio.to_thread(self.cluster.wait)
            if self._ending:
                return
            self.failures += 1
            pause = next_pause(pause, time.monotonic() - start)
            print_error(f"PostgreSQL ended, starting it again in {pause:.1f} s; see {self.cluster.log}")
            await asyncio.sleep(pause)
            try:
                await asyncio.to_thread(self._start, restart=True)
            except EmbeddedError as error:
                print_error(str(error))
