"""Searches of memories: what is recalled, what is not, and why."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from foundation.errors import InvalidInput
from foundation.ids import new_id
from memory.embeddings import EmbeddingPayer, EmbeddingUnavailable
from memory.enums import MemoryScope, Tier, Trust
from memory.models import EmbeddingModel, Memory, MemoryOwner, MemoryPool, OwnerLexeme
from memory.ownership import OwnerKey
from memory.recall import Recall, RecallRequest, find_owner_rows, owner_keys, recall, score_statement
from memory.recall.large_owners import count_lexemes
from tests.support.memories import EMBEDDER, SAID, store
from tests.support.people import person

pytestmark = pytest.mark.django_db
AGENT = UUID(int=7)


@pytest.fixture
def ada() -> OwnerKey:
    return OwnerKey(MemoryScope.USER, user_id=person("ada").pk, agent_id=AGENT)


def search(owner: OwnerKey | Sequence[OwnerKey], query: str, **options: Any) -> Recall:
    owners = [owner] if isinstance(owner, OwnerKey) else owner
    return recall(owners, RecallRequest(query=query, **options), embedder=EMBEDDER)


def texts(found: Recall) -> list[str]:
    return [memory.text for memory in found.memories]


def diary(owner: OwnerKey) -> None:
    thread = new_id()
    for position, (actor, text) in enumerate(
        [
            ("Ada", "I adopted a grey cat from the shelter yesterday."),
            ("Demo", "What is the name of your cat?"),
            ("Ada", "She is called Grace."),
            ("Ada", "My sister studies chemistry in Lisbon."),
            ("Demo", "The train to Porto leaves at nine."),
        ]
    ):
        store(owner, text, actor=actor, thread=thread, position=position)


def test_what_has_to_do_with_a_question_is_recalled_best_first(ada: OwnerKey) -> None:
    diary(ada)
    found = search(ada, "Which chemistry does the sister of Ada study in Lisbon?")
    assert texts(found)[0] == "My sister studies chemistry in Lisbon."
    assert not found.by_text_only
    assert not found.low_confidence
    scores = [memory.score for memory in found.memories]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) >= scores[0] / 2


def test_what_is_far_from_everything_is_recalled_with_low_confidence(ada: OwnerKey) -> None:
    diary(ada)
    found = search(ada, "Quantum entanglement experiments")
    assert found.low_confidence
    assert found.memories == ()


def test_the_answer_says_what_each_signal_adds(ada: OwnerKey) -> None:
    diary(ada)
    best = search(ada, "When did Ada adopt the cat?", explain=True).memories[0]
    assert best.text.startswith("I adopted a grey cat")
    assert {"meaning", "words", "context", "speaker", "conversation", "time", "detail", "reply"} == set(best.signals)
    assert best.score == pytest.approx(sum(best.signals.values()), abs=1e-3)
    asked = next(
        memory
        for memory in search(ada, "name of the cat", explain=True, threshold=0).memories
        if memory.text.endswith("?")
    )
    assert asked.signals["question"] < 0


def test_dates_speakers_tiers_and_times_are_heeded(ada: OwnerKey) -> None:
    for day in (1, 2, 3):
        store(ada, "We had soup.", actor="Ada", occurred_at=SAID + timedelta(days=day), embedded=False)
    store(ada, "Soup is her favourite.", tier=Tier.LONG_TERM.value)
    named = search(ada, "What did we have on 6 May 2026?", threshold=0)
    assert named.memories[0].occurred_at == SAID + timedelta(days=2)
    assert texts(search(ada, "soup", tiers=[Tier.LONG_TERM])) == ["Soup is her favourite."]
    assert "Soup is her favourite." not in texts(search(ada, "soup", speaker="Ada", threshold=0))
    since = search(ada, "soup", since=SAID + timedelta(days=2), until=SAID + timedelta(days=3), threshold=0)
    assert [memory.occurred_at for memory in since.memories] == [SAID + timedelta(days=2)]
    with pytest.raises(InvalidInput):
        search(ada, "soup", tiers=[Tier.WORKING])


@pytest.mark.parametrize(
    "columns",
    [
        {"trust": Trust.QUARANTINED.value},
        {"trust": Trust.REJECTED.value},
        {"expires_at": SAID},
        {"valid_until": SAID},
        {"valid_from": datetime(2100, 1, 1, tzinfo=UTC)},
    ],
)
def test_what_is_not_current_is_not_recalled(ada: OwnerKey, columns: dict[str, Any]) -> None:
    store(ada, "The door code is 4711.", **columns)
    assert texts(search(ada, "door code", threshold=0)) == []


def test_a_superseded_value_stands_beside_the_one_that_holds(ada: OwnerKey) -> None:
    old = store(
        ada,
        "Ada lives in London.",
        slot="home",
        tier="long_term",
        valid_from=SAID - timedelta(days=9),
        valid_until=SAID,
    )
    new = store(ada, "Ada lives in Paris.", slot="home", tier="long_term")
    Memory.objects.filter(pk=old).update(superseded_by=new)
    [memory] = search(ada, "Where does Ada live?").memories
    assert memory.text == "Ada lives in Paris."
    assert [(value.id, value.text, value.valid_until) for value in memory.earlier] == [
        (old, "Ada lives in London.", SAID)
    ]


def test_two_values_of_one_fact_are_marked_as_a_contradiction(ada: OwnerKey) -> None:
    everywhere = OwnerKey(MemoryScope.USER, user_id=ada.user_id)
    one = store(ada, "Ada lives in London.", slot="home", tier="long_term")
    other = store(everywhere, "Ada lives in Paris.", slot="home", tier="long_term")
    found = search([ada, everywhere], "Where does Ada live?")
    assert {memory.id: memory.contradicts for memory in found.memories} == {one: (other,), other: (one,)}


def test_what_is_said_twice_is_recalled_once_with_its_last_date(ada: OwnerKey) -> None:
    first = store(ada, "I take my coffee black.", actor="Ada")
    last = store(ada, "i take my coffee  black.", actor="Ada", occurred_at=SAID + timedelta(days=9))
    store(ada, "I take my coffee black.", actor="Bob")
    found = search(ada, "coffee")
    assert [(memory.id, memory.actor, memory.duplicates) for memory in found.memories if memory.actor == "Ada"] == [
        (last, "Ada", (first,))
    ]
    assert len(found.memories) == 2


def test_a_memory_is_found_by_the_situations_in_which_it_matters(ada: OwnerKey) -> None:
    store(ada, "Ada is allergic to peanuts.", tier="long_term", keys=["booking a table at a restaurant for dinner"])
    store(ada, "The library closes at six.", tier="long_term")
    found = search(ada, "booking dinner at a restaurant")
    assert texts(found) == ["Ada is allergic to peanuts."]
    assert not found.low_confidence


def test_without_vectors_the_words_decide(ada: OwnerKey) -> None:
    store(ada, "The spare key is under the blue flowerpot.", embedded=False)
    store(ada, "It rained all day.", embedded=False)
    found = search(ada, "spare key")
    assert texts(found) == ["The spare key is under the blue flowerpot."]
    assert (found.by_text_only, found.low_confidence) == (True, True)


class NoAnswer:
    """An embedder that is down."""

    model = EMBEDDER.model
    dimensions = EMBEDDER.dimensions

    def embed(
        self,
        texts: Sequence[str],
        *,
        timeout: float,
        payers: Sequence[EmbeddingPayer] = (),
    ) -> list[list[float]]:
        raise EmbeddingUnavailable

    async def aembed(
        self,
        texts: Sequence[str],
        *,
        timeout: float,  # noqa: ASYNC109
        payers: Sequence[EmbeddingPayer] = (),
    ) -> list[list[float]]:
        raise EmbeddingUnavailable


def test_while_the_embedder_is_down_the_words_decide(ada: OwnerKey) -> None:
    diary(ada)
    found = recall([ada], RecallRequest(query="grey cat"), embedder=NoAnswer())
    assert texts(found)[0].startswith("I adopted a grey cat")
    assert found.by_text_only


def test_vectors_of_another_model_are_not_compared(ada: OwnerKey) -> None:
    store(ada, "The meeting is at noon.")
    other = EmbeddingModel.objects.create(name="other", dimensions=3)
    Memory.objects.update(embedding=[1, 0, 0], embedding_model=other)
    store(ada, "The cellar is damp.")
    found = search(ada, "meeting noon")
    assert texts(found)[0] == "The meeting is at noon."


def test_what_the_reader_sees_anyway_is_left_out(ada: OwnerKey) -> None:
    seen = new_id()
    store(ada, "The bicycle has a bell.", thread=seen, position=3)
    store(ada, "My bicycle is red.", thread=seen, position=4)
    store(ada, "The bicycle shop is closed.", thread=new_id(), position=7)
    store(ada, "Bicycle tyres were bought.")
    found = texts(search(ada, "bicycle", seen=(seen, 4), threshold=0))
    assert set(found) == {"The bicycle has a bell.", "The bicycle shop is closed.", "Bicycle tyres were bought."}


# --- bounds ---


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({"query": "  "}, "/query"),
        ({"query": "x", "k": 0}, "/k"),
        ({"query": "x", "k": 101}, "/k"),
        ({"query": "x", "threshold": 2}, "/threshold"),
    ],
)
def test_what_is_out_of_bounds_is_refused(ada: OwnerKey, options: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        recall([ada], RecallRequest(**options), embedder=EMBEDDER)
    assert refusal.value.pointer == pointer


def test_a_search_is_two_statements_once_its_owners_are_known(ada: OwnerKey) -> None:
    diary(ada)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        search(ada, "cat")
    assert len(queries) == 3
    with CaptureQueriesContext(connection) as queries:
        assert search(OwnerKey(MemoryScope.AGENT, agent_id=AGENT), "cat").memories == ()
    assert len(queries) == 1


def test_a_search_writes_nothing(ada: OwnerKey) -> None:
    diary(ada)
    before = list(Memory.objects.order_by("pk").values())
    search(ada, "cat")
    assert list(Memory.objects.order_by("pk").values()) == before


# --- whose ---


def test_a_turn_draws_on_its_session_its_user_its_agent_and_their_pools() -> None:
    ada, bob = person("ada").pk, person("bob").pk
    session, other_agent = new_id(), UUID(int=8)
    ours = MemoryPool.objects.create(name="ours", agents=[AGENT], personal=False)
    personal = MemoryPool.objects.create(name="personal", agents=[AGENT, other_agent])
    foreign = MemoryPool.objects.create(name="foreign", agents=[other_agent], personal=False)
    mine = {
        "session": OwnerKey(MemoryScope.SESSION, user_id=ada, agent_id=AGENT, session_id=session),
        "user and agent": OwnerKey(MemoryScope.USER, user_id=ada, agent_id=AGENT),
        "user": OwnerKey(MemoryScope.USER, user_id=ada),
        "agent": OwnerKey(MemoryScope.AGENT, agent_id=AGENT),
        "pool": OwnerKey(MemoryScope.SHARED, pool_id=ours.pk),
        "personal pool": OwnerKey(MemoryScope.SHARED, user_id=ada, pool_id=personal.pk),
    }
    others = [
        OwnerKey(MemoryScope.SESSION, user_id=bob, agent_id=AGENT, session_id=new_id()),
        OwnerKey(MemoryScope.SESSION, user_id=ada, agent_id=AGENT, session_id=new_id()),
        OwnerKey(MemoryScope.USER, user_id=bob, agent_id=AGENT),
        OwnerKey(MemoryScope.USER, user_id=bob),
        OwnerKey(MemoryScope.USER, user_id=ada, agent_id=other_agent),
        OwnerKey(MemoryScope.AGENT, agent_id=other_agent),
        OwnerKey(MemoryScope.SHARED, pool_id=foreign.pk),
        OwnerKey(MemoryScope.SHARED, user_id=bob, pool_id=personal.pk),
        OwnerKey(MemoryScope.SHARED, user_id=ada, pool_id=ours.pk),
    ]
    for name, key in mine.items():
        store(key, f"secret of the {name}")
    for key in others:
        store(key, "secret of somebody else")
    scopes = [scope.value for scope in MemoryScope]
    rows = find_owner_rows(owner_keys(ada, AGENT, session, scopes), model=EMBEDDER.model, pools_for=(AGENT, ada))
    owned = {row.id for row in rows}
    stored = {MemoryOwner.objects.get(key.condition()).pk for key in mine.values()}
    assert owned == stored
    assert find_owner_rows(owner_keys(ada, AGENT, session, ["user"])) != []
    assert owner_keys(ada, AGENT, session, []) == []


SQLISH = [
    "' OR 1=1 --", "'; DROP TABLE memory_memory; --", "\\' | ! & ( )", ":* <-> <2>", "%(owners)s %s %%", "{1,2}", "$1",
    "a' UNION SELECT id FROM memory_memory --", "\x00\ud800", "\\", "&|!()", "*", "🦉 ' \"", "NaN", "x" * 5_000,
]  # fmt: skip


def adversarial_searches(count: int, *, owners: int, seed: int) -> int:
    """How many rows of others came back from `count` searches over owners that hold each other's exact texts."""
    chance = random.Random(seed)
    words = [f"w{number}" for number in range(60)]
    keys = [OwnerKey(MemoryScope.AGENT, agent_id=UUID(int=number)) for number in range(owners)]
    secrets: list[str] = []
    for number, key in enumerate(keys):
        for _ in range(3):
            secrets.append(" ".join([*chance.sample(words, 6), f"secret{number}"]))
            store(key, secrets[-1], actor=f"Actor{number % 5}", thread=UUID(int=number % 7), position=1)
    owned = {
        key: set(
            Memory.objects.filter(owner__in=MemoryOwner.objects.filter(key.condition())).values_list("pk", flat=True)
        )
        for key in keys
    }
    foreign = 0
    for _ in range(count):
        chosen = chance.sample(keys, chance.randint(1, 3))
        query = chance.choice(
            [
                chance.choice(SQLISH),
                chance.choice(secrets),
                f"{chance.choice(secrets)} {chance.choice(SQLISH)}",
                " ".join(chance.sample(words, 4)),
                "".join(chr(chance.randint(1, 0x2FF)) for _ in range(chance.randint(1, 80))),
            ]
        )
        found = search(
            chosen,
            query if query.strip() else "x",
            k=chance.choice([1, 10, 100]),
            threshold=chance.choice([0, 0.5]),
            speaker=chance.choice([None, None, "' OR ''='", "Actor1"]),
        )
        allowed = set().union(*(owned[key] for key in chosen))
        foreign += sum(memory.id not in allowed for memory in found.memories)
        foreign += sum(not allowed.issuperset(memory.duplicates) for memory in found.memories)
    return foreign


