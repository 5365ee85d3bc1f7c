"""The least that a request can hold, its longest texts cut until it fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from agents.domain.model_messages import ChatMessage
from agents.domain.shortening import cut_middle
from agents.domain.token_estimates import Count, count_tokens

# A text that has to be shorter says nothing: then there is no room for the calls of this turn.
_LEAST_TEXT_TOKENS: Final = 16
# No text may be empty: providers refuse that.
_NOTHING_LEFT: Final = "…"


def cut_to_fit(
    system: Sequence[ChatMessage],
    message: Sequence[ChatMessage],
    work: Sequence[ChatMessage],
    window: int,
    count: Count,
) -> tuple[Sequence[ChatMessage], Sequence[ChatMessage], Sequence[ChatMessage]]:
    """`system`, `message` and `work` with at most `window` tokens: the longest texts are cut to a common length.

    Where no text would say anything any more, the calls go, too.
    """
    if (cut := cut_texts([*system, *message, *work], window, count)) is not None:
        end = len(system) + len(message)
        return cut[: len(system)], cut[len(system) : end], cut[end:]
    question = next((one for one in reversed(message) if one.role == "user"), None)
    least = [*system, *([question] if question is not None else [])]
    length = max(1, _common_length(least, window, count))
    cut = [_cut(one, length, count) for one in least]
    return cut[: len(system)], cut[len(system) :], []


def cut_texts(messages: Sequence[ChatMessage], window: int, count: Count) -> list[ChatMessage] | None:
    """`messages` with at most `window` tokens, without what came with answers for their providers; None if no text
    would say anything any more."""
    lean = [replace(one, extras=None) if one.extras is not None else one for one in messages]
    length = _common_length(lean, window, count)
    return None if length < _LEAST_TEXT_TOKENS else [_cut(one, length, count) for one in lean]


def _common_length(messages: Sequence[ChatMessage], window: int, count: Count) -> int:
    """The tokens to which texts that are longer must be cut, so that all `messages` fit."""
    sizes = sorted(count(text) for one in messages for text in (one.text, *(call.arguments for call in one.tool_calls)))
    room = window - (count_tokens(messages, count) - sum(sizes))
    for index, size in enumerate(sizes):
        if size * (len(sizes) - index) > room:
            return room // (len(sizes) - index)
        room -= size
    return max(_LEAST_TEXT_TOKENS, *sizes, 0)


def _cut(message: ChatMessage, tokens: int, count: Count) -> ChatMessage:
    """`message` with no text above so many `tokens`. Arguments that are longer are left out: a part is no JSON."""
    text = cut_middle(message.text, tokens, count)
    if message.text and not text.strip():
        text = _NOTHING_LEFT
    calls = tuple(
        replace(call, arguments="{}") if count(call.arguments) > tokens else call for call in message.tool_calls
    )
    return replace(message, text=text, tool_calls=calls)
