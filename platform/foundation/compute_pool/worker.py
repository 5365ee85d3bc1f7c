"""A worker: a process that calls one function after the other and returns what each gives, as text."""

from __future__ import annotations

import gc
import importlib
import os
import socket
import traceback
from collections.abc import Callable
from typing import Any, Final, NoReturn

from foundation.compute_pool import framing, linux
from foundation.compute_pool.errors import Outcome

_CHANNEL: Final = 3
_MAX_REPORT: Final = 4000
_READ_BYTES: Final = 64 * 1024


def work(channel: socket.socket, *, parent: int, cores: frozenset[int], memory_bytes: int) -> NoReturn:
    """Serve jobs from `channel` until it is closed. Called in a new process, which has nothing else open."""
    linux.die_with_parent(parent)
    os.setsid()
    os.dup2(channel.detach(), _CHANNEL)
    null_device = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null_device, standard)
    os.closerange(_CHANNEL + 1, os.sysconf("SC_OPEN_MAX"))
    os.set_inheritable(_CHANNEL, False)
    os.umask(0o077)
    linux.restrict(cores, memory_bytes)
    gc.enable()
    reader = framing.FrameReader(framing.MAX_JOB_BYTES)
    while data := os.read(_CHANNEL, _READ_BYTES):
        for job in reader.feed(data):
            _send(framing.encode({**_perform(job), "token": job["token"]}))
    os._exit(0)


def resolve(target: str) -> Callable[[str], str]:
    """The function that `target`, as in `package.module:function`, names."""
    module, _, name = target.partition(":")
    function: Callable[[str], str] = getattr(importlib.import_module(module), name)
    return function


def _perform(job: dict[str, Any]) -> dict[str, Any]:
    try:
        result = resolve(job["target"])(job["payload"])
        if len(result) > framing.MAX_RESULT_BYTES // 8:
            return {"outcome": Outcome.OUTPUT}
        return {"outcome": Outcome.DONE, "result": result}
    except MemoryError:
        return {"outcome": Outcome.MEMORY}
    except BaseException:
        report = traceback.format_exc(limit=-8)[-_MAX_REPORT:]
        return {"outcome": Outcome.RAISED, "report": report.encode(errors="replace").decode()}


def _send(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(_CHANNEL, view) :]
