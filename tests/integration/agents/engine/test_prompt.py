"""The request of an attempt is fitted to the model behind its route."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agents.domain.client_options import ClientOptions
from agents.domain.configuration import ContextPolicy
from agents.domain.context_window import UNKNOWN_WINDOW
from agents.domain.marked_blocks import HUMAN_NOTE, MemoryBlock, TaskBlock
from agents.domain.message_parts import text_part
from agents.domain.model_messages import ToolSpec
from agents.domain.prompt import Item
from agents.domain.token_estimates import TOKENS_PER_MESSAGE
from agents.engine.context import TurnContext, load_context
from agents.engine.ports import Services, UnguardedRoutes
from agents.engine.progress import TurnProgress
from agents.engine.prompt import assemble
from agents.llm.dialect_settings import read_dialects
from agents.llm.errors import BadModelRequest
from agents.llm.gateway import Gateway, GatewayConfig
from agents.llm.interface import ModelRequest
from foundation.db_threads import in_db_thread
from foundation.ids import new_id
from tests.support.conversations import answer, claimed
from tests.support.scripted import Models, ScriptedModel, scripted
from tests.support.turns import asked

pytestmark = pytest.mark.usefixtures("transactional_db")

# So many bytes are a thousand tokens.
LONG = "x" * 3000
SMALL, LARGE = "openai:small", "openai:large"


def second_question(**draft: Any) -> TurnContext:
    ada = asked(LONG, model_chain=[SMALL, LARGE], **draft)
    answer(claimed(), LONG)
    ada.ask("And now?")
    return load_context(claimed())


def with_window(tokens: int | None) -> Services:
    services, *_ = scripted()
    return replace(services, models=Models(ScriptedModel([]), windows={} if tokens is None else {SMALL: tokens}))


async def made(context: TurnContext, services: Services, route: str = SMALL) -> ModelRequest:
    return (await assemble(context, TurnProgress(context), services, route)).request


def texts(request: ModelRequest) -> list[str]:
    return [message.text for message in request.messages]


def is_whole(request: ModelRequest) -> bool:
    return texts(request) == [LONG, LONG, "And now?"]


async def test_each_route_gets_what_fits_its_window() -> None:
    context = await in_db_thread(second_question)
    for window, route, whole in ((4000, SMALL, False), (4100, SMALL, True), (4000, LARGE, True)):
        request = await made(context, with_window(window), route)
        assert is_whole(request) is whole
        assert texts(request)[-1] == "And now?"


async def test_the_marks_of_what_a_person_wrote_are_explained() -> None:
    context = await in_db_thread(second_question)
    assert HUMAN_NOTE not in texts(await made(context, with_window(None)))
    reply = Item(new_id(), "human", [text_part("I can.", by="Dana")], ordinal=3)
    taken_over = replace(context, history=[*context.history[:-1], reply, context.history[-1]])
    assert texts(await made(taken_over, with_window(None))) == [
        HUMAN_NOTE, LONG, LONG, "[Dana, a person]\nI can.", "And now?",
    ]  # fmt: skip


async def test_a_window_that_nobody_knows_counts_as_8192_tokens() -> None:
    context = await in_db_thread(second_question)
    long = replace(context, history=[*[*context.history[:2]] * 3, context.history[-1]])
    assembled = await assemble(long, TurnProgress(long), with_window(None), SMALL)
    assert assembled.known_window is None
    report = assembled.report()
    assert report["window"] == UNKNOWN_WINDOW == 8_192
    assert report["strategy"] == "drop"
    assert report["messages_left_out"] == 2
    assert sum(report["tokens"].values()) <= 8_192 - ContextPolicy().answer_tokens


async def test_the_tools_and_the_answer_need_room_too() -> None:
    context = await in_db_thread(lambda: second_question(limits={"call_output_tokens": 100}))
    needed = 2000 + 3 + 3 * TOKENS_PER_MESSAGE
    assert is_whole(await made(context, with_window(needed + 100)))
    assert not is_whole(await made(context, with_window(needed + 99)))
    armed = replace(context, release=replace(context.release, tools=("clock",)))
    assert not is_whole(await made(armed, with_window(needed + 100)))
    assert is_whole(await made(armed, with_window(needed + 200)))


async def test_tools_never_cost_the_instructions_and_the_question() -> None:
    context = await in_db_thread(lambda: second_question(instructions="Never delete anything. " * 20))
    large = ToolSpec("large", "It does much. " * 4_000, {"type": "object"})
    armed = replace(context, client=ClientOptions(tools=(large,)))
    for window in (None, 4_000):
        system, *_, question = (await made(armed, with_window(window))).messages
        assert (system.text.strip(), question.text) == (("Never delete anything. " * 20).strip(), "And now?")


async def test_what_the_task_and_memories_are_stands_in_the_request_and_in_its_report() -> None:
    context = await in_db_thread(lambda: second_question(context_policy={"answer_tokens": 100}))
    told = replace(context, task=[TaskBlock("t", "Help.")], memories=[MemoryBlock("m", "Ada is kind.", 1)])
    assembled = await assemble(told, TurnProgress(told), with_window(9_000), SMALL)
    assert [message.role for message in assembled.request.messages] == ["user", "user", "assistant", "user"]
    report = assembled.report()
    assert list(report["tokens"]) == ["task", "history", "memories", "message"]
    assert report["memories"] == ["m"]
    policy = replace(context.release.context_policy, memory_percent=1, task_percent=1)
    release = replace(context.release, context_policy=policy)
    less = await assemble(replace(told, release=release), TurnProgress(told), with_window(1_024), SMALL)
    assert (less.report()["memories_left_out"], less.report()["tasks_left_out"]) == (["m"], 1)


async def test_a_model_with_more_tokens_than_estimated_is_sent_less() -> None:
    class Guard(UnguardedRoutes):
        def token_factor(self, route: str) -> float:
            return 1.5 if route == SMALL else 1.0

    context = await in_db_thread(second_question)
    services = replace(with_window(4_100), routes=Guard())
    assert not is_whole(await made(context, services, SMALL))
    assert is_whole(await made(context, services, LARGE))


async def test_a_client_s_schema_that_no_json_of_ours_can_hold_is_measured_all_the_same() -> None:
    context = await in_db_thread(second_question)
    odd = ToolSpec("count", "Counts.", {"type": "object", "maximum": 10**30})
    asked = replace(context, client=ClientOptions(tools=(odd,)))
    assert (await made(asked, with_window(100_000))).tools == (odd,)


async def test_an_answer_that_may_be_longer_than_the_window_is_given_half_of_it() -> None:
    context = await in_db_thread(lambda: second_question(limits={"call_output_tokens": 1_000_000}))
    assert is_whole(await made(context, with_window(4200)))
    assert not is_whole(await made(context, with_window(4000)))


async def test_how_much_room_the_answer_has_is_a_setting() -> None:
    context = await in_db_thread(lambda: second_question(context_policy={"answer_tokens": 500}))
    assert is_whole(await made(context, with_window(2_600)))
    assert not is_whole(await made(context, with_window(2_500)))


async def test_the_gateway_knows_the_windows_of_the_models_that_are_listed_or_set() -> None:
    context = await in_db_thread(second_question)
    services = replace(with_window(None), models=Gateway(GatewayConfig()))
    request = await made(context, services, "openai:gpt-4")
    assert (request.model, len(request.messages)) == ("gpt-4", 3)
    long = replace(context, history=[*[*context.history[:2]] * 3, context.history[-1]])
    left = 8192 - ContextPolicy().answer_tokens
    assert len((await made(long, services, "openai:gpt-4")).messages) == 2 * (left // 2015) + 1 == 5
    assert len((await made(long, services, "openai:gpt-5-mini")).messages) == 7
    dialects = read_dialects("openai:llama*=+window=32768")
    gateway = Gateway(GatewayConfig(dialects=dialects))
    assert [await gateway.window(route) for route in ("openai:llama3.3", "openai:other", "offline:")] == [
        32_768, None, 128_000,
    ]  # fmt: skip


async def test_a_route_that_leads_nowhere_is_refused() -> None:
    context = await in_db_thread(second_question)
    with pytest.raises(BadModelRequest):
        await made(context, replace(with_window(None), models=Gateway(GatewayConfig())), "nobody:model")
