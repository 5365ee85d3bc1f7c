"""What a web process starts before it serves and stops after: independent of the server around it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import structlog

from bandstand.web.asgi_types import Application, Receive, Scope, Send

log = structlog.get_logger("bandstand.lifecycle")
Hook: TypeAlias = Callable[[], Awaitable[None]]


async def no_op() -> None:
    """The hook of a part that has only the other one."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a process. `drain` is told first that the end is near, `stop` when nothing is being answered."""

    name: str
    start: Hook
    drain: Hook
    stop: Hook


@dataclass
class Lifecycle:
    """The parts of one process, started in the order of registration and ended in the opposite one.

    `draining` turns true when the process is told to end; readiness shows it.
    """

    draining: bool = False
    _parts: list[Part] = field(default_factory=list)
    _started: list[Part] = field(default_factory=list)

    def register(self, name: str, *, start: Hook = no_op, drain: Hook = no_op, stop: Hook = no_op) -> None:
        """Add a part; before :meth:`start`."""
        self._parts.append(Part(name, start, drain, stop))

    async def start(self) -> None:
        """Start what is not started; what raises ends the start."""
        for part in self._parts[len(self._started) :]:
            await part.start()
            self._started.append(part)

    async def drain(self) -> None:
        """Have everything end that would go on for as long as somebody listens."""
        if not self.draining:
            self.draining = True
            for part in reversed(self._started):
                await _run_hook(part.drain, part.name)

    async def stop(self) -> None:
        """Stop everything that was started; one part's error is logged and does not keep the others running."""
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
