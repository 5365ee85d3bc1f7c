"""The pool as its owner sees it: a function's name and a text go in, a text comes out."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any, Final

import structlog

from foundation.compute_pool import framing
from foundation.compute_pool.errors import ComputeFailed, ComputeOverloaded, Outcome
from foundation.compute_pool.linux import compute_cores
from foundation.compute_pool.places import Places

log = structlog.get_logger(__name__)

DEFAULT_MEMORY_MB: Final = 256
# A process that waits for something needs no core, so there may be more of them than cores that they may use.
_MIN_PLACES: Final = 4
_START_SECONDS: Final = 60.0
# How long a job waits for a place.
_WAIT_SECONDS: Final = 30.0
# The host ends what takes too long; a host that does not is ended itself.
_GRACE_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 5.0
_READ_BYTES: Final = 64 * 1024
# The first argument is the path of modules; the environment that could name it is empty: also of what Sentry's SDK
# adds to that of every process which is started.
_BOOT: Final = (
    "import json, os, sys; os.environ.clear(); options = json.loads(sys.argv[1]); sys.path[:] = options.pop('path');"
    "from foundation.compute_pool.host import main; main(**options)"
)


class ComputePool:
    """Processes of one owner, on one event loop. None is started before the first job.

    Nobody has more than half of the places, and no kind of work has: neither keeps the others waiting. Of the places of
    a kind, again nobody has more than half.
    """

    def __init__(self, targets: Iterable[str] = (), *, memory_mb: int = DEFAULT_MEMORY_MB) -> None:
        """`targets` are imported before the first job; `memory_mb` is what one job may use at most."""
        self._targets = tuple(targets)
        self._memory_mb = memory_mb
        self._places = max(_MIN_PLACES, len(compute_cores()))
        self._all = Places(self._places)
        self._by_kind: dict[str, Places] = defaultdict(partial(Places, self._places // 2))
        self._start: asyncio.Task[_Host] | None = None

    async def run(
        self, target: str, payload: str, *, seconds: float, kind: str = "", requester: str | None = None
    ) -> str:
        """What the function `target`, as in `package.module:function`, returns for `payload`, within `seconds`.
        Requesters get places in turns; None is the owner itself, and goes first.

        Raises `ComputeFailed`, and `ComputeOverloaded` when no place was free for half a minute. A call that is
        cancelled ends the process that works on it.
        """
        async with self._acquire_place(kind, requester):
            host = await self._running_host()
            return await host.run(target, payload, seconds=seconds)

    async def aclose(self) -> None:
        """End all processes."""
        start, self._start = self._start, None
        if start is not None:
            with suppress(ComputeFailed):
                await (await start).aclose()

    @property
    def host_pid(self) -> int | None:
        """The process that starts the others; None while there is none."""
        return self._start.result().pid if self._start is not None and _has_started(self._start) else None

    @asynccontextmanager
    async def _acquire_place(self, kind: str, requester: str | None) -> AsyncIterator[None]:
        async with AsyncExitStack() as acquired:
            try:
                async with asyncio.timeout(_WAIT_SECONDS):
                    for places in (self._by_kind[kind], self._all):
                        await places.acquire(requester)
                        acquired.callback(places.release, requester)
            except TimeoutError:
                raise ComputeOverloaded from None
            yield

    async def _running_host(self) -> _Host:
        if self._start is None or (self._start.done() and not _has_started(self._start)):
            start = _start_host(self._targets, places=self._places, memory_mb=self._memory_mb)
            self._start = asyncio.create_task(start, name="compute pool start")
            # Whoever waits for it may be cancelled; it is for the next one then.
            self._start.add_done_callback(_has_started)
        return await asyncio.shield(self._start)


def _has_started(start: asyncio.Task[_Host]) -> bool:
    """Whether a host was started, and lives."""
    return start.done() and not start.cancelled() and start.exception() is None and start.result().is_alive


async def _start_host(targets: Iterable[str], *, places: int, memory_mb: int) -> _Host:
    ours, theirs = socket.socketpair()
    options = {
        "path": _module_path(),
        "channel": theirs.fileno(),
        "places": places,
        "memory_bytes": memory_mb * 1024 * 1024,
        "targets": list(targets),
    }
    with theirs:
        process = await asyncio.to_thread(
            subprocess.Popen,
            [sys.executable, "-I", "-c", _BOOT, json.dumps(options)],
            cwd="/",
            env={},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    host = _Host(process, reader, writer)
    try:
        async with asyncio.timeout(_START_SECONDS):
            await host.ready
    except TimeoutError:
        await host.aclose()
        raise ComputeFailed(Outcome.DIED, "The host of the compute pool did not start in time.") from None
    except ComputeFailed:
        await host.aclose()
        raise
    log.info("compute_pool.started", host=host.pid)
    return host


def _module_path() -> list[str]:
    return [os.path.abspath(entry) for entry in sys.path]


class _Host:
    """A running host: sends it jobs, and gives each the answer to it."""

    def __init__(
        self, process: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.pid = process.pid
        self.is_alive = True
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._process = process
        self._writer = writer
        self._ids = itertools.count(1)
        self._jobs: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reading = asyncio.create_task(self._read(reader), name="compute pool")

    async def run(self, target: str, payload: str, *, seconds: float) -> str:
        job = next(self._ids)
        answer = self._jobs[job] = asyncio.get_running_loop().create_future()
        try:
            self._send({"id": job, "target": target, "payload": payload, "seconds": seconds})
            async with asyncio.timeout(seconds + _GRACE_SECONDS):
                message = await answer
        except TimeoutError:
            log.error("compute_pool.stalled", host=self.pid)
            self._process.kill()
            raise ComputeFailed(Outcome.TIMEOUT) from None
        except asyncio.CancelledError:
            self._send({"cancel": job})
            raise
        finally:
            del self._jobs[job]
        if message["outcome"] == Outcome.DONE:
            return str(message["result"])
        raise ComputeFailed(Outcome(message["outcome"]), message.get("report", ""))

    async def aclose(self) -> None:
        """Close the channel, which the host takes as the order to end everything."""
        self._writer.close()
        try:
            await asyncio.to_thread(self._process.wait, _STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
        await self._reading

    def _send(self, message: dict[str, Any]) -> None:
        if self.is_alive:
            self._writer.write(framing.encode(message))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        frame_reader = framing.FrameReader(2 * framing.MAX_RESULT_BYTES)
        try:
            while data := await reader.read(_READ_BYTES):
                for message in frame_reader.feed(data):
                    self._receive(message)
        except (OSError, ValueError, framing.FrameTooLong):
            log.exception("compute_pool.failed", host=self.pid)
            self._process.kill()
        finally:
            self.is_alive = False
            self._writer.close()
            if not self.ready.done():
                self.ready.set_exception(ComputeFailed(Outcome.DIED, "The host of the compute pool did not start."))
            for answer in self._jobs.values():
                if not answer.done():
                    answer.set_result({"outcome": Outcome.DIED})
            with suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._process.wait, _STOP_SECONDS)

    def _receive(self, message: dict[str, Any]) -> None:
        if message.get("ready"):
            self.ready.set_result(None)
        elif (answer := self._jobs.get(message["id"])) is not None and not answer.done():
            answer.set_result(message)
