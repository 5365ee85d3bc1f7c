"""Conversations that are longer than the window of their model, summarised by another after a turn, for the next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agents.engine.context import load_context
from agents.engine.ports import Services
from agents.models import HistorySummary, Step, UtilityCall
from agents.sessions import delete_session
from foundation.db_threads import in_db_thread
from tests.chaos.waiting import until
from tests.support.conversations import Conversation, answer, claimed
from tests.support.runners import become, serving
from tests.support.scripted import Models, ScriptedModel, says, services_for
from tests.support.turns import asked

pytestmark = pytest.mark.usefixtures("transactional_db")

SMALL, CHEAP = "openai:small", "openai:cheap"
LONG = "We spoke of the harbour of Basel and its three basins. " * 20


def long_conversation(**policy: Any) -> Conversation:
    """Of six exchanges, some of which a window of 2,000 tokens has no room for."""
    ada = asked(LONG, model_chain=[SMALL], utility_models=[CHEAP], context_policy={"answer_tokens": 100, **policy})
    for _ in range(6):
        answer(claimed(), LONG)
        ada.ask(LONG)
    return ada


def services(*summaries: str) -> tuple[Services, ScriptedModel, ScriptedModel]:
    """With one model that answers and one that summarises."""
    model, summariser = ScriptedModel([says("Yes.")]), ScriptedModel([says(text) for text in summaries])

    class Both(Models):
        def resolve(self, route: str) -> tuple[Any, str]:
            return (summariser if route == CHEAP else model), route

    both = Both(model, windows={SMALL: 2_000, CHEAP: 2_000})
    return replace(services_for(model), models=both), model, summariser


async def stored() -> list[tuple[str, int]]:
    return await in_db_thread(lambda: list(HistorySummary.objects.values_list("text", "through_ordinal")))


async def test_what_a_turn_leaves_out_is_summarised_after_it_and_read_by_the_next() -> None:
    ada = await in_db_thread(lambda: long_conversation(summaries=True))
    both, model, summariser = services("They spoke of <Basel>.", "And of basins.", "And of <ships>.")
    async with serving(both):
        await become(ada, *["completed"] * 7)
        sent = model.requests[-1].messages
        left_out = 13 - len(sent)

        async def is_stored() -> bool:
            return [through for _, through in await stored()][-1:] == [left_out]

        await until(is_stored, seconds=10, what="summaries of all that was left out")
        await in_db_thread(ada.ask, "And now?")
        await become(ada, *["completed"] * 8)
    assert left_out > 0
    assert not any("summary_of_earlier" in message.text for message in sent)
    assert (await stored())[:2] == [("They spoke of <Basel>.", 3), ("And of basins.", 6)]
    assert LONG[:100] in summariser.requests[0].messages[1].text
    assert "Summary of what came before:\nThey spoke of <Basel>." in summariser.requests[1].messages[1].text
    following = model.requests[-1].messages
    assert "summary_of_earlier_messages" in following[0].text
    assert "And of <ships>." not in following[0].text
    assert "And of &lt;ships&gt;." in following[0].text
    step = await in_db_thread(lambda: Step.objects.latest("id"))
    newest = await in_db_thread(lambda: HistorySummary.objects.get(through_ordinal=left_out))
    assert step.details["context"]["summary"] == str(newest.pk)
    assert {call.purpose for call in await in_db_thread(lambda: list(UtilityCall.objects.all()))} == {"summary"}
    await in_db_thread(lambda: delete_session(ada.actor, session_id=ada.session_id, expected_version=None))
    assert await stored() == []


async def test_without_the_switch_nothing_is_summarised_nor_read() -> None:
    ada = await in_db_thread(long_conversation)
    both, model, summariser = services("Never.")
    async with serving(both):
        await become(ada, *["completed"] * 7)
    assert len(model.requests[-1].messages) < 13
    assert (summariser.requests, await stored()) == ([], [])


async def test_a_branch_reads_only_a_summary_of_its_own() -> None:
    def prepare() -> tuple[Any, Any]:
        ada = long_conversation(summaries=True)
        messages = ada.messages()
        HistorySummary.objects.create(
            agent_session_id=ada.session_id, through=messages[7], through_ordinal=8, text="Late.", route=CHEAP
        )
        HistorySummary.objects.create(
            agent_session_id=ada.session_id, through=messages[1], through_ordinal=2, text="Early.", route=CHEAP
        )
        newest = load_context(claimed())
        ada.ask("Other", parent=messages[3].pk)
        answer(newest.claim)
        return newest, load_context(claimed())

    newest, branch = await in_db_thread(prepare)
    assert (newest.summary.text, newest.summary.through_ordinal) == ("Late.", 8)
    assert branch.summary.text == "Early."


async def test_a_model_that_does_not_summarise_harms_nobody() -> None:
    ada = await in_db_thread(lambda: long_conversation(summaries=True))
    both, model, summariser = services("")
    async with serving(both):
        await become(ada, *["completed"] * 7)
        await until(lambda: bool(summariser.requests), seconds=10, what="a try")
        await in_db_thread(ada.ask, "And now?")
        await become(ada, *["completed"] * 8)
    assert await stored() == []
    assert model.requests[-1].messages[-1].text == "And now?"
