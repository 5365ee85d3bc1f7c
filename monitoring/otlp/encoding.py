"""Traces as OTLP messages. Needs the package of the extra `otlp`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from monitoring.otlp.turn_traces import Attribute, TraceSpan

SCOPE: Final = "bandstand"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_INTEGERS: Final = 1 << 63


def encode_traces(spans: Sequence[TraceSpan], *, resource: Mapping[str, str], version: str) -> bytes:
    """`spans` as an `ExportTraceServiceRequest`. Raises `ImportError` without the extra."""
    # Imported where it is used: protobuf takes as long as all else of a process's start that exports nothing.
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest()
    of_resource = request.resource_spans.add()
    for name, value in resource.items():
        _add(of_resource.resource.attributes, name, value)
    of_scope = of_resource.scope_spans.add()
    of_scope.scope.name, of_scope.scope.version = SCOPE, version
    for span in spans:
        _fill(of_scope.spans.add(), span)
    content: bytes = request.SerializeToString()
    return content


def count_refused(answer: bytes) -> int:
    """The number of spans that a receiver says it did not take, in the body of its answer; 0 for any other body."""
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    try:
        return int(ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans)
    except DecodeError:
        return 0


def _fill(message: Any, span: TraceSpan) -> None:
    message.trace_id, message.span_id, message.parent_span_id = span.trace_id, span.span_id, span.parent_id
    message.name, message.kind = span.name, span.kind
    message.start_time_unix_nano = _nanoseconds(span.started_at)
    message.end_time_unix_nano = _nanoseconds(span.ended_at)
    for name, value in span.attributes.items():
        _add(message.attributes, name, value)
    if span.error_type:
        _add(message.attributes, "error.type", span.error_type)
        message.status.code = 2  # STATUS_CODE_ERROR


def _add(attributes: Any, name: str, value: Attribute) -> None:
    pair = attributes.add()
    pair.key = name
    if isinstance(value, bool):  # before int, which it is, too
        pair.value.bool_value = value
    elif isinstance(value, int) and -_INTEGERS <= value < _INTEGERS:
        pair.value.int_value = value
    elif isinstance(value, float):
        pair.value.double_value = value
    else:
        pair.value.string_value = str(value)


def _nanoseconds(at: datetime) -> int:
    # A float has not the digits.
    return (at - _EPOCH) // _MICROSECOND * 1_000
