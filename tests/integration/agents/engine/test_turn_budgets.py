"""Turns that draw on a budget: what they reserve, and how they wait for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.db.models import F

from agents.budgets.budget_index import BudgetIndex
from agents.budgets.reservations import settle_and_reserve
from agents.budgets.reserver import BudgetReserver
from agents.domain.budgets import BudgetSubject
from agents.domain.serialization import moment, turn_error
from agents.domain.states import TurnStatus
from agents.engine.ports import Services
from agents.engine.turn import UnfinishedTurn
from agents.journal.listen_connection import open_listen_connection
from agents.models import Budget, BudgetReservation, BudgetWindow, Step, Turn
from agents.runner.budget_waker import wake_for_budget
from foundation.db_threads import in_db_thread
from tests.support.budgets import budget_request
from tests.support.scripted import says, scripted
from tests.support.turns import begin, log, run, steps, turn_of

pytestmark = pytest.mark.usefixtures("transactional_db")


def _budget(amount: int) -> None:
    Budget.objects.create(subject=BudgetSubject.EVERYBODY, unit="usd", period="month", amount=amount)


async def _with_budgets(services: Services) -> Services:
    index = BudgetIndex()

    def load() -> None:
        with open_listen_connection() as connection:
            index.load(connection)

    await in_db_thread(load)
    return replace(services, budgets=BudgetReserver(index, on_wake=lambda _: None))


async def test_a_turn_reserves_and_its_outcome_settles() -> None:
    await in_db_thread(_budget, 1_000)
    services, model, _ = scripted(says("Hello"))
    await begin()
    await run(await _with_budgets(services))
    assert model.requests[0].max_output_tokens == 4_096
    step = await in_db_thread(Step.objects.get)
    reservation = await in_db_thread(BudgetReservation.objects.get)
    assert step.details["reservation"] == reservation.pk
    await in_db_thread(settle_and_reserve)
    window = await in_db_thread(BudgetWindow.objects.get)
    assert window.spent == step.cost_usd
    assert not window.reserved


async def test_a_turn_without_a_budget_has_no_reservation() -> None:
    services, model, _ = scripted(says("Hello"))
    await begin()
    await run(await _with_budgets(services))
    assert model.requests[0].max_output_tokens is None
    assert not await in_db_thread(BudgetReservation.objects.exists)


async def test_a_turn_that_can_never_fit_fails_at_once() -> None:
    await in_db_thread(_budget, 0)
    services, model, _ = scripted(says("Hello"))
    ada = await begin()
    await run(await _with_budgets(services))
    turn = await turn_of(ada)
    assert (turn.status, turn.error_class) == (TurnStatus.FAILED, "budget_exceeded")
    # Nobody is sent to wait for what does not help.
    assert "needs more than the budget for it allows" in turn.error_detail
    assert turn.error_retry_at is None
    assert (await in_db_thread(ada.events))[-1].data["error"] == turn_error(turn)
    assert not model.requests


async def test_a_turn_whose_budget_is_used_up_fails_with_the_time_when_it_begins_anew() -> None:
    await in_db_thread(_budget, 60)
    services, model, _ = scripted(says("Hello"))
    ada = await begin()
    await in_db_thread(settle_and_reserve, [budget_request(output_tokens=5_890, least_output_tokens=5_890)])
    await in_db_thread(BudgetWindow.objects.update, spent=F("reserved"), reserved=0)
    await run(await _with_budgets(services))
    turn = await turn_of(ada)
    assert (turn.status, turn.error_class) == (TurnStatus.FAILED, "budget_exceeded")
    assert "It begins anew on" in turn.error_detail
    assert turn.error_retry_at is not None
    error = (await in_db_thread(ada.events))[-1].data["error"]
    assert error == turn_error(turn)
    assert error["retry_at"] == moment(turn.error_retry_at)
    assert not model.requests


async def test_a_turn_waits_until_another_has_settled() -> None:
    await in_db_thread(_budget, 60)
    services, _, _ = scripted(says("Hello"))
    ada = await begin()
    services = await _with_budgets(services)
    # Another call holds nearly all of it.
    await in_db_thread(settle_and_reserve, [budget_request(output_tokens=5_890, least_output_tokens=5_890)])
    assert await run(services) is UnfinishedTurn.PARKED
    turn = await turn_of(ada)
    assert (turn.status, turn.wait_reason) == (TurnStatus.WAITING, "budget")
    assert (await log(ada))[-1] == "turn.waiting"
    [shown] = (await in_db_thread(ada.snapshot))["turns"].values()
    assert (shown["status"], shown["waits_for"]) == ("waiting", "budget")
    held = await in_db_thread(BudgetReservation.objects.get, purpose="embeddings")
    result = await in_db_thread(settle_and_reserve, [], [held.pk])
    assert result.wake == [(ada.session_id, turn.pk)]
    assert await in_db_thread(wake_for_budget, result.wake) == 1
    await run(services)
    assert (await turn_of(ada)).status == TurnStatus.COMPLETED
    assert await in_db_thread(BudgetReservation.objects.filter(status="reserved").count) == 1
    await in_db_thread(settle_and_reserve)
    window = await in_db_thread(BudgetWindow.objects.get)
    turn = await in_db_thread(Turn.objects.get)
    assert window.spent == turn.cost_usd
    assert not window.reserved
    assert len(await steps()) == 1
