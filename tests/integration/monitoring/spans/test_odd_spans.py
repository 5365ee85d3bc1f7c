"""Spans that cannot be written as they are."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from foundation.clock import now
from foundation.process_work import Process, ProcessKind
from foundation.spans import Span, SpanBuffer
from monitoring.models import TurnSpan
from monitoring.spans.sampling import Sampling
from monitoring.spans.writer import SpanWriter

pytestmark = pytest.mark.usefixtures("transactional_db")


def write(*values: Any) -> SpanBuffer:
    buffer = SpanBuffer()
    for value in values:
        buffer.record(Span(uuid4(), uuid4(), "test", now(), now(), {"value": value}))
    writer = SpanWriter(Process(ProcessKind.WEB, uuid4(), dict, buffer), Sampling())
    writer.start()
    writer.stop()
    return buffer


def test_what_cannot_be_encoded_is_counted_as_dropped() -> None:
    buffer = write(object(), 1)
    assert (buffer.dropped, len(buffer), TurnSpan.objects.count()) == (2, 0, 0)


def test_nul_is_left_out_and_text_that_looks_like_it_stays() -> None:
    assert write("a\0b", "a\\u0000b", "a\\\0b").dropped == 0
    stored = {row.attributes["value"] for row in TurnSpan.objects.all()}
    assert stored == {"ab", "a\\u0000b", "a\\b"}
