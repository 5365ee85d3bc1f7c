"""The ledger against the calls that it is about: what differs is shown, and stays as it is."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group

from accounts.permissions import user_actor
from accounts.roles import Role
from agents.budgets.ledger_retention import purge_ledger
from agents.budgets.reconciliation import reconcile, review_difference
from agents.budgets.reservations import Reserved, report_usage, settle_and_reserve
from agents.domain.budgets import BudgetSubject, DifferenceKind
from agents.engine.turn import UnfinishedTurn
from agents.models import Budget, BudgetDifference, BudgetReservation, BudgetWindow, Step
from agents.tasks import reap
from foundation.clock import now
from foundation.db_threads import in_db_thread
from foundation.errors import Forbidden
from tests.support.budgets import budget_request, with_budgets
from tests.support.people import person
from tests.support.scripted import says, scripted
from tests.support.turns import begin, run

pytestmark = pytest.mark.usefixtures("transactional_db")


def budget(unit: str = "usd", **changes: Any) -> Budget:
    created_at = now() - timedelta(hours=1)
    kind = {"subject": BudgetSubject.EVERYBODY, "period": "month", "amount": 100_000, "created_at": created_at}
    return Budget.objects.create(unit=unit, **{**kind, **changes})


def reserved(user_id: int = 0, **changes: Any) -> int:
    [reply] = settle_and_reserve([budget_request(user_id, **changes)]).replies
    assert isinstance(reply, Reserved)
    assert reply.id is not None
    return reply.id


def kinds() -> list[tuple[str, str]]:
    return sorted(BudgetDifference.objects.values_list("kind", "unit"))


async def test_turns_and_calls_that_are_booked_leave_nothing_to_show() -> None:
    def prepare() -> None:
        budget()
        budget("tokens", subject=BudgetSubject.EACH_USER)

    await in_db_thread(prepare)
    services, *_ = scripted(says("Hello"))
    await begin()
    await run(await with_budgets(services))

    def look() -> None:
        first, second, third = reserved(), reserved(), reserved()
        report_usage(first, usd=Decimal("0.12345678"), tokens=7)
        report_usage(second, usd=Decimal(3), tokens=None)
        settle_and_reserve(releases=[third])
        reserved()
        assert reconcile() == 0
        assert not BudgetDifference.objects.exists()
        assert Counter(BudgetReservation.objects.values_list("status", flat=True)) == {
            "settled": 3, "released": 1, "reserved": 1,
        }  # fmt: skip

    await in_db_thread(look)


async def test_each_kind_of_difference_is_shown_and_nothing_is_corrected() -> None:
    limit = await in_db_thread(budget)
    services, *_ = scripted(says("Hello"), says("Again"))
    ada = await begin()
    services = await with_budgets(services)
    await run(services)

    def disturb() -> None:
        settle_and_reserve()
        # A turn of which nobody reserved anything.
        Step.objects.filter(kind="model").update(cost_usd=Decimal(2), started_at=now())
        ada.ask("Once more")

    await in_db_thread(disturb)
    # The next one goes past the ledger.
    unguarded, *_ = scripted(says("Again"))
    await run(unguarded)

    def look() -> None:
        Step.objects.filter(kind="model", cost_usd__lt=2).update(cost_usd=Decimal(1))
        Step.objects.filter(kind="model", cost_usd__isnull=True).update(cost_usd=Decimal(1))
        assert reconcile() == 2
        assert kinds() == [(DifferenceKind.CALL, "usd"), (DifferenceKind.UNRESERVED, "usd")]
        BudgetWindow.objects.filter(budget=limit).update(spent=17, reserved=4)
        late = reserved()
        BudgetReservation.objects.filter(pk=late).update(expires_at=now() - timedelta(hours=2), reported_at=None)
        # It is settled by the pass that looks.
        assert reconcile() == 4
        assert BudgetReservation.objects.get(pk=late).status == "unconfirmed"
        window = BudgetWindow.objects.get(budget=limit)
        assert (window.spent, window.reserved) == (Decimal(19), Decimal(4))
        assert kinds() == [
            (DifferenceKind.CALL, "usd"),
            (DifferenceKind.UNRESERVED, "usd"),
            (DifferenceKind.WINDOW_RESERVED, "usd"),
            (DifferenceKind.WINDOW_SPENT, "usd"),
        ]
        # The same again is the same row.
        assert reconcile() == 4
        assert BudgetDifference.objects.count() == 4

    await in_db_thread(look)


def test_whoever_may_change_budgets_reviews_a_difference_until_it_changes() -> None:
    limit = budget()
    reserved()
    BudgetWindow.objects.filter(budget=limit).update(spent=17)
    assert reconcile() == 1
    difference = BudgetDifference.objects.get()
    owner, viewer = person("olga", Role.OWNER), person("vera", Role.VIEWER)
    assert Group.objects.filter(user=viewer).exists()
    with pytest.raises(Forbidden):
        review_difference(user_actor(viewer), difference.pk)
    assert review_difference(user_actor(owner), difference.pk).reviewed_by == owner
    assert reconcile() == 0
    assert BudgetWindow.objects.get(budget=limit).spent == 17
    BudgetWindow.objects.filter(budget=limit).update(spent=18)
    assert reconcile() == 1


def test_a_lost_call_is_settled_without_any_runner() -> None:
    limit = budget()
    lost = reserved(lease_seconds=-1)
    reap()
    assert BudgetReservation.objects.get(pk=lost).status == "unconfirmed"
    window = BudgetWindow.objects.get(budget=limit)
    assert (window.spent, window.reserved) == (Decimal(2), Decimal(0))


def test_usage_that_is_reported_late_is_booked_where_nobody_calls_any_more() -> None:
    limit = budget()
    lost = reserved(lease_seconds=-1)
    reap()
    report_usage(lost, usd=Decimal("0.5"), tokens=20)
    reap()
    assert BudgetWindow.objects.get(budget=limit).spent == Decimal("0.5")


@pytest.mark.parametrize("ends", ["refused", "unlimited"])
async def test_a_turn_that_hears_nothing_of_its_wait_is_woken_by_the_next_pass(ends: str) -> None:
    limit = await in_db_thread(lambda: budget(amount=60))
    services, *_ = scripted(says("Hello"))
    ada = await begin()
    services = await with_budgets(services)
    await in_db_thread(reserved, 0, output_tokens=5_890, least_output_tokens=5_890)
    assert await run(services) is UnfinishedTurn.PARKED

    def look() -> None:
        if ends == "refused":
            Budget.objects.filter(pk=limit.pk).update(amount=0)
        else:
            Budget.objects.filter(pk=limit.pk).delete()
        named = [(ada.session_id, ada.turn().pk)]
        # Whoever is told first is killed before it wakes the turn.
        assert settle_and_reserve(is_full=True).wake == named
        assert settle_and_reserve().wake == named
        assert reap() == 1
        assert ada.turn().status == "queued"

    await in_db_thread(look)
    await run(services)

    def end() -> None:
        assert ada.turn().status == ("failed" if ends == "refused" else "completed")
        settle_and_reserve()
        assert not BudgetReservation.objects.filter(status__in=["waiting", "granted"]).exists()

    await in_db_thread(end)


def test_the_ledger_is_kept_until_its_windows_are_over_for_long() -> None:
    limit, hourly = budget(), budget(period="hour")
    first, second, third = reserved(), reserved(), reserved()
    for number in (first, second):
        report_usage(number, usd=Decimal(1), tokens=1)
    settle_and_reserve()
    old = now() - timedelta(days=91)
    BudgetReservation.objects.filter(pk=first).update(settled_at=old)
    BudgetWindow.objects.filter(budget=hourly).update(ends_at=old)
    assert purge_ledger() == 0, "its month is not over"
    BudgetWindow.objects.filter(budget=limit).update(ends_at=old)
    assert purge_ledger() == 1
    assert set(BudgetReservation.objects.values_list("pk", flat=True)) == {second, third}
    assert BudgetWindow.objects.count() == 2
    BudgetWindow.objects.filter(budget=hourly).update(ends_at=now() - timedelta(days=401))
    purge_ledger()
    assert BudgetWindow.objects.get().budget == limit
