"""From scored rows with their texts to what is recalled: the last signals, the threshold, duplicates, contradictions.

Pure: no database and no clock.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from memory.recall.recollection import RecalledMemory
from memory.recall_weights import Weights
from memory.same_content import content_words

# A memory is left out if it is far from the question and shares no word with it, or if its score is below this part of
# the best one's. A cosine alone is a weak gate: cut at 0.30, a tenth of the evidence is lost.
LEAST_COSINE: Final = 0.15
LEAST_PART_OF_BEST: Final = 0.5
CONFIDENT_COSINE: Final = 0.35

_SPEAKS_OF_TIME: Final = re.compile(
    r"\b(?:yesterday|today|tonight|tomorrow|last|next|ago|since|recently|weeks?|weekend|months?|years?|(?:19|20)\d{2}"
    r"|(?:mon|tues|wednes|thurs|fri|satur|sun)day"
    r"|january|february|march|april|may|june|july|august|september|october|november|december)\b",
    re.IGNORECASE,
)
_ENDS_AS_QUESTION: Final = re.compile(r"[?？]\W*\Z")  # noqa: RUF001 - the question mark of Chinese and Japanese


@dataclass(frozen=True, slots=True)
class Candidate:
    """What one row of `score_statement` says: signals from 0 to 1, but `conversation`, which is a score."""

    id: UUID
    owner_id: int
    cosine: float | None
    is_hit: bool
    words: float
    context: float
    speaker: float
    date: float
    detail: float
    reply: float
    conversation: float


@dataclass(frozen=True, slots=True)
class CandidateText:
    """A candidate's memory, its score still 0."""

    memory: RecalledMemory


@dataclass(frozen=True, slots=True)
class Ranking:
    """`memories` best first, and the best cosine of all candidates; None when there was none."""

    memories: tuple[RecalledMemory, ...]
    best_cosine: float | None


@dataclass(slots=True)
class _Scored:
    candidate: Candidate
    text: CandidateText
    signals: Mapping[str, float]
    duplicates: list[UUID] = field(default_factory=list)

    @property
    def score(self) -> float:
        return sum(self.signals.values())

    @property
    def precedence(self) -> tuple[float, datetime, datetime]:
        """Of several that say the same the largest stays: that of the day in question, else the newest."""
        return self.candidate.date, self.text.memory.occurred_at, self.text.memory.created_at


def rank(
    candidates: Sequence[Candidate],
    texts: Mapping[UUID, CandidateText],
    *,
    weights: Weights,
    asks_when: bool,
    limit: int,
    threshold: float = LEAST_PART_OF_BEST,
    explain: bool = False,
    excluded_messages: Collection[UUID] = (),
) -> Ranking:
    """The best `limit` of `candidates`. Those without a text, which somebody has just deleted, are left out, and those
    of `excluded_messages`. `threshold` is the least part of the best score; 0 keeps all."""
    scored = [
        _Scored(candidate, text, _signals(candidate, text.memory.text, weights, asks_when=asks_when))
        for candidate in candidates
        if (text := texts.get(candidate.id)) is not None and text.memory.message not in excluded_messages
    ]
    scored.sort(key=lambda item: item.score, reverse=True)
    kept = _collapse(_above_threshold(scored, threshold))[:limit]
    memories = [_memory(item, explain=explain) for item in kept]
    cosines = [item.candidate.cosine for item in scored if item.candidate.cosine is not None]
    return Ranking(tuple(mark_contradictions(memories)), max(cosines, default=None))


def _signals(candidate: Candidate, text: str, weights: Weights, *, asks_when: bool) -> dict[str, float]:
    return {
        "meaning": weights.meaning * (candidate.cosine or 0.0),
        "words": weights.words * candidate.words,
        "context": weights.context * candidate.context,
        "speaker": weights.speaker * candidate.speaker,
        "date": weights.date * candidate.date,
        "reply": weights.reply * candidate.reply,
        "conversation": weights.conversation * candidate.conversation,
        "detail": weights.detail * candidate.detail,
        "time": weights.time * (asks_when and _SPEAKS_OF_TIME.search(text) is not None),
        "question": -weights.question * (_ENDS_AS_QUESTION.search(text) is not None),
    }


def _above_threshold(scored: Sequence[_Scored], threshold: float) -> list[_Scored]:
    if not scored or not threshold:
        return list(scored)
    least = scored[0].score * threshold
    return [
        item
        for item in scored
        if item.score >= least and (item.candidate.is_hit or (item.candidate.cosine or 0.0) >= LEAST_COSINE)
    ]


def _collapse(scored: Iterable[_Scored]) -> list[_Scored]:
    """Of memories that say the same the newest, at the place of the best."""
    kept: list[_Scored] = []
    for item in scored:
        index = next((index for index, other in enumerate(kept) if _says_the_same(item, other)), None)
        if index is None:
            kept.append(item)
            continue
        other = kept[index]
        newer, older = (item, other) if item.precedence > other.precedence else (other, item)
        # The better score stays: the newer one may stand in a conversation that has less to do with the question.
        newer.signals = other.signals
        newer.duplicates = [*newer.duplicates, older.candidate.id, *older.duplicates]
        kept[index] = newer
    return kept


def _says_the_same(one: _Scored, other: _Scored) -> bool:
    first, second = one.text.memory, other.text.memory
    if first.actor != second.actor or (first.slot and second.slot and first.slot != second.slot):
        return False
    # Near is not enough: a number or a "not" that differs is another content.
    return content_words(first.text) == content_words(second.text)


def _memory(item: _Scored, *, explain: bool) -> RecalledMemory:
    signals = {name: round(value, 4) for name, value in item.signals.items() if value} if explain else {}
    return replace(item.text.memory, score=round(item.score, 4), signals=signals, duplicates=tuple(item.duplicates))


def mark_contradictions(memories: Sequence[RecalledMemory]) -> list[RecalledMemory]:
    """Facts of one name with different values: of two owners, or one that was corrected."""
    by_slot: dict[str, list[RecalledMemory]] = {}
    for memory in memories:
        if memory.slot:
            by_slot.setdefault(memory.slot, []).append(memory)
    return [
        replace(
            memory,
            contradicts=tuple(
                other.id
                for other in by_slot.get(memory.slot, ())
                if other.id != memory.id and content_words(other.text) != content_words(memory.text)
            ),
        )
        if memory.slot
        else memory
        for memory in memories
    ]
