"""Messages whose answer nothing is left for are refused when they come; all others cost what they did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.actor import Actor
from accounts.api_keys import create_api_key
from accounts.models import User
from agents.budgets.exhausted_budgets import ExhaustedBudgets, exhausted_budgets
from agents.budgets.reservations import Reserved, report_usage, settle_and_reserve
from agents.journal.listen_connection import open_listen_connection
from agents.models import AgentSession, Budget, ModelPrice, Turn
from agents.releases import publish
from agents.sessions import cancel_turn, retry_turn
from agents.sessions.errors import BudgetExhausted
from foundation.clock import now
from foundation.pg_listener import Wake
from tests.support.budgets import book_spend, budget_request, hear_of_budgets
from tests.support.completions import complete
from tests.support.conversations import Conversation, conversation
from tests.support.people import agent, write_draft

pytestmark = pytest.mark.usefixtures("transactional_db")


@pytest.fixture(autouse=True)
def _forgetful() -> Iterator[None]:
    exhausted_budgets.clear()
    yield
    exhausted_budgets.clear()


def budget(subject: str = "everybody", amount: int = 10, **more: Any) -> Budget:
    return Budget.objects.create(**{"subject": subject, "unit": "usd", "period": "month", "amount": amount, **more})


def paid(name: str = "ada", **draft: Any) -> Conversation:
    """A conversation with an agent on a model that costs something."""
    made = agent("paid")
    write_draft(made, **{"model_chain": ["openai:gpt"], **draft}, version=2)
    publish(Actor.system("tests"), agent_id=made.pk, expected_version=2)
    return conversation(name, slug="paid")


def user(ada: Conversation) -> int:
    assert ada.actor.user_id is not None
    return ada.actor.user_id


def with_key(ada: Conversation) -> Conversation:
    key, _ = create_api_key(
        Actor.system("tests"),
        user=User.objects.get(pk=user(ada)),
        name="test",
        scopes=ada.actor.scopes,
        expires_at=None,
    )
    return replace(ada, actor=replace(ada.actor, key_id=key.pk))


def refused(ada: Conversation, **options: Any) -> BudgetExhausted | None:
    hear_of_budgets()
    try:
        ada.ask(**options)
    except BudgetExhausted as error:
        return error
    return None


# --- whose calls they are ---


def test_a_turn_knows_the_key_that_asked_for_it_and_a_retry_draws_on_it_too() -> None:
    ada = with_key(paid())
    ada.ask()
    [turn] = ada.turns()
    assert turn.api_key_id == ada.actor.key_id
    cancel_turn(ada.actor, turn_id=turn.pk)
    assert retry_turn(Actor.system("tests"), turn_id=turn.pk).api_key_id == ada.actor.key_id
    complete(ada.actor, model="paid")
    assert Turn.objects.filter(api_key_id=ada.actor.key_id).count() == 3


# --- refusals ---


def test_a_message_is_refused_when_all_is_spent_and_told_when_to_come_again() -> None:
    ada = paid()
    book_spend(budget(amount=10), 9)
    assert refused(ada) is None
    book_spend(budget(period="day", amount=10), 10)
    error = refused(ada)
    assert error is not None
    assert (error.code, error.retryable) == ("budget_exceeded", False)
    assert error.retry_after_seconds is not None
    assert 0 < error.retry_after_seconds <= 24 * 3600
    assert error.detail.startswith("The budget of this service is used up. It begins anew on ")
    with pytest.raises(BudgetExhausted):
        complete(ada.actor, model="paid")
    assert len(ada.turns()) == 1


def test_who_has_a_budget_is_refused_and_nobody_else() -> None:
    ada, bob = paid(), conversation("bob", slug="paid")
    keyed = with_key(ada)
    group = Group.objects.create(name="authors")
    User.objects.get(pk=user(ada)).groups.add(group)
    for subject, whose, own in (
        ("user", "Your budget", {"user_id": user(ada)}),
        ("group", "The budget of your group", {"group": group}),
        ("key", "The budget of this API key", {"api_key_id": keyed.actor.key_id}),
        ("each_user", "Your budget", {}),
    ):
        mine = budget(subject, **own)
        book_spend(mine, 10, user_id=user(ada) if subject == "each_user" else 0)
        error = refused(keyed)
        assert error is not None
        assert error.detail.startswith(whose)
        assert refused(bob) is None
        assert (refused(ada) is None) == (subject == "key")
        mine.delete()


def test_a_budget_for_each_user_gives_way_to_ones_own() -> None:
    ada, bob = paid(), conversation("bob", slug="paid")
    book_spend(budget("each_user"), 10, user_id=user(ada))
    book_spend(budget("user", 20, user_id=user(ada)), 10)
    assert refused(ada) is None
    Budget.objects.filter(subject="each_user").update(amount=0)
    assert refused(ada) is None
    assert refused(bob) is not None


def test_the_budget_of_an_agent_stops_that_agent_only() -> None:
    ada = paid()
    other = conversation("ada", slug="demo")
    book_spend(budget("agent", agent_id=ada.row.agent_id), 10)
    assert refused(ada) is not None
    assert refused(other) is None


def test_an_override_opens_at_once_and_its_end_closes_again() -> None:
    ada, mine = paid(), budget()
    book_spend(mine, 10)
    Budget.objects.update(override_amount=20, override_until=now() + timedelta(hours=1))
    assert refused(ada) is None
    Budget.objects.update(override_until=now() - timedelta(seconds=1))
    assert refused(ada) is not None


# --- what is let through ---


@pytest.mark.parametrize(
    ("unit", "draft", "passes"),
    [
        ("usd", {"model_chain": ["openai:gpt", "offline:"]}, True),
        ("tokens", {"model_chain": ["openai:gpt", "offline:"]}, False),
        ("usd", {"fallbacks": {"order": ["human_handoff"]}}, True),
    ],
)
def test_what_can_be_answered_for_nothing_is_accepted(unit: str, draft: dict[str, Any], passes: bool) -> None:
    ada = paid(**draft)
    book_spend(budget(unit=unit), 10)
    assert (refused(ada) is None) == passes


def test_a_model_with_a_price_of_nothing_is_free_and_one_without_a_price_is_not() -> None:
    ada = paid(model_chain=["openai:llama"])
    book_spend(budget(), 10)
    assert refused(ada) is not None
    ModelPrice.objects.create(route="openai:*", input=0, output=0, valid_from=now())
    assert refused(ada) is None
    ModelPrice.objects.create(route="openai:llama", input=0, output=1, valid_from=now())
    assert refused(ada) is not None


def test_a_repeat_gets_the_first_outcome_and_a_person_is_told() -> None:
    ada = paid()
    ada.ask(key="first")
    book_spend(budget(), 10)
    assert refused(ada, key="first") is None
    assert refused(ada, key="second") is not None
    AgentSession.objects.update(controller="human")
    assert refused(ada, key="third") is None
    assert [message.turn_id is None for message in ada.messages()] == [False, True]


def test_a_message_that_no_used_up_budget_concerns_costs_no_statement_more() -> None:
    ada, bob = paid(), conversation("bob", slug="paid")

    def statements(asker: Conversation) -> int:
        asker.ask()
        with CaptureQueriesContext(connection) as queries:
            asker.ask()
        return len(queries)

    before = statements(ada)
    book_spend(budget("user", user_id=user(bob)), 10)
    hear_of_budgets()
    assert statements(ada) == before


# --- how it is heard of ---


def test_the_last_cent_a_correction_and_a_change_are_announced() -> None:
    ada, known = paid(), ExhaustedBudgets()
    budget(amount=2)

    def exhausted(payload: str) -> bool:
        known.hear(listening, Wake([(known.channel, payload)], polled=True))
        return bool(known.find(user_id=user(ada), key_id=None, at=now()))

    def heard() -> str:
        [note] = listening.notifies(timeout=5, stop_after=1)
        return note.payload

    with open_listen_connection() as listening:
        listening.execute(f'LISTEN "{known.channel}"'.encode())
        # Its lease is over at once, so all that was reserved counts until it is known what it cost.
        [reply] = settle_and_reserve([budget_request(user(ada), lease_seconds=0)]).replies
        assert not exhausted("")
        settle_and_reserve()
        assert heard() == "exhausted"
        assert exhausted("exhausted")
        settle_and_reserve()
        assert not list(listening.notifies(timeout=0))
        assert isinstance(reply, Reserved)
        assert reply.id
        report_usage(reply.id, usd=Decimal(1), tokens=1)
        settle_and_reserve()
        assert heard() == "exhausted"
        assert not exhausted("exhausted")
        Budget.objects.update(amount=1)
        assert not exhausted("waiting")
        assert exhausted("")
