"""People's schedules in the console: seen by user and agent, held and released, their words only for who may read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Group

from accounts.permissions import user_actor
from accounts.roles import Role
from agents.models import TurnSchedule
from agents.sessions.turn_schedules import ScheduleState, create_schedule, schedule_state
from tests.support.consoles import client_of, list_of, page_of
from tests.support.people import agent, person

pytestmark = pytest.mark.django_db


@pytest.fixture
def schedule(db: None) -> TurnSchedule:
    agent()
    ada = user_actor(person("ada", Role.USER))
    return create_schedule(ada, text="My secret", agent_slug="demo", cron="0 8 * * 1-5", time_zone="Europe/Zurich")


def shown(client: Any, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_the_list_says_who_has_what_asked_when(schedule: TurnSchedule) -> None:
    olga = client_of("olga", Role.OPERATOR)
    TurnSchedule.objects.update(
        last_due_at=datetime(2026, 11, 30, 7, 0, tzinfo=UTC),
        last_outcome="refused",
        last_error="Your account is closed.",
    )
    text = shown(olga, f"{list_of(TurnSchedule)}?user=ada&agent={schedule.agent_id}&state=active&last=refused")
    for words in ("My secret", "ada", "Demo", "every weekday 08:00, Zurich", "active", "refused"):
        assert words in text, words
    for nobodys in ("user=bob", "state=held", "state=over", "state=paused", "last=asked"):
        assert "every weekday" not in shown(olga, f"{list_of(TurnSchedule)}?{nobodys}"), nobodys
    page = shown(olga, page_of(schedule))
    assert "Your account is closed." in page
    assert "in a new session each time" in page


def test_its_words_are_for_those_who_may_read_the_transcripts(schedule: TurnSchedule) -> None:
    schedule.agent.groups.add(Group.objects.create(name="lawyers"))
    vera = client_of("vera", Role.VIEWER)
    for address in (list_of(TurnSchedule), page_of(schedule)):
        text = shown(vera, address)
        assert "My secret" not in text
        assert "only for those who may read" in text
    assert vera.get(f"{list_of(TurnSchedule)}?text__startswith=M").status_code == 400
    assert "every weekday" not in shown(vera, f"{list_of(TurnSchedule)}?q=secret")


def test_an_operator_holds_and_releases_by_button_and_in_the_list(schedule: TurnSchedule) -> None:
    olga, vera = client_of("olga", Role.OPERATOR), client_of("vera", Role.VIEWER)
    hold = page_of(schedule).replace("change/", "hold/")
    assert vera.get(hold).status_code == 403
    assert "ada: every weekday 08:00, Zurich, asks Demo" in shown(olga, hold)
    assert olga.post(hold, {"confirm": "yes"})["Location"] == page_of(schedule)
    schedule.refresh_from_db()
    assert (schedule_state(schedule), schedule.next_at) == (ScheduleState.HELD, None)
    assert "held: operator" in shown(olga, f"{list_of(TurnSchedule)}?state=held")
    release = {"action": "release", "_selected_action": [str(schedule.pk)], "confirm": "yes"}
    assert olga.post(list_of(TurnSchedule), release).status_code == 302
    schedule.refresh_from_db()
    assert schedule_state(schedule) is ScheduleState.ACTIVE
