"""Texts made shorter, by their key sentences or by a cut in the middle. Pure: equal texts give equal results, whatever
stands around them, so that providers find a shortened message in their caches again."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Final

from agents.domain.token_estimates import Count

GAP: Final = "[…] "
# The end of a sentence or of a line, with the white space behind it. Of a run of full stops the last one only: whoever
# looked at each run from each of its characters would need the square of its length, with the interpreter's lock held.
_SENTENCE_END = re.compile(r"[.!?…]\s+|[。！？]+\s*|\n+")  # noqa: RUF001 - Chinese and Japanese end so
_WORD = re.compile(r"[^\W_]+")
# Scripts without spaces between words begin here.
_FIRST_IDEOGRAPH = "\u2e80"
# Of a text, its beginning says most; what is asked or concluded stands at its end.
_FIRST_WEIGHT = 2.0
_LAST_WEIGHT = 1.5


def key_sentences(text: str, tokens: int, count: Count) -> str:
    """The sentences of `text` that say most, in their order and with a mark for what is left out: at most so many
    `tokens` together. A text without sentences is cut in the middle."""
    if count(text) <= tokens:
        return text
    sentences = _split(text)
    scores = _score(sentences)
    gap_tokens = count(GAP)
    left, chosen = tokens, set[int]()
    for index in sorted(range(len(sentences)), key=lambda index: (-scores[index], index)):
        needed = count(sentences[index]) + gap_tokens
        if needed <= left:
            left -= needed
            chosen.add(index)
    if not chosen:
        return cut_middle(text, tokens, count)
    pieces = [sentences[index] if index in chosen else "" for index in range(len(sentences))]
    shortened = "".join(
        piece or (GAP if not index or pieces[index - 1] else "") for index, piece in enumerate(pieces)
    ).rstrip()
    return shortened if count(shortened) <= tokens else cut_middle(text, tokens, count)


def cut_middle(text: str, tokens: int, count: Count) -> str:
    """The beginning and the end of `text`, with a mark between them: at most so many `tokens`. Where not even the mark
    fits, the beginning alone."""
    if count(text) <= tokens:
        return text

    def marked(length: int) -> str:
        head = 2 * length // 3
        mark = f"\n[… {len(text) - length:,} characters left out …]\n"
        return text[:head] + mark + text[len(text) - (length - head) :]

    def beginning(length: int) -> str:
        return text[:length]

    return _longest(marked, len(text), tokens, count) or _longest(beginning, len(text), tokens, count)


def _longest(shorten: Callable[[int], str], length: int, tokens: int, count: Count) -> str:
    """`shorten` of the greatest number of characters for which it fits; "" if it never does."""
    fitting, low, high = "", 0, length
    while low <= high:
        middle = (low + high) // 2
        if count(shortened := shorten(middle)) <= tokens:
            fitting, low = shortened, middle + 1
        else:
            high = middle - 1
    return fitting


def _split(text: str) -> list[str]:
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    bounds = [0, *(end for end in ends if end < len(text)), len(text)]
    return [text[start:end] for start, end in pairwise(bounds)]


def _score(sentences: list[str]) -> list[float]:
    """What each sentence says: words that come often in the text, but not in every sentence, count most."""
    words = [_words(sentence) for sentence in sentences]
    frequency = Counter(word for sentence in words for word in sentence)
    spread = Counter(word for sentence in words for word in set(sentence))
    weights = {word: math.log1p(frequency[word]) * math.log1p(len(sentences) / spread[word]) for word in frequency}
    # Sorted, since a sum of floats depends on its order.
    scores = [
        sum(weights[word] for word in sorted(set(sentence))) / math.sqrt(len(sentence)) if sentence else 0.0
        for sentence in words
    ]
    scores[0] *= _FIRST_WEIGHT
    scores[-1] *= _LAST_WEIGHT
    return scores


def _words(sentence: str) -> list[str]:
    words: list[str] = []
    for word in _WORD.findall(sentence.lower()):
        if word[0] >= _FIRST_IDEOGRAPH and len(word) > 2:
            words += [word[index : index + 2] for index in range(len(word) - 1)]
        else:
            words.append(word)
    return words
