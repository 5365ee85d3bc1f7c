"""The embedder's own side: one thread talks to everybody, another one runs the model.

The first never waits for the second. So it answers, refuses and ends at any time, and it ends the whole process when
the model works on one batch for too long, or the process has grown too large: whoever asks next starts another one.
"""

from __future__ import annotations

import ctypes
import fcntl
import importlib
import json
import os
import resource
import selectors
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, Protocol

from foundation.compute_pool import framing, linux
from memory.embeddings.embedder_process import wire
from memory.embeddings.embedder_process.batch_queue import Batch, BatchQueue, EmbeddingRequest, EncodingFailed
from memory.embeddings.embedder_process.folder import connect, make_private, socket_address

EXIT_UNUSABLE: Final = 69  # sysexits.h: EX_UNAVAILABLE. The model cannot be loaded
EXIT_SECOND: Final = 75  # EX_TEMPFAIL. Another one has the lock
EXIT_ENDED: Final = 70  # EX_SOFTWARE. Stuck, or too large

MAX_CONNECTIONS: Final = 128
# Texts that may wait. At 20 to 150 texts a second, more would wait for too long anyway.
MAX_WAITING_TEXTS: Final = 512
_TICK_SECONDS: Final = 0.5
_QUIET_SECONDS: Final = 3.0
_READ_BYTES: Final = 64 * 1024
_LOCK_SECONDS: Final = 2.0
_FILE_BYTES: Final = 256 * 1024 * 1024


class ProcessModel(Protocol):
    """A model as the embedder's process holds it."""

    name: str
    dimensions: int
    variant: str

    def encode(self, texts: Any) -> list[list[int]]:
        """The tokens of each text."""
        ...

    def embed(self, tokens: Any) -> list[bytes]:
        """A vector for each sequence of tokens, as 32-bit floats in little-endian order."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """`idle_seconds`: without a question, the process ends. `stuck_seconds`: so long for one batch is too long."""

    idle_seconds: float = 600.0
    stuck_seconds: float = 30.0
    memory_bytes: int = 1024 * 1024 * 1024


@dataclass(slots=True, eq=False)
class Connection:
    """Somebody who asks. `request` is what they are waiting for."""

    channel: socket.socket
    reader: framing.FrameReader = field(default_factory=lambda: framing.FrameReader(wire.MAX_QUESTION_BYTES))
    unsent: bytearray = field(default_factory=bytearray)
    request: EmbeddingRequest | None = None


def main(*, folder: str, load: str, options: dict[str, Any], limits: dict[str, Any], starter: int) -> None:
    """Be the embedder whose files are in `folder`, with the model that `load`, as in `package.module:function`, returns
    for `options`. Ends the process with `EXIT_SECOND` if there is one already, and if `starter`, the process that has
    started it, is gone before it is recorded."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o077)
    place = Path(folder)
    lock = _acquire_lock(place)
    if lock is None:
        sys.exit(EXIT_SECOND)
    bounds = Limits(**limits)
    # The address space of a process with threads is far larger than what it uses; what it uses is looked at.
    linux.limit_resources(bounds.memory_bytes * 4, file_bytes=_FILE_BYTES)
    _write_record(place)
    if os.getppid() != starter:
        # Its installation may have ended in the meantime, and whoever ended it found no record.
        sys.exit(0)
    try:
        module, name = load.split(":")
        model: ProcessModel = getattr(importlib.import_module(module), name)(**options)
        model.embed(model.encode(["The first one is slow."]))
    except Exception as error:
        (place / wire.FAULT).write_text(f"{type(error).__name__}: {error}"[:1000], encoding="utf-8")
        raise SystemExit(EXIT_UNUSABLE) from error
    (place / wire.FAULT).unlink(missing_ok=True)
    # Loading needs far more memory than the model does.
    _return_memory()
    with _listen(place) as listener:
        EmbedderServer(listener, model, bounds).serve()
        # Before the lock goes, so that a successor's socket is not removed.
        (place / wire.SOCKET).unlink(missing_ok=True)


