"""Who waits for money, who gets it and when; each call costs two dollars at most."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import Group
from django.db.models import F

from accounts.models import User
from agents.budgets.reservations import MustWait, Refused, Reserved, report_usage, settle_and_reserve
from agents.domain.budgets import BudgetSubject, CallPrice, RefusalReason
from agents.journal.claims import Claim
from agents.models import Budget, BudgetReservation, BudgetWindow, Turn
from agents.sessions import cancel_turn
from tests.support.budgets import budget_request
from tests.support.conversations import claimed, park, wake
from tests.support.waiting_calls import Caller

pytestmark = pytest.mark.usefixtures("transactional_db")


def dollars(amount: int, subject: BudgetSubject = BudgetSubject.EVERYBODY, **of: object) -> Budget:
    return Budget.objects.create(subject=subject, unit="usd", period="month", amount=amount, **of)


def window(budget: Budget) -> BudgetWindow:
    return BudgetWindow.objects.get(budget=budget)


def used(budget: Budget) -> tuple[float, float]:
    """What is spent and what is reserved of it."""
    return float(window(budget).spent), float(window(budget).reserved)


# --- order ---


def test_who_waited_first_gets_money_first_and_nobody_passes() -> None:
    dollars(4)
    ada, bob, cyd, dan = (Caller.begin(name) for name in ("ada", "bob", "cyd", "dan"))
    assert isinstance(ada.ask(output_tokens=200, least_output_tokens=200), Reserved)
    bob.ask_and_park()
    # There is a dollar left, which would do; but bob came first.
    cyd.ask_and_park(bytes=20, output_tokens=10, least_output_tokens=10)
    result = ada.settle()
    assert bob.resume(result)
    assert cyd.resume(result)
    assert isinstance(bob.ask(), Reserved)
    # What was granted to cyd is not there for others.
    assert isinstance(dan.ask(), MustWait)
    assert isinstance(cyd.ask(bytes=20, output_tokens=10, least_output_tokens=10), Reserved)


def test_who_waits_for_a_budget_of_their_own_is_passed_in_a_budget_of_all() -> None:
    everybody = dollars(100)
    ada, bob = Caller.begin("ada"), Caller.begin("bob")
    dollars(3, BudgetSubject.USER, user_id=ada.claim.user_id)
    other = Caller.begin("ada")
    assert isinstance(ada.ask(), Reserved)
    other.ask_and_park()
    assert isinstance(bob.ask(), Reserved)
    assert window(everybody).reserved == 4
    # A change of bob's does not look at ada's.
    assert bob.settle().wake == []
    assert other.resume(ada.settle())
    assert isinstance(other.ask(), Reserved)


def test_who_is_cancelled_while_waiting_makes_room_for_those_behind() -> None:
    dollars(5)
    ada, bob, cyd = (Caller.begin(name) for name in ("ada", "bob", "cyd"))
    assert isinstance(ada.ask(), Reserved)
    bob.ask_and_park(output_tokens=300, least_output_tokens=300)
    cyd.ask_and_park()
    cancel_turn(bob.conversation.actor, turn_id=bob.claim.turn_id)
    result = settle_and_reserve()
    assert bob.status() is None
    assert cyd.resume(result)


def test_who_was_woken_keeps_the_place_when_it_must_wait_again() -> None:
    dollars(4)
    ada, bob, cyd = (Caller.begin(name) for name in ("ada", "bob", "cyd"))
    assert isinstance(ada.ask(), Reserved)
    bob.ask_and_park(output_tokens=200, least_output_tokens=200)
    cyd.ask_and_park()
    # By itself, not by a settlement; and others still hold what it needs.
    assert wake(bob.turn(), "waited")
    bob.claim = claimed()
    bob.ask_and_park(output_tokens=200, least_output_tokens=200)
    result = ada.settle()
    assert bob.resume(result)
    assert not cyd.resume(result)


def test_who_waits_in_two_budgets_is_passed_in_neither() -> None:
    everybody = dollars(3)
    ada, bob, other = (Caller.begin(name) for name in ("ada", "bob", "bob"))
    dollars(3, BudgetSubject.USER, user_id=bob.claim.user_id)
    assert isinstance(ada.ask(bytes=50, output_tokens=50, least_output_tokens=50), Reserved)
    first = Caller.begin("bob")
    assert isinstance(first.ask(bytes=75, output_tokens=75, least_output_tokens=75), Reserved)
    other.ask_and_park()
    assert len(other.reservations().get().windows) == 2
    result = first.settle("0", tokens=10)
    # There is room in bob's own now, and in the one of all.
    assert other.resume(result)
    assert window(everybody).reserved == Decimal("2.11")


# --- what is given back, and what counts whole ---


def test_usage_that_is_reported_late_corrects_what_was_counted() -> None:
    budget = dollars(10)
    [call] = settle_and_reserve([budget_request(lease_seconds=-1)]).replies
    assert isinstance(call, Reserved)
    assert call.id is not None
    settle_and_reserve()
    assert used(budget) == (2, 0)
    report_usage(call.id, usd=Decimal("0.5"), tokens=20)
    settle_and_reserve()
    assert used(budget) == (0.5, 0)
    row = BudgetReservation.objects.get()
    assert (row.status, row.settled_usd) == ("settled", Decimal("0.5"))
    # Once.
    report_usage(call.id, usd=Decimal(0), tokens=0)
    settle_and_reserve()
    assert window(budget).spent == Decimal("0.5")


def test_a_call_that_was_not_made_is_given_back_even_if_it_was_taken_for_lost() -> None:
    budget = dollars(10)
    [call] = settle_and_reserve([budget_request(lease_seconds=-1)]).replies
    assert isinstance(call, Reserved)
    assert call.id is not None
    settle_and_reserve()
    settle_and_reserve(releases=[call.id])
    settle_and_reserve(releases=[call.id])
    assert used(budget) == (0, 0)


def test_what_a_provider_has_reported_once_reserves_no_more_than_the_model_can_read() -> None:
    dollars(1_000_000)
    ada, bob = Caller.begin("ada"), Caller.begin("bob")
    assert isinstance(ada.ask(), Reserved)
    ada.settle("1", tokens=20_000_000)
    assert isinstance(bob.ask(window=4_000), Reserved)
    assert bob.reservations().get().input_tokens == 4_000


@pytest.mark.parametrize("cost", [None, "NaN"])
def test_what_nobody_knows_counts_as_all_that_was_reserved(cost: str | None) -> None:
    budget = dollars(10)
    ada = Caller.begin("ada")
    assert isinstance(ada.ask(), Reserved)
    ada.settle(cost, tokens=None)
    assert used(budget) == (2, 0)
    assert ada.status() == "settled"


def test_an_outcome_that_does_not_name_its_reservation_counts_whole() -> None:
    budget = dollars(10)
    ada = Caller.begin("ada")
    assert isinstance(ada.ask(), Reserved)
    ada.settle("0.1", names=False)
    assert used(budget) == (2, 0)
    assert ada.status() == "unconfirmed"


def test_what_costs_more_than_it_reserved_is_booked_and_stops_the_next_call() -> None:
    budget = dollars(5)
    ada, bob = Caller.begin("ada"), Caller.begin("bob")
    assert isinstance(ada.ask(), Reserved)
    assert ada.settle("7").overdrawn == 1
    assert used(budget) == (7, 0)
    assert window(budget).overdraft == 5
    reply = bob.ask()
    assert isinstance(reply, Refused)
    assert reply.reason is RefusalReason.EXCEEDED


def test_usage_is_a_number_that_is_not_negative() -> None:
    for usd, tokens in ((Decimal("NaN"), 1), (Decimal(-1), 1), (Decimal(1), -1), (Decimal("Infinity"), 1)):
        with pytest.raises(ValueError, match="negative"):
            report_usage(1, usd=usd, tokens=tokens)
    for price in (Decimal("NaN"), Decimal(-1), Decimal("Infinity")):
        with pytest.raises(ValueError, match="negative"):
            budget_request(price=CallPrice(price, Decimal(1)))
    with pytest.raises(ValueError, match="negative"):
        budget_request(bytes=-1)


# --- claims that end ---


def test_a_claim_that_lost_its_turn_gets_no_money() -> None:
    dollars(10)
    ada = Caller.begin("ada")
    Turn.objects.update(epoch=F("epoch") + 1)
    reply = ada.ask()
    assert isinstance(reply, Refused)
    assert reply.reason is RefusalReason.LOST
    assert not BudgetReservation.objects.exists()


def test_a_call_whose_runner_is_gone_counts_whole_and_the_next_claim_reserves_anew() -> None:
    budget = dollars(10)
    ada = Caller.begin("ada")
    assert isinstance(ada.ask(), Reserved)
    Turn.objects.update(epoch=F("epoch") + 1)
    ada.claim = Claim(
        ada.claim.turn_id, ada.claim.session_id, ada.claim.release_id, ada.claim.epoch + 1, ada.claim.user_id, 100.0
    )
    assert isinstance(ada.ask(), Reserved)
    assert used(budget) == (2, 2)


def test_a_turn_that_waits_for_a_route_holds_no_money_and_no_place() -> None:
    budget = dollars(3)
    ada, bob, cyd = (Caller.begin(name) for name in ("ada", "bob", "cyd"))
    assert isinstance(ada.ask(), Reserved)
    bob.ask_and_park()
    cyd.ask_and_park()
    assert bob.resume(ada.settle("0"))
    park(bob.claim)
    result = settle_and_reserve()
    assert bob.status() == "released"
    assert cyd.resume(result)
    assert window(budget).reserved == 2


# --- owners and calendars ---


def test_who_waits_is_served_when_an_owner_raises_the_budget_and_refused_when_it_is_lowered() -> None:
    budget = dollars(3)
    ada, bob, cyd = (Caller.begin(name) for name in ("ada", "bob", "cyd"))
    assert isinstance(ada.ask(), Reserved)
    bob.ask_and_park()
    Budget.objects.update(amount=5)
    assert bob.resume(settle_and_reserve(is_full=True))
    assert isinstance(bob.ask(), Reserved)
    cyd.ask_and_park()
    Budget.objects.update(amount=1)
    assert cyd.resume(settle_and_reserve(is_full=True))
    reply = cyd.ask()
    assert isinstance(reply, Refused)
    assert reply.budget_id == budget.pk


def test_who_waits_is_served_when_the_budget_is_deleted() -> None:
    budget = dollars(3)
    ada, bob = Caller.begin("ada"), Caller.begin("bob")
    assert isinstance(ada.ask(), Reserved)
    bob.ask_and_park()
    budget.delete()
    assert bob.resume(settle_and_reserve(is_full=True))
    assert bob.ask() == Reserved(None, 100)
    ada.settle()
    assert ada.status() == "settled"


def test_who_waits_is_served_when_the_next_window_begins() -> None:
    budget = dollars(3)
    ada, bob = Caller.begin("ada"), Caller.begin("bob")
    assert isinstance(ada.ask(), Reserved)
    bob.ask_and_park()
    month = timedelta(days=40)
    BudgetWindow.objects.update(starts_at=F("starts_at") - month, ends_at=F("ends_at") - month)
    BudgetReservation.objects.filter(status="waiting").update(expires_at=F("expires_at") - month)
    assert bob.resume(settle_and_reserve())
    assert isinstance(bob.ask(), Reserved)
    # Each month has what was reserved in it.
    ada.settle("1")
    windows = BudgetWindow.objects.filter(budget=budget).order_by("starts_at")
    assert [(float(one.spent), float(one.reserved)) for one in windows] == [(1, 0), (0, 2)]


def test_a_member_of_many_groups_draws_on_the_budgets_of_all() -> None:
    groups = [Group.objects.create(name=f"group {number}") for number in range(5)]
    budgets = [dollars(10 - number, BudgetSubject.GROUP, group=group) for number, group in enumerate(groups)]
    ada = Caller.begin("ada")
    User.objects.get(username="ada").groups.set(groups)
    assert isinstance(ada.ask(output_tokens=800, least_output_tokens=1), Reserved)
    # Shortened to what the smallest has: 6 dollars, of which one is for the input.
    assert [window(budget).reserved for budget in budgets] == [6] * 5
