"""Operators' acts in the console: who may, what is asked, what is told; one row, many rows, two tabs."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse
from django_q.models import OrmQ

from accounts.models import AuditEntry, User
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.admin import actions
from agents.models import Agent, AgentSession, BulkAction, Turn
from agents.sessions import start_bulk_action
from agents.tasks import run_bulk_actions
from foundation.clock import now
from foundation.ids import new_id
from tests.support.conversations import Conversation, claimed, conversation, fail
from tests.support.people import person

pytestmark = pytest.mark.django_db

TURNS, SESSIONS = "admin:agents_turn_changelist", "admin:agents_agentsession_changelist"


def client_of(name: str, *roles: Role) -> Client:
    client = Client()
    client.force_login(person(name, *roles))
    return client


@pytest.fixture
def olga() -> Client:
    return client_of("olga", Role.OPERATOR)


def asked(count: int = 1) -> Conversation:
    ada = conversation()
    ada.asks(count)
    return ada


def act(client: Client, action: str, *keys: Any, query: str = "", where: str = TURNS, **more: Any) -> Any:
    """The first post: what the list or a button sends."""
    form = {"action": action, "_selected_action": [str(key) for key in keys], "index": "0", **more}
    return client.post(reverse(where) + query, form)


def hidden(page: Any) -> dict[str, Any]:
    """What the form of a page would send."""
    form: dict[str, Any] = {"confirm": "yes"}
    for name, value in page.context["hidden_values"]:
        form.setdefault(name, []).append(value)
    return {**form, **page.context["hidden_fields"]}


def confirm(client: Client, page: Any, where: str = TURNS, query: str = "") -> Any:
    assert page.status_code == 200
    return client.post(reverse(where) + query, hidden(page))


def told(answer: Any) -> list[str]:
    assert answer.status_code == 302, answer.content
    return [str(message) for message in get_messages(answer.wsgi_request)]


def test_nothing_happens_before_somebody_has_confirmed(olga: Client) -> None:
    ada = asked()
    page = act(olga, "cancel", ada.turn().pk)
    assert "This is about 1 turn." in page.content.decode()
    assert (ada.statuses(), AuditEntry.objects.filter(actor="olga").count()) == (["queued"], 0)
    assert told(confirm(olga, page)) == ["Cancelled or about to be: 1."]
    assert ada.statuses() == ["cancelled"]
    [entry] = AuditEntry.objects.filter(actor="olga")
    assert (entry.action, entry.target_id) == ("turn.cancelled", str(ada.turn().pk))


def test_a_confirmation_says_whose_the_rows_are_how_old_and_what_they_may_cost(olga: Client) -> None:
    ada = asked(2)
    turn, queued = ada.turns()
    Turn.objects.filter(pk=turn.pk).update(queued_at=now() - timedelta(hours=18))
    fail(claimed())
    page = act(olga, "retry", turn.pk, queued.pk)
    [row] = page.context["rows"]
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d UTC, 18 h ago: turn 1 of ada with Demo, failed, transient: “Question 1”", row
    )
    assert [name for name, _ in page.context["facts"]] == ["Of", "Expected cost"]
    assert page.context["facts"][1][1].startswith("\N{EN DASH} (")
    # What an answer costs is known from the newest ones of the same release.
    for cost in ("0.5", "1.5"):
        other = asked()
        Turn.objects.filter(pk=other.turn().pk).update(status="running", lease_expires_at=now())
        Turn.objects.filter(pk=other.turn().pk).update(
            status="completed", finished_at=now(), lease_expires_at=None, cost_usd=Decimal(cost)
        )
    page = act(olga, "retry", turn.pk)
    assert page.context["facts"][1][1].startswith("$1.00 (")
    # Of more than a page of rows the newest are described, and the others counted.
    crowd, second = asked(12), asked(10)
    page = act(olga, "cancel", *[turn.pk for turn in (*crowd.turns(), *second.turns())])
    assert len(page.context["rows"]) == 20
    assert page.context["rows"][0].endswith("with Demo, queued: “Question 10”")
    assert "and 2 more" in page.content.decode()
    assert [name for name, _ in page.context["facts"]] == ["From"]
    [row] = act(olga, "cancel_open", crowd.session_id, where=SESSIONS).context["rows"]
    assert row.endswith("ada with Demo, 12 open: “A test”")


def test_a_confirmation_hides_what_was_said_from_those_who_may_not_read_it(olga: Client) -> None:
    ada = asked()
    Agent.objects.get().groups.add(Group.objects.create(name="lawyers"))
    [row] = act(olga, "cancel", ada.turn().pk).context["rows"]
    assert row.endswith("turn 1 of ada with Demo, queued")
    [row] = act(olga, "cancel_open", ada.session_id, where=SESSIONS).context["rows"]
    assert row.endswith("ada with Demo, 1 open")


def test_each_act_does_what_it_says(olga: Client) -> None:
    ada = asked()
    work = claimed()
    for action, status in (("requeue", "queued"), ("fail_turn", "failed")):
        told(confirm(olga, act(olga, action, work.turn_id)))
        assert ada.turn().status == status
    told(confirm(olga, act(olga, "retry", work.turn_id)))
    assert ada.statuses() == ["failed", "queued"]


@pytest.mark.parametrize("action", ["cancel", "retry", "requeue", "fail_turn"])
@pytest.mark.parametrize("role", [Role.VIEWER, Role.BUILDER])
def test_who_is_no_operator_is_offered_nothing_and_can_do_nothing(action: str, role: Role) -> None:
    vera = client_of("vera", role)
    ada = asked()
    assert b"Fail turn" not in vera.get(reverse(TURNS)).content
    act(vera, action, ada.turn().pk, confirm="yes", before=str(new_id()))
    assert (ada.statuses(), AuditEntry.objects.filter(actor="vera").count()) == (["queued"], 0)


def test_what_the_state_does_not_allow_is_said_and_left(olga: Client) -> None:
    ada = asked()
    assert told(act(olga, "retry", ada.turn().pk)) == [
        "Nothing to do: Only turns that failed, expired or were cancelled can be retried, and only if nobody has asked "
        "their question again."
    ]
    fail(claimed())
    assert told(act(olga, "cancel", ada.turn().pk))[0].startswith("Nothing to do")


def test_the_second_of_two_tabs_is_told_what_has_become_of_it(olga: Client) -> None:
    ada = asked()
    work = claimed()
    first, second = act(olga, "fail_turn", work.turn_id), act(olga, "fail_turn", work.turn_id)
    assert told(confirm(olga, first)) == ["Failed: 1."]
    assert told(confirm(olga, second))[-1] == "Nothing was left to do."
    assert AuditEntry.objects.filter(actor="olga").count() == 1
    assert ada.statuses() == ["failed"]


def test_a_row_that_refuses_does_not_stop_the_others(olga: Client, settings: Any) -> None:
    ada, bob = asked(), conversation("bob")
    fail(claimed())
    bob.ask()
    fail(claimed())
    AgentSession.objects.filter(pk=ada.session_id).update(controller="human")
    page = act(olga, "retry", ada.turn().pk, bob.turn().pk)
    assert told(confirm(olga, page)) == [
        "Asked again: 1.",
        "Left as they were: 1. A person answers in this session just now.",
    ]
    assert (ada.statuses(), bob.statuses()) == (["failed"], ["failed", "queued"])


def test_all_that_match_become_an_act_that_is_worked_on_and_each_is_done_once(
    olga: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "IMMEDIATE_ROWS", 30)
    monkeypatch.setattr(actions, "FIRST_RUN_SECONDS", 0.001)
    talks = [conversation(f"user{number}") for number in range(4)]
    for talk in talks:
        talk.asks(10)
    page = act(olga, "cancel", talks[0].turns()[0].pk, query="?state=queued", select_across="1")
    assert "This is about 40 turns." in page.content.decode()
    late = conversation("late")
    late.ask()
    begun = confirm(olga, page, query="?state=queued")
    [bulk] = BulkAction.objects.all()
    assert begun["Location"] == reverse("admin:agents_bulkaction_change", args=[bulk.pk])
    assert (bulk.status, bulk.total, 0 < bulk.done < 40) == ("open", 40, True)
    shown = olga.get(begun["Location"]).content.decode()
    assert f"{bulk.done} of 40 rows" in shown
    assert "Stop</button>" in shown
    assert [one.func() for one in OrmQ.objects.all()] == ["agents.tasks.run_bulk_actions"], "nobody waits for a minute"
    assert run_bulk_actions() == 40 - bulk.done
    assert {status for talk in talks for status in talk.statuses()} == {"cancelled"}
    # What came after the question was asked is nobody's business.
    assert late.statuses() == ["queued"]
    acts = list(AuditEntry.objects.filter(actor="olga").values_list("action", flat=True))
    assert (acts.count("turn.cancelled"), acts.count("bulk_action.started")) == (40, 1)
    shown = olga.get(begun["Location"]).content.decode()
    assert "40 of 40 rows" in shown
    assert "data-over" in shown
    assert "Stop</button>" not in shown


def test_an_act_is_stopped_from_its_page_by_those_who_may_do_it(olga: Client) -> None:
    ada = asked(3)
    bulk = start_bulk_action(
        user_actor(User.objects.get(username="olga")), operation="cancel", targets=[turn.pk for turn in ada.turns()]
    )
    where, stop = (reverse(f"admin:agents_bulkaction_{name}", args=[bulk.pk]) for name in ("change", "stop"))
    vera = client_of("vera", Role.VIEWER)
    assert "Stop</button>" not in vera.get(where).content.decode()
    assert vera.post(stop, {"confirm": "yes"}).status_code == 403
    assert olga.post(stop, {"confirm": "yes"})["Location"] == where
    assert "Stopped by olga." in vera.get(where).content.decode()
    assert run_bulk_actions() == 0
    assert ada.statuses() == ["queued"] * 3


def test_an_act_takes_so_many_rows_and_says_so(olga: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "IMMEDIATE_ROWS", 1)
    monkeypatch.setattr(actions, "MAX_ROWS", 3)
    ada = asked(4)
    page = act(olga, "cancel", *[turn.pk for turn in ada.turns()])
    assert told(confirm(olga, page)) == [
        "One bulk action takes 3 rows at most: these are the newest. Repeat it for the rest."
    ]
    assert ada.statuses() == ["queued", "cancelled", "cancelled", "cancelled"]


def test_what_took_too_long_to_be_done_at_once_is_said(olga: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "IMMEDIATE_SECONDS", 0)
    ada = asked(3)
    page = act(olga, "cancel", *[turn.pk for turn in ada.turns()])
    assert told(confirm(olga, page)) == [
        "Cancelled or about to be: 1.",
        "Not reached, because it took too long: 2. Try them again.",
    ]
    assert sorted(ada.statuses()) == ["cancelled", "queued", "queued"]


def test_a_button_of_a_page_leads_back_to_it_and_to_no_other_site(olga: Client) -> None:
    ada = asked()
    address = reverse("admin:agents_turn_change", args=[ada.turn().pk])
    for back, expected in ((address, address), ("//evil.example/", None), ("https://evil.example/", None)):
        page = act(olga, "requeue", ada.turn().pk, back=back)
        assert page.status_code == 302
        assert page["Location"] == (expected or reverse(TURNS))


@pytest.mark.parametrize("forged", [{"before": "x"}, {"before": ""}, {"before": "9" * 99}, {"act": "retry"}])
def test_a_forged_form_breaks_nothing(olga: Client, forged: dict[str, str]) -> None:
    ada = asked()
    form = {"confirm": "yes", "before": str(new_id()), **forged}
    assert act(olga, "cancel", ada.turn().pk, **form).status_code == 302


def test_all_open_turns_of_sessions_are_cancelled(olga: Client) -> None:
    ada = asked(3)
    claimed()
    page = act(olga, "cancel_open", ada.session_id, where=SESSIONS)
    assert told(confirm(olga, page, where=SESSIONS)) == ["Sessions whose turns were cancelled: 1."]
    assert ada.statuses() == ["cancelling", "cancelled", "cancelled"]
    assert Turn.objects.filter(status="cancelling").exists()
