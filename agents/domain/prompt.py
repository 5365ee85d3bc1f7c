"""From stored messages to the messages of a request: system texts, history and work, repaired. What of them fits a
model's window is decided in `agents.domain.context_window`.

The repair is pure and idempotent and never changes the stored log: whatever a crash or a cancellation left behind, the
request is one that providers accept. What only some of them want, such as roles in turns, is done where the request is
encoded.

Messages that are appended change nothing before them, so that providers find the beginning in their caches.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

import orjson

from agents.domain.client_options import CLIENT_INSTRUCTIONS_PREFIX
from agents.domain.marked_blocks import human_text
from agents.domain.message_parts import Part, human_author
from agents.domain.model_messages import ChatMessage, ProviderExtras, ToolCall
from agents.domain.steps import extras_key

INTERRUPTED = "This call was interrupted and has no result."
# Stand for messages without text: several providers refuse those (Anthropic, Bedrock, Moonshot).
EMPTY_QUESTION = "(empty message)"
EMPTY_RESULT = "(no output)"

# The strictest rules of all providers: Gemini's for how a name begins, OpenAI's for how long an id may be.
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}")
_NAME_START = re.compile(r"[a-zA-Z_]")
_INVALID_CHARACTERS = re.compile(r"[^a-zA-Z0-9_-]")
_MAX_ID_LENGTH = 40
_ID = re.compile(rf"[a-zA-Z0-9_-]{{1,{_MAX_ID_LENGTH}}}")

_PLACEHOLDERS = {"user": EMPTY_QUESTION, "tool": EMPTY_RESULT}
_ROLES = {"user": "user", "agent": "assistant", "human": "assistant", "system": "system"}


class Source(StrEnum):
    """Who wrote a system text."""

    RELEASE = "release"
    CLIENT = "client"
    PLATFORM = "platform"


@dataclass(frozen=True, slots=True)
class Block:
    """A system text; one that is empty is left out of the request."""

    source: Source
    text: str


@dataclass(frozen=True, slots=True)
class Item:
    """A stored message of the conversation. `extras`: its `Message.provider_extras`; `ordinal`: its number in the
    session."""

    message_id: UUID
    author: str
    parts: Sequence[Part]
    extras: Mapping[str, Any] | None = None
    ordinal: int = 0


@dataclass(frozen=True, slots=True)
class Composition:
    """What a request could hold: the system message, if there is one; the conversation; and the work on its last
    message."""

    system: Sequence[ChatMessage]
    conversation: Sequence[ChatMessage]
    work: Sequence[ChatMessage]


def compose(
    blocks: Iterable[Block],
    history: Sequence[Item],
    work: Sequence[Part],
    *,
    route: str = "",
    work_extras: Mapping[str, Any] | None = None,
) -> Composition:
    """All that a request to `route` could hold: `blocks` as one system message, then `history` with the question last,
    then the `work` of its turn so far, whose extras are `work_extras`. Repaired, but for ids of calls that come again:
    those depend on what is sent of it (`unique_call_ids`)."""
    flat = [message for item in history for message in flatten(item.author, item.parts, item.extras)]
    system = _join_system([*_system(blocks), *(message for message in flat if message.role == "system")])
    conversation = _repair_alone([message for message in flat if message.role != "system"])
    rounds = _repair_alone(flatten("agent", work, work_extras))
    return Composition(system, for_route(conversation, route), for_route(rounds, route))


def for_route(messages: Iterable[ChatMessage], route: str) -> tuple[ChatMessage, ...]:
    """`messages` with the extras that came from `route` only: no other provider can read them."""
    return tuple(
        replace(message, extras=None) if message.extras is not None and message.extras.route != route else message
        for message in messages
    )


def flatten(
    author: str, parts: Sequence[Mapping[str, Any]], extras: Mapping[str, Any] | None = None
) -> list[ChatMessage]:
    """One stored message as messages of a request: tool calls and their results become messages of their own, and what
    `extras` holds for them is attached. Reasoning is no text of the answer and not sent as such. What a person wrote
    in place of the agent is marked."""
    if author != "agent":
        # Results of a client's tools come together with the user's next message, or alone.
        results = [_result(part) for part in parts if part["type"] == "tool_result"]
        text = "".join(part["text"] for part in parts if part["type"] == "text")
        if author == "human" and text.strip():
            text = human_text(human_author(parts), text)
        messages = [ChatMessage(role=_ROLES[author], text=text)] if text or not results else []  # type: ignore[arg-type]
        return [*results, *messages]
    out: list[ChatMessage] = []
    text, calls, key = "", list[ToolCall](), ""
    seen: dict[str, int] = {}

    def end_answer() -> None:
        nonlocal text, calls
        if text or calls:
            stored = _stored_extras(extras, key) if calls else None
            out.append(ChatMessage(role="assistant", text=text, tool_calls=tuple(calls), extras=stored))
        text, calls = "", []

    for part in parts:
        if part["type"] == "tool_result":
            end_answer()
            out.append(_result(part))
        elif part["type"] == "tool_call":
            next_key = extras_key(part["id"], seen)
            key = key if calls else next_key
            calls.append(ToolCall(id=part["id"], name=part["name"], arguments=part["arguments"]))
        elif part["type"] == "text":
            if calls:
                end_answer()
            text += part["text"]
    end_answer()
    return out


def _stored_extras(extras: Mapping[str, Any] | None, key: str) -> ProviderExtras | None:
    match (extras or {}).get(key):
        case {"route": str(route), "reasoning": str(reasoning), "fields": dict(fields)}:
            return ProviderExtras(route, reasoning, fields)
    return None


def _result(part: Mapping[str, Any]) -> ChatMessage:
    return ChatMessage(role="tool", text=part["content"], tool_call_id=part["call_id"])


def _system(blocks: Iterable[Block]) -> list[ChatMessage]:
    blocks = [block for block in blocks if block.text]
    # The client's instructions follow those of the release.
    prefix = CLIENT_INSTRUCTIONS_PREFIX if any(block.source is Source.RELEASE for block in blocks) else ""
    return [
        ChatMessage("system", prefix + block.text if block.source is Source.CLIENT else block.text) for block in blocks
    ]


def _join_system(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """One system message with all texts: many chat templates take no second one."""
    texts = [message.text for message in messages if message.text.strip()]
    return [ChatMessage("system", "\n\n".join(texts))] if texts else []


def is_question(item: Item) -> bool:
    """Whether `item` becomes a message of the role `user`; one with nothing but results of a client's tools does
    not."""
    return item.author == "user" and (not has_results(item) or any(part.get("text") for part in item.parts))


def has_results(item: Item) -> bool:
    """Whether `item` brings results of a client's tools."""
    return any(part["type"] == "tool_result" for part in item.parts)


