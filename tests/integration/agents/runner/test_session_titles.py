"""Conversations that a model names after their first answer, by a runner before a real provider."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agents.engine.delta_writer import BatchingDeltaWriter
from agents.engine.ports import Services
from agents.llm.gateway import Gateway, GatewayConfig
from agents.models import AgentSession, UtilityCall
from agents.sessions import update_session
from foundation.db_threads import in_db_thread
from tests.chaos.waiting import until
from tests.provider import Provider
from tests.provider.fixture import provider  # noqa: F401
from tests.support.conversations import Conversation, nothing_yet, replayed
from tests.support.runners import become, serving
from tests.support.scripted import ScriptedTools
from tests.support.turns import begin

pytestmark = pytest.mark.usefixtures("transactional_db")

NAMER = "openai:fake.text-Adding_numbers"
FIRST = "What is 2 + 2?"


@asynccontextmanager
async def runner(provider: Provider) -> AsyncIterator[Services]:  # noqa: F811
    gateway = Gateway(GatewayConfig(openai_api_key="sk-test", openai_base_url=provider.base_url))
    services = Services(gateway, ScriptedTools(), BatchingDeltaWriter())
    try:
        async with serving(services):
            yield services
    finally:
        await gateway.aclose()


async def first_question(**draft: Any) -> Conversation:
    """A conversation that its first message has named."""
    ada = await begin(FIRST, model_chain=["offline:"], **draft)
    await in_db_thread(AgentSession.objects.filter(pk=ada.session_id).update, title=FIRST)
    return ada


async def title(ada: Conversation) -> str:
    return (await in_db_thread(AgentSession.objects.get, pk=ada.session_id)).title


async def purposes() -> list[tuple[str, str, str]]:
    return await in_db_thread(lambda: list(UtilityCall.objects.values_list("purpose", "route", "status")))


async def test_a_model_names_the_conversation_after_its_first_answer(provider: Provider) -> None:  # noqa: F811
    ada = await first_question(utility_models=[NAMER], title_by_model=True)
    async with runner(provider):

        async def is_named() -> bool:
            return await title(ada) == "Adding_numbers"

        await until(is_named, seconds=10, what="a title by the model")
        assert await purposes() == [("title", NAMER, "done")]
        assert provider.requests[-1].body["messages"][-1]["content"] == FIRST
        await in_db_thread(ada.ask, "And 3 + 3?")
        await become(ada, "completed", "completed")
    assert provider.count == 1
    assert await in_db_thread(lambda: replayed(ada, nothing_yet(ada.snapshot()["session"])) == ada.snapshot())


async def test_what_a_person_called_it_stays(provider: Provider) -> None:  # noqa: F811
    ada = await first_question(utility_models=[NAMER], title_by_model=True)
    await in_db_thread(update_session, ada.actor, session_id=ada.session_id, expected_version=None, title="Mine")
    async with runner(provider):
        await become(ada, "completed")
    assert (await title(ada), provider.count) == ("Mine", 0)


async def test_without_the_switch_no_model_is_asked(provider: Provider) -> None:  # noqa: F811
    ada = await first_question(utility_models=[NAMER])
    async with runner(provider):
        await become(ada, "completed")
    assert (await title(ada), provider.count, await purposes()) == (FIRST, 0, [])


async def test_a_runner_that_ends_does_not_wait_for_a_title(provider: Provider) -> None:  # noqa: F811
    ada = await first_question(utility_models=["openai:fake.fault-hang"], title_by_model=True)
    async with runner(provider):
        await until(lambda: provider.count == 1, seconds=10, what="the question for a title")
        await become(ada, "completed")
    assert await title(ada) == FIRST
    assert await purposes() == [("title", "openai:fake.fault-hang", "failed")]
