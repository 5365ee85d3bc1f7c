"""Timers of handoffs: nobody waits longer than the release says, and a snooze ends, each once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from agents.models import AgentSession, Handoff
from agents.runner.handoff_timers import run_handoff_timers
from agents.sessions.handoff_control import claim_handoff, return_to_agent, snooze_handoff
from agents.sessions.handoffs import leave_message, request_handoff
from foundation.clock import now
from tests.integration.agents.sessions.test_handoffs import operator, reply, same, settings
from tests.support.conversations import Conversation, claimed, conversation, side_by_side

pytestmark = pytest.mark.usefixtures("transactional_db")


def pass_time(**span: float) -> None:
    """As if it were so much later, for all handoffs and their sessions."""
    times = ("due_at", "snoozed_at", "snoozed_until", "requested_at")
    changes: dict[str, Any] = {name: F(name) - timedelta(**span) for name in times}
    Handoff.objects.update(**changes)
    AgentSession.objects.update(updated_at=F("updated_at") - timedelta(**span))


def handoff() -> Handoff:
    return Handoff.objects.order_by("-requested_at")[0]


def wanted() -> Conversation:
    ada = conversation()
    request_handoff(ada.actor, session_id=ada.session_id)
    return ada


def test_a_request_that_nobody_takes_ends_and_the_user_reads_so() -> None:
    ada = wanted()
    before = ada.snapshot()
    pass_time(minutes=59)
    assert run_handoff_timers() == 0
    pass_time(minutes=2)
    assert side_by_side(*[run_handoff_timers] * 4).count(1) == 1, "several runners are harmless"
    assert (handoff().state, handoff().outcome, handoff().due_at) == ("resolved", "timed_out", None)
    assert ada.events()[-1].data == {"reason": "timed_out", "by": "system"}
    same(before, ada)
    assert run_handoff_timers() == 0


def test_a_person_who_took_over_and_says_nothing_loses_it_again() -> None:
    ada, olga = wanted(), operator()
    ada.ask("Hello?")
    claimed()
    claim_handoff(olga, session_id=ada.session_id)
    before = ada.snapshot()
    pass_time(minutes=61)
    assert run_handoff_timers() == 1
    assert ada.row.controller == "agent"
    assert ada.log()[-2:] == ["handoff.returned", "session.updated"]
    same(before, ada)
    reply(olga, ada)
    pass_time(hours=9)
    assert run_handoff_timers() == 0, "nobody waits"
    ada.ask("One thing more")
    pass_time(minutes=61)
    assert run_handoff_timers() == 1, "an answer is awaited again"
    assert ada.row.controller == "agent"


def test_a_release_may_only_say_so_once() -> None:
    ada = conversation()
    settings(ada, return_after_queue=False, queue_minutes=5)
    request_handoff(ada.actor, session_id=ada.session_id)
    before = ada.snapshot()
    pass_time(minutes=6)
    assert (run_handoff_timers(), run_handoff_timers()) == (1, 0)
    assert handoff().state == "pending"
    assert ada.events()[-1].data == {"reason": "still_waiting", "by": "system", "on_duty": False}
    same(before, ada)


def test_a_message_that_was_left_waits_as_long_as_it_takes() -> None:
    ada, olga = conversation(), operator()
    leave_message(ada.actor, session_id=ada.session_id, text="Please call")
    pass_time(days=30)
    assert run_handoff_timers() == 0
    snooze_handoff(olga, session_id=ada.session_id, until=now() + timedelta(hours=1))
    pass_time(hours=2)
    assert run_handoff_timers() == 1
    assert (handoff().state, handoff().due_at) == ("pending", None)
    claim_handoff(olga, session_id=ada.session_id)
    assert handoff().due_at is None


def test_a_snooze_ends_with_its_time() -> None:
    ada, olga = wanted(), operator()
    snooze_handoff(olga, session_id=ada.session_id, until=now() + timedelta(hours=2))
    pass_time(minutes=119)
    assert run_handoff_timers() == 0
    pass_time(minutes=2)
    log = ada.log()
    assert (run_handoff_timers(), run_handoff_timers()) == (1, 0)
    assert handoff().state == "pending"
    assert handoff().due_at is not None, "its queue begins again"
    assert ada.log() == log, "the user knew nothing of it"
    reply(olga, ada)
    snooze_handoff(olga, session_id=ada.session_id, until=now() + timedelta(hours=2))
    pass_time(hours=3)
    assert run_handoff_timers() == 1
    assert (handoff().state, handoff().due_at) == ("open", None)


def test_a_message_to_the_agent_ends_a_snooze_too() -> None:
    ada, olga = wanted(), operator()
    ada.ask("Before")
    snooze_handoff(olga, session_id=ada.session_id, until=now() + timedelta(hours=2))
    assert run_handoff_timers() == 0
    ada.ask("After")
    assert run_handoff_timers() == 1
    assert handoff().state == "pending"
    return_to_agent(olga, session_id=ada.session_id)
    assert run_handoff_timers() == 0


def test_nothing_due_costs_one_statement_by_an_index() -> None:
    wanted()
    with CaptureQueriesContext(connection) as queries:
        assert run_handoff_timers() == 0
    assert len(queries) == 1
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        cursor.execute("EXPLAIN " + queries[0]["sql"])
        plan = "\n".join(row[0] for row in cursor.fetchall())
        cursor.execute("RESET enable_seqscan")
    assert "handoff_due" in plan
    assert "Seq Scan" not in plan, plan
