"""From scored rows to what is recalled."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from memory.enums import MemoryScope, MemorySource, Tier, Trust
from memory.recall.ranking import Candidate, CandidateText, Ranking, rank
from memory.recall.recollection import RecalledMemory
from memory.recall_weights import Weights

SAID = datetime(2026, 5, 4, tzinfo=UTC)


def key(number: int) -> UUID:
    return UUID(int=number)


def candidate(number: int, cosine: float | None = 0.5, **signals: Any) -> Candidate:
    names = ("words", "context", "speaker", "date", "detail", "reply", "conversation")
    parts = dict.fromkeys(names, 0.0) | signals
    return Candidate(id=key(number), owner_id=1, cosine=cosine, is_hit=parts.pop("is_hit", False), **parts)


def text(number: int, words: str = "", **fields: Any) -> CandidateText:
    memory = RecalledMemory(
        id=key(number), text=words or f"text {number}", score=0, tier=Tier.EPISODIC, scope=MemoryScope.USER,
        source=MemorySource.TURN, trust=Trust.DEFAULT, actor="Ada", slot="", occurred_at=SAID, created_at=SAID,
        valid_from=SAID, valid_until=None, metadata={}, session=None, message=None,
    )  # fmt: skip
    return CandidateText(replace(memory, **fields))


def ranked(candidates: list[Candidate], texts: list[CandidateText], **options: Any) -> Ranking:
    chosen: dict[str, Any] = {"weights": Weights(), "asks_when": False, "limit": 10} | options
    return rank(candidates, {item.memory.id: item for item in texts}, **chosen)


def ids(ranking: Ranking) -> list[int]:
    return [memory.id.int for memory in ranking.memories]


def test_the_best_come_first_and_what_is_below_half_of_the_best_is_left_out() -> None:
    rows = [candidate(1, 0.2), candidate(2, 0.8), candidate(3, 0.5)]
    texts = [text(1), text(2), text(3)]
    assert ids(ranked(rows, texts)) == [2, 3]
    assert ids(ranked(rows, texts, threshold=0)) == [2, 3, 1]
    assert ids(ranked(rows, texts, limit=1)) == [2]
    assert ranked(rows, texts).best_cosine == 0.8


def test_what_is_far_and_shares_no_word_is_left_out() -> None:
    rows = [candidate(1, 0.1), candidate(2, 0.1, is_hit=True), candidate(3, None, is_hit=True, words=0.5)]
    assert ids(ranked(rows, [text(1), text(2), text(3)])) == [2, 3]
    assert ranked([candidate(1, None)], [text(1)]).best_cosine is None


def test_a_question_states_little_and_a_time_answers_when() -> None:
    rows = [candidate(1, 0.5), candidate(2, 0.45)]
    texts = [text(1, "When will you go?"), text(2, "I went last week.")]
    assert ids(ranked(rows, texts)) == [2, 1]
    [best, *_] = ranked(rows, texts, asks_when=True, explain=True).memories
    assert best.signals == {"meaning": 0.45, "time": 0.25}


def test_the_newest_of_what_is_said_twice_stays_at_the_place_of_the_best() -> None:
    rows = [candidate(1, 0.9), candidate(2, 0.6), candidate(3, 0.5)]
    newest = text(3, "Tea is good.", occurred_at=SAID + timedelta(days=1))
    [first, second] = ranked(rows, [text(1, "tea is good"), text(2), newest]).memories
    assert (first.id, first.duplicates, first.score, second.id) == (key(3), (key(1),), 0.9, key(2))


def test_that_of_the_day_in_question_stays_although_it_is_older() -> None:
    rows = [candidate(1, 0.5, date=1.0), candidate(2, 0.9)]
    texts = [text(1, "soup"), text(2, "Soup", occurred_at=SAID + timedelta(days=1))]
    assert ids(ranked(rows, texts)) == [1]


def test_others_who_say_the_same_are_no_duplicates() -> None:
    rows = [candidate(1), candidate(2)]
    assert len(ids(ranked(rows, [text(1, "soup"), text(2, "soup", actor="Bob")]))) == 2
    assert len(ids(ranked(rows, [text(1, "no", slot="tea"), text(2, "no", slot="coffee")]))) == 2


def test_facts_of_one_name_contradict_each_other() -> None:
    rows = [candidate(1), candidate(2), candidate(3)]
    found = ranked(rows, [text(1, "Paris", slot="home"), text(2, "London", slot="home"), text(3, "x", slot="pet")])
    assert {memory.id.int: [other.int for other in memory.contradicts] for memory in found.memories} == {
        1: [2], 2: [1], 3: [],
    }  # fmt: skip


def test_what_was_deleted_meanwhile_is_left_out() -> None:
    rows = [candidate(1), candidate(2), candidate(3)]
    assert ids(ranked(rows, [text(2, message=key(9)), text(3)], excluded_messages=[key(9)])) == [3]
