"""From stored messages to the request of a model: flatten, cut, repair.

The repair is pure, ordered and idempotent, and it never touches the stored log: whatever a crash or a stop left
behind, the request that comes out is one that providers accept.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from agents.domain.chat import ChatMessage, ToolCall
from agents.domain.client_options import BELOW_OURS
from agents.domain.configuration import ContextPolicy
from agents.domain.message_parts import Part

INTERRUPTED = "This call was interrupted and has no result."

# The narrowest rules of all: Gemini's for how a name begins, OpenAI's for how long an id may be.
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}")
_NAME_BEGINS = re.compile(r"[a-zA-Z_]")
_FOREIGN = re.compile(r"[^a-zA-Z0-9_-]")
_ID = re.compile(r"[a-zA-Z0-9_-]{1,40}")

_ROLES = {"user": "user", "agent": "assistant", "human": "assistant", "system": "system"}


def build_request(
    *,
    instructions: str,
    history: Iterable[tuple[str, Sequence[Part]]],
    work: Sequence[Part],
    policy: ContextPolicy,
    client_instructions: str = "",
) -> tuple[ChatMessage, ...]:
    """The messages of a request: `history` as (author, parts) with the question last, `work` what this turn did
    since. What a client asks for stands below what the release says."""
    messages = [message for author, parts in history for message in flatten(author, parts)]
    kept = _newest(messages, policy.history_characters)
    if instructions and client_instructions:
        client_instructions = BELOW_OURS + client_instructions
    system = [ChatMessage(role="system", text=text) for text in (instructions, client_instructions) if text]
    return repair([*system, *kept, *flatten("agent", work)])


def flatten(author: str, parts: Sequence[Mapping[str, Any]]) -> list[ChatMessage]:
    """One stored message as the messages that a model knows: calls and their results are messages of their own."""
    if author != "agent":
        # A client's results of its own tools come with the user's next words, or with none.
        results = [_result(part) for part in parts if part["type"] == "tool_result"]
        text = "".join(part["text"] for part in parts if part["type"] == "text")
        said = [ChatMessage(role=_ROLES[author], text=text)] if text or not results else []  # type: ignore[arg-type]
        return [*results, *said]
    out: list[ChatMessage] = []
    text, calls = "", list[ToolCall]()
    for part in parts:
        if part["type"] == "tool_result":
            if text or calls:
                out.append(ChatMessage(role="assistant", text=text, tool_calls=tuple(calls)))
                text, calls = "", []
            out.append(_result(part))
        elif part["type"] == "tool_call":
            calls.append(ToolCall(id=part["id"], name=part["name"], arguments=part["arguments"]))
        else:
            if calls:
                out.append(ChatMessage(role="assistant", text=text, tool_calls=tuple(calls)))
                text, calls = "", []
            text += part["text"]
    if text or calls:
        out.append(ChatMessage(role="assistant", text=text, tool_calls=tuple(calls)))
    return out


def _result(part: Mapping[str, Any]) -> ChatMessage:
    return ChatMessage(role="tool", text=part["content"], tool_call_id=part["call_id"])


def _newest(messages: Sequence[ChatMessage], characters: int) -> list[ChatMessage]:
    """The newest messages that fit, and what the turn is about in any case."""
    needed = _needed(messages)
    characters -= sum(_size(messages[index]) for index in needed)
    first = len(messages)
    for index in reversed(range(len(messages))):
        if index not in needed:
            characters -= _size(messages[index])
            if characters < 0:
                break
        first = index
    return [message for index, message in enumerate(messages) if index >= first or index in needed]


def _needed(messages: Sequence[ChatMessage]) -> frozenset[int]:
    """The last message; when a client's results come with it, also their calls and the question before those."""
    last = len(messages) - 1
    result = last if last >= 0 and messages[last].role == "tool" else last - 1
    if result < 0 or messages[result].role != "tool":
        return frozenset(range(max(last, 0), last + 1))
    call = next((index for index in range(result, -1, -1) if messages[index].tool_calls), result)
    question = next((index for index in range(call, -1, -1) if messages[index].role == "user"), call)
    return frozenset({question, *range(call, last + 1)})


