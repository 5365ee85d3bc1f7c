"""The job that sends the traces of ended turns, at least once each, and goes on where it was.

What it has sent is noted after the receiver has taken it. While the receiver does not answer nothing is lost that is in
the database: the job waits, longer each time, and goes on; only turns older than `MAX_AGE` are passed over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Final
from uuid import UUID

import structlog
from django.conf import settings

from agents.models import Turn
from foundation.advisory_locks import AdvisoryLock, try_advisory_lock
from foundation.clock import now
from foundation.db_threads import DATABASE_FAULTS
from foundation.ids import lowest_id
from monitoring.models import TraceExport
from monitoring.otlp.encoding import count_refused, encode_traces
from monitoring.otlp.otlp_settings import read_headers
from monitoring.otlp.receiver import ExportRefused, NotSent, Receiver, ReceiverConfig
from monitoring.otlp.turn_rows import read_traces
from monitoring.otlp.turn_traces import TraceSpan

log = structlog.get_logger(__name__)

EXPORT_SECONDS: Final = 40.0
BATCH_TURNS: Final = 100
MESSAGE_SPANS: Final = 500
# An id is made before its row is committed, and the spans of a turn are written after its end.
SETTLE_AFTER: Final = timedelta(seconds=60)
SPANS_AFTER: Final = timedelta(seconds=10)
# When nothing could be sent for longer, the oldest turns are passed over.
MAX_AGE: Final = timedelta(days=7)
# More are not remembered as open; the visit waits for their ends.
MAX_OPEN: Final = 20_000
FIRST_PAUSE_SECONDS: Final = 10.0
LONGEST_PAUSE_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class TurnBatch:
    """Turns to send, and the state of the row when they are sent."""

    ended: Sequence[UUID]
    visited: UUID
    open_turns: Sequence[UUID]


def export_traces() -> int:
    """Send the traces of turns that have ended, for at most 40 seconds; return how many. 0 while another process
    does so, and during the pause after a failure."""
    config = settings.BANDSTAND
    if not config.otlp_endpoint:
        return 0
    headers = config.otlp_headers
    receiver = ReceiverConfig(config.otlp_endpoint, read_headers(headers.get_secret_value()) if headers else {})
    with try_advisory_lock(AdvisoryLock.EXPORT_TRACES) as acquired:
        return export_to(receiver) if acquired else 0


def export_to(receiver: ReceiverConfig, *, at: datetime | None = None, seconds: float = EXPORT_SECONDS) -> int:
    """Send to `receiver` what has ended until `at`; return the number of turns. For one process at a time."""
    at = at or now()
    state, is_new = TraceExport.objects.get_or_create(defaults={"visited": lowest_id(at)})
    if is_new or (state.retry_at is not None and state.retry_at > at):
        return 0
    exported, ends_at = 0, monotonic() + seconds
    while monotonic() < ends_at:
        batch = next_batch(state, at)
        if batch is None:
            break
        traces, unreadable = _read_readable(batch.ended)
        try:
            refused = unreadable + asyncio.run(_send(receiver, traces))
        except NotSent as error:
            _note_failure(state, error, at)
            break
        taken = len(traces) + unreadable - refused
        exported += taken
        _note_success(state, batch, taken=taken, refused=refused)
    return exported


def _read_readable(turn_ids: Sequence[UUID]) -> tuple[Mapping[UUID, Sequence[TraceSpan]], int]:
    """The traces of turns, and how many turns cannot be read; such a turn is logged and holds nobody else up. Raises
    database errors."""
    try:
        return read_traces(turn_ids), 0
    except DATABASE_FAULTS:
        raise
    except Exception:
        if len(turn_ids) == 1:
            log.exception("trace.skipped", turn=str(turn_ids[0]))
            return {}, 1
    each = [_read_readable([turn_id]) for turn_id in turn_ids]
    return {turn_id: trace for traces, _ in each for turn_id, trace in traces.items()}, sum(n for _, n in each)


def next_batch(state: TraceExport, at: datetime) -> TurnBatch | None:
    """Up to `BATCH_TURNS` turns that have ended; None when there is nothing to send and nothing new to visit."""
    is_settled = {"finished_at__lt": at - SPANS_AFTER}
    settled = Turn.objects.filter(pk__in=state.open_turns, **is_settled).order_by("pk")
    ended = list(settled.values_list("pk", flat=True)[:BATCH_TURNS])
    still_open = set(Turn.objects.filter(pk__in=state.open_turns).values_list("pk", flat=True)) - set(ended)
    visited = max(state.visited, lowest_id(at - MAX_AGE))
    room = min(BATCH_TURNS - len(ended), MAX_OPEN - len(still_open))
    if room > 0:
        rows = Turn.objects.filter(pk__gt=visited, pk__lt=lowest_id(at - SETTLE_AFTER)).order_by("pk")
        for turn_id, finished_at in rows.values_list("pk", "finished_at")[:room]:
            visited = turn_id
            if finished_at is not None and finished_at < at - SPANS_AFTER:
                ended.append(turn_id)
            else:
                still_open.add(turn_id)
    open_turns = sorted(still_open)
    if not ended and visited == state.visited and open_turns == state.open_turns:
        return None
    return TurnBatch(ended, visited, open_turns)


async def _send(config: ReceiverConfig, traces: Mapping[UUID, Sequence[TraceSpan]]) -> int:
    """Send all traces; return how many the receiver refuses. Raises `NotSent`."""
    receiver, refused = Receiver(config), 0
    try:
        for message in _messages(list(traces.values())):
            try:
                await _send_message(receiver, message)
            except ExportRefused:
                # One of them is at fault: each by itself, so that the others arrive.
                refused += sum([await _is_refused(receiver, trace) for trace in message])
    finally:
        await receiver.aclose()
    return refused


async def _is_refused(receiver: Receiver, trace: Sequence[TraceSpan]) -> bool:
    try:
        await _send_message(receiver, [trace])
    except ExportRefused as error:
        log.warning("trace.refused", turn=str(UUID(bytes=trace[0].trace_id)), reason=str(error))
        return True
    return False


async def _send_message(receiver: Receiver, traces: Sequence[Sequence[TraceSpan]]) -> None:
    spans = [span for trace in traces for span in trace]
    version = settings.BANDSTAND_VERSION
    resource = {"service.name": settings.BANDSTAND.otel_service_name, "service.version": version}
    answer = await receiver.send(encode_traces(spans, resource=resource, version=version))
    if rejected := count_refused(answer):
        log.warning("spans.refused", spans=rejected)


def _messages(traces: Sequence[Sequence[TraceSpan]]) -> Iterator[list[Sequence[TraceSpan]]]:
    """Whole traces, together some `MESSAGE_SPANS` spans."""
    message: list[Sequence[TraceSpan]] = []
    size = 0
    for trace in traces:
        if message and size + len(trace) > MESSAGE_SPANS:
            yield message
            message, size = [], 0
        message.append(trace)
        size += len(trace)
    if message:
        yield message


def _note_success(state: TraceExport, batch: TurnBatch, *, taken: int, refused: int) -> None:
    state.visited, state.open_turns = batch.visited, list(batch.open_turns)
    state.exported += taken
    state.refused += refused
    if batch.ended:
        state.failures, state.retry_at, state.last_error = 0, None, ""
    state.save()


def _note_failure(state: TraceExport, error: NotSent, at: datetime) -> None:
    state.failures += 1
    pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(state.failures - 1, 10))
    if error.retry_seconds is not None:
        pause = min(LONGEST_PAUSE_SECONDS, max(pause, error.retry_seconds))
    state.retry_at, state.last_error = at + timedelta(seconds=pause), str(error)[:200]
    state.save(update_fields=["failures", "retry_at", "last_error"])
    log.warning("traces.not_sent", reason=str(error), failures=state.failures, pause_seconds=pause)
