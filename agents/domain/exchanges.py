"""Where a history may begin when it is too long to be sent whole: at an exchange, and at the same one for many turns.

Providers cache how a request begins. So exchanges are dropped in blocks, and which one may be the first depends on the
ordinals of its messages only, not on how much was read or is appended: of the exchanges that use most of the room, the
one whose ordinals pass the largest power of two. Another one takes its place only when a block is full.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final
from uuid import UUID

from agents.domain.model_messages import ChatMessage
from agents.domain.prompt import Item, is_question
from agents.domain.token_estimates import Count, count_tokens

# Exchanges are dropped until no less than so much of their room is used: the next ones fit without a new cut.
LEAST_USE: Final = 2 / 3


@dataclass(frozen=True, slots=True)
class HistoryExchange:
    """A question and all that follows it, until the next one. `message_ids` are the stored messages that it was made
    of, `ordinal` is that of the first."""

    messages: Sequence[ChatMessage]
    message_ids: Sequence[UUID]
    ordinal: int
    tokens: int


def split_exchanges(messages: Sequence[ChatMessage], history: Sequence[Item], count: Count) -> list[HistoryExchange]:
    """The exchanges that `messages` consist of, which were made of the beginning of `history`."""
    starts = [index for index, message in enumerate(messages) if message.role == "user" or not index]
    stored = [index for index, item in enumerate(history) if is_question(item)]
    exchanges = []
    for number, (start, end) in enumerate(pairwise([*starts, len(messages)])):
        # What precedes the first question is not sent.
        first, following = (stored[number] if number else 0), stored[number + 1] if number + 1 < len(stored) else None
        part = messages[start:end]
        ids = [item.message_id for item in history[first:following]]
        exchanges.append(HistoryExchange(part, ids, history[first].ordinal, count_tokens(part, count)))
    return exchanges


def split_rounds(messages: Sequence[ChatMessage]) -> list[Sequence[ChatMessage]]:
    """The rounds that `messages` consist of: each an answer, and the results of its calls."""
    starts = [index for index, message in enumerate(messages) if message.role != "tool" or not index]
    return [messages[start:end] for start, end in pairwise([*starts, len(messages)])]


def longest_tail(sizes: Sequence[int], room: int) -> int:
    """The index from which on `sizes` fit into `room`."""
    for index in reversed(range(len(sizes))):
        room -= sizes[index]
        if room < 0:
            return index + 1
    return 0


def stable_tail(sizes: Sequence[int], ordinals: Sequence[int], room: int) -> int:
    """The index from which on `sizes` fit into `room` and use most of it; their `ordinals` decide which one."""
    longest = longest_tail(sizes, room)
    if not longest:
        return 0
    tail = sum(sizes[longest:])
    candidates = list[int]()
    for index in range(longest, len(sizes)):
        if candidates and tail < LEAST_USE * room:
            break
        candidates.append(index)
        tail -= sizes[index]
    return _most_stable(ordinals, candidates) if candidates else longest


def stable_history(history: Sequence[Item]) -> Sequence[Item]:
    """The newest part of `history`, which was read without what precedes it: at least two thirds of it."""
    starts = [index for index, item in enumerate(history) if is_question(item)]
    candidates = [
        number for number, start in enumerate(starts) if number and start <= (1 - LEAST_USE) * (len(history) - 1)
    ]
    if not candidates:
        return history
    return history[starts[_most_stable([history[start].ordinal for start in starts], candidates)] :]


def _most_stable(ordinals: Sequence[int], candidates: Sequence[int]) -> int:
    """Of `candidates`, which are not the first, the one before which the ordinals pass the largest power of two."""
    return max(candidates, key=lambda index: ((ordinals[index - 1] ^ ordinals[index]).bit_length(), -index))
