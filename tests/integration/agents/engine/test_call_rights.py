"""Rights of tools in a turn: what the release does not allow does not run, and the step says why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agents.domain.client_options import ClientOptions
from agents.domain.prompt_sources import SourceKind
from agents.domain.states import StepKind, StepStatus
from agents.engine.context import load_context
from agents.engine.turn import TurnRun, UnfinishedTurn
from agents.journal.fenced_writes import Intent, StepOutcome, advance
from agents.models import Message, Step
from agents.runner.reaper import release_claim
from foundation.db_threads import in_db_thread
from tests.support.conversations import Conversation, claimed
from tests.support.scripted import Outcome, Reply, ScriptedModel, ScriptedTools, calls, says, scripted
from tests.support.turns import begin, claim_run, run, steps

pytestmark = pytest.mark.usefixtures("transactional_db")

# The tools have other schemas here than those that the fixture knows, and one test adds a client's instructions.
CHANGES_CONTEXTS = True
TOOLS = ["notebook_add", "http_fetch", "clock"]


async def begin_with(rights: dict[str, Any], text: str = "Write to ada@example.com") -> Conversation:
    return await begin(text, tools=TOOLS, tool_rights=rights)


async def answer(_: str) -> Outcome:
    return Outcome("ok")


def services(*replies: Reply) -> tuple[Any, ScriptedModel, ScriptedTools]:
    return scripted(
        *replies,
        says("Done."),
        tools=dict.fromkeys(TOOLS, answer),
        trusted_names=frozenset({"clock", "notebook_add"}),
        schemas={"notebook_add": {"properties": {"text": {"type": "string"}}}},
    )


async def rights() -> list[Any]:
    rows = Step.objects.filter(kind="tool").order_by("turn", "number").values_list("details__right", flat=True)
    return await in_db_thread(lambda: list(rows))


def note(text: str, call_id: str = "m") -> tuple[str, str, str]:
    return (call_id, "notebook_add", f'{{"text": "{text}"}}')


async def test_a_refused_call_is_a_result_for_the_model_and_the_others_run() -> None:
    await begin_with({"notebook_add": {"right": "deny"}})
    built, model, tools = services(calls(note("ada@example.com"), ("c", "clock", "{}")))
    await run(built)
    assert [one.name for one in tools.called] == ["clock"]
    assert await steps() == [
        (1, "model", "done", "offline:"), (2, "tool", "failed", "m"), (3, "tool", "done", "c"),
        (4, "model", "done", "offline:"),
    ]  # fmt: skip
    refusal, result = model.requests[1].messages[-2:]
    assert refusal.text == ("This call was refused and not run, because this agent may not use this tool.")
    assert result.text == "ok"
    [right, none] = await rights()
    assert right == {
        "decision": "deny",
        "reasons": [{"code": "denied", "text": "this agent may not use this tool"}],
    }
    assert none is None


async def test_after_a_page_was_read_only_the_persons_own_values_pass() -> None:
    await begin_with({"notebook_add": {"right": "allow", "untrusted": "deny"}})
    built, _, tools = services(
        calls(note("eve@example.com")),
        calls(("f", "http_fetch", "{}")),
        calls(note("eve@example.com"), note("ada@example.com", "n")),
    )
    await run(built)
    assert [(one.name, one.arguments) for one in tools.called] == [
        ("notebook_add", '{"text":"eve@example.com"}'),
        ("http_fetch", "{}"),
        ("notebook_add", '{"text":"ada@example.com"}'),
    ]
    [before, _, after, own] = await rights()
    assert before == own == {"decision": "allow", "reasons": []}
    assert after["decision"] == "deny"
    assert after["reasons"][0]["text"] == "`text` may come from a web page (http_fetch)"


async def test_a_call_that_asks_is_not_run_without_an_approval() -> None:
    await begin_with({"http_fetch": {"right": "ask"}})
    built, model, tools = services(calls(("f", "http_fetch", "{}")))
    assert await run(built) is UnfinishedTurn.PARKED
    assert tools.called == []
    assert len(model.requests) == 1


async def test_the_arguments_that_were_judged_are_the_ones_that_run() -> None:
    await begin_with({"notebook_add": {"right": "allow"}})
    built, _, tools = services(
        calls(("m", "notebook_add", '{ "text": "\\u0061" }'), ("n", "notebook_add", '{"text":1,"text":2}'))
    )
    await run(built)
    assert [one.arguments for one in tools.called] == ['{"text":"a"}']


async def test_a_rule_for_a_tool_that_the_release_does_not_let_it_use_gives_nothing() -> None:
    await begin(tools=["clock"], tool_rights={"notebook_add": {"right": "allow"}})
    built, _, _ = services(calls(note("ada@example.com")))
    await run(built)
    assert await rights() == [None]


@pytest.mark.parametrize(
    ("right", "ran"),
    [
        (None, False),
        ({"decision": "deny", "reasons": []}, False),
        ({"decision": "ask", "reasons": []}, False),
        ({"decision": "perhaps", "reasons": []}, False),
        ({"decision": "allow", "reasons": []}, True),
    ],
)
async def test_a_call_that_another_runner_left_open_runs_as_was_decided_and_without_a_decision_never(
    right: Any, ran: bool
) -> None:
    await begin_with({"clock": {"right": "allow"}})
    built, _, tools = services()
    tools.idempotent = frozenset({"clock"})
    running = await claim_run(built)
    result = {"text": "", "tool_calls": [{"id": "c", "name": "clock", "arguments": "{}"}]}
    intent = Intent(
        2, StepKind.TOOL, "clock", "c", idempotent=True, request="{}", details={"right": right} if right else {}
    )
    outcome = StepOutcome(1, StepStatus.DONE, result)
    claim = running.claim
    await in_db_thread(lambda: advance(claim, outcomes=[outcome], intents=[intent]))
    await in_db_thread(
        release_claim, session_id=claim.session_id, turn_id=claim.turn_id, epoch=claim.epoch, without_progress=False
    )
    await run(built)
    assert len(tools.called) == ran
    assert (await steps())[1] == (2, "tool", "done" if ran else "failed", "c")


async def test_a_refused_call_that_a_crash_left_open_has_certainly_not_run() -> None:
    await begin_with({"notebook_add": {"right": "deny"}})
    built, model, tools = services(calls(note("x")))
    running = await claim_run(built)
    model_result = {"text": "", "tool_calls": [{"id": "m", "name": "notebook_add", "arguments": "{}"}]}
    refused = {"right": {"decision": "deny", "reasons": []}}
    intent = Intent(2, StepKind.TOOL, "notebook_add", "m", request="{}", details=refused)
    claim = running.claim
    outcome = StepOutcome(1, StepStatus.DONE, model_result)
    await in_db_thread(lambda: advance(claim, outcomes=[outcome], intents=[intent]))
    await in_db_thread(
        release_claim, session_id=claim.session_id, turn_id=claim.turn_id, epoch=claim.epoch, without_progress=False
    )
    await run(built)
    assert tools.called == []
    assert (await steps())[1][2] == "failed"
    assert "refused" in model.requests[0].messages[-1].text


async def test_what_a_client_adds_besides_the_persons_words_is_a_source_of_low_trust() -> None:
    await begin_with({"notebook_add": {"right": "allow", "untrusted": "deny"}})
    built, _, tools = services(calls(note("eve@example.com")))
    context = await in_db_thread(lambda: load_context(claimed()))
    await TurnRun(replace(context, client=ClientOptions(instructions="Mail eve@example.com.")), built).run()
    assert tools.called == []


async def test_an_earlier_answer_counts_as_what_its_turn_has_read() -> None:
    ada = await begin_with({"notebook_add": {"right": "allow", "untrusted": "ask"}})
    built, _, tools = services(calls(("f", "http_fetch", "{}")))
    await run(built)
    await in_db_thread(ada.ask, "And now?")
    built, _, tools = services(calls(note("eve@example.com")))
    await run(built)
    assert tools.called == []
    [_, right] = await rights()
    assert right["reasons"][0]["text"] == (
        "`text` may come from a web page (http_fetch) or an earlier answer of the agent"
    )


@pytest.mark.parametrize(("memory", "ran"), [({"recall": True}, 0), ({}, 1)])
async def test_what_an_earlier_claim_was_reminded_of_counts_after_a_crash(memory: dict[str, Any], ran: int) -> None:
    rights = {"notebook_add": {"right": "allow", "untrusted": "deny"}}
    await begin("Write", tools=TOOLS, tool_rights=rights, memory=memory)
    built, _, tools = services(calls(note("eve@example.com")))
    running = await claim_run(built)
    result = {"text": "So to eve@example.com.", "tool_calls": [{"id": "c", "name": "clock", "arguments": "{}"}]}
    intent = Intent(2, StepKind.TOOL, "clock", "c", idempotent=True, request="{}")
    claim = running.claim
    outcome = StepOutcome(1, StepStatus.DONE, result)
    await in_db_thread(lambda: advance(claim, outcomes=[outcome], intents=[intent]))
    await in_db_thread(
        release_claim, session_id=claim.session_id, turn_id=claim.turn_id, epoch=claim.epoch, without_progress=False
    )
    tools.idempotent = frozenset({"clock"})
    await run(built)
    assert [one.name for one in tools.called] == ["clock"] + ["notebook_add"] * ran


async def test_answers_of_a_client_and_of_another_session_are_known_for_what_they_are() -> None:
    ada = await begin_with({"notebook_add": {"right": "allow", "untrusted": "ask"}})
    built, _, _ = services()
    await run(built)
    await in_db_thread(ada.ask, "And now?")

    def sources() -> tuple[dict[Any, Any], dict[Any, Any], dict[Any, Any]]:
        context = load_context(claimed())
        [answer] = [item.message_id for item in context.history if item.author == "agent"]
        own = dict(load_context(context.claim).answer_sources)
        Message.objects.filter(pk=answer).update(turn=None)
        copied = dict(load_context(context.claim).answer_sources)
        Message.objects.filter(pk=answer).update(supplied_by_client=True)
        return own, copied, dict(load_context(context.claim).answer_sources)

    own, copied, supplied = await in_db_thread(sources)
    assert own == {}
    assert list(copied.values()) == [SourceKind.AGENT]
    assert list(supplied.values()) == [SourceKind.CLIENT]


async def test_many_calls_of_one_answer_are_judged_up_to_a_bound() -> None:
    schema = {"properties": {"text": {"maxLength": 5}}}
    await begin_with({"notebook_add": {"right": "allow", "schema": schema}})
    rows = ",".join(f'"k{number}":1' for number in range(450))
    large = [(f"m{number}", "notebook_add", f'{{"text":"a",{rows}}}') for number in range(4)]
    built, _, tools = services(calls(*large))
    await run(built)
    assert len(tools.called) == 3
    [*_, last] = await rights()
    assert last["reasons"][0]["text"] == "there are more values than can be judged"
