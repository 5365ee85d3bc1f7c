"""The made-up conversations: as the product would have written them, the same each time, all or nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import Count, F, Sum

from accounts.models import User
from agents.domain.replay import replay
from agents.management.demo.loading import TABLES, load
from agents.models import (
    Agent,
    AgentSession,
    Approval,
    CallRollup,
    CompletionRequest,
    Event,
    Feedback,
    Handoff,
    HandoffNote,
    HistorySummary,
    Message,
    Release,
    Runner,
    Step,
    Turn,
    TurnRollup,
    UtilityCall,
)
from agents.sessions.snapshots import build_snapshot
from monitoring.models import DebugMode, TraceSettings
from tests.support.conversations import conversation, nothing_yet

pytestmark = pytest.mark.usefixtures("transactional_db")

UNTIL = datetime(2026, 11, 22, tzinfo=UTC)
ROWS: list[Any] = [AgentSession, Turn, Message, Step, Event, Feedback]
EVERYTHING: list[Any] = [*ROWS, Agent, Release, User, Runner, TurnRollup, CallRollup]


def fill(turns: int = 400, seed: int = 1) -> dict[str, int]:
    return load(turns=turns, seed=seed, until=UNTIL, report=lambda _line: None)


def constraints() -> set[tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename LIKE 'agents_%' UNION "
            "SELECT conname, pg_get_constraintdef(oid) || convalidated FROM pg_constraint WHERE contype <> 'n'"
        )
        return set(cursor.fetchall())


def test_the_log_of_every_session_tells_what_its_rows_say() -> None:
    before = constraints()
    counts = fill()
    assert constraints() == before
    people = {"handoff": Handoff, "handoffnote": HandoffNote, "approval": Approval}
    assert counts == {name: model.objects.count() for name, model in [*zip(TABLES, ROWS, strict=True), *people.items()]}
    assert counts["turn"] == 400
    assert set(Turn.objects.values_list("status", flat=True)) == {"completed", "failed", "cancelled", "expired"}
    for session in AgentSession.objects.select_related("agent", "release"):
        now = build_snapshot(session)
        events = [
            {
                "seq": event.seq, "turn_id": str(event.turn_id), "event_type": event.type, "data": event.data,
                "replaces_from": event.replaces_from,
            }
            for event in session.events.order_by("seq")
        ]  # fmt: skip
        assert replay(nothing_yet(now["session"]), events) == now


def test_its_turns_are_counted_and_some_answers_are_rated() -> None:
    fill()
    days = TurnRollup.objects.filter(width="day")
    assert days.aggregate(turns=Sum("turns"), cost=Sum("cost_usd")) == Turn.objects.aggregate(
        turns=Count("pk"), cost=Sum("cost_usd")
    )
    calls = CallRollup.objects.filter(width="day")
    assert calls.aggregate(calls=Sum("calls"), cost=Sum("cost_usd")) == Step.objects.aggregate(
        calls=Count("pk"), cost=Sum("cost_usd")
    )
    assert calls.filter(operation="model", error_class="", context_calls=0).count() == 0
    assert days.filter(status="completed", first_token_seconds=0).count() == 0
    assert 0 < Feedback.objects.count() < Turn.objects.count() / 10


def test_busy_turns_have_as_many_steps_as_are_asked_for() -> None:
    load(turns=100, steps=7, seed=1, until=UNTIL, report=lambda _line: None)
    assert 6 < Step.objects.count() / 100 < 8
    assert Turn.objects.annotate(steps_sum=Sum("steps__cost_usd")).exclude(steps_sum=F("cost_usd")).count() == 0


def test_the_same_seed_makes_the_same_conversations_and_another_makes_others() -> None:
    made = []
    for seed in (1, 1, 2):
        fill(50, seed)
        made.append(list(Turn.objects.order_by("id").values_list("id", "status", "input_tokens", "queued_at")))
        call_command("demo_data", remove=True, stdout=StringIO())
    assert made[0] == made[1] != made[2]


def test_an_installation_in_use_is_left_alone_unless_told_and_gets_back_what_it_had() -> None:
    ada = conversation()
    ada.ask()
    with pytest.raises(CommandError, match="There are conversations here already"):
        call_command("demo_data", turns=10, stdout=StringIO())
    had = [model.objects.count() for model in EVERYTHING]
    told = StringIO()
    call_command("demo_data", turns=60, into_existing=True, stdout=told)
    assert "--remove" in told.getvalue()
    assert Turn.objects.count() == 61
    call_command("demo_data", remove=True, stdout=StringIO())
    assert [model.objects.count() for model in EVERYTHING] == had
    assert ada.statuses() == ["queued"]


def test_what_was_added_to_a_demo_since_goes_with_it() -> None:
    fill(20)
    agent = Agent.objects.order_by("slug").first()
    assert agent is not None
    TraceSettings.objects.create(agent=agent, sample_percent=50)
    DebugMode.objects.create(agent=agent, reason="a look", begun_by="ada", until=datetime(2030, 1, 1, tzinfo=UTC))
    message = Message.objects.select_related("agent_session").order_by("pk").first()
    assert message is not None
    session = message.agent_session
    HistorySummary.objects.create(
        agent_session=session, through=message, through_ordinal=1, text="So far.", route="a:b"
    )
    UtilityCall.objects.create(user=session.user, agent_session=session, purpose="title", route="a:b")
    CompletionRequest.objects.create(principal="u:1", fingerprint=b"1" * 32, agent_session=session, turn_id=message.pk)
    call_command("demo_data", remove=True, stdout=StringIO())
    assert [model.objects.exists() for model in EVERYTHING] == [False] * 12


def test_a_load_that_is_broken_off_leaves_nothing() -> None:
    before = constraints()

    def tell(line: str) -> None:
        if "of 50 turns" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(turns=50, seed=1, until=UNTIL, report=tell)
    assert constraints() == before
    assert [model.objects.exists() for model in EVERYTHING] == [False] * 12


@pytest.mark.parametrize("wrong", [{"turns": 0}, {"turns": 10**9}, {"steps": 0}, {"until": "yesterday"}])
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(CommandError):
        call_command("demo_data", **wrong, stdout=StringIO())
