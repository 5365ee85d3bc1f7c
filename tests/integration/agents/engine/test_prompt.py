"""The request of an attempt is fitted to the model behind its route."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agents.domain.client_options import ClientOptions
from agents.domain.model_messages import ToolSpec
from agents.domain.prompt import TOKENS_PER_MESSAGE
from agents.engine.context import TurnContext, load_context
from agents.engine.ports import Services
from agents.engine.progress import TurnProgress
from agents.engine.prompt import ANSWER_TOKENS, assemble
from agents.llm.errors import BadModelRequest
from agents.llm.gateway import Gateway, GatewayConfig
from agents.llm.interface import ModelRequest
from foundation.db_threads import in_db_thread
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
    return await assemble(context, TurnProgress(context), services, route)


def texts(request: ModelRequest) -> list[str]:
    return [message.text for message in request.messages]


async def test_each_route_gets_what_fits_its_window() -> None:
    context = await in_db_thread(second_question)
    services = with_window(4000)
    assert texts(await made(context, services, SMALL)) == ["And now?"]
    assert texts(await made(context, services, LARGE)) == [LONG, LONG, "And now?"], "nobody knows this one's"
    assert texts(await made(context, with_window(4100), SMALL)) == [LONG, LONG, "And now?"]


async def test_the_tools_and_the_answer_need_room_too() -> None:
    context = await in_db_thread(lambda: second_question(limits={"call_output_tokens": 100}))
    needed = 2000 + 3 + 3 * TOKENS_PER_MESSAGE
    assert len(texts(await made(context, with_window(needed + 100)))) == 3
    assert len(texts(await made(context, with_window(needed + 99)))) == 1
    armed = replace(context, release=replace(context.release, tools=("clock",)))
    assert len(texts(await made(armed, with_window(needed + 100)))) == 1
    assert len(texts(await made(armed, with_window(needed + 200)))) == 3


async def test_a_client_s_schema_that_no_json_of_ours_can_hold_is_measured_all_the_same() -> None:
    context = await in_db_thread(second_question)
    odd = ToolSpec("count", "Counts.", {"type": "object", "maximum": 10**30})
    asked = replace(context, client=ClientOptions(tools=(odd,)))
    assert (await made(asked, with_window(100_000))).tools == (odd,)


async def test_an_answer_that_may_be_longer_than_the_window_is_given_half_of_it() -> None:
    context = await in_db_thread(lambda: second_question(limits={"call_output_tokens": 1_000_000}))
    assert len(texts(await made(context, with_window(4200)))) == 3
    assert len(texts(await made(context, with_window(4000)))) == 1


async def test_the_gateway_knows_the_windows_of_the_models_that_are_listed() -> None:
    context = await in_db_thread(second_question)
    services = replace(with_window(None), models=Gateway(GatewayConfig()))
    request = await made(context, services, "openai:gpt-4")
    assert (request.model, len(request.messages)) == ("gpt-4", 3)
    long = replace(context, history=[*[*context.history[:2]] * 3, context.history[-1]])
    left = 8192 - ANSWER_TOKENS
    assert len((await made(long, services, "openai:gpt-4")).messages) == 2 * (left // 2015) + 1 == 5
    assert len((await made(long, services, "openai:gpt-5-mini")).messages) == 7


async def test_a_route_that_leads_nowhere_is_refused() -> None:
    context = await in_db_thread(second_question)
    with pytest.raises(BadModelRequest):
        await made(context, replace(with_window(None), models=Gateway(GatewayConfig())), "nobody:model")
