"""Components that a web process starts before it serves and stops afterwards, independent of the server."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import structlog

from bandstand.web.asgi_types import Application, Receive, Scope, Send

log = structlog.get_logger("bandstand.lifecycle")
Hook: TypeAlias = Callable[[], Awaitable[None]]


async def no_op() -> None:
    """The default hook: does nothing."""


@dataclass(frozen=True, slots=True)
class Part:
    """One component of a process. On shutdown `drain` runs first, and `stop` after all responses have ended."""

    name: str
    start: Hook
    drain: Hook
    stop: Hook


@dataclass
class Lifecycle:
    """The parts of one process, started in the order of registration and stopped in reverse.

    `draining` is true once the shutdown has begun; `/ready` reports it.
    """

    draining: bool = False
    _parts: list[Part] = field(default_factory=list)
    _started: list[Part] = field(default_factory=list)

    def register(self, name: str, *, start: Hook = no_op, drain: Hook = no_op, stop: Hook = no_op) -> None:
        """Add a part. Call it before :meth:`start`."""
        self._parts.append(Part(name, start, drain, stop))

    async def start(self) -> None:
        """Start the parts that are not started. Raises what a part raises."""
        for part in self._parts[len(self._started) :]:
            await part.start()
            self._started.append(part)

    async def drain(self) -> None:
        """End streams, which would otherwise last as long as their clients listen."""
        if not self.draining:
            self.draining = True
            for part in reversed(self._started):
                await _run_hook(part.drain, part.name)

    async def stop(self) -> None:
        """Stop every started part; errors are logged and do not affect the other parts."""
        await self.drain()
        while self._started:
            part = self._started.pop()
            await _run_hook(part.stop, part.name)


async def _run_hook(hook: Hook, part: str) -> None:
    try:
        await hook()
    except Exception:
        log.exception("lifecycle_stop.failed", part=part)


lifecycle = Lifecycle()


class Lifespan:
    """Runs the lifecycle for servers that speak ASGI's lifespan protocol (Daphne does not, django/daphne#264; see
    `server`)."""

    def __init__(self, app: Application, lifecycle: Lifecycle = lifecycle) -> None:
        self.app = app
        self.lifecycle = lifecycle

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
                    log.exception("lifecycle_start.failed")
                    await send({"type": "lifespan.startup.failed", "message": type(error).__name__})
                    return
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.lifecycle.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return