class EmbedderServer:
    """Serves questions until nobody has asked one for a while."""

    def __init__(self, listener: socket.socket, model: ProcessModel, limits: Limits) -> None:
        self._listener = listener
        self._model = model
        self._limits = limits
        self._selector = selectors.DefaultSelector()
        self._connections: set[Connection] = set()
        self._waiting_texts = 0
        self._embedded_texts = 0
        self._last_question = time.monotonic()
        self._has_memory_to_return = False
        self._wake, wake_up = socket.socketpair()
        self._wake.setblocking(False)
        wake_up.setblocking(False)
        self._worker = ModelWorker(model, lambda: _wake_up(wake_up))

    def serve(self) -> None:
        """Work until the process is idle for too long."""
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._worker.start()
        while not self._is_idle():
            for key, mask in self._selector.select(_TICK_SECONDS):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._wake:
                    with suppress(BlockingIOError):
                        self._wake.recv(_READ_BYTES)
                elif key.data in self._connections:
                    self._serve_connection(key.data, mask)
            for request, answer in self._worker.take_answers():
                self._answer(request, answer)
            self._end_if_unhealthy()
            self._return_memory_when_quiet()

    def _is_idle(self) -> bool:
        return not self._waiting_texts and time.monotonic() - self._last_question > self._limits.idle_seconds

    def _accept(self) -> None:
        try:
            channel, _ = self._listener.accept()
        except OSError:
            return
        channel.setblocking(False)
        if len(self._connections) >= MAX_CONNECTIONS:
            channel.close()
            return
        connection = Connection(channel)
        self._connections.add(connection)
        self._selector.register(channel, selectors.EVENT_READ, connection)

    def _serve_connection(self, connection: Connection, mask: int) -> None:
        try:
            if mask & selectors.EVENT_WRITE:
                self._flush(connection)
            if mask & selectors.EVENT_READ:
                data = connection.channel.recv(_READ_BYTES)
                if not data:
                    self._close(connection)
                    return
                for message in connection.reader.feed(data):
                    self._take(connection, message)
        except BlockingIOError:
            pass
        except (OSError, ValueError, framing.FrameTooLong):
            self._close(connection)

    def _take(self, connection: Connection, message: dict[str, Any]) -> None:
        if "status" in message:
            self._send(connection, {"status": self._status()})
            return
        if connection.request is not None:
            raise ValueError("one question at a time")
        texts, seconds = wire.read_texts(message)
        self._last_question = time.monotonic()
        if self._waiting_texts + len(texts) > MAX_WAITING_TEXTS:
            self._send(connection, {"fault": wire.EmbeddingFault.OVERLOADED})
            return
        self._waiting_texts += len(texts)
        connection.request = EmbeddingRequest(connection, texts, time.monotonic() + seconds)
        self._worker.add(connection.request)

    def _answer(self, request: EmbeddingRequest, answer: dict[str, Any]) -> None:
        self._waiting_texts -= len(request.texts)
        self._last_question = time.monotonic()
        self._has_memory_to_return = True
        if "vectors" in answer:
            self._embedded_texts += len(request.texts)
        connection = request.key
        if isinstance(connection, Connection) and connection in self._connections:
            connection.request = None
            self._send(connection, answer)

    def _send(self, connection: Connection, answer: dict[str, Any]) -> None:
        connection.unsent += framing.encode(answer)
        try:
            self._flush(connection)
        except OSError:
            self._close(connection)

    def _flush(self, connection: Connection) -> None:
        with suppress(BlockingIOError):
            while connection.unsent:
                del connection.unsent[: connection.channel.send(connection.unsent)]
        # Whoever does not read is not read from: what is kept for them stays small.
        mask = selectors.EVENT_WRITE if connection.unsent else selectors.EVENT_READ
        self._selector.modify(connection.channel, mask, connection)

    def _close(self, connection: Connection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
            self._selector.unregister(connection.channel)
            connection.channel.close()
            if connection.request is not None:
                self._worker.cancel(connection.request)

    def _status(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "model": self._model.name,
            "variant": self._model.variant,
            "dimensions": self._model.dimensions,
            "memory_bytes": _memory_bytes(),
            "waiting_texts": self._waiting_texts,
            "embedded_texts": self._embedded_texts,
        }

    def _return_memory_when_quiet(self) -> None:
        quiet = not self._waiting_texts and time.monotonic() - self._last_question > _QUIET_SECONDS
        if quiet and self._has_memory_to_return:
            self._has_memory_to_return = False
            _return_memory()

    def _end_if_unhealthy(self) -> None:
        busy = self._worker.busy_seconds()
        if busy > self._limits.stuck_seconds:
            _end(f"the model works on one batch for {busy:.0f} s")
        if (used := _memory_bytes()) > self._limits.memory_bytes:
            _end(f"it uses {used >> 20} MiB of memory")


class ModelWorker:
    """The thread that runs the model."""

    def __init__(self, model: ProcessModel, wake_up: Callable[[], None]) -> None:
        self._model = model
        self._wake_up = wake_up
        self._inbox: SimpleQueue[EmbeddingRequest] = SimpleQueue()
        self._outbox: deque[tuple[EmbeddingRequest, dict[str, Any]]] = deque()
        self._cancelled: deque[EmbeddingRequest] = deque()
        self._queue = BatchQueue(model.encode)
        self._busy_since: float | None = None

    def start(self) -> None:
        """Begin; ends with the process."""
        threading.Thread(target=self._run, name="model", daemon=True).start()

    def add(self, request: EmbeddingRequest) -> None:
        """Let `request` wait for the model."""
        self._inbox.put(request)

    def cancel(self, request: EmbeddingRequest) -> None:
        """Nobody waits for `request` any more."""
        request.ends_at = 0.0

    def take_answers(self) -> list[tuple[EmbeddingRequest, dict[str, Any]]]:
        """The requests that are over, each with its answer."""
        answers = []
        while self._outbox:
            answers.append(self._outbox.popleft())
        return answers

    def busy_seconds(self) -> float:
        """For how long the model has worked on what it works on."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def _run(self) -> None:
        while True:
            self._collect(wait=not self._queue)
            self._busy_since = time.monotonic()
            for request in self._queue.expired(time.monotonic()):
                self._reply(request, {"fault": wire.EmbeddingFault.LATE})
            self._embed_batch()
            self._busy_since = None
            self._wake_up()

    def _collect(self, *, wait: bool) -> None:
        with suppress(Empty):
            while True:
                self._queue.add(self._inbox.get(block=wait))
                wait = False

    def _embed_batch(self) -> None:
        try:
            batch = self._queue.take()
        except EncodingFailed as error:
            _report(error.__cause__)
            self._reply(error.request, {"fault": wire.EmbeddingFault.FAILED})
            return
        if not self._try_batch(batch) and len(batch.items) > 1:
            # The fault of one text is not the others'.
            for item in batch.items:
                self._try_batch(Batch([item]))

    def _try_batch(self, batch: Batch) -> bool:
        """Embed `batch`; return whether it worked. The request of a text that fails alone has failed."""
        if not batch.items:
            return True
        try:
            vectors = self._model.embed(batch.tokens())
        except Exception as error:
            _report(error)
            if len(batch.items) == 1:
                self._fail(batch.items[0][0])
            return False
        for request in batch.finish(vectors):
            self._reply(request, wire.write_vectors(request.vectors))
        return True

    def _fail(self, request: EmbeddingRequest) -> None:
        if not request.has_failed:
            request.has_failed = True
            self._queue.discard(request)
            self._reply(request, {"fault": wire.EmbeddingFault.FAILED})

    def _reply(self, request: EmbeddingRequest, answer: dict[str, Any]) -> None:
        self._outbox.append((request, answer))


def _report(error: BaseException | None) -> None:
    print(f"embedder: {type(error).__name__}: {error}", file=sys.stderr, flush=True)


def _wake_up(channel: socket.socket) -> None:
    with suppress(BlockingIOError):  # it is awake
        channel.send(b"\0")


def _acquire_lock(folder: Path) -> int | None:
    """Hold the lock until this process ends; None if a living embedder has it."""
    make_private(folder)
    descriptor = os.open(folder / wire.LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            pass
        # One that is just ending still has it; one that listens keeps it.
        if _is_listening(folder) or time.monotonic() > deadline:
            return None
        time.sleep(0.02)


def _is_listening(folder: Path) -> bool:
    try:
        connect(folder, 1.0).close()
    except OSError:
        return False
    return True


def _listen(folder: Path) -> socket.socket:
    (folder / wire.SOCKET).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with socket_address(folder) as address:
        listener.bind(address)
    listener.listen(MAX_CONNECTIONS)
    listener.setblocking(False)
    return listener


def _write_record(folder: Path) -> None:
    import psutil

    process = psutil.Process()
    record = [{"name": "embedder", "pid": process.pid, "started_at": process.create_time()}]
    draft = folder / f"{wire.RECORD}.draft"
    draft.write_text(json.dumps(record), encoding="utf-8")
    draft.replace(folder / wire.RECORD)


def _return_memory() -> None:
    """Give back to the system what was freed; it would stay with the process."""
    with suppress(AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _memory_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def _end(reason: str) -> None:
    print(f"embedder: ends itself: {reason}", file=sys.stderr, flush=True)
    os._exit(EXIT_ENDED)
