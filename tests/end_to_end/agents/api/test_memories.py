"""What is remembered of a person, over REST: theirs to see, correct, keep and forget; nobody else's."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.test import override_settings

from accounts.models import User
from accounts.roles import Role
from foundation.errors import RateLimited
from memory.models import Memory, WorkingItem
from ratelimits import guard_storage
from rest.models import IdempotencyRecord
from tests.support.people import agent, key_of, person
from tests.support.rest import Rest, problem

pytestmark = pytest.mark.django_db


def ok(answer: Any, status: int = 200) -> Any:
    assert answer.status_code == status, answer.content
    return json.loads(answer.content)


@pytest.fixture
def ada(db: None) -> Rest:
    agent()
    return Rest(key_of(person("ada", Role.USER)))


def texts(rest: Rest, query: str = "") -> list[str]:
    return [memory["text"] for memory in ok(rest.get(f"memories{query}"))["results"]]


def change(rest: Rest, method: str, memory: Any, body: Any = b"", version: int | None = None) -> Any:
    return rest.call(method, f"memories/{memory['id']}", body, If_Match=f'"{version or memory["version"]}"')


def test_a_fact_is_added_once_corrected_without_overwriting_and_forgotten_whole(ada: Rest) -> None:
    first = ok(ada.post("memories", {"text": "I live in Bern.", "slot": "home"}), 201)
    assert (first["scope"], first["agent"], first["source"], first["trust"]) == ("user", None, "api", "confirmed")
    assert ok(ada.post("memories", {"text": "I live in Bern.", "slot": "home"}))["id"] == first["id"]
    moved = ok(ada.post("memories", {"text": "I live in Zurich.", "slot": "home"}), 201)
    assert texts(ada) == ["I live in Zurich."]
    problem(
        change(ada, "PATCH", moved, {"text": "I live in Basel."}, version=moved["version"] + 1),
        412,
        "precondition_failed",
    )
    corrected = ok(change(ada, "PATCH", moved, {"text": "I live in Basel."}))
    assert corrected["id"] != moved["id"]
    history = ok(ada.get("memories?history=true"))["results"]
    assert [(memory["text"], memory["superseded_by"]) for memory in history] == [
        ("I live in Basel.", None),
        ("I live in Zurich.", corrected["id"]),
        ("I live in Bern.", moved["id"]),
    ]
    assert change(ada, "DELETE", corrected).status_code == 204
    assert not Memory.objects.exists(), "what it had superseded went, too"
    problem(ada.get(f"memories/{corrected['id']}"), 404, "not_found")


def test_a_fact_may_be_for_one_agent(ada: Rest) -> None:
    mine = ok(ada.post("memories", {"text": "I am a vegetarian.", "agent": "demo"}), 201)
    assert mine["agent"] == "demo"
    ok(ada.post("memories", {"text": "I am a vegetarian."}), 201)
    assert texts(ada, "?agent=demo") == ["I am a vegetarian."]
    assert texts(ada, "?agent=other") == []
    problem(ada.post("memories", {"text": "x", "agent": "other"}), 422, "invalid")


def test_a_search_finds_the_best_first_and_says_why(ada: Rest) -> None:
    for text in ("I live in Bern.", "My sister lives in Oslo.", "I eat no meat."):
        ok(ada.post("memories", {"text": text}), 201)
    answer = ok(ada.post("memories/search", {"query": "Do I eat meat?", "k": 2, "explain": True}))
    assert answer["results"][0]["text"] == "I eat no meat."
    assert sum(answer["results"][0]["signals"].values()) == pytest.approx(answer["results"][0]["score"], abs=0.01)
    since = {"query": "Do I eat meat?", "since": "2100-01-01T00:00:00Z"}
    assert ok(ada.post("memories/search", since))["results"] == []
    other = Rest(key_of(person("eve", Role.USER)))
    assert ok(other.post("memories/search", {"query": "I eat no meat."}))["results"] == []
    for body in (
        {},
        {"query": " "},
        {"query": "x", "k": 0},
        {"query": "x", "k": "3"},
        {"query": "x", "since": "today"},
    ):
        problem(ada.post("memories/search", body), 422, "invalid")


def test_nothing_of_others_is_seen_or_changed(ada: Rest) -> None:
    memory = ok(ada.post("memories", {"text": "I live in Bern."}), 201)
    reviewer = Rest(key_of(person("eve", Role.OWNER)))
    assert texts(reviewer, "?history=true") == []
    for answer in (
        reviewer.get(f"memories/{memory['id']}"),
        change(reviewer, "PATCH", memory, {"text": "x"}),
        change(reviewer, "DELETE", memory),
    ):
        problem(answer, 404, "not_found")
    assert ok(reviewer.call("DELETE", "memories?all=true")) == {"deleted": 0, "more": False}
    assert texts(ada) == ["I live in Bern."]


def test_tasks_count_as_bytes_that_somebody_stores(ada: Rest) -> None:
    user_id = User.objects.get(username="ada").pk
    with override_settings(BANDSTAND=settings.BANDSTAND.model_copy(update={"stored_megabytes_per_day": 1})):
        session = ok(ada.post("sessions", {"agent": "demo"}), 201)
        path = f"sessions/{session['id']}/tasks"
        ok(ada.post(path, {"text": "Book the train."}), 201)
        for size_kilobytes in (1000, 10, 10, 1, 1, 1, 1):
            with suppress(RateLimited):
                guard_storage(user_id=user_id, size_bytes=size_kilobytes * 1024)
        problem(ada.post(path, {"text": "Pack."}), 429, "rate_limited")
    assert WorkingItem.objects.count() == 1


def test_tasks_of_a_session_are_added_finished_and_go_with_it(ada: Rest) -> None:
    session = ok(ada.post("sessions", {"agent": "demo"}), 201)
    path = f"sessions/{session['id']}/tasks"
    task = ok(ada.post(path, {"text": "Book the train."}, Idempotency_Key="k"), 201)
    goal = ok(ada.post(path, {"text": "Be in Bern.", "kind": "goal"}), 201)
    assert (task["kind"], task["state"], goal["kind"]) == ("task", "open", "goal")
    assert ok(ada.call("PATCH", f"tasks/{task['id']}", {"state": "done"}))["state"] == "done"
    assert [item["state"] for item in ok(ada.get(path))["results"]] == ["done", "open"]
    problem(ada.call("PATCH", f"tasks/{UUID(int=7)}", {"state": "done"}), 404, "not_found")
    assert ada.call("DELETE", f"sessions/{session['id']}", If_Match='"1"').status_code == 204
    assert not WorkingItem.objects.exists()
    record = IdempotencyRecord.objects.get()
    assert (record.body, bytes(record.fingerprint)) == (None, b"")
    problem(ada.post(path, {"text": "Book the train."}, Idempotency_Key="k"), 409, "conflict")
