"""The host of the pool: a process that starts the workers by forking, hands them jobs and ends them.

It is a child of whoever owns the pool, and ends with it: when the owner is gone, by whatever signal, its end of the
channel is closed. The host imports what the workers need before it forks, so a new worker costs milliseconds. It adopts
whatever processes the workers start and leave, and kills them.
"""

from __future__ import annotations

import gc
import os
import secrets
import selectors
import signal
import socket
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from foundation.compute_pool import framing, linux
from foundation.compute_pool.errors import Outcome
from foundation.compute_pool.worker import resolve, work

# A worker that has done so many jobs is replaced: what they left in memory goes with it.
JOBS_PER_WORKER: Final = 500
IDLE_SECONDS: Final = 60.0
_READ_BYTES: Final = 64 * 1024
_KILL_ROUNDS: Final = 1000


@dataclass(slots=True, eq=False)
class Worker:
    """A worker's process; `job` is the id of what it works on, `ends_at` when that must be over. An answer counts with
    the job's `token` only: what else writes to the channel is not taken for one."""

    pid: int
    channel: socket.socket
    reader: framing.FrameReader
    job: int | None = None
    token: str = ""
    ends_at: float = 0.0
    jobs: int = 0
    idle_since: float = 0.0
    unsent: bytearray = field(default_factory=bytearray)


