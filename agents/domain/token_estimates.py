"""How many tokens a text has, estimated by the scripts it is written in, and what providers report to correct that.

Models cut text into tokens in ways of their own, and their tokenizers are large or secret. The estimate is that of
today's models, on the safe side; where a model differs, its *token factor* says by how much.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final

import orjson

from agents.domain.model_messages import ChatMessage

Count = Callable[[str], int]

# Tokens of a character, in sixtieths, by the high byte of its UTF-16 code units. Measured over the translations of
# Django into 90 languages with OpenAI's o200k_base, in which a character of ASCII text is 0.22 (English) to 0.35
# tokens, of Cyrillic, Greek, Hebrew, Arabic, Georgian, Thai and the scripts of India 0.28 to 0.42, of Japanese and
# Korean 0.54 to 0.61, of Chinese 0.62 to 0.72. With the older cl100k_base these are up to 2.5 times as many, and four
# times for Georgian, Armenian and Malayalam. Code and JSON have 0.22 to 0.27, random hexadecimal digits 0.6.
_SIXTIETHS: Final = 60
_ASCII: Final = 20
_LATIN: Final = 45
_ALPHABETS: Final = 27
_IDEOGRAPHS: Final = 54
_SYMBOLS: Final = 60
_OTHERS: Final = 90
_HIGH_LATIN: Final = bytes([0x01, 0x02, 0x1E])
_HIGH_ALPHABETS: Final = bytes(high for high in range(0x03, 0x20) if high != 0x1E)
# Half a character of those beyond the basic plane, such as emoji, is a symbol, too.
_HIGH_SYMBOLS: Final = bytes([*range(0x20, 0x2E), *range(0xD8, 0xE0)])
_HIGH_IDEOGRAPHS: Final = bytes(range(0x2E, 0xD8))

# Of text of any kind: what rate limits and rough figures are counted with.
BYTES_PER_TOKEN: Final = 3
# The overhead of each message and each call; three by OpenAI's cookbook ("How to count tokens with tiktoken"), and
# the role.
TOKENS_PER_MESSAGE: Final = 4

LEAST_FACTOR: Final = 0.5
LARGEST_FACTOR: Final = 2.0
# A smaller request says more of the form of requests than of texts.
LEAST_SAMPLE_TOKENS: Final = 200
# What is reported is taken for so much more, and a model that turns out to have more tokens is believed faster.
_MARGIN: Final = 1.1
_RISE: Final = 0.5
_FALL: Final = 0.2
_OVERFLOW_RISE: Final = 1.25


def estimate_tokens(text: str) -> int:
    """The tokens of `text`, by its scripts; never more than `max_tokens`."""
    if text.isascii():
        return -(-len(text) * _ASCII // _SIXTIETHS)
    ascii_length = len(text.encode("ascii", "ignore"))
    high = text.encode("utf-16-le", "surrogatepass")[1::2]
    rest = high.translate(None, b"\0")
    sixtieths = ascii_length * _ASCII + (len(high) - len(rest) - ascii_length) * _LATIN
    for script, weight in (
        (_HIGH_ALPHABETS, _ALPHABETS),
        (_HIGH_IDEOGRAPHS, _IDEOGRAPHS),
        (_HIGH_LATIN, _LATIN),
        (_HIGH_SYMBOLS, _SYMBOLS),
    ):
        if not rest:
            break
        others = rest.translate(None, script)
        sixtieths += (len(rest) - len(others)) * weight
        rest = others
    return -(-(sixtieths + len(rest) * _OTHERS) // _SIXTIETHS)


def max_tokens(text: str) -> int:
    """More tokens than `text` can have, without looking at it: a token has a byte at least, and no character has more
    than four in UTF-8."""
    return len(text) if text.isascii() else 4 * len(text)


def token_counter(factor: float) -> Count:
    """`estimate_tokens` for a model with this token factor; never more than `max_tokens`."""
    if factor == 1:
        return estimate_tokens
    return lambda text: min(max_tokens(text), math.ceil(estimate_tokens(text) * factor))


def count_tokens(messages: Iterable[ChatMessage], count: Count) -> int:
    """The tokens of `messages`, with those of their form; `count` returns those of a text."""
    return sum(_message_tokens(message, count) for message in messages)


def _message_tokens(message: ChatMessage, count: Count) -> int:
    tokens = TOKENS_PER_MESSAGE + count(message.text)
    for call in message.tool_calls:
        tokens += TOKENS_PER_MESSAGE + count(call.name) + count(call.arguments)
    if message.extras is not None:
        tokens += count(message.extras.reasoning)
        if message.extras.fields:
            tokens += count(orjson.dumps(message.extras.fields).decode())
    return tokens


def next_factor(factor: float, *, estimated: int, reported: int) -> float:
    """A model's token factor after a call whose input was `estimated` without a factor, and of which its provider has
    `reported` so many tokens."""
    if estimated < LEAST_SAMPLE_TOKENS or reported <= 0:
        return factor
    target = _bound(_MARGIN * reported / estimated)
    return _bound(factor + (target - factor) * (_RISE if target > factor else _FALL))


def raise_factor(factor: float) -> float:
    """A model's token factor after it has refused a request that should have fitted."""
    return _bound(factor * _OVERFLOW_RISE)


def _bound(factor: float) -> float:
    return min(LARGEST_FACTOR, max(LEAST_FACTOR, factor))
