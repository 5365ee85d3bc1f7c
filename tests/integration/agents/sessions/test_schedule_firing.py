"""Schedules that are due: each time is asked once, whichever worker is killed, with the rights of that moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.actor import Actor
from accounts.models import User
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.domain.message_parts import text_part
from agents.domain.states import Priority
from agents.domain.titles import make_title
from agents.models import Agent, AgentSession, Message, Turn, TurnSchedule
from agents.releases import publish
from agents.sessions import create_session, schedule_firing
from agents.sessions.schedule_firing import (
    CLAIM_DUE,
    MAX_ATTEMPTS,
    DueSchedule,
    claim_due_schedules,
    fire,
    fire_due_schedules,
    read_agents,
    record_firings,
)
from agents.sessions.turn_schedules import (
    ScheduleState,
    create_schedule,
    pause_schedule,
    schedule_state,
    update_schedule,
)
from agents.tasks import fire_schedules
from foundation.clock import now
from foundation.ids import new_id
from ratelimits.limiter import leased_tokens
from tests.support.conversations import answer, claimed, side_by_side
from tests.support.people import agent, person

pytestmark = pytest.mark.usefixtures("transactional_db")

HOURLY: dict[str, Any] = {"cron": "0 * * * *", "time_zone": "Europe/Zurich"}


@pytest.fixture
def ada() -> Actor:
    agent()
    return user_actor(person("ada", Role.USER))


def scheduled(actor: Actor, **options: Any) -> TurnSchedule:
    return create_schedule(actor, **{"text": "What is new?", "agent_slug": "demo", **HOURLY, **options})


def last_hour(hours_before: int = 0) -> datetime:
    return now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours_before)


def due(schedule: TurnSchedule, at: datetime | None = None) -> datetime:
    """Its time has come."""
    at = at or last_hour()
    TurnSchedule.objects.filter(pk=schedule.pk).update(next_at=at)
    return at


def claims_are_over() -> None:
    TurnSchedule.objects.update(available_at=now() - timedelta(seconds=1))


def read(schedule: TurnSchedule) -> TurnSchedule:
    return TurnSchedule.objects.get(pk=schedule.pk)


def refused(schedule: TurnSchedule) -> str:
    row = read(schedule)
    assert row.last_outcome == "refused"
    assert row.next_at is not None
    assert row.next_at > now()
    assert (row.last_session_id, row.last_turn_id) == (None, None)
    return row.last_error


def test_a_due_schedule_begins_a_chat_and_asks_in_the_background(ada: Actor) -> None:
    schedule = scheduled(ada)
    at = due(schedule)
    assert fire_schedules() == 1
    turn, session = Turn.objects.get(), AgentSession.objects.get()
    message = Message.objects.get()
    assert (turn.agent_session_id, turn.user_id, turn.priority) == (session.pk, ada.user_id, Priority.BACKGROUND)
    assert message.parts == [text_part("What is new?", schedule=str(schedule.pk))]
    assert (session.title, session.listed, session.agent_id) == ("What is new?", True, schedule.agent_id)
    row = read(schedule)
    assert (row.last_outcome, row.last_due_at, row.last_session_id, row.last_turn_id, row.last_error) == (
        "asked", at, session.pk, turn.pk, "",
    )  # fmt: skip
    assert row.next_at == at + timedelta(hours=1)
    assert (row.attempts, row.available_at, row.missed, row.version) == (0, None, 0, 1)
    assert fire_schedules() == 0


def test_what_a_key_has_scheduled_draws_on_its_budgets_until_another_writes_it(ada: Actor) -> None:
    key = new_id()
    schedule = scheduled(replace(ada, key_id=key))
    due(schedule)
    fire_schedules()
    update_schedule(ada, schedule_id=schedule.pk, expected_version=None, text="What else?")
    due(schedule, last_hour() - timedelta(minutes=1))
    fire_schedules()
    assert list(Turn.objects.order_by("pk").values_list("api_key_id", flat=True)) == [key, None]


def test_one_with_a_chat_goes_on_there(ada: Actor) -> None:
    session = create_session(ada, agent_slug="demo")
    schedule = scheduled(ada, agent_slug=None, session_id=session.pk)
    for hours in (2, 1):
        due(schedule, last_hour(hours))
        fire_due_schedules()
        answer(claimed())
    assert [turn.agent_session_id for turn in Turn.objects.all()] == [session.pk] * 2
    first, _, second, _ = Message.objects.order_by("ordinal")
    assert second.parent is not None
    assert second.parent.parent_id == first.pk


def test_a_single_time_is_asked_once_and_is_over(ada: Actor) -> None:
    schedule = scheduled(ada, cron="", once_at=now() + timedelta(hours=1))
    at = now() - timedelta(seconds=5)
    TurnSchedule.objects.update(once_at=at, next_at=at)
    assert (fire_due_schedules(), fire_due_schedules()) == (1, 0)
    row = read(schedule)
    assert (row.next_at, row.enabled, schedule_state(row)) == (None, False, ScheduleState.OVER)
    assert Turn.objects.count() == 1


def test_what_is_not_due_paused_or_gone_is_not_asked(ada: Actor) -> None:
    scheduled(ada)
    paused, gone = scheduled(ada), scheduled(ada)
    for schedule in (paused, gone):
        due(schedule)
    pause_schedule(ada, schedule_id=paused.pk)
    gone.delete()
    assert fire_schedules() == 0
    assert not Turn.objects.exists()


def test_after_a_time_without_a_scheduler_the_newest_is_asked_and_the_others_are_counted(ada: Actor) -> None:
    schedule = scheduled(ada)
    due(schedule, last_hour(30))
    assert fire_schedules() == 1
    row = read(schedule)
    assert (row.missed, row.last_due_at, row.next_at) == (30, last_hour(), last_hour() + timedelta(hours=1))
    assert Turn.objects.count() == 1


# --- workers that are killed, and two at once ---


def test_a_worker_that_is_killed_before_it_has_written_the_outcome_asks_nothing_twice(
    ada: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = create_session(ada, agent_slug="demo")
    schedules = [scheduled(ada), scheduled(ada, agent_slug=None, session_id=session.pk)]
    for schedule in schedules:
        due(schedule)

    class Killed(BaseException):
        pass

    def die(_firings: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(schedule_firing, "record_firings", die)
        with pytest.raises(Killed):
            fire_due_schedules()
    assert Turn.objects.count() == 2
    assert [read(schedule).last_outcome for schedule in schedules] == ["", ""]
    assert fire_due_schedules() == 0  # the claim still holds
    claims_are_over()
    # Its user changes the text in between, and has no right to ask any more: it was asked.
    TurnSchedule.objects.update(text="Anything else?")
    User.objects.filter(username=ada.name).update(is_active=False)
    assert fire_due_schedules() == 2
    assert {read(schedule).last_turn_id for schedule in schedules} == {turn.pk for turn in Turn.objects.all()}
    assert [read(schedule).last_outcome for schedule in schedules] == ["asked", "asked"]
    assert (Turn.objects.count(), AgentSession.objects.count()) == (2, 2)


def test_a_worker_that_is_killed_before_it_asks_loses_nothing(ada: Actor) -> None:
    schedule = scheduled(ada)
    due(schedule)
    claim_only()
    assert fire_due_schedules() == 0
    claims_are_over()
    assert fire_due_schedules() == 1
    assert (Turn.objects.count(), read(schedule).last_outcome) == (1, "asked")


def claim_only() -> list[DueSchedule]:
    """What a worker has claimed before it does anything."""
    return claim_due_schedules(limit=100)


def test_two_workers_at_once_share_what_is_due(ada: Actor) -> None:
    schedules = [scheduled(ada, text=f"Question {number}") for number in range(12)]
    for schedule in schedules:
        due(schedule)
    assert sum(side_by_side(*[lambda: fire_due_schedules(limit=4)] * 4)) == 12  # type: ignore[arg-type]
    assert Turn.objects.count() == AgentSession.objects.count() == 12
    assert {read(schedule).last_outcome for schedule in schedules} == {"asked"}


@pytest.mark.parametrize("in_a_chat", [True, False])
def test_a_worker_whose_claim_is_over_and_its_successor_ask_once(ada: Actor, in_a_chat: bool) -> None:
    session = create_session(ada, agent_slug="demo").pk if in_a_chat else None
    schedule = scheduled(ada, session_id=session, agent_slug=None if in_a_chat else "demo")
    due(schedule)
    [stale] = claim_only()
    claims_are_over()
    [fresh] = claim_only()
    agents = read_agents([fresh])
    firings = side_by_side(lambda: fire(stale, agents), lambda: fire(fresh, agents))
    record_firings(firings[:1])  # type: ignore[arg-type]
    planned = read(schedule)
    record_firings(firings[1:])  # type: ignore[arg-type]
    row = read(schedule)
    assert Turn.objects.count() == 1
    assert (row.last_turn_id, row.last_outcome) == (Turn.objects.get().pk, "asked")
    assert (row.next_at, row.missed) == (planned.next_at, planned.missed)


def test_a_change_between_asking_and_its_outcome_stays(ada: Actor) -> None:
    schedule = scheduled(ada)
    due(schedule)
    firings = [fire(claim, read_agents([claim])) for claim in claim_only()]
    pause_schedule(ada, schedule_id=schedule.pk)
    record_firings(firings)
    row = read(schedule)
    assert (row.next_at, row.enabled, row.last_outcome) == (None, False, "asked")
    assert schedule_state(row) is ScheduleState.PAUSED


# --- rights and limits, when it is fired ---


def close_account(ada: Actor) -> None:
    User.objects.filter(username=ada.name).update(is_active=False)


def lose_role(ada: Actor) -> None:
    User.objects.get(username=ada.name).groups.clear()


def restrict_agent(_ada: Actor) -> None:
    Agent.objects.get().groups.add(Group.objects.create(name="Others"))


def archive_agent(_ada: Actor) -> None:
    Agent.objects.update(archived_at=now())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (close_account, "Your account is closed."),
        (lose_role, "You may not use the chat any more."),
        (restrict_agent, "You may not use this agent any more, or the chat is gone."),
        (archive_agent, "You may not use this agent any more, or the chat is gone."),
    ],
)
def test_what_its_user_may_not_do_any_more_is_refused_and_recorded(
    ada: Actor, change: Callable[[Actor], None], reason: str
) -> None:
    schedule = scheduled(ada)
    due(schedule)
    change(ada)
    assert fire_schedules() == 1
    assert refused(schedule) == reason
    assert (Turn.objects.count(), AgentSession.objects.count()) == (0, 0)


def test_a_chat_whose_agent_is_closed_to_its_user_is_refused(ada: Actor) -> None:
    session = create_session(ada, agent_slug="demo")
    schedule = scheduled(ada, agent_slug=None, session_id=session.pk)
    due(schedule)
    restrict_agent(ada)
    fire_schedules()
    assert refused(schedule) == "You may not use this agent any more, or the chat is gone."


def test_the_release_is_the_one_of_that_moment(ada: Actor) -> None:
    due(scheduled(ada))
    newer = publish(Actor.system("tests"), agent_id=Agent.objects.get().pk, expected_version=1)
    fire_schedules()
    assert Turn.objects.get().release_id == newer.pk


def test_a_limit_that_passes_is_tried_again_and_then_recorded(ada: Actor, settings: Any) -> None:
    settings.BANDSTAND = settings.BANDSTAND.model_copy(update={"messages_per_minute": 1})
    leased_tokens.clear()
    first, second = scheduled(ada), scheduled(ada, text="And else?")
    due(first, last_hour(1))
    at = due(second)
    for attempt in range(1, MAX_ATTEMPTS):
        fire_schedules()
        row = read(second)
        assert (row.attempts, row.next_at, row.last_outcome) == (attempt, at, "")
        assert row.available_at is not None
        assert row.available_at > now() + timedelta(seconds=30)
        assert fire_schedules() == 0
        claims_are_over()
    fire_schedules()
    assert "Too many requests" in refused(second)
    assert read(first).last_outcome == "asked"
    assert (Turn.objects.count(), AgentSession.objects.count()) == (1, 1)


def test_while_a_person_answers_a_schedule_is_refused_and_says_why(ada: Actor) -> None:
    session = create_session(ada, agent_slug="demo")
    AgentSession.objects.update(controller="human")
    schedule = scheduled(ada, agent_slug=None, session_id=session.pk)
    due(schedule)
    assert fire_due_schedules() == 1
    assert refused(schedule) == "A person answers in this session just now."
    assert not Message.objects.exists(), "the person was not asked by a clock"


def test_one_that_fails_holds_up_no_other(ada: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    broken, whole = scheduled(ada, text="Broken"), scheduled(ada)
    for schedule in (broken, whole):
        due(schedule)

    def fail_once(text: str) -> str:
        if text == "Broken":
            raise ZeroDivisionError
        return make_title(text)

    monkeypatch.setattr("agents.sessions.schedule_firing.make_title", fail_once)
    for _ in range(MAX_ATTEMPTS):
        fire_schedules()
        claims_are_over()
    assert read(whole).last_outcome == "asked"
    assert "on our side" in refused(broken)


def test_one_whose_times_cannot_be_read_any_more_stops_and_holds_up_no_other(ada: Actor) -> None:
    unreadable, whole = scheduled(ada), scheduled(ada)
    for schedule in (unreadable, whole):
        due(schedule)
    TurnSchedule.objects.filter(pk=unreadable.pk).update(time_zone="Mars/Base")
    assert fire_schedules() == 2
    assert read(whole).last_outcome == "asked"
    stopped = read(unreadable)
    assert (stopped.last_outcome, stopped.next_at, schedule_state(stopped)) == ("asked", None, ScheduleState.PAUSED)
    assert stopped.last_error.startswith("It has stopped: There is no time zone of this name")


def test_one_that_ends_its_worker_each_time_is_given_up(ada: Actor) -> None:
    schedule = scheduled(ada)
    due(schedule)
    for _ in range(MAX_ATTEMPTS):
        claim_only()
        claims_are_over()
    fire_schedules()
    assert refused(schedule) == "It was begun several times, and never ended."


# --- what it costs ---


def plan(statement: str, values: dict[str, Any]) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (COSTS OFF) {statement}", values)
        return "\n".join(line for (line,) in cursor.fetchall())


def test_ten_thousand_that_are_not_due_cost_one_index_scan(ada: Actor) -> None:
    scheduled(ada)
    columns = ", ".join(f.column for f in TurnSchedule._meta.concrete_fields if f.column and f.column != "id")
    values = columns.replace("next_at", "'2100-01-01'")
    with connection.cursor() as cursor:
        cursor.execute(f"""INSERT INTO agents_turnschedule (id, {columns})
                           SELECT gen_random_uuid(), {values} FROM agents_turnschedule, generate_series(1, 10000)""")
        cursor.execute("ANALYZE agents_turnschedule")
        cursor.execute(f"EXPLAIN (COSTS OFF) {CLAIM_DUE}", {"limit": 100, "seconds": 60.0})
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "Index Scan using turn_schedule_due" in plan, plan
    assert "Seq Scan on agents_turnschedule" not in plan, plan
    with CaptureQueriesContext(connection) as queries:
        assert fire_schedules() == 0
    assert len(queries) == 1


def test_a_batch_is_claimed_and_recorded_by_one_statement_each(ada: Actor) -> None:
    session = create_session(ada, agent_slug="demo")
    for _ in range(3):
        due(scheduled(ada, agent_slug=None, session_id=session.pk))
    fire_schedules()
    for schedule in TurnSchedule.objects.all():
        due(schedule, last_hour(1))
    with CaptureQueriesContext(connection) as queries:
        assert fire_schedules() == 3
    statements = [query["sql"].split()[0:2] for query in queries if "agents_" in query["sql"]]
    assert len(statements) == 2 + 3, statements