def _size(message: ChatMessage) -> int:
    return len(message.text) + sum(len(call.arguments) for call in message.tool_calls)


def repair(messages: Iterable[ChatMessage]) -> tuple[ChatMessage, ...]:
    """`messages` such that every call has exactly one result right behind it, and every result a call before it.

    Dangling calls get an error result, orphan and second results are dropped, broken arguments become an empty object,
    names and ids that a provider would refuse become ones that all take, empty answers are dropped, and what stands
    before the first question goes.
    """
    return _answer_calls(_begin_with_a_question(_drop_empty(_mend_calls(list(messages)))))


def _mend_calls(messages: list[ChatMessage]) -> list[ChatMessage]:
    return [
        ChatMessage(
            message.role,
            message.text,
            tuple(map(_mended, message.tool_calls)),
            None if message.tool_call_id is None else sound_id(message.tool_call_id),
        )
        if message.tool_calls or message.tool_call_id is not None
        else message
        for message in messages
    ]


def _mended(call: ToolCall) -> ToolCall:
    try:
        # As strict as providers are: Python's own reader takes NaN and lone surrogates.
        sound = isinstance(orjson.loads(call.arguments), dict)
    except orjson.JSONDecodeError:
        sound = False
    return ToolCall(sound_id(call.id), sound_name(call.name), call.arguments if sound else "{}")


def sound_name(name: str) -> str:
    """`name` if every provider takes it as a tool's, else one like it: models invent names, and those stay in the
    history, where one refused name would end the conversation for ever."""
    if _NAME.fullmatch(name):
        return name
    name = _FOREIGN.sub("_", name)
    return (name if _NAME_BEGINS.match(name) else f"_{name}")[:64]


def sound_id(call_id: str) -> str:
    """`call_id` if every provider takes it, else one made of it: another provider may have given it."""
    if _ID.fullmatch(call_id):
        return call_id
    return f"call_{hashlib.sha256(call_id.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"


def _drop_empty(messages: list[ChatMessage]) -> list[ChatMessage]:
    return [m for m in messages if m.role != "assistant" or m.text or m.tool_calls]


def _begin_with_a_question(messages: list[ChatMessage]) -> list[ChatMessage]:
    system = [m for m in messages if m.role == "system"]
    rest = [m for m in messages if m.role != "system"]
    first = next((index for index, m in enumerate(rest) if m.role == "user"), 0)
    return [*system, *rest[first:]]


def _answer_calls(messages: list[ChatMessage]) -> tuple[ChatMessage, ...]:
    out: list[ChatMessage] = []
    for index, message in enumerate(messages):
        if message.role == "tool":
            continue
        calls = _each_once(message.tool_calls)
        if not calls:
            out.append(message)
            continue
        out.append(ChatMessage(message.role, message.text, calls))
        results = _results_after(messages, index)
        out.extend(
            ChatMessage(role="tool", text=results.get(call.id, INTERRUPTED), tool_call_id=call.id) for call in calls
        )
    return tuple(out)


def _each_once(calls: Iterable[ToolCall]) -> tuple[ToolCall, ...]:
    first: dict[str, ToolCall] = {}
    for call in calls:
        first.setdefault(call.id, call)
    return tuple(first.values())


def _results_after(messages: list[ChatMessage], index: int) -> dict[str, str]:
    """The first result of each call, up to the next message with calls: an id may come again later."""
    results: dict[str, str] = {}
    for message in messages[index + 1 :]:
        if message.tool_calls:
            break
        if message.role == "tool" and message.tool_call_id is not None:
            results.setdefault(message.tool_call_id, message.text)
    return results
