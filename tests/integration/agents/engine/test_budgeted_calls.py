"""Every call of a model asks for its money, whatever led to it; the provider is a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal

import pytest
import pytest_asyncio

from agents.budgets.reservations import settle_and_reserve
from agents.domain.backoff import Backoff
from agents.domain.fallback import Policy
from agents.domain.states import TurnStatus
from agents.engine.ports import Services
from agents.engine.turn import UnfinishedTurn
from agents.llm.gateway import Gateway, GatewayConfig
from agents.llm.model_catalog import Rates
from agents.models import Budget, BudgetReservation, BudgetWindow, Step
from agents.sessions import cancel_turn
from foundation.db_threads import in_db_thread
from tests.provider import Provider
from tests.provider.fixture import provider  # noqa: F401
from tests.support.budgets import budget_request, with_budgets
from tests.support.scripted import scripted
from tests.support.turns import answer_of, begin, run, start, stop, turn_of

pytestmark = pytest.mark.usefixtures("transactional_db")

FREE, CHEAP, DEAR = "openai:free", "openai:cheap", "openai:dear"
LIMITS = {"call_output_tokens": 60}


def _rates(dollars: int) -> Rates:
    """So many dollars for a thousand tokens."""
    price = Decimal(dollars * 1_000)
    return Rates(price, price, price, price)


@pytest_asyncio.fixture
async def services(provider: Provider) -> AsyncIterator[Services]:  # noqa: F811
    prices = {FREE: _rates(0), CHEAP: _rates(1), DEAR: _rates(100)}
    gateway = Gateway(GatewayConfig(openai_api_key="sk-test", openai_base_url=provider.base_url, prices=prices))
    yield replace(scripted()[0], models=gateway, policy=Policy(backoff=Backoff(base_seconds=0)))
    await gateway.aclose()


async def dollars(amount: int | Decimal, unit: str = "usd") -> None:
    await in_db_thread(Budget.objects.create, subject="everybody", unit=unit, period="month", amount=amount)


async def used() -> tuple[float, float, float]:
    """What is spent, reserved and overdrawn when everything is settled."""

    def read() -> tuple[float, float, float]:
        settle_and_reserve()
        window = BudgetWindow.objects.get()
        return float(window.spent), float(window.reserved), float(window.overdraft)

    return await in_db_thread(read)


async def ledger() -> list[tuple[str, str]]:
    """Route and status of each reservation."""
    rows = BudgetReservation.objects.order_by("pk").values_list("route", "status")
    return await in_db_thread(lambda: list(rows))


async def outcomes() -> list[tuple[str, str, str]]:
    """Route, status and error of each step."""
    rows = Step.objects.order_by("number").values_list("name", "status", "error_class")
    return await in_db_thread(lambda: list(rows))


async def test_a_free_model_that_fails_is_followed_by_a_paid_one_within_the_budget_only(
    services: Services,
    provider: Provider,  # noqa: F811
) -> None:
    await dollars(1)
    provider.queue.append({"fault": "400"})
    ada = await begin(model_chain=[FREE, DEAR], limits=LIMITS)
    await run(await with_budgets(services))
    turn = await turn_of(ada)
    assert (turn.status, turn.error_class) == (TurnStatus.FAILED, "budget_exceeded")
    assert await outcomes() == [(FREE, "failed", "bad_request"), (DEAR, "failed", "budget_exceeded")]
    assert provider.count == 1


async def test_a_model_that_is_too_dear_is_followed_by_one_that_there_is_money_for(
    services: Services,
    provider: Provider,  # noqa: F811
) -> None:
    await dollars(1)
    await begin(model_chain=[DEAR, CHEAP], limits=LIMITS)
    await run(await with_budgets(services))
    assert await outcomes() == [(DEAR, "failed", "budget_exceeded"), (CHEAP, "done", "")]
    # 11 tokens in and 50 out.
    assert await used() == (0.061, 0, 0)
    assert await ledger() == [(CHEAP, "settled")]


async def test_each_attempt_reserves_and_one_that_may_have_been_billed_counts_whole(
    services: Services,
    provider: Provider,  # noqa: F811
) -> None:
    await dollars(100)
    provider.queue.extend([{"fault": "503"}, {"fault": "cut"}])
    await begin(model_chain=[CHEAP], limits=LIMITS)
    await run(await with_budgets(services))
    assert [status for _, status, _ in await outcomes()] == ["failed", "failed", "done"]
    refused, cut, answered = await in_db_thread(lambda: list(BudgetReservation.objects.order_by("pk")))
    spent, reserved, _ = await used()
    # A refusal costs nothing; of an answer that broke off nobody knows the cost.
    assert spent == pytest.approx(float(cut.usd) + 0.061)
    assert reserved == 0
    assert refused.usd == cut.usd == answered.usd or answered.usd < cut.usd


async def test_a_context_that_is_compressed_reserves_anew(
    services: Services,
    provider: Provider,  # noqa: F811
) -> None:
    await dollars(100)
    provider.queue.append({"fault": "ctx"})
    await begin("word " * 2_000, model_chain=[CHEAP], limits=LIMITS)
    await run(await with_budgets(services))
    whole, compressed = await in_db_thread(lambda: list(BudgetReservation.objects.order_by("pk")))
    assert compressed.input_tokens < whole.input_tokens
    assert (await used())[:2] == (0.061, 0)


async def test_a_provider_that_ignores_its_bound_is_stopped_and_what_it_billed_is_overdraft(
    services: Services,
    provider: Provider,  # noqa: F811
) -> None:
    await dollars(100)
    provider.defaults["tokens"] = 5_000
    ada = await begin(model_chain=[CHEAP], limits={"call_output_tokens": 10})
    await run(await with_budgets(services))
    turn = await turn_of(ada)
    assert (turn.status, turn.error_class) == (TurnStatus.FAILED, "limit_reached")
    assert "budget" in turn.error_detail
    spent, reserved, overdraft = await used()
    # Nobody knows what it was, but it was no less than what has come.
    assert spent > overdraft > 0.5
    assert not reserved


async def test_usage_that_is_missing_or_wrong_counts_whole(
    services: Services,
    provider: Provider,  # noqa: F811
) -> None:
    await dollars(100)
    provider.queue.extend([{"usage": "no"}, {"usage": "wrong"}])
    ada = await begin(model_chain=[CHEAP], limits=LIMITS)
    guarded = await with_budgets(services)
    await run(guarded)
    await in_db_thread(ada.ask, "Again")
    await run(guarded)
    rows = await in_db_thread(lambda: list(BudgetReservation.objects.values_list("usd", flat=True)))
    assert (await used())[0] == pytest.approx(float(sum(rows)))


async def test_usage_that_is_reported_before_an_answer_that_breaks_off_counts_whole(
    services: Services,
    provider: Provider,  # noqa: F811
) -> None:
    await dollars(100)
    provider.queue.append({"usage": "early", "fault": "cut", "after": 3, "tps": 20})
    await begin(model_chain=[CHEAP], limits=LIMITS)
    await run(await with_budgets(services))
    await used()
    cut, _ = await in_db_thread(lambda: list(BudgetReservation.objects.order_by("pk")))
    assert (cut.status, cut.settled_usd, cut.settled_tokens) == ("settled", cut.usd, cut.tokens)


async def test_a_turn_that_is_stopped_in_its_call_counts_whole_and_holds_nothing(
    services: Services,
    provider: Provider,  # noqa: F811
) -> None:
    await dollars(100)
    provider.defaults["ttft_ms"] = 60_000
    ada = await begin(model_chain=[CHEAP], limits=LIMITS)
    running = await start(await with_budgets(services))
    await asyncio.wait_for(provider.until(lambda: provider.running == 1), 10)
    await stop(ada, running)
    await running.ended()
    row = await in_db_thread(BudgetReservation.objects.get)
    assert (await used())[:2] == (float(row.usd), 0)
    assert await ledger() == [(CHEAP, "settled")]


async def test_a_simpler_model_stands_in_where_the_budget_has_too_little_for_the_chain(
    services: Services,
    provider: Provider,  # noqa: F811
) -> None:
    await dollars(1)
    fallbacks = {"order": ["simplified_response"], "simplified_models": [CHEAP]}
    ada = await begin(model_chain=[DEAR], limits=LIMITS, fallbacks=fallbacks)
    await run(await with_budgets(services))
    turn = await turn_of(ada)
    assert (turn.status, turn.fallback) == (TurnStatus.COMPLETED, "simplified_response")
    assert (await used())[:2] == (0.061, 0)


async def test_a_simpler_model_does_not_wait_for_money_that_others_have_reserved(
    services: Services,
    provider: Provider,  # noqa: F811
) -> None:
    await dollars(1)
    fallbacks = {"order": ["simplified_response"], "simplified_models": [CHEAP]}
    ada = await begin(model_chain=[DEAR], limits=LIMITS, fallbacks=fallbacks)
    # 98 cents of it.
    await in_db_thread(settle_and_reserve, [budget_request(bytes=49, output_tokens=49, least_output_tokens=49)])
    await run(await with_budgets(services))
    turn = await turn_of(ada)
    assert (turn.status, turn.error_class) == (TurnStatus.FAILED, "budget_exceeded")
    assert provider.count == 0


async def test_a_turn_that_is_stopped_while_it_waits_has_no_place_any_more(services: Services) -> None:
    await dollars(1)
    ada = await begin(model_chain=[CHEAP], limits=LIMITS)
    await in_db_thread(settle_and_reserve, [budget_request(bytes=49, output_tokens=49, least_output_tokens=49)])
    guarded = await with_budgets(services)
    assert await run(guarded) is UnfinishedTurn.PARKED
    assert [status for _, status in await ledger()] == ["reserved", "waiting"]
    turn = await turn_of(ada)
    await in_db_thread(cancel_turn, ada.actor, turn_id=turn.pk)
    assert (await used())[1] == 0.98
    assert [status for _, status in await ledger()] == ["reserved"]


async def test_a_token_budget_holds_where_nobody_knows_a_price_and_for_free_models(
    services: Services,
    provider: Provider,  # noqa: F811
) -> None:
    await dollars(400, unit="tokens")
    ada = await begin(model_chain=["openai:unpriced-model"], limits=LIMITS)
    guarded = await with_budgets(services)
    await run(guarded)
    assert (await answer_of(ada))[1] is False
    assert await used() == (61, 0, 0)
    await dollars(10)
    await in_db_thread(ada.ask, "Again")
    await run(guarded)
    last = await in_db_thread(lambda: ada.turns()[-1])
    assert (last.status, last.error_class) == (TurnStatus.FAILED, "price_unknown")
    assert provider.count == 1
