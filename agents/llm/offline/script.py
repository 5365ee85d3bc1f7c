"""The answer of the offline model, as a pure function of the messages and tools of a request."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from agents.domain.failures import ErrorClass
from agents.llm.directive import parse_directive
from agents.llm.errors import BY_CLASS, BadModelRequest
from agents.llm.interface import ChatMessage, ModelRequest, ToolCall
from agents.llm.offline.examples import find_example
from agents.llm.offline.memory_phrases import split_memories
from agents.llm.offline.phrases import parse_calls, write_reply
from agents.llm.offline.tool_choice import choose_tool

_MAX_CALLS = 128
_MAX_SETTINGS: dict[str, float] = {
    "words": 20_000,
    "parallel": _MAX_CALLS,
    "rounds": 1_000_000,
    "cut": 20_000,
    "pace_ms": 600_000,
    "ttft_ms": 600_000,
    "retry_after": 86_400,
}
_MAX_QUESTION = 64 * 1024
_FILLER = "offline models say the same words in the same order every time and that is what tests are made of"
_ID = re.compile(r"call_(\d+)")
_FILLER_WORDS = tuple(_FILLER.split())


@dataclass(frozen=True, slots=True)
class ScriptedAnswer:
    """One answer; `reasoning` precedes all of it. Times are seconds; `cut` is the number of words of its text before
    `fail`."""

    text: str
    calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    first_seconds: float = 0
    pace_seconds: float = 0
    finish: Literal["stop", "length", "repetition"] = "stop"
    usage: bool = True
    fail: ErrorClass | None = None
    cut: int = 0
    retry_after_seconds: float | None = None


def plan_answer(request: ModelRequest, *, pace_seconds: float) -> ScriptedAnswer:
    """The answer to `request`. Raises `BadModelRequest` for a directive that cannot be read."""
    return _apply_bounds(request, _plan(request, pace_seconds))


def _apply_bounds(request: ModelRequest, answer: ScriptedAnswer) -> ScriptedAnswer:
    """`answer` with the options of the request applied, as a real model does."""
    calls = answer.calls
    if request.must_call and not calls and answer.fail is None and (forced := choose_tool(request)) is not None:
        calls = _assign_ids([(forced.name, find_example(forced.parameters))], request.messages)
    calls = calls[:1] if request.one_call else calls
    text = "" if calls and not answer.calls else answer.text
    if request.json is not None and not calls and not _is_object(text):
        text = json.dumps(find_example(request.json.schema) if request.json.schema else {"answer": text})
    ends = [at for stop in request.stop if (at := text.find(stop)) >= 0]
    return replace(answer, calls=calls, text=text[: min(ends, default=len(text))])


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _plan(request: ModelRequest, pace_seconds: float) -> ScriptedAnswer:
    messages = request.messages
    last_user = next(
        (index for index in reversed(range(len(messages))) if messages[index].role == "user"), len(messages)
    )
    # A client may send a file of some megabytes, and the event loop waits for this.
    memories, question = split_memories(messages[last_user].text) if last_user < len(messages) else ([], "")
    question = question[:_MAX_QUESTION]
    try:
        settings = parse_directive(question, "offline")
        if settings is not None:
            return _follow_directive(settings, messages, last_user, pace_seconds)
    except (ValueError, TypeError) as error:
        raise BadModelRequest(f"The offline model does not understand its directive: {error}") from None
    offered = frozenset(tool.name for tool in request.tools)
    if not any(message.role == "tool" for message in messages[last_user:]) and (
        calls := parse_calls(question, offered, may_recall=not memories)
    ):
        return ScriptedAnswer("", _assign_ids(calls, messages), pace_seconds=pace_seconds)
    return ScriptedAnswer(write_reply(messages, last_user, offered), pace_seconds=pace_seconds)


def _follow_directive(
    settings: dict[str, Any], messages: Sequence[ChatMessage], last_user: int, default_pace_seconds: float
) -> ScriptedAnswer:
    for name, largest in _MAX_SETTINGS.items():
        if not 0 <= settings.get(name, 0) <= largest:
            raise ValueError(f"{name} goes from 0 to {largest:g}")
    remaining = dict(settings)
    rounds = remaining.pop("rounds", 1)
    calls = _calls(remaining)
    if sum(1 for message in messages[last_user:] if message.tool_calls) >= rounds:
        calls = []
    text = _text(remaining)
    fail = remaining.pop("fail", ErrorClass.TRANSIENT if "cut" in remaining else None)
    if fail is not None and fail not in BY_CLASS:
        raise ValueError(f"there is no error class {fail}")
    answer = ScriptedAnswer(
        text="" if calls and "text" not in settings else text,
        reasoning=str(remaining.pop("reasoning", "")),
        calls=_assign_ids(calls, messages),
        first_seconds=remaining.pop("ttft_ms", 0) / 1000,
        pace_seconds=remaining.pop("pace_ms", default_pace_seconds * 1000) / 1000,
        finish=remaining.pop("finish", "stop"),
        usage=remaining.pop("usage", "yes") == "yes",
        # A part with calls plays them first; it fails when the results are in.
        fail=None if calls else fail,
        cut=remaining.pop("cut", 0),
        retry_after_seconds=remaining.pop("retry_after", None),
    )
    if remaining:
        raise ValueError(f"there is no setting {min(remaining)}")
    return answer


def _text(remaining: dict[str, Any]) -> str:
    word_count = remaining.pop("words", None)
    invented = (
        "Done."
        if word_count is None
        else " ".join(_FILLER_WORDS[index % len(_FILLER_WORDS)] for index in range(word_count))
    )
    return str(remaining.pop("text", invented))


def _calls(remaining: dict[str, Any]) -> list[tuple[str, Any]]:
    listed = remaining.pop("calls", ())
    if len(listed) > _MAX_CALLS:
        raise ValueError(f"there are more than {_MAX_CALLS} calls")
    calls = [(str(name), arguments) for name, arguments in listed]
    tool, arguments, parallel = remaining.pop("tool", None), remaining.pop("args", {}), remaining.pop("parallel", 1)
    if tool is not None:
        calls += [(str(tool), arguments)] * parallel
    return calls


def _assign_ids(calls: Sequence[tuple[str, Any]], messages: Sequence[ChatMessage]) -> tuple[ToolCall, ...]:
    """The calls with ids that do not occur in `messages` (the oldest may be missing) and do not change in a repeat."""
    used = [int(match[1]) for message in messages for call in message.tool_calls if (match := _ID.fullmatch(call.id))]
    return tuple(
        ToolCall(f"call_{number}", name, arguments if isinstance(arguments, str) else json.dumps(arguments))
        for number, (name, arguments) in enumerate(calls, start=max(used, default=0) + 1)
    )
