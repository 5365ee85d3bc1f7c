"""Writes the spans of a process to the database, in a thread and over a connection of its own.

Nothing waits for it. While the database does not answer it keeps the batch that it could not write and tries again; the
buffer then fills, drops new spans and counts them.
"""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from itertools import chain
from time import monotonic
from typing import Final

import orjson
import structlog
from django.db import IntegrityError, InterfaceError, OperationalError, connection

from foundation.clock import now
from foundation.db_threads import use_own_connection
from foundation.process_work import Process
from foundation.spans import Span
from foundation.storable_text import storable_text
from monitoring.spans.partitions import create_partitions
from monitoring.spans.sampling import Sampling

log = structlog.get_logger(__name__)

WRITE_SECONDS: Final = 1.0
REFRESH_SECONDS: Final = 5.0
BATCH: Final = 2_000
# After a failure, twice as long each further time.
FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 15.0
# How long the end of the process waits for the last batch.
STOP_SECONDS: Final = 5.0
# No partition is made for what a wrong clock says.
CLOCK_ERROR: Final = timedelta(days=2)
NAME_CHARACTERS: Final = 100

COPY: Final = (
    "COPY monitoring_span (started_at, id, turn_id, agent_id, name, ended_at, error_type, attributes) FROM STDIN"
)
# Of PostgreSQL's errors: no partition takes the row.
_NO_PARTITION: Final = "23514"
# A character that PostgreSQL takes in no text, as JSON writes it; behind an even number of backslashes.
_NUL: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class SpanWriter:
    """The background work of a process that writes its spans. `sampling` is refreshed by it."""

    def __init__(self, process: Process, sampling: Sampling, *, write_seconds: float = WRITE_SECONDS) -> None:
        self._buffer = process.spans
        self._sampling = sampling
        self._write_seconds = write_seconds
        self._batch: bytes = b""
        self._batch_days: set[date] = set()
        self._batch_size = 0
        self._failures = 0
        self._refresh_at = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="span-writer", daemon=True)

    def start(self) -> None:
        """Let the process's buffer ask for samples, and begin to write."""
        self._buffer.is_sampled = self._sampling.is_sampled
        self._thread.start()

    def stop(self) -> None:
        """Write what is there, if the database takes it within some seconds."""
        self._stopping.set()
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        use_own_connection(statement_timeout="5s", lock_timeout="1s")
        try:
            is_last = False
            while not is_last:
                self._work()
                is_last = self._stopping.is_set() and not self._is_behind
                if not is_last:
                    self._stopping.wait(self._pause)
        finally:
            connection.close()

    @property
    def _is_behind(self) -> bool:
        """Whether there is more to write that the database seems to take."""
        return not self._failures and (self._batch_size > 0 or len(self._buffer) > 0)

    @property
    def _pause(self) -> float:
        if not self._failures:
            return self._write_seconds
        return min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** (self._failures - 1))

    def _work(self) -> None:
        try:
            if monotonic() >= self._refresh_at:
                self._sampling.refresh()
                self._refresh_at = monotonic() + REFRESH_SECONDS
            self._write_all()
        except (OperationalError, InterfaceError) as error:
            self._failures += 1
            if self._failures == 1:
                log.warning("spans.not_written", error=type(error).__name__, spans=self._batch_size)
            connection.close()
        except Exception:
            # A fault of ours, or of the batch: the next one may be better.
            log.exception("spans.not_written", spans=self._batch_size)
            self._drop_batch()
            connection.close()
        else:
            if self._failures:
                log.info("span_writer.recovered", dropped=self._buffer.dropped)
            self._failures = 0

    def _write_all(self) -> None:
        # As much as was there at the beginning: whoever records faster than this writes must not keep it for ever.
        for _ in range(len(self._buffer) // BATCH + 1):
            if not self._batch_size:
                self._make_batch(self._buffer.take(BATCH))
            if self._batch_size:
                self._write_batch()

    def _make_batch(self, spans: Sequence[Span]) -> None:
        earliest, latest = now() - CLOCK_ERROR, now() + CLOCK_ERROR
        kept = [span for span in spans if earliest < span.started_at < latest]
        try:
            self._batch, self._batch_size = encode(kept), len(kept)
        except Exception:
            self._buffer.count_dropped(len(spans))
            raise
        self._batch_days = {span.started_at.date() for span in kept}
        if len(kept) < len(spans):
            self._buffer.count_dropped(len(spans) - len(kept))

    def _write_batch(self) -> None:
        try:
            _copy(self._batch)
        except IntegrityError as error:
            if getattr(error.__cause__, "sqlstate", None) == _NO_PARTITION:
                with connection.cursor() as cursor:
                    create_partitions(cursor, self._batch_days)
                _copy(self._batch)
            # Otherwise the ids are there already: it was written, and the reply was lost.
        self._batch, self._batch_size = b"", 0

    def _drop_batch(self) -> None:
        self._buffer.count_dropped(self._batch_size)
        self._batch, self._batch_size = b"", 0


def encode(spans: Iterable[Span]) -> bytes:
    """`spans` as lines of PostgreSQL's COPY, each with a new id."""
    return "".join(chain.from_iterable(map(_line, spans))).encode()


def _line(span: Span) -> tuple[str, ...]:
    attributes = _NUL.sub(r"\1", orjson.dumps(span.attributes).decode()).replace("\\", "\\\\")
    return (
        span.started_at.isoformat(),
        f"\t{random.getrandbits(63)}\t{span.turn_id}\t{span.agent_id}\t",
        _text(span.name),
        f"\t{span.ended_at.isoformat()}\t",
        _text(span.error_type),
        "\t",
        attributes,
        "\n",
    )


def _text(value: str) -> str:
    return storable_text(value)[:NAME_CHARACTERS].translate(_ESCAPES)


def _copy(lines: bytes) -> None:
    # Django wraps the errors of its own methods only.
    with connection.cursor() as cursor, connection.wrap_database_errors, cursor.copy(COPY) as copy:
        copy.write(lines)
