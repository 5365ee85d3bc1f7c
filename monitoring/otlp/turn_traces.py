"""A turn as the spans of a trace, under OpenTelemetry's semantic conventions for generative AI. Pure.

The turn is the trace, and its id the trace's. The ids of spans follow from what they stand for, so a turn that is sent
twice is the same trace.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, TypeAlias
from uuid import UUID

Attribute: TypeAlias = str | int | float | bool | list[str]

# Providers whose name in a route is not OpenTelemetry's.
_PROVIDERS: Final[Mapping[str, str]] = {"google": "gcp.gemini", "bedrock": "aws.bedrock"}
# Of one attribute; receivers refuse or cut larger ones.
MAX_CONTENT_CHARACTERS: Final = 32_000

# OpenTelemetry's kinds of spans.
INTERNAL: Final = 1
CLIENT: Final = 3


@dataclass(frozen=True, slots=True)
class StepRow:
    """A step of the journal. `request` and `result` are None where content is not exported."""

    number: int
    kind: str
    name: str
    started_at: datetime
    finished_at: datetime
    call_id: str = ""
    error_class: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: Decimal | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    request: Any = None
    result: Any = None


@dataclass(frozen=True, slots=True)
class SpanRow:
    """A span as it was recorded."""

    id: int
    name: str
    started_at: datetime
    ended_at: datetime
    error_type: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TurnRow:
    """An ended turn with its agent. `question` and `answer` are "" where content is not exported."""

    id: UUID
    session_id: UUID
    agent_id: UUID
    agent_name: str
    release_number: int
    status: str
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime
    error_class: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: Decimal | None = None
    fallback: str | None = None
    question: str = ""
    answer: str = ""


@dataclass(frozen=True, slots=True)
class TraceSpan:
    """A span of a trace. `parent_id` is b"" for its root; `error_type` "" for success."""

    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    name: str
    kind: int
    started_at: datetime
    ended_at: datetime
    attributes: Mapping[str, Attribute]
    error_type: str = ""


def turn_trace(turn: TurnRow, steps: Sequence[StepRow], spans: Sequence[SpanRow]) -> list[TraceSpan]:
    """The trace of a turn: its root first, then the wait in the queue, its steps, and what else was recorded."""
    return [_root(turn), *_queue(turn), *(_step(turn, step) for step in steps), *(_span(turn, span) for span in spans)]


def _root(turn: TurnRow) -> TraceSpan:
    return TraceSpan(
        turn.id.bytes,
        _span_id(turn, "turn"),
        b"",
        f"invoke_agent {turn.agent_name}",
        INTERNAL,
        turn.queued_at,
        max(turn.queued_at, turn.finished_at),
        _present(
            {
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.agent.id": str(turn.agent_id),
                "gen_ai.agent.name": turn.agent_name,
                "gen_ai.agent.version": str(turn.release_number),
                "gen_ai.conversation.id": str(turn.session_id),
                "gen_ai.usage.input_tokens": turn.input_tokens,
                "gen_ai.usage.output_tokens": turn.output_tokens,
                "gen_ai.input.messages": _messages("user", turn.question),
                "gen_ai.output.messages": _messages("assistant", turn.answer),
                "bandstand.turn.id": str(turn.id),
                "bandstand.turn.status": turn.status,
                "bandstand.turn.fallback": turn.fallback,
                "bandstand.cost_usd": _dollars(turn.cost_usd),
            }
        ),
        turn.error_class,
    )


def _queue(turn: TurnRow) -> Iterator[TraceSpan]:
    if turn.started_at is not None:
        yield TraceSpan(
            turn.id.bytes,
            _span_id(turn, "queue"),
            _span_id(turn, "turn"),
            "bandstand.queue",
            INTERNAL,
            turn.queued_at,
            max(turn.queued_at, turn.started_at),
            {},
        )


def _step(turn: TurnRow, step: StepRow) -> TraceSpan:
    kind, name, attributes = INTERNAL, f"bandstand.fallback {step.name}", {}
    if step.kind == "model":
        kind, name, attributes = CLIENT, *_chat(step)
    elif step.kind == "tool":
        name, attributes = f"execute_tool {step.name}", _tool(step)
    attributes |= {"gen_ai.conversation.id": str(turn.session_id), "bandstand.step": step.number}
    return TraceSpan(
        turn.id.bytes,
        _span_id(turn, f"step {step.number}"),
        _span_id(turn, "turn"),
        name,
        kind,
        step.started_at,
        max(step.started_at, step.finished_at),
        _present(attributes),
        step.error_class,
    )


def _chat(step: StepRow) -> tuple[str, dict[str, Any]]:
    provider, _, model = step.name.partition(":")
    details = step.details
    return f"chat {model or provider}", {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _PROVIDERS.get(provider, provider),
        "gen_ai.request.model": model or provider,
        "gen_ai.request.stream": True,
        "gen_ai.usage.input_tokens": step.input_tokens,
        "gen_ai.usage.output_tokens": step.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": details.get("cached_tokens"),
        "gen_ai.usage.reasoning.output_tokens": details.get("reasoning_tokens"),
        "gen_ai.response.time_to_first_chunk": details.get("first_token_seconds"),
        "gen_ai.output.messages": _answer(step.result),
        "bandstand.provider_request_id": details.get("request_id"),
        "bandstand.attempt": details.get("attempt"),
        "bandstand.cost_usd": _dollars(step.cost_usd),
    }


def _tool(step: StepRow) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": step.name,
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": step.call_id or None,
        "gen_ai.tool.call.arguments": _content(step.request),
        "gen_ai.tool.call.result": _content(step.result),
    }


def _span(turn: TurnRow, span: SpanRow) -> TraceSpan:
    return TraceSpan(
        turn.id.bytes,
        span.id.to_bytes(8, signed=True),
        _span_id(turn, "turn"),
        span.name,
        INTERNAL,
        span.started_at,
        max(span.started_at, span.ended_at),
        _present(span.attributes),
        span.error_type,
    )


def _span_id(turn: TurnRow, key: str) -> bytes:
    return hashlib.sha256(turn.id.bytes + key.encode()).digest()[:8]


def _present(attributes: Mapping[str, Any]) -> dict[str, Attribute]:
    """Attributes that have a value, which OpenTelemetry allows; others as JSON."""
    return {
        name: value if isinstance(value, str | int | float | bool) else json.dumps(value)
        for name, value in attributes.items()
        if value is not None and value != ""
    }


def _dollars(cost: Decimal | None) -> float | None:
    return None if cost is None else float(cost)


def _messages(role: str, text: str) -> str | None:
    """One message, as the conventions write messages."""
    return _parts(role, [{"type": "text", "content": text[:MAX_CONTENT_CHARACTERS]}]) if text else None


def _answer(result: Any) -> str | None:
    """What a model answered, from the result of its step."""
    if not isinstance(result, dict):
        return None
    text = [{"type": "text", "content": str(result["text"])[:MAX_CONTENT_CHARACTERS]}] if result.get("text") else []
    calls = [
        {"type": "tool_call", "id": call["id"], "name": call["name"], "arguments": _content(call["arguments"])}
        for call in result.get("tool_calls") or ()
    ]
    finish_reason = result.get("finish_reason") or ("tool_call" if calls else "stop")
    return _parts("assistant", [*text, *calls], finish_reason=finish_reason)


def _parts(role: str, parts: list[dict[str, Any]], **more: str) -> str:
    return json.dumps([{"role": role, "parts": parts, **more}], ensure_ascii=False)


def _content(value: Any) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text[:MAX_CONTENT_CHARACTERS]