def main(channel: int, *, places: int, memory_bytes: int, imports: list[str]) -> None:
    """Serve the owner of the pool at the descriptor `channel` until it closes that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    linux.adopt_orphans()
    for target in imports:
        resolve(target)
    gc.collect()
    gc.freeze()
    gc.disable()  # in the host, which makes no garbage; workers enable it
    owner = socket.socket(fileno=channel)
    owner.sendall(framing.encode({"ready": True}))
    Host(owner, places=places, memory_bytes=memory_bytes).serve()


class Host:
    """Up to `places` workers at once; jobs beyond wait in order."""

    def __init__(self, owner: socket.socket, *, places: int, memory_bytes: int) -> None:
        self._owner = owner
        self._places = places
        self._memory_bytes = memory_bytes
        self._cores = linux.compute_cores()
        self._reader = framing.FrameReader(framing.MAX_JOB_BYTES)
        self._selector = selectors.DefaultSelector()
        self._workers: dict[int, Worker] = {}
        self._waiting: deque[dict[str, Any]] = deque()

    def serve(self) -> None:
        """Work until the owner closes the channel, then end every process that was started."""
        self._selector.register(self._owner, selectors.EVENT_READ, None)
        try:
            while self._serve_once():
                pass
        finally:
            for worker in list(self._workers.values()):
                self._end(worker)

    def _serve_once(self) -> bool:
        for key, mask in self._selector.select(self._pause_seconds()):
            worker: Worker | None = key.data
            if worker is None:
                data = self._owner.recv(_READ_BYTES)
                if not data:
                    return False
                for message in self._reader.feed(data):
                    self._take(message)
            elif worker.pid in self._workers:
                if mask & selectors.EVENT_WRITE:
                    self._flush(worker)
                if mask & selectors.EVENT_READ:
                    self._read(worker)
        now = time.monotonic()
        for worker in list(self._workers.values()):
            if worker.job is not None and now >= worker.ends_at:
                self._fail(worker, Outcome.TIMEOUT)
            elif worker.job is None and now - worker.idle_since > IDLE_SECONDS:
                self._end(worker)
        self._start_waiting()
        return True

    def _pause_seconds(self) -> float:
        ends = [worker.ends_at for worker in self._workers.values() if worker.job is not None]
        return max(0.0, min([IDLE_SECONDS, *(end - time.monotonic() for end in ends)]))

    def _take(self, message: dict[str, Any]) -> None:
        if (cancelled := message.get("cancel")) is None:
            self._waiting.append(message)
            return
        self._waiting = deque(job for job in self._waiting if job["id"] != cancelled)
        for worker in list(self._workers.values()):
            if worker.job == cancelled:
                self._end(worker)

    def _start_waiting(self) -> None:
        while self._waiting:
            worker = next((each for each in self._workers.values() if each.job is None), None)
            if worker is None:
                if len(self._workers) >= self._places:
                    return
                worker = self._start_worker()
            job = self._waiting.popleft()
            worker.job, worker.ends_at = job["id"], time.monotonic() + job["seconds"]
            worker.jobs += 1
            worker.token = secrets.token_hex(16)
            worker.unsent += framing.encode({"target": job["target"], "payload": job["payload"], "token": worker.token})
            self._flush(worker)

    def _start_worker(self) -> Worker:
        ours, theirs = socket.socketpair()
        host = os.getpid()
        pid = os.fork()
        if pid == 0:
            # Nothing here may return to the host's own loop.
            try:
                work(theirs, parent=host, cores=self._cores, memory_bytes=self._memory_bytes)
            finally:
                os._exit(1)
        theirs.close()
        ours.setblocking(False)
        worker = Worker(pid, ours, framing.FrameReader(framing.MAX_RESULT_BYTES))
        self._workers[pid] = worker
        self._selector.register(ours, selectors.EVENT_READ, worker)
        return worker

    def _flush(self, worker: Worker) -> None:
        with suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while worker.unsent:
                del worker.unsent[: worker.channel.send(worker.unsent)]
        more = selectors.EVENT_WRITE if worker.unsent else 0
        self._selector.modify(worker.channel, selectors.EVENT_READ | more, worker)

    def _read(self, worker: Worker) -> None:
        try:
            data = worker.channel.recv(_READ_BYTES)
            messages = worker.reader.feed(data)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data, messages = b"", []
        except (framing.FrameTooLong, ValueError):
            self._fail(worker, Outcome.OUTPUT)
            return
        if not data:
            self._fail(worker, Outcome.DIED)
        elif messages:
            self._finish(worker, messages)

    def _finish(self, worker: Worker, messages: list[dict[str, Any]]) -> None:
        outcome, result, report = (str(messages[0].get(name, "")) for name in ("outcome", "result", "report"))
        if worker.job is None or len(messages) > 1 or messages[0].get("token") != worker.token:
            self._fail(worker, Outcome.OUTPUT)
            return
        job, worker.job = worker.job, None
        worker.idle_since = time.monotonic()
        # Before the report: a job is over when nothing of it runs any more.
        if outcome != Outcome.DONE or worker.jobs >= JOBS_PER_WORKER or _has_children(worker.pid):
            self._end(worker)
        else:
            self._kill_orphans()
        self._report(job, Outcome(outcome), result=result, report=report)

    def _fail(self, worker: Worker, outcome: Outcome) -> None:
        self._end(worker)
        if worker.job is not None:
            self._report(worker.job, outcome)

    def _report(self, job: int, outcome: Outcome, **answer: str) -> None:
        # The owner reads at once, or is gone.
        with suppress(OSError):
            self._owner.sendall(framing.encode({"id": job, "outcome": outcome, **answer}))

    def _end(self, worker: Worker) -> None:
        """Kill a worker and all that it has started."""
        self._selector.unregister(worker.channel)
        worker.channel.close()
        del self._workers[worker.pid]
        _kill(worker.pid)
        self._kill_orphans()

    def _kill_orphans(self) -> None:
        """Kill all children that are no workers: what those have started and left. Their own children come after."""
        for _ in range(_KILL_ROUNDS):
            orphans = linux.children() - self._workers.keys()
            if not orphans:
                return
            for pid in orphans:
                _kill(pid)


def _kill(pid: int) -> None:
    """Kill a child with its group, and wait for its end."""
    with suppress(ProcessLookupError, PermissionError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _has_children(pid: int) -> bool:
    """Whether the process `pid` has children."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return bool(file.read().strip())
    except OSError:
        return True
