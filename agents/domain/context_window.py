"""What of a conversation goes to a model: its parts, fitted to the context window of that model.

The parts stand in the order system texts, task, history, recalled memories, the new message, and the work on it so far.
The window has room for all of them most of the time. Where it has not, the first of these strategies that is enough is
used, so that something fits in any case:

1. `drop` leaves out the oldest exchanges, then the recalled memories with the lowest scores. A stored summary, if there
   is one, stands for the exchanges.
2. `compress` reduces the texts of the recent exchanges to their key sentences, if that is enough.
3. `slide` keeps what fits of the newest exchange, its longest texts cut in the middle, and of the rounds of calls of
   this turn the newest ones.
4. `minimal` sends the system texts, the new message and the newest calls alone, the longest of their texts cut.

Calls and their results stay together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from agents.domain.exchanges import HistoryExchange, longest_tail, split_exchanges, split_rounds, stable_tail
from agents.domain.marked_blocks import (
    MemoryBlock,
    Summary,
    TaskBlock,
    memories_text,
    memory_line,
    summary_text,
    task_text,
)
from agents.domain.message_parts import Part
from agents.domain.minimal_prompt import cut_texts, cut_to_fit
from agents.domain.model_messages import ChatMessage
from agents.domain.prompt import Block, Item, compose, has_results, unique_call_ids
from agents.domain.shortening import key_sentences
from agents.domain.token_estimates import BYTES_PER_TOKEN, TOKENS_PER_MESSAGE, Count, count_tokens, max_tokens

# The tokens of a window that nobody knows.
UNKNOWN_WINDOW: Final = 8_192
# What key sentences may save of the recent exchanges, and the share of a text that they keep.
_LARGEST_SAVING: Final = 0.3
_KEPT_SHARE: Final = 0.6
# Shorter texts are not reduced.
_LEAST_REDUCED_TOKENS: Final = 60
# With less room nothing of a longer exchange is sent.
_LEAST_EXCHANGE_TOKENS: Final = 100
# A summary with more of the room for exchanges would take the place of some that say more.
_LARGEST_SUMMARY_SHARE: Final = 0.25


class Strategy(StrEnum):
    """How a request was made to fit."""

    NONE = "none"
    DROP = "drop"
    COMPRESS = "compress"
    SLIDE = "slide"
    MINIMAL = "minimal"


class PromptPart(StrEnum):
    """The parts of a request."""

    TOOLS = "tools"
    SYSTEM = "system"
    TASK = "task"
    SUMMARY = "summary"
    HISTORY = "history"
    MEMORIES = "memories"
    MESSAGE = "message"
    WORK = "work"


@dataclass(frozen=True, slots=True)
class Shares:
    """The most that a part may have of the window, from 0 to 1; what it does not need is left to the others. The recent
    exchanges have what remains."""

    task: float = 0.3
    memories: float = 0.4

    @property
    def recent(self) -> float:
        """Of the recent exchanges, which come before the memories."""
        return max(0.0, 1 - self.task - self.memories)


@dataclass(frozen=True, slots=True)
class FittedPrompt:
    """The messages of a request, and what they are.

    `tokens` has the parts that are there. They are rough if `is_rough`: the request is so far from filling the window
    that its length was enough to know it. `shortened_messages` are those whose texts were reduced;
    `dropped_rounds` is the number of rounds of this turn's calls that were left out.
    """

    messages: tuple[ChatMessage, ...]
    strategy: Strategy = Strategy.NONE
    tokens: Mapping[PromptPart, int] = field(default_factory=dict)
    is_rough: bool = False
    dropped_messages: Sequence[UUID] = ()
    shortened_messages: Sequence[UUID] = ()
    dropped_rounds: int = 0
    used_memories: Sequence[str] = ()
    dropped_memories: Sequence[str] = ()
    used_tasks: Sequence[str] = ()
    dropped_tasks: Sequence[str] = ()
    summary: str | None = None
    # Not even the newest calls of this turn had room: the model may make them again.
    is_without_calls: bool = False

    @property
    def total(self) -> int:
        """The tokens of all parts."""
        return sum(self.tokens.values())


def fit(
    blocks: Iterable[Block],
    history: Sequence[Item],
    work: Sequence[Part],
    window: int | None,
    count: Count,
    *,
    route: str = "",
    work_extras: Mapping[str, Any] | None = None,
    task: Sequence[TaskBlock] = (),
    memories: Sequence[MemoryBlock] = (),
    summary: Summary | None = None,
    shares: Shares = Shares(),
) -> FittedPrompt:
    """The messages of a request to `route`: `blocks` as one system message, the `task`, then `history` with the
    question last, which `memories` precede, then the `work` of its turn so far, whose extras are `work_extras`.

    They have at most `window` tokens by `count`, which returns the tokens of a text, unless that is less than a few
    dozen; None: no limit.
    """
    composition = compose(blocks, history, work, route=route, work_extras=work_extras)
    question, call = _find_question(composition.conversation, history)
    message = composition.conversation[question:]
    whole = _Content(
        system=composition.system,
        history=composition.conversation[:question],
        message=message,
        work=composition.work,
        tasks=task,
        memories=memories if _last_user(message) is not None else (),
        # It stands for what precedes the history.
        summary=summary if history and history[0].ordinal > 1 else None,
    )
    content = whole
    if window is not None:
        content = replace(
            whole,
            tasks=_first_tasks(task, int(shares.task * window), count),
            memories=_best_memories(whole.memories, int(shares.memories * window), count),
        )
    lengths = content.tokens(max_tokens)
    # A text has at most as many tokens as bytes, so nothing is counted unless it could be too much.
    if window is None or sum(lengths.values()) <= window:
        rough = {part: -(-length // BYTES_PER_TOKEN) for part, length in lengths.items()}
        return _fitted(whole, content, rough, is_rough=True)
    fitting = _Fitting(whole, content, history, call - question, window, count, shares.recent, summary)
    return fitting.fit()


@dataclass(frozen=True, slots=True)
class _Content:
    """What is in a request, by its parts."""

    system: Sequence[ChatMessage]
    history: Sequence[ChatMessage]
    message: Sequence[ChatMessage]
    work: Sequence[ChatMessage]
    tasks: Sequence[TaskBlock] = ()
    memories: Sequence[MemoryBlock] = ()
    summary: Summary | None = None

    def messages(self) -> tuple[ChatMessage, ...]:
        """The messages of the request."""
        task = [ChatMessage("user", task_text(self.tasks))] if self.tasks else []
        summary = [ChatMessage("user", summary_text(self.summary))] if self.summary is not None else []
        message = list(self.message)
        if self.memories and (index := _last_user(message)) is not None:
            message[index] = replace(message[index], text=memories_text(self.memories) + message[index].text)
        return (*self.system, *task, *summary, *unique_call_ids([*self.history, *message, *self.work]))

    def tokens(self, count: Count) -> dict[PromptPart, int]:
        """The tokens of each part that is there."""
        tokens = {
            PromptPart.SYSTEM: count_tokens(self.system, count),
            PromptPart.TASK: _task_tokens(self.tasks, count),
            PromptPart.SUMMARY: _summary_tokens(self.summary, count),
            PromptPart.HISTORY: count_tokens(self.history, count),
            PromptPart.MEMORIES: _memories_tokens(self.memories, count),
            PromptPart.MESSAGE: count_tokens(self.message, count),
            PromptPart.WORK: count_tokens(self.work, count),
        }
        return {part: number for part, number in tokens.items() if number}


@dataclass(frozen=True, slots=True)
class _History:
    """What is sent of the history, and what of the rest of the window it leaves to the memories."""

    strategy: Strategy
    exchanges: Sequence[HistoryExchange]
    memories: Sequence[MemoryBlock]
    summary: Summary | None = None
    shortened: Sequence[UUID] = ()


@dataclass(frozen=True, slots=True)
class _Fitting:
    """A request that may be too large: `content`, which is `whole` but for what exceeds its share of the window.
    `stored` is the history as it is stored, `call` the index in the new message of the calls whose results it
    brings."""

    whole: _Content
    content: _Content
    stored: Sequence[Item]
    call: int
    window: int
    count: Count
    recent_share: float
    summary: Summary | None

    def fit(self) -> FittedPrompt:
        """The request."""
        content = self.content
        newest = max((index for index, one in enumerate(content.work) if one.tool_calls), default=0)
        # Always sent, as far as that is possible.
        pinned = _Content(
            system=content.system,
            history=(),
            message=[*content.message[: min(1, self.call)], *content.message[self.call :]],
            work=content.work[newest:],
        )
        exchanges = split_exchanges(content.history, self.stored, self.count)
        pinned_tokens = pinned.tokens(self.count)
        room = self.window - sum(pinned_tokens.values())
        if room < 0:
            return self._minimal(pinned, exchanges)
        tasks = _first_tasks(content.tasks, room, self.count)
        room -= _task_tokens(tasks, self.count)
        client_rounds = split_rounds(content.message[1 : self.call])
        rounds = [*client_rounds, *split_rounds(content.work[:newest])]
        sizes = [count_tokens(one, self.count) for one in rounds]
        first_round = stable_tail(sizes, range(len(rounds)), room)
        # What precedes rounds that are left out is not sent either.
        history = self._choose_history([] if first_round else exchanges, room - sum(sizes[first_round:]))
        chosen = replace(
            pinned,
            history=_flat(one.messages for one in history.exchanges),
            message=[*pinned.message[:1], *_flat(client_rounds[first_round:]), *pinned.message[1:]],
            work=[*_flat(rounds[max(first_round, len(client_rounds)) :]), *pinned.work],
            tasks=tasks,
            memories=history.memories,
            summary=history.summary,
        )
        # What was counted once is not counted again.
        tokens = {
            PromptPart.SYSTEM: pinned_tokens.get(PromptPart.SYSTEM, 0),
            PromptPart.TASK: _task_tokens(tasks, self.count),
            PromptPart.SUMMARY: _summary_tokens(history.summary, self.count),
            PromptPart.HISTORY: sum(exchange.tokens for exchange in history.exchanges),
            PromptPart.MEMORIES: _memories_tokens(history.memories, self.count),
            PromptPart.MESSAGE: pinned_tokens.get(PromptPart.MESSAGE, 0) + sum(sizes[first_round : len(client_rounds)]),
            PromptPart.WORK: pinned_tokens.get(PromptPart.WORK, 0) + sum(sizes[max(first_round, len(client_rounds)) :]),
        }
        return _fitted(
            self.whole,
            chosen,
            {part: number for part, number in tokens.items() if number},
            strategy=Strategy.SLIDE if first_round else history.strategy,
            dropped_messages=_message_ids(exchanges[: len(exchanges) - len(history.exchanges)]),
            shortened_messages=history.shortened,
            dropped_rounds=first_round,
        )

    def _minimal(self, pinned: _Content, exchanges: Sequence[HistoryExchange]) -> FittedPrompt:
        system, message, work = cut_to_fit(pinned.system, pinned.message, pinned.work, self.window, self.count)
        content = replace(pinned, system=system, message=message, work=work)
        fitted = _fitted(
            self.whole,
            content,
            content.tokens(self.count),
            strategy=Strategy.MINIMAL,
            dropped_messages=_message_ids(exchanges),
        )
        return replace(fitted, is_without_calls=len(work) < len(pinned.work) or len(message) < len(pinned.message))

    def _choose_history(self, exchanges: Sequence[HistoryExchange], room: int) -> _History:
        memories, count = self.content.memories, self.count
        sizes = [exchange.tokens for exchange in exchanges]
        needed = sum(sizes) + _memories_tokens(memories, count) + _summary_tokens(self.content.summary, count)
        if needed <= room:
            return _History(Strategy.NONE, exchanges, memories, self.content.summary)
        summary, summary_tokens = self._choose_summary(room)
        room -= summary_tokens
        # The newest exchange is a recent one, however long it is.
        recent = min(longest_tail(sizes, min(room, int(self.recent_share * self.window))), max(len(sizes) - 1, 0))
        recent_tokens = sum(sizes[recent:])
        if recent_tokens <= room:
            memories = _best_memories(memories, room - recent_tokens, count)
            ordinals = [exchange.ordinal for exchange in exchanges]
            first = min(recent, stable_tail(sizes, ordinals, room - _memories_tokens(memories, count)))
            return _History(Strategy.DROP, exchanges[first:], memories, summary)
        if recent_tokens * (1 - _LARGEST_SAVING) <= room and (reduced := _reduce(exchanges[recent], room, count)):
            memories = _best_memories(memories, room - reduced.tokens, count)
            return _History(Strategy.COMPRESS, [reduced], memories, summary, reduced.message_ids)
        memories = _best_memories(memories, room, count)
        newest = _cut_exchange(exchanges[-1], room - _memories_tokens(memories, count), count)
        return _History(Strategy.SLIDE, newest, memories, summary, _message_ids(newest))

    def _choose_summary(self, room: int) -> tuple[Summary | None, int]:
        """The summary and its tokens, unless it would need too much of the `room`."""
        tokens = _summary_tokens(self.summary, self.count)
        return (self.summary, tokens) if tokens <= _LARGEST_SUMMARY_SHARE * room else (None, 0)


def _fitted(
    whole: _Content,
    content: _Content,
    tokens: Mapping[PromptPart, int],
    *,
    strategy: Strategy = Strategy.NONE,
    is_rough: bool = False,
    dropped_messages: Sequence[UUID] = (),
    shortened_messages: Sequence[UUID] = (),
    dropped_rounds: int = 0,
) -> FittedPrompt:
    memories, tasks = [memory.id for memory in content.memories], [task.id for task in content.tasks]
    dropped_memories = _without(whole.memories, memories)
    dropped_tasks = _without(whole.tasks, tasks)
    if strategy is Strategy.NONE and (dropped_memories or dropped_tasks):
        strategy = Strategy.DROP
    return FittedPrompt(
        messages=content.messages(),
        strategy=strategy,
        tokens=tokens,
        is_rough=is_rough,
        dropped_messages=dropped_messages,
        shortened_messages=shortened_messages,
        dropped_rounds=dropped_rounds,
        used_memories=memories,
        dropped_memories=dropped_memories,
        used_tasks=tasks,
        dropped_tasks=dropped_tasks,
        summary=content.summary.id if content.summary is not None else None,
    )


def _without(blocks: Sequence[MemoryBlock] | Sequence[TaskBlock], ids: Sequence[str]) -> list[str]:
    return [block.id for block in blocks if block.id not in ids]


def _message_ids(exchanges: Iterable[HistoryExchange]) -> list[UUID]:
    return [message_id for exchange in exchanges for message_id in exchange.message_ids]


def _flat(parts: Iterable[Sequence[ChatMessage]]) -> list[ChatMessage]:
    return [message for part in parts for message in part]


def _find_question(messages: Sequence[ChatMessage], history: Sequence[Item]) -> tuple[int, int]:
    """The index of the question that `messages` end with, and that from which everything up to the end belongs to it:
    of the calls whose results it brings, or of the end when it brings none."""
    last = len(messages) - 1
    if last < 0 or not has_results(history[-1]):
        return max(last, 0), last + 1
    call = next((index for index in range(last, -1, -1) if messages[index].tool_calls), None)
    if call is None:
        return last, last + 1
    return next((index for index in range(call, -1, -1) if messages[index].role == "user"), call), call


def _last_user(messages: Sequence[ChatMessage]) -> int | None:
    return next((index for index in range(len(messages) - 1, -1, -1) if messages[index].role == "user"), None)


def _reduce(exchange: HistoryExchange, room: int, count: Count) -> HistoryExchange | None:
    """`exchange` with its first texts reduced to their key sentences until it fits; None if it never does."""
    messages, tokens = list(exchange.messages), exchange.tokens
    for index, message in enumerate(messages):
        if tokens <= room:
            break
        size = count(message.text)
        if size >= _LEAST_REDUCED_TOKENS:
            text = key_sentences(message.text, int(_KEPT_SHARE * size), count)
            messages[index] = replace(message, text=text)
            tokens -= size - count(text)
    return replace(exchange, messages=messages, tokens=tokens) if tokens <= room else None


def _cut_exchange(exchange: HistoryExchange, room: int, count: Count) -> list[HistoryExchange]:
    """`exchange` with its longest texts cut until it fits; nothing if there is hardly any room for it."""
    messages = cut_texts(exchange.messages, room, count) if room >= _LEAST_EXCHANGE_TOKENS else None
    if messages is None:
        return []
    return [replace(exchange, messages=messages, tokens=count_tokens(messages, count))]


def _first_tasks(tasks: Sequence[TaskBlock], room: int, count: Count) -> Sequence[TaskBlock]:
    """The first of `tasks` that fit into `room`."""
    return next((tasks[:end] for end in range(len(tasks), 0, -1) if _task_tokens(tasks[:end], count) <= room), ())


def _best_memories(memories: Sequence[MemoryBlock], room: int, count: Count) -> Sequence[MemoryBlock]:
    """Those of `memories` with the highest scores that fit into `room`."""
    if not memories or _memories_tokens(memories, count) <= room:
        return memories
    sizes = [count(memory_line(memory)) for memory in memories]
    room -= max(0, _memories_tokens(memories[:1], count) - sizes[0]) + 1
    chosen = set[int]()
    for index in sorted(range(len(memories)), key=lambda index: (-memories[index].score, index)):
        if sizes[index] <= room:
            room -= sizes[index]
            chosen.add(index)
    return [memory for index, memory in enumerate(memories) if index in chosen]


def _task_tokens(tasks: Sequence[TaskBlock], count: Count) -> int:
    return TOKENS_PER_MESSAGE + count(task_text(tasks)) if tasks else 0


def _summary_tokens(summary: Summary | None, count: Count) -> int:
    return TOKENS_PER_MESSAGE + count(summary_text(summary)) if summary is not None else 0


def _memories_tokens(memories: Sequence[MemoryBlock], count: Count) -> int:
    return count(memories_text(memories)) if memories else 0
