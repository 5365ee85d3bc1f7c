"""Background work of processes, and the buffer of their spans."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from foundation.process_work import Process, ProcessKind, ProcessWorkRegistry
from foundation.spans import Span, SpanBuffer

ID = UUID(int=1)
AT = datetime(2026, 1, 1, tzinfo=UTC)


class Recorder:
    """Work that notes its start and end."""

    def __init__(self, name: str, notes: list[str], *, fails: bool = False) -> None:
        self.name, self.notes, self.fails = name, notes, fails

    def start(self) -> None:
        self.notes.append(f"start {self.name}")

    def stop(self) -> None:
        self.notes.append(f"stop {self.name}")
        if self.fails:
            raise OSError


def process() -> Process:
    return Process(ProcessKind.WEB, ID, dict, SpanBuffer())


def test_work_is_started_in_order_and_stopped_in_reverse_also_when_one_fails() -> None:
    notes: list[str] = []
    registry = ProcessWorkRegistry()
    registry.register(lambda _: Recorder("a", notes))
    registry.register(lambda _: None)
    registry.register(lambda _: Recorder("b", notes, fails=True))
    with registry.running(process()):
        notes.append("work")
    assert notes == ["start a", "start b", "work", "stop b", "stop a"]


def test_what_has_started_is_stopped_when_a_later_one_cannot_start() -> None:
    notes: list[str] = []
    registry = ProcessWorkRegistry()
    registry.register(lambda _: Recorder("a", notes))

    def fail(_: Process) -> None:
        raise OSError

    registry.register(fail)
    with pytest.raises(OSError), registry.running(process()):  # noqa: PT011 - any
        pass
    assert notes == ["start a", "stop a"]


def test_a_full_buffer_drops_and_counts_new_spans() -> None:
    buffer = SpanBuffer(size=2)
    for name in "abc":
        buffer.record(Span(ID, ID, name, AT, AT))
    assert buffer.dropped == 1
    assert [span.name for span in buffer.take(1)] == ["a"]
    assert [span.name for span in buffer.take(9)] == ["b"]
    assert buffer.take(9) == []
    assert not buffer.is_sampled(ID, ID, ID)
