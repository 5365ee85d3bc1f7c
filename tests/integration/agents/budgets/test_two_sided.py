"""Fifty turns at the same time with money for ten: never a cent over, and none refused while money for one is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from accounts.actor import Actor
from agents.budgets.reservations import settle_and_reserve
from agents.domain.budgets import OPEN_RESERVATIONS, BudgetSubject, BudgetUnit
from agents.engine.ports import Services
from agents.models import Budget, BudgetReservation, BudgetWindow, Turn
from agents.releases import publish
from foundation.db_threads import in_db_thread
from foundation.pg_listener import RowListener
from tests.chaos.waiting import until
from tests.provider import Provider
from tests.provider.fixture import provider  # noqa: F401
from tests.support.conversations import Conversation, conversation
from tests.support.metered_provider import Meter, budgeted
from tests.support.people import agent, write_draft
from tests.support.runners import serving

pytestmark = pytest.mark.usefixtures("transactional_db")

TURNS = 50
AFFORDABLE = 10


@dataclass(frozen=True)
class Shape:
    """Answers of so many tokens (None: as long as they may be) to prompts of so many words."""

    answer_tokens: int | None
    words: int
    subject: BudgetSubject = BudgetSubject.EVERYBODY
    unit: BudgetUnit = BudgetUnit.USD


SHAPES = {
    "short answers": Shape(50, 5),
    "long prompts": Shape(20, 2_000),
    "as long as they may be": Shape(None, 5),
    "tokens": Shape(50, 5, unit=BudgetUnit.TOKENS),
    "each user": Shape(50, 5, BudgetSubject.EACH_USER),
}


def _publish(limit: int) -> None:
    draft = agent("special")
    write_draft(draft, model_chain=["openai:fake"], limits={"call_output_tokens": limit}, version=2)
    publish(Actor.system("tests"), agent_id=draft.pk, expected_version=2)


def _ask(shape: Shape, turns: int) -> list[Conversation]:
    users = 2 if shape.subject is BudgetSubject.EACH_USER else turns
    people = [conversation(f"user{number % users}", slug="special") for number in range(turns)]
    for one in people:
        one.ask("word " * shape.words)
    return people


def _all_have_ended() -> bool:
    return not Turn.objects.filter(finished_at__isnull=True).exists()


def _status_counts() -> Counter[tuple[str, str]]:
    return Counter(Turn.objects.values_list("status", "error_class"))


async def _answer(services: Services, listeners: Sequence[RowListener]) -> None:
    async with serving(services, listeners, concurrency=TURNS, running_per_user=TURNS):
        await until(lambda: in_db_thread(_all_have_ended), seconds=30, what="the end of all turns")


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
async def test_money_for_ten_answers_at_least_nine_of_fifty(
    provider: Provider,  # noqa: F811
    tmp_path: Path,
    shape: Shape,
) -> None:
    meter = Meter(provider, shape.answer_tokens)
    await in_db_thread(_publish, 400)
    async with budgeted(provider, tmp_path) as (services, listeners):
        # What one costs, by the provider's count.
        await in_db_thread(_ask, shape, 1)
        await _answer(services, listeners)
        usd, tokens = meter.take()
        one = usd if shape.unit is BudgetUnit.USD else Decimal(tokens)
        owners = 2 if shape.subject is BudgetSubject.EACH_USER else 1
        budget = await in_db_thread(
            Budget.objects.create,
            subject=shape.subject,
            unit=shape.unit,
            period="month",
            amount=one * AFFORDABLE / owners,
        )
        await in_db_thread(_ask, shape, TURNS)
        await _answer(services, listeners)
    spent = meter.spent if shape.unit is BudgetUnit.USD else Decimal(meter.tokens)
    counts = await in_db_thread(_status_counts)
    answered = counts.pop(("completed", "")) - 1
    assert answered >= AFFORDABLE - owners, counts
    assert spent <= one * AFFORDABLE
    assert set(counts) == {("failed", "budget_exceeded")}
    await in_db_thread(settle_and_reserve)
    windows = await in_db_thread(lambda: list(BudgetWindow.objects.filter(budget=budget)))
    assert sum(window.spent for window in windows) == spent
    assert not any(window.reserved or window.overdraft for window in windows)
    assert not await in_db_thread(BudgetReservation.objects.filter(status__in=OPEN_RESERVATIONS).exists)
