"""A turn ends badly in every way there is; the session answers the next question, whatever server is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from django.db.models import F

from accounts.actor import Actor
from agents.domain.failures import ErrorClass
from agents.domain.states import TurnStatus
from agents.engine.context import TurnContext, load_context
from agents.engine.progress import TurnProgress
from agents.engine.prompt import assemble
from agents.llm.dialect_settings import read_dialects
from agents.llm.errors import BY_CLASS
from agents.llm.interface import LLM, Finished
from agents.llm.openai import OpenAIConfig, OpenAIModel
from agents.llm.pydantic_ai import VendorConfig, VendorModel
from agents.llm.routes import is_installed
from agents.models import Turn
from agents.runner.reaper import fail_claim, reap
from agents.sessions import fail_turn
from foundation.db_threads import in_db_thread
from foundation.http import GuardedClient, allowed_origin
from tests.provider import Provider
from tests.support.conversations import Conversation, claimed, lease_is_over
from tests.support.request_checkers import CHAT_SERVERS, VENDORS, check_request
from tests.support.scripted import Outcome, Reply, ScriptedTools, calls, for_ever, says, scripted, services_for
from tests.support.turns import A_WHILE, begin, marked, run, start, stop, turn_of, works

pytestmark = pytest.mark.usefixtures("transactional_db")

CALLS = calls(("call_0", "clock", "{}"), ("call_1", "calculator", "not json"), text="Wait.")
TOOLS = {"clock": works("noon"), "calculator": works("")}
Way = Callable[[Conversation], Awaitable[object]]


async def replies(_: Conversation, *said: Reply, **changes: Any) -> None:
    await asyncio.wait_for(run(scripted(*said, tools=TOOLS)[0], **changes), A_WHILE)


async def is_cancelled(ada: Conversation, *said: Reply) -> None:
    """By the person, when the last of the replies is reached."""
    reached = asyncio.Event()
    running = await start(scripted(*said, Reply([marked(reached)]), tools=TOOLS)[0])
    await asyncio.wait_for(reached.wait(), A_WHILE)
    await stop(ada, running)
    await running.ended()


async def is_cancelled_among_tools(ada: Conversation) -> None:
    reached = asyncio.Event()

    async def calculator(_: str) -> Outcome:
        reached.set()
        await for_ever()
        return Outcome("never")

    running = await start(scripted(CALLS, tools={**TOOLS, "calculator": calculator})[0])
    await asyncio.wait_for(reached.wait(), A_WHILE)
    await stop(ada, running)
    await running.ended()


async def crashes(ada: Conversation) -> None:
    """Again and again, until nobody tries any more."""

    def crash() -> None:
        while ada.turn().status != TurnStatus.FAILED:
            turn = claimed().turn_id
            lease_is_over(turn)
            assert reap() == 1

    await in_db_thread(crash)


async def is_failed_by_the_runner(_: Conversation, error_class: ErrorClass) -> None:
    def fail() -> None:
        claim = claimed()
        assert fail_claim(
            session_id=claim.session_id,
            turn_id=claim.turn_id,
            epoch=claim.epoch,
            error_class=error_class,
            error_detail="",
            resumes=False,
        )

    await in_db_thread(fail)


async def is_failed_by_an_operator(ada: Conversation) -> None:
    await in_db_thread(lambda: fail_turn(Actor.system("tests"), turn_id=ada.turn().pk))


async def expires_unclaimed(ada: Conversation) -> None:
    def expire() -> None:
        Turn.objects.filter(pk=ada.turn().pk).update(deadline_at=F("queued_at"))
        assert reap() == 1

    await in_db_thread(expire)


WAYS: dict[str, Way] = {
    **{
        f"{name} at once": partial(lambda ada, name: replies(ada, says(BY_CLASS[name]())), name=name)
        for name in BY_CLASS
    },
    **{
        f"{name} after words and tools": partial(
            lambda ada, name: replies(ada, CALLS, CALLS, says("So", BY_CLASS[name]())), name=name
        )
        for name in BY_CLASS
    },
    "a fault of ours": lambda ada: replies(ada, says("Hel", ValueError("ours"))),
    "an empty answer": lambda ada: replies(ada, says()),
    "an empty answer after tools": lambda ada: replies(ada, CALLS, says()),
    "white space": lambda ada: replies(ada, says(" \n")),
    "the limit of steps": lambda ada: replies(ada, CALLS),
    "the deadline": lambda ada: replies(ada, says("Hel", for_ever), remaining_seconds=0.05),
    "the deadline after tools": lambda ada: replies(ada, CALLS, says(for_ever), remaining_seconds=0.3),
    "cancelled before the first word": is_cancelled,
    "cancelled after tools": lambda ada: is_cancelled(ada, CALLS),
    "cancelled among tools": is_cancelled_among_tools,
    "crashed": crashes,
    "given up by the runner": lambda ada: is_failed_by_the_runner(ada, ErrorClass.UNKNOWN),
    "failed by an operator": is_failed_by_an_operator,
    "expired before its claim": expires_unclaimed,
}


class Servers:
    """Every server, each as strict as it is, at one address."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._client = GuardedClient(allow_origins=frozenset({allowed_origin(provider.base_url)}))
        root = provider.base_url.removesuffix("/v1")
        self._models: dict[str, LLM] = {name: self._chat_server(name) for name in CHAT_SERVERS}
        if is_installed("anthropic"):
            self._models |= {
                name: VendorModel(VendorConfig(name, "sk-test", root, region="us-east-1")) for name in VENDORS
            }

    def _chat_server(self, name: str) -> OpenAIModel:
        config = OpenAIConfig(api_key="sk-test", base_url=self._provider.base_url, dialects=read_dialects(name))
        return OpenAIModel(config, self._client)

    def choose(self, name: str) -> LLM:
        """The model of this server; the provider becomes it."""
        self._provider.check = partial(check_request, name)
        return self._models[name]

    @property
    def names(self) -> list[str]:
        return list(self._models)

    async def aclose(self) -> None:
        for model in self._models.values():
            await model.aclose()
        await self._client.aclose()


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "sk-test")


