"""A turn whose model calls tools of the client: it runs its own, and ends with the calls that go out."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.actor import Actor
from agents.domain.client_options import CLIENT_INSTRUCTIONS_PREFIX, ClientOptions
from agents.domain.message_parts import text_part, tool_call_part, tool_result_part
from agents.domain.model_messages import JsonFormat, ToolSpec
from agents.domain.states import StepKind, TurnStatus
from agents.engine import turn as engine
from agents.engine.context import TurnContext, load_context
from agents.engine.ports import Services
from agents.engine.turn import TurnRun
from agents.journal.fenced_writes import FinishedTurn
from agents.llm.interface import Finished, ModelRequest, TextDelta
from agents.models import Step
from agents.releases import publish
from agents.runner.reaper import release_claim
from agents.sessions import read_completion_result
from foundation.db_threads import in_db_thread
from tests.support.completions import LIGHT, client, complete, talk
from tests.support.conversations import Conversation, claimed
from tests.support.people import agent, write_draft
from tests.support.scripted import Outcome, calls, says, scripted, services_for

pytestmark = pytest.mark.usefixtures("transactional_db")

BOTH = calls(("a", "clock", "{}"), ("b", "light", '{"on": true}'), text="Wait.")


async def begin(**more: Any) -> Conversation:
    def ask() -> Conversation:
        ada = client()
        return talk(ada, complete(ada, "Light, please.", **{"tools": (LIGHT,), **more}).session_id)

    return await in_db_thread(ask)


async def run(services: Services) -> TurnStatus:
    turn = TurnRun(await in_db_thread(lambda: load_context(claimed())), services)
    ended = await turn.run()
    assert isinstance(ended, FinishedTurn)
    return ended.status


async def noon(_: str) -> Outcome:
    return Outcome("noon")


async def outcome(ada: Conversation) -> Any:
    turn = await in_db_thread(ada.turn)
    return await in_db_thread(read_completion_result, ada.actor, turn_id=turn.pk)


async def test_calls_of_the_clients_tools_end_the_turn_and_are_its_answer() -> None:
    ada = await begin()
    services, model, box = scripted(calls(("b", "light", "{}"), text="Wait."), says("Never."))
    assert await run(services) is TurnStatus.COMPLETED
    assert [tool.name for tool in model.requests[0].tools] == ["clock", "light"]
    assert (len(model.requests), box.called) == (1, [])
    found = await outcome(ada)
    assert (found.text, [call["id"] for call in found.calls]) == ("Wait.", ["b"])
    assert (await in_db_thread(ada.log))[-2:] == ["message.completed", "turn.completed"]


async def test_of_mixed_calls_ours_run_here_and_the_others_go_out() -> None:
    ada = await begin()
    services, model, box = scripted(BOTH, says("Never."), tools={"clock": noon})
    assert await run(services) is TurnStatus.COMPLETED
    assert [one.name for one in box.called] == ["clock"]
    assert len(model.requests) == 1, "the client has the next word"
    assert (await in_db_thread(ada.messages))[-1].parts == [
        text_part("Wait."),
        tool_call_part(call_id="a", name="clock", arguments="{}"),
        tool_call_part(call_id="b", name="light", arguments='{"on": true}'),
        tool_result_part(call_id="a", content="noon", is_error=False),
    ]
    assert [call["id"] for call in (await outcome(ada)).calls] == ["b"]
    steps = await in_db_thread(lambda: list(Step.objects.order_by("number").values_list("kind", "status")))
    assert steps == [("model", "done"), ("tool", "done")], "no intent of a call that will not be made"


async def test_a_runner_that_dies_behind_our_tools_hands_out_the_rest_without_asking_again() -> None:
    ada = await begin()
    services, model, box = scripted(BOTH, tools={"clock": noon})
    first = await in_db_thread(lambda: load_context(claimed()))

    async def dies(*_: Any, **__: Any) -> Any:
        raise ConnectionError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "run_last_shielded", dies)
        with pytest.raises(ConnectionError):
            await TurnRun(first, services).run()
    claim = first.claim
    await in_db_thread(
        lambda: release_claim(
            session_id=claim.session_id, turn_id=claim.turn_id, epoch=claim.epoch, without_progress=True
        )
    )
    assert await run(services) is TurnStatus.COMPLETED
    assert (len(model.requests), len(box.called)) == (1, 1)
    assert [call["id"] for call in (await outcome(ada)).calls] == ["b"]


async def test_an_invented_tool_is_ours_to_refuse() -> None:
    ada = await begin()

    async def refused(_: str) -> Outcome:
        return Outcome("There is no tool.", is_error=True)

    services, model, _ = scripted(calls(("x", "invented", "{}")), says("Sorry."), tools={"invented": refused})
    assert await run(services) is TurnStatus.COMPLETED
    assert len(model.requests) == 2
    found = await outcome(ada)
    assert (found.text, list(found.calls)) == ("Sorry.", [])


async def test_the_tighter_bound_of_tokens_counts_and_the_clients_words_come_second() -> None:
    def special() -> None:
        made = agent("demo")
        write_draft(made, instructions="Be kind.", limits={"call_output_tokens": 9}, version=2)
        publish(Actor.system("tests"), agent_id=made.pk, expected_version=2)

    await in_db_thread(special)
    await begin(tools=(), max_output_tokens=5, instructions="Be brief.")
    services, model, _ = scripted(says("Hello"))
    await run(services)
    [request] = model.requests
    assert request.max_output_tokens == 5
    assert request.messages[0].text == f"Be kind.\n\n{CLIENT_INSTRUCTIONS_PREFIX}Be brief."


class Cut:
    """A model that its bound of tokens ends."""

    async def stream(self, _: ModelRequest) -> Any:
        yield TextDelta("Once upon")
        yield Finished((), None, "length", "scripted")

    async def aclose(self) -> None:
        """Nothing is open."""


async def test_an_answer_that_a_bound_has_cut_says_so() -> None:
    ada = await begin(max_output_tokens=2)
    assert await run(services_for(Cut())) is TurnStatus.COMPLETED
    assert (await outcome(ada)).cut
    step = await in_db_thread(Step.objects.get, kind=StepKind.MODEL)
    assert step.result == {"text": "Once upon", "tool_calls": [], "finish_reason": "length"}


async def test_an_answer_that_was_not_cut_does_not() -> None:
    ada = await begin()
    await run(scripted(says("Hello"))[0])
    assert not (await outcome(ada)).cut


# --- what a client asks of the answer ---

DOOR = ToolSpec("door", "Open a door.", {"type": "object", "properties": {}})
CITY = JsonFormat({"type": "object"}, "city")


async def test_a_call_is_forced_once_and_of_the_clients_tools_only() -> None:
    ada = await begin(tools=(LIGHT, DOOR), must_call=("door",), json=CITY)
    # This model does not obey, and calls what it was not even offered.
    services, model, _ = scripted(calls(("a", "clock", "{}")), says("Noon."), tools={"clock": noon})
    assert await run(services) is TurnStatus.COMPLETED
    first, second = model.requests
    assert ([tool.name for tool in first.tools], first.must_call, first.json) == (["door"], True, None)
    assert ([tool.name for tool in second.tools], second.must_call) == (["clock", "light", "door"], False)
    assert second.json == CITY, "the form is that of the answer"
    assert (await outcome(ada)).text == "Noon."


async def test_a_forced_call_that_nobody_heard_the_end_of_is_forced_again() -> None:
    await begin(must_call=("light",))
    services, model, _ = scripted(calls(("b", "light", "{}")))
    first = await in_db_thread(lambda: load_context(claimed()))
    claim = first.claim
    await in_db_thread(
        lambda: release_claim(
            session_id=claim.session_id, turn_id=claim.turn_id, epoch=claim.epoch, without_progress=True
        )
    )
    assert await run(services) is TurnStatus.COMPLETED
    assert [request.must_call for request in model.requests] == [True]


async def test_of_several_calls_the_first_counts_where_one_was_asked_for() -> None:
    ada = await begin(one_call=True)
    services, model, box = scripted(BOTH, says("Noon."), tools={"clock": noon})
    assert await run(services) is TurnStatus.COMPLETED
    assert [request.one_call for request in model.requests] == [True, True]
    assert [one.name for one in box.called] == ["clock"]
    found = await outcome(ada)
    assert (found.text, list(found.calls)) == ("Wait.Noon.", [])


async def test_every_call_of_the_model_ends_at_the_same_texts_and_gives_the_same_form() -> None:
    await begin(tools=(), stop=("END",), json=CITY)
    services, model, _ = scripted(calls(("a", "clock", "{}")), says("{}"), tools={"clock": noon})
    await run(services)
    assert [(request.stop, request.json) for request in model.requests] == [(("END",), CITY)] * 2


async def test_what_is_said_on_the_way_is_no_part_of_an_answer_in_json() -> None:
    ada = await begin(tools=(), json=CITY)
    services, _, _ = scripted(calls(("a", "clock", "{}"), text="{}"), says('{"at": "noon"}'), tools={"clock": noon})
    await run(services)
    assert (await outcome(ada)).text == '{"at": "noon"}'
    assert [author for author, _ in await in_db_thread(ada.said)][-1] == "agent", "the session keeps all of it"


async def test_a_question_asked_anew_by_another_way_in_is_asked_without_what_its_client_wanted() -> None:
    ada = await begin(must_call=("light",), instructions="Be brief.", stop=("END",))
    await run(scripted(calls(("b", "light", "{}")))[0])

    def anew() -> TurnContext:
        question = next(message for message in ada.messages() if message.author == "user")
        ada.ask("Light, please.", parent=question.parent_id)
        return load_context(claimed())

    context = await in_db_thread(anew)
    assert context.client == ClientOptions()
    assert [item.author for item in context.history] == ["user"]
