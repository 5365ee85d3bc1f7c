"""From stored messages to the messages of a request: system texts, history and work, repaired and fitted to a window.

The repair is pure and idempotent and never changes the stored log: whatever a crash or a cancellation left behind, the
request is one that providers accept. What only some of them want, such as roles in turns, is done where the request is
encoded.

Messages that are appended change nothing before them, so that providers find the beginning in their caches.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

import orjson

from agents.domain.client_options import CLIENT_INSTRUCTIONS_PREFIX
from agents.domain.message_parts import Part
from agents.domain.model_messages import ChatMessage, ProviderExtras, ToolCall
from agents.domain.steps import extras_key

INTERRUPTED = "This call was interrupted and has no result."
# Stand for messages without text: several providers refuse those (Anthropic, Bedrock, Moonshot).
EMPTY_QUESTION = "(empty message)"
EMPTY_RESULT = "(no output)"

# The vendors' pages give 4 characters of English for a token (OpenAI, Google) or 3.5 (Anthropic). Counted with OpenAI's
# o200k_base, a token had 3.7 to 4.6 bytes of our docs, code, chats and JSON, and 2.9 (Polish) to 6.3 (Bengali) bytes of
# 22 languages; with the older cl100k_base 1.1 (Armenian) to 4.4. Random hexadecimal digits have 1.7.
BYTES_PER_TOKEN = 3
# The overhead of each message and each call; three by OpenAI's cookbook ("How to count tokens with tiktoken"), and
# the role.
TOKENS_PER_MESSAGE = 4

# The strictest rules of all providers: Gemini's for how a name begins, OpenAI's for how long an id may be.
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}")
_NAME_START = re.compile(r"[a-zA-Z_]")
_INVALID_CHARACTERS = re.compile(r"[^a-zA-Z0-9_-]")
_MAX_ID_LENGTH = 40
_ID = re.compile(rf"[a-zA-Z0-9_-]{{1,{_MAX_ID_LENGTH}}}")

_PLACEHOLDERS = {"user": EMPTY_QUESTION, "tool": EMPTY_RESULT}
_ROLES = {"user": "user", "agent": "assistant", "human": "assistant", "system": "system"}

Count = Callable[[str], int]


class Source(StrEnum):
    """Who wrote a system text."""

    RELEASE = "release"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Block:
    """A system text; one that is empty is left out of the request."""

    source: Source
    text: str


@dataclass(frozen=True, slots=True)
class Item:
    """A stored message of the conversation. `extras`: its `Message.provider_extras`."""

    message_id: UUID
    author: str
    parts: Sequence[Part]
    extras: Mapping[str, Any] | None = None


def estimate_tokens(text: str) -> int:
    """An estimate of the tokens of `text` from its length in bytes: good enough to decide what fits, and never more
    than it has bytes."""
    return -(-len(text if text.isascii() else text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)


def newest_exchanges(history: Sequence[Item], characters: int) -> list[Item]:
    """The newest exchanges of `history` that together have at most so many `characters`. Its last message, which is the
    question, and what belongs to it are always included."""
    sizes = [_characters(item) for item in history]
    if sum(sizes) <= characters:
        return list(history)
    last = len(history) - 1
    question, call = _find_question(
        last,
        has_calls=lambda index: _has_results(history[last]) and _has_calls(history[index]),
        is_question=lambda index: _is_question(history[index]),
    )
    indexes = _select(
        sizes,
        characters,
        always=frozenset({question, *range(call, last + 1)}),
        can_start=lambda index: _is_question(history[index]) or (index > question and history[index].author != "user"),
    )
    return [history[index] for index in indexes]


def fit(
    blocks: Iterable[Block],
    history: Sequence[Item],
    work: Sequence[Part],
    window: int | None,
    count: Count,
    *,
    route: str = "",
    work_extras: Mapping[str, Any] | None = None,
) -> tuple[ChatMessage, ...]:
    """The messages of a request to `route`: `blocks` as one system message, then `history` with the question last, then
    the `work` of its turn so far, whose extras are `work_extras`.

    All of them, if they fit into `window` tokens or it is None. Otherwise the oldest exchanges are dropped first, each
    as a whole, then the oldest rounds of calls with their results. Always included: the blocks, the question (where it
    brings results of a client's tools, also their calls and the question before those), the newest round of the work.

    `count` returns the tokens of a text, never more than its bytes in UTF-8.
    """
    flat = [message for item in history for message in flatten(item.author, item.parts, item.extras)]
    system = _join_system([*_system(blocks), *(message for message in flat if message.role == "system")])
    conversation = _repair_alone([message for message in flat if message.role != "system"])
    rounds = _repair_alone(flatten("agent", work, work_extras))
    both = for_route(unique_call_ids([*conversation, *rounds]), route)
    end = len(conversation)
    messages = (*system, *both)
    # A text has at most as many tokens as bytes, so nothing is counted unless it could be too much.
    if window is None or count_tokens(messages, _max_tokens) <= window:
        return messages
    return _fit_conversation(system, both[:end], both[end:], window, count, has_results=_has_results(history[-1]))


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
    `extras` holds for them is attached. Reasoning is no text of the answer and not sent as such."""
    if author != "agent":
        # Results of a client's tools come together with the user's next message, or alone.
        results = [_result(part) for part in parts if part["type"] == "tool_result"]
        text = "".join(part["text"] for part in parts if part["type"] == "text")
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


def _fit_conversation(
    system: Sequence[ChatMessage],
    conversation: Sequence[ChatMessage],
    rounds: Sequence[ChatMessage],
    window: int,
    count: Count,
    *,
    has_results: bool,
) -> tuple[ChatMessage, ...]:
    messages = (*system, *conversation, *rounds)
    end = len(system) + len(conversation)
    question, call = _find_question(
        end - 1,
        has_calls=lambda index: has_results and bool(messages[index].tool_calls),
        is_question=lambda index: messages[index].role == "user",
    )
    newest_round = next((index for index in range(len(messages) - 1, end, -1) if messages[index].tool_calls), end)
    indexes = _select(
        [_tokens(message, count) for message in messages],
        window,
        always=frozenset({*range(len(system)), question, *range(call, end), *range(newest_round, len(messages))}),
        can_start=lambda index: messages[index].role == "user" if index <= question else messages[index].role != "tool",
    )
    return tuple(messages[index] for index in indexes)


def _find_question(
    last: int, *, has_calls: Callable[[int], bool], is_question: Callable[[int], bool]
) -> tuple[int, int]:
    """The index of the question that ends at `last`, and the index from which everything up to `last` belongs to it:
    that of the calls whose results it brings, or `last` itself when it brings none."""
    call = next((index for index in range(last, -1, -1) if has_calls(index)), None)
    if call is None:
        return last, last
    return next((index for index in range(call, -1, -1) if is_question(index)), call), call


def _select(
    sizes: Sequence[int], budget: int, *, always: Container[int], can_start: Callable[[int], bool]
) -> list[int]:
    """The indexes to keep: those in `always`, and the longest tail within `budget` that begins where `can_start`."""
    budget -= sum(size for index, size in enumerate(sizes) if index in always)
    first = len(sizes)
    for index in reversed(range(len(sizes))):
        if index not in always:
            budget -= sizes[index]
        if budget < 0:
            break
        if can_start(index):
            first = index
    return [index for index in range(len(sizes)) if index >= first or index in always]


def count_tokens(messages: Iterable[ChatMessage], count: Count) -> int:
    """The tokens of `messages`, as `fit` counts them."""
    return sum(_tokens(message, count) for message in messages)


def _tokens(message: ChatMessage, count: Count) -> int:
    tokens = TOKENS_PER_MESSAGE + count(message.text)
    for call in message.tool_calls:
        tokens += TOKENS_PER_MESSAGE + count(call.name) + count(call.arguments)
    if message.extras is not None:
        tokens += count(message.extras.reasoning)
        if message.extras.fields:
            tokens += count(orjson.dumps(message.extras.fields).decode())
    return tokens


def _max_tokens(text: str) -> int:
    """An upper bound: no character has more than four bytes in UTF-8."""
    return len(text) if text.isascii() else 4 * len(text)


def _characters(item: Item) -> int:
    sent = [part for part in item.parts if part["type"] != "reasoning"]
    return sum(len(part.get("text") or part.get("content") or part.get("arguments") or "") for part in sent)


def _is_question(item: Item) -> bool:
    return item.author == "user" and (not _has_results(item) or any(part["type"] == "text" for part in item.parts))


def _has_calls(item: Item) -> bool:
    return any(part["type"] == "tool_call" for part in item.parts)


def _has_results(item: Item) -> bool:
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
        calls = _drop_repeated_calls(message.tool_calls)
        if not calls:
            out.append(message)
            continue
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
