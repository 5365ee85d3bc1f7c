"""What a web process starts before it serves and stops after: independent of the server around it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import structlog

from bandstand.web.asgi_types import Application, Receive, Scope, Send

log = structlog.get_logger("bandstand.lifecycle")
Hook: TypeAlias = Callable[[], Awaitable[None]]


async def nothing() -> None:
    """The hook of a part that has only the other one."""


@dataclass
class Lifecycle:
    """The parts of one process, started in the order of registration and stopped in the opposite one.

    `draining` turns true when the process is told to end; readiness shows it.
    """

    draining: bool = False
    _parts: list[tuple[str, Hook, Hook]] = field(default_factory=list)
    _started: list[tuple[str, Hook]] = field(default_factory=list)

    def register(self, name: str, *, start: Hook = nothing, stop: Hook = nothing) -> None:
        """Add a part; before :meth:`start`."""
        self._parts.append((name, start, stop))

    async def start(self) -> None:
        """Start what is not started; what raises ends the start."""
        for name, start, stop in self._parts[len(self._started) :]:
            await start()
            self._started.append((name, stop))

    async def stop(self) -> None:
        """Stop everything that was started; one part's error is logged and does not keep the others running."""
        self.draining = True
        while self._started:
            name, stop = self._started.pop()
            try:
                await stop()
            except Exception:
                log.exception("lifecycle.stop_failed", part=name)


lifecycle = Lifecycle()


class Lifespan:
    """Runs the lifecycle for servers that speak ASGI's lifespan protocol (Daphne does not; see `server`)."""

    def __init__(self, app: Application, of: Lifecycle = lifecycle) -> None:
        self.app = app
        self.lifecycle = of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)
            return
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self.lifecycle.start()
                except Exception as error:
                    log.exception("lifecycle.start_failed")
                    await send({"type": "lifespan.startup.failed", "message": type(error).__name__})
                    return
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.lifecycle.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return
