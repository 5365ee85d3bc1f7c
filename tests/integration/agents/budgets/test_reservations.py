"""What the ledger gives, makes wait and refuses, one statement after the other."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.db import connection

from accounts.models import User
from agents.budgets.reservations import (
    MustWait,
    Refused,
    Reserved,
    report_usage,
    settle_and_reserve,
)
from agents.domain.budgets import BudgetSubject, CallPrice, RefusalReason
from agents.models import Budget, BudgetReservation, BudgetWindow
from tests.support.budgets import budget_request
from tests.support.people import person

pytestmark = pytest.mark.django_db


def dollars(amount: int) -> Budget:
    return Budget.objects.create(subject=BudgetSubject.EVERYBODY, unit="usd", period="month", amount=amount)


def test_what_is_reserved_is_returned_when_less_was_used() -> None:
    budget, ada = dollars(3), person("ada")
    [first] = settle_and_reserve([budget_request(ada.pk)]).replies
    assert isinstance(first, Reserved)
    assert first.id is not None
    assert first.output_tokens == 100
    [second] = settle_and_reserve([budget_request(ada.pk, least_output_tokens=1)]).replies
    assert isinstance(second, Refused)
    assert second.reason is RefusalReason.BUSY
    report_usage(first.id, usd=Decimal("0.5"), tokens=50)
    [third] = settle_and_reserve([budget_request(ada.pk)]).replies
    assert isinstance(third, Reserved)
    window = BudgetWindow.objects.get(budget=budget)
    assert (window.spent, window.reserved) == (Decimal("0.5"), Decimal(2))
    assert BudgetReservation.objects.get(pk=first.id).status == "settled"


def test_an_answer_is_shortened_to_what_is_left_and_no_further() -> None:
    dollars(3)
    ada = person("ada")
    settle_and_reserve([budget_request(ada.pk, output_tokens=50, least_output_tokens=50)])
    [short] = settle_and_reserve([budget_request(ada.pk)]).replies
    assert isinstance(short, Reserved)
    assert short.output_tokens == 50


def test_a_call_that_can_never_fit_and_one_without_a_price_are_refused() -> None:
    budget, ada = dollars(1), person("ada")
    never, unpriced, free = settle_and_reserve(
        [
            budget_request(ada.pk),
            budget_request(ada.pk, price=None),
            budget_request(ada.pk, price=CallPrice(Decimal(0), Decimal(0))),
        ]
    ).replies
    assert isinstance(never, Refused)
    assert never.budget_id == budget.pk
    assert (never.reason, never.resets_at) == (RefusalReason.TOO_LARGE, None), "waiting does not help"
    assert isinstance(unpriced, Refused)
    assert unpriced.reason is RefusalReason.PRICE_UNKNOWN
    assert free == Reserved(None, 100)
    assert not isinstance(free, MustWait)


def test_a_call_does_not_read_the_budgets_of_others() -> None:
    others = User.objects.bulk_create([User(username=f"user-{number}") for number in range(1_000)])
    Budget.objects.bulk_create(
        [Budget(subject="user", user=user, unit="usd", period="day", amount=5) for user in others]
    )
    dollars(5)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE agents_budget")

        def read_rows() -> int:
            cursor.execute(
                "SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables"
                " WHERE relname = 'agents_budget'"
            )
            return int(cursor.fetchone()[0])

        before = read_rows()
        settle_and_reserve([budget_request(others[0].pk)])
        assert read_rows() - before < 50