def repair(messages: Iterable[ChatMessage]) -> tuple[ChatMessage, ...]:
    """`messages` such that every call is followed by exactly one result, every result follows its call, no id of a call
    comes again, no text is empty, and there is one system message at most, at the beginning.

    Calls without a result get an error as their result, orphaned and repeated results are dropped, malformed arguments
    become an empty object, names and ids that a provider would refuse are replaced by ones that all accept, empty
    answers are dropped, and so is everything before the first question.
    """
    return unique_call_ids(_repair_alone(list(messages)))


def _repair_alone(messages: list[ChatMessage]) -> list[ChatMessage]:
    """What `repair` does, but for the ids of calls, which other messages may have, too."""
    return _answer_calls(_drop_before_first_question(_drop_empty(_repair_calls(messages))))


def _repair_calls(messages: list[ChatMessage]) -> list[ChatMessage]:
    return [
        replace(
            message,
            tool_calls=tuple(map(_repair_call, message.tool_calls)),
            tool_call_id=None if message.tool_call_id is None else valid_call_id(message.tool_call_id),
        )
        if message.tool_calls or message.tool_call_id is not None
        else message
        for message in messages
    ]


def _repair_call(call: ToolCall) -> ToolCall:
    try:
        # As strict as providers are: Python's own reader takes NaN and lone surrogates.
        is_valid = isinstance(orjson.loads(call.arguments), dict)
    except orjson.JSONDecodeError:
        is_valid = False
    repaired = replace(call, name=valid_tool_name(call.name), arguments=call.arguments if is_valid else "{}")
    return _with_id(repaired, valid_call_id(call.id))


