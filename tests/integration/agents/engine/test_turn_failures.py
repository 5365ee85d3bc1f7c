"""How a turn ends that fails."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from django.db import OperationalError

from agents.domain.failures import ErrorClass
from agents.domain.message_parts import text_part, tool_call_part, tool_result_part
from agents.engine import delta_writer
from agents.llm.errors import BY_CLASS, BadModelRequest, ModelAuthFailed, ModelRateLimited, TransientModelError
from agents.llm.interface import LLM
from agents.models import Step
from foundation.db_threads import in_db_thread
from tests.support.scripted import Models, ScriptedModel, calls, for_ever, says, scripted
from tests.support.turns import A_WHILE, answer_of, begin, log, run, steps, turn_of, works

pytestmark = pytest.mark.usefixtures("transactional_db")


@pytest.mark.parametrize("error_class", sorted(BY_CLASS))
async def test_an_error_of_the_model_ends_the_turn_with_its_class(error_class: Any) -> None:
    ada = await begin()
    services, model, _ = scripted(says("Hel", BY_CLASS[error_class]()))
    await run(services)
    turn = await turn_of(ada)
    assert (turn.status, turn.error_class) == ("failed", error_class)
    assert turn.error_detail == BY_CLASS[error_class]().user_detail
    assert await answer_of(ada) == ([text_part("Hel")], True)
    assert await steps() == [(1, "model", "failed", "offline:")]
    last = (await in_db_thread(ada.events))[-1]
    assert last.data["error"]["error_id"] == str(turn.error_id)
    # The log has the words, too: a client may go by the deltas alone.
    assert await log(ada) == ["message.delta", "message.completed", "turn.failed"]
    assert model.open == 0


@pytest.mark.parametrize(("seconds", "when"), [(None, "in a moment"), (6.2, "in 7 s"), (600.0, "in 10 min")])
async def test_who_was_throttled_reads_when_to_try_again(seconds: float | None, when: str) -> None:
    ada = await begin()
    await run(scripted(says(ModelRateLimited("Out of tokens.", retry_after_seconds=seconds)))[0])
    assert (await turn_of(ada)).error_detail == f"The model has too much to do at the moment. Try again {when}."


async def test_people_do_not_read_what_operators_have_to_know() -> None:
    ada = await begin()
    await run(scripted(says(ModelAuthFailed("There is no API key for the model's provider.")))[0])
    turn = await turn_of(ada)
    assert "key" not in turn.error_detail
    step = await in_db_thread(Step.objects.get)
    assert step.details["error"]["message"] == "There is no API key for the model's provider."


async def test_an_error_before_the_first_word_leaves_no_message() -> None:
    ada = await begin()
    await run(scripted(says(TransientModelError()))[0])
    assert await log(ada) == ["turn.failed"]


async def test_an_error_after_tools_keeps_what_they_did() -> None:
    ada = await begin()
    services, *_ = scripted(
        calls(("c1", "clock", "{}")), says("So", TransientModelError()), tools={"clock": works("noon")}
    )
    await run(services)
    assert await answer_of(ada) == (
        [
            tool_call_part(call_id="c1", name="clock", arguments="{}"),
            tool_result_part(call_id="c1", content="noon", is_error=False),
            text_part("So"),
        ],
        True,
    )
    await log(ada)


async def test_a_model_that_is_not_there_any_more_fails_the_turn_in_words_and_costs_nothing() -> None:
    class Gone(Models):
        def resolve(self, route: str) -> tuple[LLM, str]:
            raise BadModelRequest("The agent's model is not available here.", provider_detail=f"route {route!r}")

    ada = await begin()
    services, *_ = scripted()
    await run(replace(services, models=Gone(ScriptedModel([]))))
    turn = await turn_of(ada)
    assert (turn.status, turn.error_class) == ("failed", "bad_request")
    # The exact reason is for operators.
    assert turn.error_detail == ErrorClass.BAD_REQUEST.failure.user_message
    step = await in_db_thread(Step.objects.get)
    assert step.details["error"]["message"] == "route 'offline:'"
    assert (turn.cost_usd, await log(ada)) == (Decimal(0), ["turn.failed"])


async def test_a_fault_of_our_own_is_not_shown() -> None:
    ada = await begin()
    await run(scripted(says("Hel", ValueError("password=hunter2")))[0])
    turn = await turn_of(ada)
    assert (turn.status, turn.error_class, turn.error_detail) == (
        "failed",
        "unknown",
        "Something went wrong on our side.",
    )
    assert await answer_of(ada) == ([text_part("Hel")], True)


async def test_a_lost_database_is_told_to_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    ada = await begin()

    def down(*_: Any, **__: Any) -> int:
        raise OperationalError("the connection is lost")

    monkeypatch.setattr(delta_writer, "append", down)
    services, model, _ = scripted(says("Hel", for_ever))
    with pytest.raises(OperationalError):
        await asyncio.wait_for(run(services), A_WHILE)
    assert model.open == 0
    assert (await turn_of(ada)).status == "running"
