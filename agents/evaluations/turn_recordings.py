"""Make an entry of a test set out of a turn: from its journal, as its model was sent it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson

from agents.domain.configuration import AgentConfiguration
from agents.domain.marked_blocks import MemoryBlock, TaskBlock
from agents.domain.recordings import RecordedCall, RecordedTurn, Recording
from agents.domain.states import StepKind
from agents.journal import sql
from agents.journal.queries import fetch
from agents.models import HistorySummary, Message, Step, Turn
from foundation.errors import Conflict, NotFound
from memory.recall import is_trusted, memory_text, reread_memories
from memory.working_memory import read_items


def record_turn(turn_id: UUID) -> RecordedTurn:
    """The recorded turn. What its model was sent and was erased since is missing, and is named. Raises `NotFound`,
    `Conflict` for a turn that is still open, and `TooLarge`."""
    turn = Turn.objects.select_related("release").filter(pk=turn_id).first()
    if turn is None:
        raise NotFound("There is no such turn here.")
    if turn.finished_at is None:
        raise Conflict("This turn is still open.")
    steps = list(turn.steps.order_by("number"))
    sent = _first_request(steps)
    missing: list[str] = []
    history, question = _read_history(turn, sent)
    answer = Message.objects.filter(turn=turn, author=Message.Author.AGENT).values_list("parts", flat=True).first()
    recorded = RecordedTurn(
        history=history,
        question=question,
        answer=answer or [],
        recording=Recording(
            calls=tuple(_read_calls(steps)),
            memories=_read_memories(sent, missing),
            tasks=_read_tasks(sent, missing),
            summary=_read_summary(sent, missing),
            client_options=turn.client_options,
            missing=tuple(missing),
        ),
    )
    recorded.require_size()
    return recorded


def _first_request(steps: Sequence[Step]) -> Mapping[str, Any]:
    """What is recorded of the first request that was sent; empty where none was."""
    for step in steps:
        if step.kind == StepKind.MODEL and (record := step.details.get("request")):
            sent: Mapping[str, Any] = record
            return sent
    return {}


def _read_history(turn: Turn, sent: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[Any]]:
    policy = AgentConfiguration.parse(turn.release.configuration).context_policy
    params = {"turn": turn.pk, "messages": policy.history_messages, "bytes": sql.HISTORY_BYTES}
    rows = [row for row in fetch(sql.HISTORY, params) if row[1] != Message.Author.SYSTEM]
    first = sent.get("first", 0)
    messages = [
        {"author": author, "parts": orjson.loads(parts)} | ({"extras": orjson.loads(extras)} if extras else {})
        for _, author, parts, _, extras, ordinal, _ in rows
        if ordinal >= first
    ]
    return messages[:-1], messages[-1]["parts"]


def _read_calls(steps: Sequence[Step]) -> list[RecordedCall]:
    return [
        RecordedCall(step.name, step.request, step.result["content"], step.result["is_error"])
        for step in steps
        if step.kind == StepKind.TOOL and step.result is not None
    ]


def _read_memories(sent: Mapping[str, Any], missing: list[str]) -> tuple[MemoryBlock, ...]:
    keys = [key for key, _ in sent.get("memories", ())]
    rows = {str(memory.id): memory for memory in reread_memories([UUID(key) for key in keys])} if keys else {}
    if len(rows) < len(keys):
        missing.append(f"{len(keys) - len(rows)} memories")
    present = [key for key in keys if key in rows]
    return tuple(
        MemoryBlock(key, memory_text(rows[key]), float(-index), is_trusted(rows[key]))
        for index, key in enumerate(present)
    )


def _read_tasks(sent: Mapping[str, Any], missing: list[str]) -> tuple[TaskBlock, ...]:
    keys = [key for key, _ in sent.get("tasks", ())]
    items = read_items([UUID(key) for key in keys]) if keys else {}
    if len(items) < len(keys):
        missing.append(f"{len(keys) - len(items)} notes of the task")
    return tuple(TaskBlock(key, items[key].text) for key in keys if key in items)


def _read_summary(sent: Mapping[str, Any], missing: list[str]) -> str:
    if (key := sent.get("summary")) is None:
        return ""
    text = HistorySummary.objects.filter(pk=key).values_list("text", flat=True).first()
    if text is None:
        missing.append("the summary of earlier messages")
    return text or ""