def _with_id(call: ToolCall, call_id: str) -> ToolCall:
    return call if call.id == call_id else replace(call, id=call_id, issued_id=call.provider_id)


def valid_tool_name(name: str) -> str:
    """`name` if every provider accepts it as the name of a tool, else a similar one that they accept: models invent
    names, and those stay in the history, where a refused name would break every later request."""
    if _NAME.fullmatch(name):
        return name
    name = _INVALID_CHARACTERS.sub("_", name)
    return (name if _NAME_START.match(name) else f"_{name}")[:64]


def valid_call_id(call_id: str) -> str:
    """`call_id` if every provider accepts it, else one derived from it: another provider may have issued it."""
    if _ID.fullmatch(call_id):
        return call_id
    return f"call_{hashlib.sha256(call_id.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"


def unique_call_ids(messages: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
    """`messages` such that no two calls have one id, with the results of each right behind it: servers without ids of
    their own begin to count anew in every answer. An id depends on those before it only."""
    out: list[ChatMessage] = []
    used: set[str] = set()
    current: dict[str | None, str] = {}
    for message in messages:
        if message.tool_calls:
            current = {call.id: _unused_id(call.id, used) for call in message.tool_calls}
            calls = tuple(_with_id(call, current[call.id]) for call in message.tool_calls)
            out.append(replace(message, tool_calls=calls) if calls != message.tool_calls else message)
        elif current.get(message.tool_call_id, message.tool_call_id) != message.tool_call_id:
            out.append(replace(message, tool_call_id=current[message.tool_call_id]))
        else:
            out.append(message)
    return tuple(out)


def _unused_id(call_id: str, used: set[str]) -> str:
    """`call_id`, or the first of `call_id_2`, `call_id_3` … that is not in `used`, which it is added to."""
    found, number = call_id, 1
    while found in used:
        number += 1
        suffix = f"_{number}"
        found = call_id[: _MAX_ID_LENGTH - len(suffix)] + suffix
    used.add(found)
    return found


def _drop_empty(messages: list[ChatMessage]) -> list[ChatMessage]:
    """`messages` without empty texts: answers are dropped unless they call tools; a question and a result are not."""
    # White space alone is empty to some providers.
    filled = [m if m.text.strip() else replace(m, text=_PLACEHOLDERS.get(m.role, "")) for m in messages]
    return [m for m in filled if m.text or m.tool_calls]


def _drop_before_first_question(messages: list[ChatMessage]) -> list[ChatMessage]:
    system = _join_system([m for m in messages if m.role == "system"])
    rest = [m for m in messages if m.role != "system"]
    first = next((index for index, m in enumerate(rest) if m.role == "user"), 0)
    return [*system, *rest[first:]]


def _answer_calls(messages: list[ChatMessage]) -> list[ChatMessage]:
    out: list[ChatMessage] = []
    for index, message in enumerate(messages):
        if message.role == "tool":
            continue
        if not message.tool_calls:
            out.append(message)
            continue
        calls = _drop_repeated_calls(message.tool_calls)
        out.append(replace(message, tool_calls=calls))
        results = _collect_results(messages, index)
        out.extend(
            ChatMessage(role="tool", text=results.get(call.id, INTERRUPTED), tool_call_id=call.id) for call in calls
        )
    return out


def _drop_repeated_calls(calls: Iterable[ToolCall]) -> tuple[ToolCall, ...]:
    first: dict[str, ToolCall] = {}
    for call in calls:
        first.setdefault(call.id, call)
    return tuple(first.values())


def _collect_results(messages: list[ChatMessage], index: int) -> dict[str, str]:
    """The first result of each call by its id, up to the next message with calls: ids may repeat after that."""
    results: dict[str, str] = {}
    for message in messages[index + 1 :]:
        if message.tool_calls:
            break
        if message.role == "tool" and message.tool_call_id is not None:
            results.setdefault(message.tool_call_id, message.text)
    return results
