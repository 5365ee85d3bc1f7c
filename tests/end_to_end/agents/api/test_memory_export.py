"""The export of all that is remembered of a person, and its erasure: streams and several transactions."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from accounts.roles import Role
from foundation.db_threads import in_db_thread
from memory.models import Memory, MemoryBody, WorkingItem
from tests.support.people import agent, key_of, person
from tests.support.rest import AsyncRest, problem

pytestmark = pytest.mark.usefixtures("transactional_db")


def ok(answer: Any, status: int = 200) -> Any:
    assert answer.status_code == status, answer.content
    return json.loads(answer.content)


async def test_what_was_just_added_is_found_by_its_meaning() -> None:
    ada = await in_db_thread(lambda: (agent(), AsyncRest(key_of(person("ada", Role.USER))))[1])
    added = ok(await ada.post("memories", {"text": "I eat no meat."}), 201)
    changed = await ada.call("PATCH", f"memories/{added['id']}", {"text": "I eat no fish."}, If_Match='"1"')
    for _ in range(500):  # in the background
        if not await in_db_thread(lambda: Memory.objects.filter(embedding__isnull=True).exists()):
            break
        await asyncio.sleep(0.01)
    found = ok(await ada.post("memories/search", {"query": "no fish", "explain": True}))["results"]
    assert (found[0]["id"], found[0]["signals"]["meaning"] > 0) == (ok(changed)["id"], True)
    await sync_to_async(connections.close_all)()


async def test_everything_can_be_taken_along_and_forgotten() -> None:
    ada = await in_db_thread(lambda: (agent(), AsyncRest(key_of(person("ada", Role.USER))))[1])
    for number in range(3):
        ok(await ada.post("memories", {"text": f"Fact {number}."}), 201)
    session = ok(await ada.post("sessions", {"agent": "demo"}), 201)
    ok(await ada.post(f"sessions/{session['id']}/tasks", {"text": "Book the train."}), 201)
    answer = await ada.get("memories/export")
    exported = json.loads(b"".join([chunk async for chunk in answer.streaming_content]))
    assert [record["text"] for record in exported["memories"]] == ["Fact 0.", "Fact 1.", "Fact 2.", "Book the train."]
    problem(await ada.call("DELETE", "memories"), 422, "invalid")
    assert ok(await ada.call("DELETE", "memories?all=true")) == {"deleted": 3, "more": False}
    assert await in_db_thread(lambda: (MemoryBody.objects.count(), WorkingItem.objects.count())) == (0, 0)
    await sync_to_async(connections.close_all)()