@pytest_asyncio.fixture
async def provider() -> AsyncIterator[Provider]:
    provider = Provider()
    await provider.start()
    yield provider
    await provider.stop()


@pytest_asyncio.fixture
async def servers(provider: Provider, keys: None) -> AsyncIterator[Servers]:
    servers = Servers(provider)
    yield servers
    await servers.aclose()


async def answers(context: TurnContext, model: LLM) -> bool:
    """Whether `model` answers the question of `context`, as the engine asks it."""
    services = services_for(model, ScriptedTools(TOOLS))
    request = (await assemble(context, TurnProgress(context), services, "openai:fake")).request
    async with aclosing(model.stream(request)) as events:
        return isinstance([event async for event in events][-1], Finished)


@pytest.mark.parametrize("way", WAYS)
async def test_a_session_answers_after_every_end_of_a_turn_on_every_server(
    way: str, provider: Provider, servers: Servers
) -> None:
    ada = await begin("One?", tools=["clock", "calculator"], instructions="Be kind.", limits={"steps": 3})
    await WAYS[way](ada)
    assert (await turn_of(ada)).status in ("failed", "cancelled", "expired", "completed")
    await in_db_thread(ada.ask, "Two?")
    context = await in_db_thread(lambda: load_context(claimed()))

    for name in servers.names:
        asked = provider.count
        assert await answers(context, servers.choose(name)), name
        assert provider.count == asked + 1, f"{name} took the first request: nothing was to be learned"


async def test_a_session_that_ended_badly_every_time_answers_on_every_server(
    provider: Provider, servers: Servers
) -> None:
    """All of it in one conversation, and the engine itself asks the last question."""
    ada = await begin("One?", tools=["clock", "calculator"], limits={"steps": 3})
    ways = [way for name, way in WAYS.items() if name.startswith(("an empty", "the ", "white", "transient"))]
    for way in ways:
        await way(ada)
        await in_db_thread(ada.ask, "And now?")
    context = await in_db_thread(lambda: load_context(claimed()))

    for name in servers.names:
        assert await answers(context, servers.choose(name)), name
    services = replace(services_for(servers.choose("mistral")))
    await in_db_thread(lambda: lease_is_over(context.claim.turn_id))
    await in_db_thread(reap)
    await run(services)
    assert (await in_db_thread(ada.statuses))[-1] == "completed"