def test_no_search_returns_a_memory_of_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    assert adversarial_searches(150, owners=20, seed=1) == 0
    # The same where every owner counts as large, and has its own branch.
    monkeypatch.setattr(score_statement, "LARGE_OWNER", 0)
    MemoryOwner.objects.all().delete()
    assert adversarial_searches(100, owners=20, seed=2) == 0


# --- large owners ---


def test_a_large_owner_is_searched_by_its_candidates(ada: OwnerKey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_statement, "LARGE_OWNER", 3)
    monkeypatch.setattr(score_statement, "NEAREST", 2)
    diary(ada)
    small = OwnerKey(MemoryScope.USER, user_id=ada.user_id)
    store(small, "Lisbon is sunny.")
    before = texts(search([ada, small], "Where does the sister study chemistry?"))
    assert before[0] == "My sister studies chemistry in Lisbon."
    owner = MemoryOwner.objects.get(ada.condition())
    assert count_lexemes(owner.pk) > 0
    assert OwnerLexeme.objects.get(owner=owner, lexeme="cat").own_count == 2
    after = search([ada, small], "Where does the sister study chemistry?")
    assert texts(after)[0] == before[0]
    assert not after.by_text_only
    assert texts(recall([ada], RecallRequest(query="sister chemistry"), embedder=NoAnswer()))[0] == before[0]


# --- async ---
