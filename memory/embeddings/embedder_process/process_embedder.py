"""The embedder as other processes use it: `Embedder` over the socket of the machine's one process."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog

from foundation.compute_pool import framing
from foundation.droppable_caches import register_cache
from memory.embeddings.embedder_process import wire
from memory.embeddings.embedder_process.folder import connect
from memory.embeddings.embedder_process.launcher import EmbedderLauncher, EmbedderSpec, kill_embedder
from memory.embeddings.interface import EmbeddingPayer, EmbeddingUnavailable

log = structlog.get_logger(__name__)

# Questions are asked again, after an edit or by a second search of the same turn; a vector of 384 is 1.5 KB.
CACHED_VECTORS: Final = 1_000
_CACHED_CHARACTERS: Final = 2_000
# Connections that are kept, and threads that wait for the process on behalf of event loops.
_KEPT_CONNECTIONS: Final = 4
_THREADS: Final = 8
_POLL_SECONDS: Final = 0.02
_READ_BYTES: Final = 256 * 1024
STALLED_SECONDS: Final = 5.0
_ATTEMPTS: Final = 3

_DETAILS: Final = {
    wire.EmbeddingFault.OVERLOADED: "Too many texts are waiting for the embedding model.",
    wire.EmbeddingFault.LATE: "The embedding model did not answer in time.",
    wire.EmbeddingFault.FAILED: "The embedding model failed.",
}


class ProcessEmbedder:
    """Texts go to the process of `spec`, which is started when nobody else has. One question to it is one connection.

    A process that ends in the middle of a question is replaced, and asked again.
    """

    def __init__(
        self, spec: EmbedderSpec, *, model: str, dimensions: int, stalled_seconds: float = STALLED_SECONDS
    ) -> None:
        """`stalled_seconds`: a process that does not even say how it is within that time is killed."""
        self.model = model
        self.dimensions = dimensions
        self._spec = spec
        self._stalled_seconds = stalled_seconds
        self._launcher = EmbedderLauncher(spec)
        self._connections: list[_Connection] = []
        self._cache: OrderedDict[str, array[float]] = OrderedDict()
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._threads: ThreadPoolExecutor | None = None
        self._watch: threading.Thread | None = None
        register_cache(self)

    def drop_cache(self) -> None:
        """Forget the vectors of earlier searches."""
        with self._lock:
            self._cache.clear()

    @property
    def folder(self) -> Path:
        """The folder of the process's socket."""
        return self._spec.folder

    def embed(
        self,
        texts: Sequence[str],
        *,
        timeout: float,
        payers: Sequence[EmbeddingPayer] = (),  # noqa: ARG002
    ) -> list[list[float]]:
        """See `Embedder.embed`. The vectors of single texts, which are mostly searches, are kept for the next time."""
        if (cached := self._cached(texts)) is not None:
            return [cached]
        deadline = time.monotonic() + timeout
        texts = [_acceptable(text) for text in texts]
        vectors: list[array[float]] = []
        for start in range(0, len(texts), wire.MAX_TEXTS):
            chunk = texts[start : start + wire.MAX_TEXTS]
            seconds = min(max(0.0, deadline - time.monotonic()), wire.MAX_SECONDS)
            answer = self._ask({"texts": chunk, "seconds": seconds}, deadline)
            try:
                vectors += wire.read_vectors(answer, len(chunk), self.dimensions)
            except ValueError:
                raise EmbeddingUnavailable("The embedding model gave something that is no vector.") from None
        if len(texts) == 1:
            self._keep(texts[0], vectors[0])
        return [vector.tolist() for vector in vectors]

    async def aembed(
        self,
        texts: Sequence[str],
        *,
        timeout: float,  # noqa: ASYNC109
        payers: Sequence[EmbeddingPayer] = (),  # noqa: ARG002
    ) -> list[list[float]]:
        """See `Embedder.aembed`."""
        if (cached := self._cached(texts)) is not None:
            return [cached]
        with self._lock:
            self._forget_after_fork()
            if self._threads is None:
                self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="embeddings")
            threads = self._threads
        work = asyncio.get_running_loop().run_in_executor(threads, partial(self.embed, list(texts), timeout=timeout))
        try:
            async with asyncio.timeout(timeout):
                return await work
        except TimeoutError:
            raise EmbeddingUnavailable(_DETAILS[wire.EmbeddingFault.LATE]) from None

    def status(self, *, timeout: float) -> dict[str, Any] | None:
        """What the process says about itself; None if none runs. Starts none.

        Raises `EmbeddingUnavailable` if it does not answer.
        """
        deadline = time.monotonic() + timeout
        try:
            connection = _Connection(connect(self._spec.folder, timeout))
        except OSError:
            return None
        try:
            status = connection.ask({"status": True}, deadline).get("status")
        except TimeoutError:
            raise EmbeddingUnavailable(_DETAILS[wire.EmbeddingFault.LATE]) from None
        except (OSError, EOFError, ValueError):
            return None
        finally:
            connection.close()
        return status if isinstance(status, dict) else None

    def close(self) -> None:
        """Close the connections, and end the threads; the process lives on."""
        with self._lock:
            threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown()
        self._drop_connections()

    def _ask(self, message: dict[str, Any], deadline: float) -> dict[str, Any]:
        for _ in range(_ATTEMPTS):
            connection = self._take_connection(deadline)
            try:
                answer = connection.ask(message, deadline)
            except TimeoutError:
                connection.close()
                self._look_after()
                raise EmbeddingUnavailable(_DETAILS[wire.EmbeddingFault.LATE]) from None
            except (OSError, EOFError, ValueError, framing.FrameTooLong):
                # It has ended, and the others that are kept lead to the same one.
                connection.close()
                self._drop_connections()
                continue
            self._give_back(connection)
            self._launcher.note_answer()
            if (fault := answer.get("fault")) is not None:
                raise EmbeddingUnavailable(_DETAILS.get(fault, _DETAILS[wire.EmbeddingFault.FAILED]))
            return answer
        raise EmbeddingUnavailable(_DETAILS[wire.EmbeddingFault.FAILED])

    # Connections

    def _take_connection(self, deadline: float) -> _Connection:
        with self._lock:
            self._forget_after_fork()
            if self._connections:
                return self._connections.pop()
        while (remaining := deadline - time.monotonic()) > 0:
            try:
                return _Connection(connect(self._spec.folder, remaining))
            except TimeoutError:
                break
            except OSError:
                if self._launcher.ensure_started():
                    log.info("embedder.started")
                time.sleep(min(_POLL_SECONDS, remaining))
        self._look_after()
        raise EmbeddingUnavailable("The embedding model is just being started.")

    def _give_back(self, connection: _Connection) -> None:
        with self._lock:
            if len(self._connections) < _KEPT_CONNECTIONS:
                self._connections.append(connection)
                return
        connection.close()

    def _drop_connections(self) -> None:
        with self._lock:
            connections, self._connections = self._connections, []
        for connection in connections:
            connection.close()

    def _forget_after_fork(self) -> None:
        """In a forked process the connections are its parent's, and the threads are gone."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self._connections, self._threads, self._watch = [], None, None

    # A process that is stopped

    def _look_after(self) -> None:
        """Find out, without the caller, whether the process still says how it is; kill it if it does not."""
        with self._lock:
            if self._watch is None or not self._watch.is_alive():
                self._watch = threading.Thread(target=self._kill_if_stalled, name="embedder watch", daemon=True)
                self._watch.start()

    def _kill_if_stalled(self) -> None:
        deadline = time.monotonic() + self._stalled_seconds
        try:
            connection = self._connect_patiently(deadline)
            try:
                connection.ask({"status": True}, deadline)
            finally:
                connection.close()
        except TimeoutError:
            kill_embedder(self._spec.folder)
        except (OSError, EOFError, ValueError, framing.FrameTooLong):
            pass  # it has ended, or is another one

    def _connect_patiently(self, deadline: float) -> _Connection:
        while True:
            try:
                return _Connection(connect(self._spec.folder, self._stalled_seconds))
            except BlockingIOError:  # as many as may wait for a connection are waiting
                if time.monotonic() > deadline:
                    raise TimeoutError from None
            time.sleep(_POLL_SECONDS)

    # Cache

    def _cached(self, texts: Sequence[str]) -> list[float] | None:
        if len(texts) != 1:
            return None
        with self._lock:
            if (vector := self._cache.get(texts[0])) is None:
                return None
            self._cache.move_to_end(texts[0])
        return vector.tolist()

    def _keep(self, text: str, vector: array[float]) -> None:
        if len(text) > _CACHED_CHARACTERS:
            return
        with self._lock:
            self._cache[text] = vector
            if len(self._cache) > CACHED_VECTORS:
                self._cache.popitem(last=False)


class _Connection:
    """A connection to the process, for one question after the other."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self._reader = framing.FrameReader(wire.MAX_ANSWER_BYTES)

    def ask(self, message: dict[str, Any], deadline: float) -> dict[str, Any]:
        """The answer. Raises `TimeoutError`, `EOFError` if the process ends, `OSError` and what the reader raises."""
        self._await(deadline)
        self.channel.sendall(framing.encode(message))
        while True:
            self._await(deadline)
            data = self.channel.recv(_READ_BYTES)
            if not data:
                raise EOFError
            if messages := self._reader.feed(data):
                return messages[0]

    def close(self) -> None:
        """Close it; nothing happens if it is closed."""
        self.channel.close()

    def _await(self, deadline: float) -> None:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        self.channel.settimeout(remaining)


def _acceptable(text: str) -> str:
    """`text` as it may be sent: its beginning, without halves of characters."""
    return text[: wire.MAX_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
