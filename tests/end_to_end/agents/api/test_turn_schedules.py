"""Schedules over REST: created, changed, paused, resumed and deleted by their user; what they send is marked."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from accounts.models import User
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.models import TurnSchedule
from agents.sessions import read_window
from agents.tasks import fire_schedules
from foundation.clock import now
from rest.models import IdempotencyRecord
from tests.support.people import agent, key_of, person
from tests.support.rest import Rest, problem

pytestmark = pytest.mark.usefixtures("transactional_db")

WEEKDAYS = {"text": "What is new?", "agent": "demo", "cron": "0 8 * * 1-5", "time_zone": "Europe/Zurich"}


def ok(answer: Any, status: int = 200) -> Any:
    assert answer.status_code == status, answer.content
    return json.loads(answer.content)


@pytest.fixture
def ada() -> Rest:
    agent()
    return Rest(key_of(person("ada", Role.USER)))


def change(rest: Rest, schedule: Any, body: Any, version: int | None = None) -> Any:
    return rest.call("PATCH", f"schedules/{schedule['id']}", body, If_Match=f'"{version or schedule["version"]}"')


def test_every_weekday_at_8_in_zurich(ada: Rest) -> None:
    made = ada.post("schedules", WEEKDAYS, Idempotency_Key="once")
    schedule = ok(made, 201)
    assert made["Location"] == f"/api/v1/schedules/{schedule['id']}"
    assert made["ETag"] == '"1"'
    assert (schedule["description"], schedule["state"]) == ("every weekday 08:00, Zurich", "active")
    assert (schedule["agent"], schedule["session"], schedule["last"], schedule["missed"]) == ("demo", None, None, 0)
    assert len(schedule["upcoming"]) == 3
    assert schedule["upcoming"] == sorted(schedule["upcoming"])
    again = ada.post("schedules", WEEKDAYS, Idempotency_Key="once")
    assert (ok(again, 201), again["Idempotent-Replayed"]) == (schedule, "true")
    assert ok(ada.get("schedules"))["results"] == [ok(ada.get(f"schedules/{schedule['id']}"))] == [schedule]
    assert ada.call("DELETE", f"schedules/{schedule['id']}", If_Match="*").status_code == 204
    problem(ada.post("schedules", WEEKDAYS, Idempotency_Key="once"), 409, "conflict")
    assert WEEKDAYS["text"] not in str(list(IdempotencyRecord.objects.values()))


def test_it_is_changed_paused_resumed_and_deleted(ada: Rest) -> None:
    schedule = ok(ada.post("schedules", WEEKDAYS), 201)
    changed = ok(change(ada, schedule, {"cron": "30 7 * * *", "text": "And?"}))
    assert (changed["description"], changed["text"], changed["version"]) == ("every day 07:30, Zurich", "And?", 2)
    problem(change(ada, schedule, {"text": "Late"}), 412, "precondition_failed")
    problem(ada.call("PATCH", f"schedules/{schedule['id']}", {"text": "x"}), 428, "precondition_required")
    problem(change(ada, changed, {}), 422, "invalid")
    paused = ok(ada.post(f"schedules/{schedule['id']}/pause"))
    assert (paused["state"], paused["upcoming"]) == ("paused", [])
    assert ok(ada.post(f"schedules/{schedule['id']}/pause")) == paused
    assert ok(ada.post(f"schedules/{schedule['id']}/resume"))["state"] == "active"
    TurnSchedule.objects.update(enabled=False, next_at=None, hold_reason="operator")
    assert ok(ada.get(f"schedules/{schedule['id']}"))["state"] == "held"
    problem(ada.post(f"schedules/{schedule['id']}/resume"), 409, "conflict")
    assert ada.call("DELETE", f"schedules/{schedule['id']}", If_Match="*").status_code == 204
    problem(ada.get(f"schedules/{schedule['id']}"), 404, "not_found")


def test_once_at_a_time(ada: Rest) -> None:
    at = (now() + timedelta(days=400)).replace(microsecond=0)
    body = {"text": "Happy birthday?", "agent": "demo", "at": at.isoformat(), "time_zone": "Europe/Zurich"}
    schedule = ok(ada.post("schedules", body), 201)
    assert schedule["cron"] is None
    assert schedule["upcoming"] == [schedule["at"]]
    assert schedule["description"].startswith("once, ")
    assert schedule["description"].endswith(", Zurich")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/text"),
        ({**WEEKDAYS, "text": 1}, "/text"),
        ({**WEEKDAYS, "cron": "*/14 * * * *"}, "/cron"),
        ({**WEEKDAYS, "cron": "0 0 31 2 *"}, "/cron"),
        ({**WEEKDAYS, "cron": None}, "/cron"),
        ({**WEEKDAYS, "time_zone": "../../etc/passwd"}, "/time_zone"),
        ({**WEEKDAYS, "time_zone": "\x00"}, "/time_zone"),
        ({**WEEKDAYS, "at": "2100-01-01T00:00:00Z"}, "/cron"),
        ({"text": "Hi", "agent": "demo", "at": "2001-01-01T00:00:00Z"}, "/at"),
        ({"text": "Hi", "agent": "demo", "at": "tomorrow"}, "/at"),
        ({**WEEKDAYS, "agent": "nobody"}, "/agent"),
        ({**WEEKDAYS, "session": "019ab000-0000-7000-8000-000000000001"}, "/agent"),
        ({**WEEKDAYS, "user": 1}, "/user"),
        ({**WEEKDAYS, "enabled": False}, "/enabled"),
    ],
)
def test_what_cannot_be_scheduled_is_refused_with_a_pointer(ada: Rest, body: Any, pointer: str) -> None:
    refused = problem(ada.post("schedules", body), 422, "invalid")
    assert [error["pointer"] for error in refused["errors"]] == [pointer]
    assert not TurnSchedule.objects.exists()


def test_what_it_sent_says_so_and_its_run_names_the_turn(ada: Rest) -> None:
    schedule = ok(ada.post("schedules", WEEKDAYS), 201)
    TurnSchedule.objects.update(next_at=now() - timedelta(minutes=1))
    assert fire_schedules() == 1
    last = ok(ada.get(f"schedules/{schedule['id']}"))["last"]
    assert last["outcome"] == "asked"
    turn = ok(ada.get(f"turns/{last['turn']}"))
    assert (turn["priority"], turn["session"], turn["status"]) == ("background", last["session"], "queued")
    [message] = ok(ada.get(f"sessions/{last['session']}/messages"))["results"]
    assert message["parts"] == [{"type": "text", "text": "What is new?", "schedule": schedule["id"]}]


def test_who_asks_it_again_repeats_it(ada: Rest) -> None:
    schedule = ok(ada.post("schedules", WEEKDAYS), 201)
    TurnSchedule.objects.update(next_at=now() - timedelta(minutes=1))
    fire_schedules()
    session = ok(ada.get(f"schedules/{schedule['id']}"))["last"]["session"]
    ok(ada.post(f"sessions/{session}/turns", {"input": "What is new?", "parent": None}), 202)
    actor = user_actor(User.objects.get())
    [branches] = read_window(actor=actor, session_id=UUID(session), limit=10)["branches"].values()
    first, second = branches
    assert first["asks"] == second["asks"] == first["id"]
