"""Side work before a real provider: which routes are asked, what is stored of it, and what callers get without it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from agents.budgets.reservations import settle_and_reserve
from agents.domain.configuration import AgentConfiguration
from agents.engine.delta_writer import BatchingDeltaWriter
from agents.engine.ports import Services
from agents.engine.utility_calls import UtilityAnswer, UtilityCallFailed, ask_utility_model
from agents.journal.utility_calls import UtilityOwner
from agents.llm.gateway import Gateway, GatewayConfig
from agents.llm.model_catalog import Rates
from agents.models import Budget, BudgetReservation, BudgetWindow, UtilityCall
from agents.sessions import delete_session
from foundation.db_threads import in_db_thread
from tests.provider import Provider
from tests.provider.fixture import provider  # noqa: F401
from tests.support.budgets import budget_request, with_budgets
from tests.support.conversations import Conversation, conversation
from tests.support.guarded import LATER, processes
from tests.support.scripted import ScriptedTools

pytestmark = pytest.mark.usefixtures("transactional_db")

CHEAP = AgentConfiguration(model_chain=("openai:big",), utility_models=("openai:fake.text-Sums", "offline:"))


@asynccontextmanager
async def side_work(
    provider: Provider,  # noqa: F811
    *,
    prices: Mapping[str, Rates] | None = None,
) -> AsyncIterator[Services]:
    gateway = Gateway(GatewayConfig(openai_api_key="sk-test", openai_base_url=provider.base_url, prices=prices or {}))
    async with processes(provider, breaker=LATER) as [one]:
        try:
            yield Services(gateway, ScriptedTools(), BatchingDeltaWriter(), routes=one.guard, draw=lambda: 0.0)
        finally:
            await gateway.aclose()


async def ask(services: Services, ada: Conversation, configuration: AgentConfiguration = CHEAP,
              seconds: float = 10) -> UtilityAnswer:  # fmt: skip
    return await ask_utility_model(
        services,
        owner=UtilityOwner(ada.actor.user_id or 0, ada.session_id),
        configuration=configuration,
        system="Name it.",
        text="What is 2 + 2?",
        max_output_tokens=100,
        purpose="title",
        deadline=asyncio.get_running_loop().time() + seconds,
    )


def a_dollar() -> Budget:
    return Budget.objects.create(subject="everybody", unit="usd", period="month", amount=1)


async def stored() -> list[tuple[Any, ...]]:
    columns = ("route", "attempt", "status", "error_class", "output_tokens", "cost_usd")
    return await in_db_thread(lambda: list(UtilityCall.objects.order_by("id").values_list(*columns)))


async def test_the_first_cheaper_model_answers_and_its_cost_is_stored(provider: Provider) -> None:  # noqa: F811
    ada = await in_db_thread(conversation)
    async with side_work(provider) as services:
        answer = await ask(services, ada)
    assert (answer.text, answer.route, answer.is_cut) == ("Sums", "openai:fake.text-Sums", False)
    assert await stored() == [("openai:fake.text-Sums", 1, "done", "", 1, None)]
    [request] = provider.requests
    assert [message["content"] for message in request.body["messages"]] == ["Name it.", "What is 2 + 2?"]


async def test_a_route_that_fails_is_followed_by_the_next_one(provider: Provider) -> None:  # noqa: F811
    ada = await in_db_thread(conversation)
    provider.defaults["fault"] = "503"
    async with side_work(provider) as services:
        answer = await ask(services, ada)
    assert answer.route == "offline:"
    assert [row[:4] for row in await stored()] == [
        ("openai:fake.text-Sums", 1, "failed", "transient"),
        ("offline:", 2, "done", ""),
    ]
    # What was refused costs nothing, and so does what is free.
    assert {row[5] for row in await stored()} == {Decimal(0)}


async def test_who_gets_no_answer_goes_on_without_it(provider: Provider) -> None:  # noqa: F811
    ada = await in_db_thread(conversation)
    provider.defaults["fault"] = "503"
    alone = AgentConfiguration(model_chain=("openai:fake",))
    async with side_work(provider) as services:
        for _ in range(3):
            with pytest.raises(UtilityCallFailed):
                await ask(services, ada, alone)
        # Twice each, until the breaker was open.
        assert provider.count == 5
        with pytest.raises(UtilityCallFailed):
            await ask(services, ada, alone)
    assert provider.count == 5
    assert len(await stored()) == 5


async def test_its_deadline_ends_it_and_the_call_is_stored_as_such(provider: Provider) -> None:  # noqa: F811
    ada = await in_db_thread(conversation)
    provider.defaults["fault"] = "hang"
    async with side_work(provider) as services:
        with pytest.raises(UtilityCallFailed):
            await ask(services, ada, seconds=0.5)
    assert await stored() == [("openai:fake.text-Sums", 1, "failed", "cancelled", None, None)]


async def test_what_was_reported_before_an_answer_that_breaks_off_is_not_its_cost(
    provider: Provider,  # noqa: F811
) -> None:
    ada = await in_db_thread(conversation)
    provider.queue.append({"usage": "early", "fault": "cut", "after": 3, "tps": 20})
    price = Rates(*[Decimal(1)] * 4)
    alone = AgentConfiguration(model_chain=("openai:fake",))
    async with side_work(provider, prices={"openai:fake": price}) as services:
        await ask(services, ada, alone)
    [cut, answered] = await stored()
    assert cut[2:] == ("failed", "transient", None, None)
    assert answered[2] == "done"
    assert answered[5] is not None


async def test_a_model_that_ignores_the_limit_is_stopped(provider: Provider) -> None:  # noqa: F811
    ada = await in_db_thread(conversation)
    chatty = AgentConfiguration(model_chain=("openai:fake.tokens-5000",))
    async with side_work(provider) as services:
        with pytest.raises(UtilityCallFailed):
            await ask(services, ada, chatty)
    [(_, _, status, error_class, *_)] = await stored()
    assert (status, error_class) == ("failed", "unknown")


async def test_calls_go_with_their_conversation(provider: Provider) -> None:  # noqa: F811
    ada = await in_db_thread(conversation)
    async with side_work(provider) as services:
        await ask(services, ada)
        await in_db_thread(delete_session, ada.actor, session_id=ada.session_id, expected_version=None)
        assert await stored() == []
        with pytest.raises(UtilityCallFailed):
            await ask(services, ada)
    assert provider.count == 1


async def test_side_work_draws_on_budgets_and_never_waits_for_money(provider: Provider) -> None:  # noqa: F811
    ada = await in_db_thread(conversation)
    await in_db_thread(a_dollar)
    priced = AgentConfiguration(model_chain=("openai:fake.text-Sums",))
    async with side_work(provider, prices={"openai:*": Rates(*[Decimal(1_000)] * 4)}) as services:
        limited = await with_budgets(services)
        await ask(limited, ada, priced)
        reservation = await in_db_thread(BudgetReservation.objects.get)
        call = await in_db_thread(UtilityCall.objects.get)
        assert (reservation.utility_call_id, reservation.purpose) == (call.pk, "title")
        assert call.details["reservation"] == reservation.pk
        # What it used is settled from its row.
        await in_db_thread(settle_and_reserve)
        window = await in_db_thread(BudgetWindow.objects.get)
        assert (window.spent, window.reserved) == (call.cost_usd, Decimal(0))
        # Another call holds the rest: this one is not made, and its caller goes on without it.
        rest = budget_request(output_tokens=1, bytes=int((1 - window.spent) * 100) - 2)
        await in_db_thread(settle_and_reserve, [rest])
        with pytest.raises(UtilityCallFailed):
            await ask(limited, ada, priced)
        refused = await in_db_thread(UtilityCall.objects.latest, "id")
        assert (refused.error_class, refused.cost_usd) == ("budget_exceeded", Decimal(0))
        assert provider.count == 1


async def test_side_work_without_a_price_is_not_asked_for_where_dollars_are_limited(
    provider: Provider,  # noqa: F811
) -> None:
    ada = await in_db_thread(conversation)
    await in_db_thread(a_dollar)
    async with side_work(provider) as services:
        answer = await ask(await with_budgets(services), ada)
    # The offline model is free, and that is known.
    assert answer.route == "offline:"
    assert [row[3] for row in await stored()] == ["price_unknown", ""]
    assert provider.count == 0
