"""People's schedules: who may have which, how many, and what changes do to their next time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import Group
from django.db import IntegrityError, transaction

from accounts.actor import Actor, Scope
from accounts.models import AuditEntry
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.models import AgentSession, TurnSchedule
from agents.sessions import (
    access_session,
    create_session,
    delete_expired_sessions,
    delete_session,
    turn_schedules,
)
from agents.sessions.turn_schedules import (
    ScheduleState,
    access_schedule,
    create_schedule,
    delete_schedule,
    hold_schedule,
    pause_schedule,
    purge_over_schedules,
    release_schedule,
    resume_schedule,
    schedule_state,
    update_schedule,
    user_schedules,
)
from foundation.clock import now
from foundation.errors import BandstandError, Conflict, Forbidden, InvalidInput, NotFound, PreconditionFailed
from tests.support.conversations import conversation, side_by_side
from tests.support.people import agent, person

pytestmark = pytest.mark.usefixtures("transactional_db")

TIMING: dict[str, Any] = {"cron": "0 8 * * 1-5", "time_zone": "Europe/Zurich"}


@pytest.fixture
def ada() -> Actor:
    agent()
    return user_actor(person("ada", Role.USER))


def scheduled(actor: Actor, **options: Any) -> TurnSchedule:
    return create_schedule(actor, text="What is new?", **{"agent_slug": "demo", **TIMING, **options})


def refused(actor: Actor, **options: Any) -> str | None:
    with pytest.raises(InvalidInput) as caught:
        scheduled(actor, **options)
    return caught.value.pointer


def test_a_schedule_has_its_next_time_from_the_beginning(ada: Actor) -> None:
    schedule = scheduled(ada)
    assert schedule.next_at is not None
    assert now() < schedule.next_at < now() + timedelta(days=4)
    assert schedule.next_at.minute == 0
    assert schedule_state(schedule) is ScheduleState.ACTIVE
    assert list(user_schedules(ada)) == [schedule]
    assert (schedule.agent.slug, schedule.agent_session_id, schedule.version) == ("demo", None, 1)


def test_it_may_go_on_in_a_chat_of_ones_own(ada: Actor) -> None:
    session = create_session(ada, agent_slug="demo")
    assert scheduled(ada, agent_slug=None, session_id=session.pk).agent_session_id == session.pk
    bob = conversation("bob")
    assert refused(ada, agent_slug=None, session_id=bob.session_id) == "/session"
    assert refused(ada, session_id=session.pk) == "/agent"
    assert refused(ada, agent_slug=None) == "/agent"


def test_only_agents_that_one_may_use_are_scheduled(ada: Actor) -> None:
    agent("secret", groups=[Group.objects.create(name="Others")])
    assert refused(ada, agent_slug="secret") == refused(ada, agent_slug="nobody") == "/agent"


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({"cron": "*/5 * * * *"}, "/cron"),
        ({"cron": "0 0 31 2 *"}, "/cron"),
        ({"cron": "every day"}, "/cron"),
        ({"cron": ""}, "/cron"),
        ({"time_zone": "Zurich"}, "/time_zone"),
        ({"once_at": datetime(2100, 1, 1, tzinfo=UTC)}, "/cron"),
        ({"cron": "", "once_at": datetime(2020, 1, 1, tzinfo=UTC)}, "/at"),
        ({"cron": "", "once_at": datetime(2100, 1, 1, tzinfo=UTC)}, "/at"),
        ({"text": " "}, "/text"),
        ({"text": "\x00"}, "/text"),
    ],
)
def test_what_never_comes_or_too_often_is_refused(ada: Actor, options: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        create_schedule(ada, **{"text": "Hi", "agent_slug": "demo", **TIMING, **options})
    assert caught.value.pointer == pointer
    assert not TurnSchedule.objects.exists()


def test_the_shortest_time_between_two_runs_is_a_setting(ada: Actor, settings: Any) -> None:
    settings.BANDSTAND = django_settings.BANDSTAND.model_copy(update={"schedule_minutes": 5})
    assert scheduled(ada, cron="*/5 * * * *").cron == "*/5 * * * *"


def test_nobody_has_more_than_so_many_not_even_at_once(ada: Actor, settings: Any) -> None:
    settings.BANDSTAND = django_settings.BANDSTAND.model_copy(update={"schedules_per_user": 2})
    made = side_by_side(*[lambda: scheduled(ada)] * 4)
    assert sorted(type(outcome).__name__ for outcome in made) == [
        "Conflict",
        "Conflict",
        "TurnSchedule",
        "TurnSchedule",
    ]
    # What is over does not count.
    first = TurnSchedule.objects.filter(user__username=ada.name)[:1].get()
    TurnSchedule.objects.filter(pk=first.pk).update(
        cron="", once_at=now() - timedelta(days=1), enabled=False, next_at=None
    )
    scheduled(ada)
    with pytest.raises(Conflict):
        update_schedule(ada, schedule_id=first.pk, expected_version=None, cron="0 9 * * *")


def test_schedules_of_others_do_not_exist(ada: Actor) -> None:
    schedule = scheduled(ada)
    bob = user_actor(person("bob", Role.USER))
    calls: list[Any] = [
        lambda: access_schedule(bob, schedule_id=schedule.pk),
        lambda: update_schedule(bob, schedule_id=schedule.pk, expected_version=None, text="Hi"),
        lambda: pause_schedule(bob, schedule_id=schedule.pk),
        lambda: resume_schedule(bob, schedule_id=schedule.pk),
        lambda: delete_schedule(bob, schedule_id=schedule.pk, expected_version=None),
    ]
    for call in calls:
        with pytest.raises(NotFound):
            call()
    for held in (hold_schedule, release_schedule):
        with pytest.raises(Forbidden):
            held(bob, schedule_id=schedule.pk)
    assert not user_schedules(bob).exists()


def test_a_key_that_only_reads_schedules_nothing(ada: Actor) -> None:
    assert ada.user_id is not None
    reader = Actor.user(user_id=ada.user_id, name="ada", scopes=frozenset({Scope.READ}))
    with pytest.raises(Forbidden):
        scheduled(reader)


def test_a_change_needs_the_present_version_and_plans_anew(ada: Actor) -> None:
    schedule = scheduled(ada)
    changed = update_schedule(ada, schedule_id=schedule.pk, expected_version=1, text="Anything new?")
    assert (changed.text, changed.version, changed.next_at) == ("Anything new?", 2, schedule.next_at)
    with pytest.raises(PreconditionFailed):
        update_schedule(ada, schedule_id=schedule.pk, expected_version=1, text="Hi")
    with pytest.raises(PreconditionFailed):
        delete_schedule(ada, schedule_id=schedule.pk, expected_version=1)
    soon = now() + timedelta(hours=1)
    once = update_schedule(ada, schedule_id=schedule.pk, expected_version=2, once_at=soon)
    assert (once.cron, once.once_at, once.next_at) == ("", soon, soon)
    again = update_schedule(ada, schedule_id=schedule.pk, expected_version=3, cron="30 6 * * *")
    assert (again.once_at, again.cron, again.time_zone) == (None, "30 6 * * *", "Europe/Zurich")
    delete_schedule(ada, schedule_id=schedule.pk, expected_version=4)
    assert not TurnSchedule.objects.exists()


def test_a_change_of_words_does_not_skip_a_time_that_is_due(ada: Actor) -> None:
    """The page sends the timing with each change."""
    schedule = scheduled(ada)
    due = now() - timedelta(seconds=30)
    TurnSchedule.objects.update(next_at=due)
    changed = update_schedule(ada, schedule_id=schedule.pk, expected_version=1, text="Anything new?", **TIMING)
    assert (changed.text, changed.next_at) == ("Anything new?", due)
    TurnSchedule.objects.update(cron="", once_at=due)
    once = update_schedule(ada, schedule_id=schedule.pk, expected_version=2, text="Once?", once_at=due)
    assert (once.text, once.next_at) == ("Once?", due)
    TurnSchedule.objects.update(next_at=None, enabled=False)
    with pytest.raises(InvalidInput):
        update_schedule(ada, schedule_id=schedule.pk, expected_version=3, once_at=due)


def test_a_single_time_that_passes_while_it_is_stored_is_due(ada: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    at = now() + timedelta(seconds=1)
    clock = iter([at - timedelta(milliseconds=1)])
    monkeypatch.setattr(turn_schedules, "now", lambda: next(clock, at + timedelta(milliseconds=1)))
    assert scheduled(ada, cron="", once_at=at).next_at == at


def test_a_paused_schedule_has_no_next_time_until_it_is_resumed(ada: Actor) -> None:
    schedule = scheduled(ada)
    for _ in range(2):
        paused = pause_schedule(ada, schedule_id=schedule.pk)
        assert (paused.next_at, schedule_state(paused), paused.version) == (None, ScheduleState.PAUSED, 2)
    # Its timing may be changed meanwhile.
    assert update_schedule(ada, schedule_id=schedule.pk, expected_version=2, cron="0 9 * * *").next_at is None
    for _ in range(2):
        resumed = resume_schedule(ada, schedule_id=schedule.pk)
        assert (resumed.next_at is None, schedule_state(resumed), resumed.version) == (False, ScheduleState.ACTIVE, 4)


def test_a_single_time_that_passed_while_it_was_paused_is_over(ada: Actor) -> None:
    schedule = scheduled(ada, cron="", once_at=now() + timedelta(hours=1))
    pause_schedule(ada, schedule_id=schedule.pk)
    TurnSchedule.objects.update(once_at=now() - timedelta(minutes=1))
    with pytest.raises(Conflict):
        resume_schedule(ada, schedule_id=schedule.pk)
    schedule.refresh_from_db()
    assert schedule_state(schedule) is ScheduleState.OVER
    later = update_schedule(ada, schedule_id=schedule.pk, expected_version=None, once_at=now() + timedelta(hours=2))
    assert schedule_state(later) is ScheduleState.ACTIVE
    assert later.next_at == later.once_at


def test_what_an_operator_holds_its_user_cannot_resume(ada: Actor) -> None:
    olga = user_actor(person("olga", Role.OPERATOR))
    schedule = scheduled(ada)
    for _ in range(2):
        held = hold_schedule(olga, schedule_id=schedule.pk)
        assert (held.next_at, schedule_state(held)) == (None, ScheduleState.HELD)
    with pytest.raises(Conflict):
        resume_schedule(ada, schedule_id=schedule.pk)
    pause_schedule(ada, schedule_id=schedule.pk)
    assert schedule_state(release_schedule(olga, schedule_id=schedule.pk)) is ScheduleState.PAUSED
    hold_schedule(olga, schedule_id=schedule.pk)
    resumed = TurnSchedule.objects.get()
    assert schedule_state(resumed) is ScheduleState.HELD
    release_schedule(olga, schedule_id=schedule.pk)
    assert schedule_state(resume_schedule(ada, schedule_id=schedule.pk)) is ScheduleState.ACTIVE
    actions = list(
        AuditEntry.objects.filter(target_type="turnschedule").order_by("id").values_list("action", flat=True)
    )
    assert actions == ["turn_schedule.held", "turn_schedule.released"] * 2
    assert not AuditEntry.objects.exclude(target_name="").filter(target_type="turnschedule").exists()


def test_a_deleted_chat_takes_its_schedules_along(ada: Actor) -> None:
    session = create_session(ada, agent_slug="demo")
    scheduled(ada, agent_slug=None, session_id=session.pk)
    other = scheduled(ada)
    delete_session(ada, session_id=access_session(actor=ada, session_id=session.pk).pk, expected_version=None)
    assert list(TurnSchedule.objects.all()) == [other]


def test_a_chat_of_a_client_is_kept_while_a_schedule_goes_on_in_it(ada: Actor) -> None:
    session = create_session(ada, agent_slug="demo")
    schedule = scheduled(ada, agent_slug=None, session_id=session.pk)
    pause_schedule(ada, schedule_id=schedule.pk)
    old = now() - timedelta(days=30)
    AgentSession.objects.update(expires_at=old, updated_at=old)
    assert delete_expired_sessions(limit=10) == 0
    TurnSchedule.objects.update(cron="", once_at=old)
    assert delete_expired_sessions(limit=10) == 1


def test_a_chat_that_is_deleted_meanwhile_gets_no_schedule(ada: Actor) -> None:
    session = create_session(ada, agent_slug="demo").pk
    made = side_by_side(
        lambda: scheduled(ada, agent_slug=None, session_id=session),
        lambda: delete_session(ada, session_id=session, expected_version=None),
    )
    assert all(outcome is None or isinstance(outcome, TurnSchedule | BandstandError) for outcome in made), made
    assert not TurnSchedule.objects.exists()


def test_what_is_over_is_forgotten_after_a_month(ada: Actor) -> None:
    def over_since(days: int) -> UUID:
        schedule = scheduled(ada, cron="", once_at=now() + timedelta(hours=1))
        TurnSchedule.objects.filter(pk=schedule.pk).update(
            once_at=now() - timedelta(days=days), enabled=False, next_at=None
        )
        return schedule.pk

    over_since(31)
    recent = over_since(29)
    assert purge_over_schedules() == 1
    assert TurnSchedule.objects.get().pk == recent


def test_the_database_refuses_a_next_time_of_what_is_not_fired(ada: Actor) -> None:
    scheduled(ada)
    for wrong in ({"enabled": False}, {"hold_reason": "operator"}, {"cron": ""}, {"once_at": now()}):
        with pytest.raises(IntegrityError), transaction.atomic():
            TurnSchedule.objects.update(**wrong)
