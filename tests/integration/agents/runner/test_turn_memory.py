"""What a runner does for the memory after a turn: episodes with vectors, and facts that a model finds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings

from agents.models import UtilityCall
from foundation.db_threads import in_db_thread
from memory.enums import Trust
from memory.models import Memory, MemoryDerivation, MemoryKey, SimilarPair
from memory.writing import confirm_memory
from tests.chaos.waiting import until
from tests.support.conversations import Conversation
from tests.support.runners import become, serving
from tests.support.scripted import Reply, calls, says, scripted
from tests.support.turns import begin

pytestmark = pytest.mark.usefixtures("transactional_db")

MEMORY = {"remember_turns": True, "extract": True}
BERN = (
    '{"facts": [{"text": "ada lives in the old town of Bern.", "slot": "home_city", '
    '"situations": ["planning a visit", "asking for the weather"]}]}'
)
QUESTION = "Hello! I live in the old town of Bern."


def current() -> list[tuple[str, int]]:
    rows = Memory.objects.filter(tier="long_term", superseded_by=None).order_by("pk")
    return list(rows.values_list("body__text", "trust"))


async def converse(*replies: Reply, questions: tuple[str, ...] = (QUESTION,), **policy: Any) -> Conversation:
    """A conversation whose questions a runner has answered, and whose extractions have ended."""
    ada = await begin(questions[0], memory=MEMORY | policy, tools=["http_fetch", "remember"])
    services, _, box = scripted(*replies)
    box.tools = {"http_fetch": _page, "remember": _page}
    async with serving(services) as runner:
        for number, question in enumerate(questions):
            if number:
                await in_db_thread(ada.ask, question)
            await become(ada, *["completed"] * (number + 1))
            await until(lambda: _idle(runner), seconds=10, what="all that follows a turn")
    return ada


async def _page(_: str) -> Any:
    from tests.support.scripted import Outcome

    return Outcome("Ada lives on Mars.")


async def _idle(runner: Any) -> bool:
    await asyncio.sleep(0)
    return not runner._tasks and not runner._side_work


async def test_episodes_have_vectors_right_after_the_turn() -> None:
    await converse(says("Hello Ada."), extract=False)
    vectors = await in_db_thread(lambda: [m.embedding for m in Memory.objects.all()])
    assert len(vectors) == 2
    assert None not in vectors


async def test_a_fact_is_found_and_says_what_it_was_derived_from() -> None:
    await converse(says("Hello Ada."), says(BERN))

    def look() -> None:
        assert current() == [("ada lives in the old town of Bern.", Trust.DEFAULT)]
        fact = Memory.objects.get(tier="long_term")
        assert (fact.slot, fact.actor, fact.body.source) == ("home_city", "ada", "extraction")
        assert MemoryDerivation.objects.get(memory=fact).origin.body.text == QUESTION
        assert sorted(MemoryKey.objects.values_list("text", flat=True)) == [
            "asking for the weather",
            "planning a visit",
        ]
        call = UtilityCall.objects.get()
        assert (call.purpose, call.status, call.turn_id) == ("extraction", "done", fact.body.turn)

    await in_db_thread(look)


async def test_a_contradiction_closes_the_earlier_value() -> None:
    moved = '{"facts": [{"text": "ada lives in Basel.", "slot": "home_city"}]}'
    await converse(
        says("Hello."), says(BERN), says("Nice."), says(moved), questions=(QUESTION, "I have just moved to Basel.")
    )
    assert await in_db_thread(current) == [("ada lives in Basel.", Trust.DEFAULT)]
    old = await in_db_thread(Memory.objects.get, slot="home_city", superseded_by__isnull=False)
    assert old.valid_until is not None


async def test_nearly_the_same_is_not_stored_again_and_what_is_similar_is_noted() -> None:
    again = '{"facts": [{"text": "ada lives in the old Town of bern"}]}'
    await converse(
        says("Hi."), says(BERN), says("Yes."), says(again), questions=(QUESTION, "As I said, I live in Bern.")
    )

    def look() -> None:
        assert len(current()) == 1
        assert MemoryDerivation.objects.count() == 2
        assert not SimilarPair.objects.exists()

    await in_db_thread(look)


async def test_what_somebody_confirmed_is_not_superseded_by_a_model() -> None:
    ada = await converse(says("Hello."), says(BERN))
    fact = await in_db_thread(Memory.objects.get, tier="long_term")
    await in_db_thread(confirm_memory, ada.actor, fact.pk)
    moved = '{"facts": [{"text": "ada lives in Basel.", "slot": "home_city"}]}'
    services, *_ = scripted(says("Nice."), says(moved))
    await in_db_thread(ada.ask, "I have perhaps moved to Basel.")
    async with serving(services) as runner:
        await become(ada, "completed", "completed")
        await until(lambda: _idle(runner), seconds=10, what="all that follows a turn")
    assert await in_db_thread(current) == [
        ("ada lives in the old town of Bern.", Trust.CONFIRMED), ("ada lives in Basel.", Trust.QUARANTINED),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("replies", "question", "asked"),
    [
        ((says("Hello."), says("Sure! She lives in Bern.")), QUESTION, 1),  # not the JSON that was asked for
        ((says("Hello."), says(BERN)), "Yes, please.", 0),  # too short to say something that lasts
        ((calls(("c1", "remember", "{}")), says("Noted."), says(BERN)), QUESTION, 0),  # it is remembered already
    ],
)
async def test_there_are_turns_of_which_no_fact_is_stored(
    replies: tuple[Reply, ...], question: str, asked: int
) -> None:
    await converse(*replies, questions=(question,))
    assert await in_db_thread(current) == []
    assert await in_db_thread(UtilityCall.objects.count) == asked


async def test_only_the_words_of_the_user_are_looked_at() -> None:
    ada = await begin(QUESTION, memory=MEMORY, tools=["http_fetch"])
    services, model, box = scripted(calls(("c1", "http_fetch", "{}")), says("You live on Mars."), says('{"facts": []}'))
    box.tools = {"http_fetch": _page}
    async with serving(services) as runner:
        await become(ada, "completed")
        await until(lambda: _idle(runner), seconds=10, what="all that follows a turn")
    [system, text] = model.requests[-1].messages
    assert text.text == QUESTION
    assert "Mars" not in system.text


async def test_a_user_has_a_budget_for_each_day() -> None:
    with override_settings(BANDSTAND=settings.BANDSTAND.model_copy(update={"memory_extractions_per_day": 1})):
        await converse(
            says("Hi."), says('{"facts": []}'), says("Yes."), questions=(QUESTION, "I also like black tea a lot.")
        )
    assert await in_db_thread(UtilityCall.objects.count) == 1
