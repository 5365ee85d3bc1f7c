"""Every route of the REST interface, by every kind of caller; a new route without a line here fails."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.db import connections

from accounts.actor import Actor
from accounts.models import User
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.api.urls import urlpatterns
from agents.models import AgentSession, Approval, Message, Turn, TurnSchedule
from agents.relay import close_hub
from agents.sessions import accept_message, create_session
from agents.sessions.turn_schedules import create_schedule
from foundation.db_threads import in_db_thread
from memory.enums import MemoryScope, MemorySource, WorkingKind
from memory.models import Memory, WorkingItem
from memory.ownership import OwnerKey
from memory.working_memory import add_item
from memory.writing import remember
from tests.support.approvals import pending_approval
from tests.support.people import agent, key_of, person
from tests.support.rest import AsyncRest, problem

pytestmark = pytest.mark.usefixtures("transactional_db")


IDS = ("session", "turn", "approval", "message", "memory", "task", "schedule")


@dataclass(frozen=True)
class Call:
    """A request that its owner's role lets through. The names in `IDS` stand for ids; `needs` is the scope."""

    method: str
    path: str
    status: int
    needs: str
    body: Any = b""
    version: bool = False

    def addressed(self, mine: Mine | None) -> str:
        """The path to what is `mine`; without it, to what is nobody's."""
        path = self.path.replace("{slug}", "demo")
        for name in IDS:
            path = path.replace(f"{{{name}}}", str(getattr(mine, name).pk if mine else uuid4()))
        return path


CALLS = [
    Call("GET", "agents", 200, "read"),
    Call("GET", "agents/{slug}", 200, "read"),
    Call("GET", "sessions", 200, "read"),
    Call("POST", "sessions", 201, "chat", {"agent": "demo"}),
    Call("GET", "sessions/{session}", 200, "read"),
    Call("PATCH", "sessions/{session}", 200, "chat", {"title": "New"}, version=True),
    Call("GET", "sessions/{session}/messages", 200, "read"),
    Call("GET", "sessions/{session}/events", 200, "read"),
    Call("POST", "sessions/{session}/turns", 202, "chat", {"input": "Hi"}),
    Call("GET", "turns/{turn}", 200, "read"),
    Call("POST", "turns/{turn}/approvals/{approval}", 200, "chat", {"decision": "approve"}),
    Call("POST", "turns/{turn}/cancel", 200, "chat"),
    Call("GET", "me/limits", 200, "read"),
    Call("POST", "sessions/{session}/fork", 201, "chat"),
    Call("GET", "sessions/{session}/export", 200, "read"),
    Call("PUT", "messages/{message}/feedback", 200, "chat", {"value": "up"}),
    Call("DELETE", "messages/{message}/feedback", 204, "chat"),
    Call("GET", "sessions/{session}/handoff", 200, "read"),
    Call("POST", "sessions/{session}/handoff", 202, "chat"),
    Call("POST", "sessions/{session}/handoff/message", 202, "chat", {"text": "Call me."}),
    Call("DELETE", "sessions/{session}/handoff", 204, "chat"),
    Call("GET", "sessions/{session}/tasks", 200, "read"),
    Call("POST", "sessions/{session}/tasks", 201, "chat", {"text": "Book the train."}),
    Call("PATCH", "tasks/{task}", 200, "chat", {"state": "done"}),
    Call("GET", "memories", 200, "read"),
    Call("POST", "memories", 201, "chat", {"text": "I am a vegetarian."}),
    Call("POST", "memories/search", 200, "read", {"query": "Where do I live?"}),
    Call("GET", "memories/export", 200, "read"),
    Call("GET", "memories/{memory}", 200, "read"),
    Call("PATCH", "memories/{memory}", 200, "chat", {"text": "I live in Bern, in the old town."}, version=True),
    Call("DELETE", "memories/{memory}", 204, "chat", version=True),
    Call("DELETE", "memories?all=true", 200, "chat"),
    Call("GET", "schedules", 200, "read"),
    Call("POST", "schedules", 201, "chat", {"text": "Hi", "agent": "demo", "cron": "0 8 * * *"}),
    Call("GET", "schedules/{schedule}", 200, "read"),
    Call("PATCH", "schedules/{schedule}", 200, "chat", {"text": "Hello"}, version=True),
    Call("POST", "schedules/{schedule}/pause", 200, "chat"),
    Call("POST", "schedules/{schedule}/resume", 200, "chat"),
    Call("DELETE", "schedules/{schedule}", 204, "chat", version=True),
    Call("DELETE", "sessions/{session}", 204, "chat", version=True),
]
OBJECTS = [call for call in CALLS if re.search(f"{{({'|'.join(IDS)})}}", call.path)]


@dataclass
class Mine:
    user: User
    session: AgentSession
    turn: Turn
    approval: Approval
    message: Message
    memory: Memory
    task: WorkingItem
    schedule: TurnSchedule


def mine(user: User) -> Mine:
    """A session of `user` with a message in it, as if the role allowed one."""
    roles = list(user.groups.all())
    user.groups.add(Group.objects.get(name=Role.USER))
    actor = user_actor(User.objects.get(pk=user.pk))
    session = create_session(actor, agent_slug="demo", title="A test")
    accepted = accept_message(actor, session_id=session.pk, text="Hi")
    schedule = create_schedule(actor, text="Hi", agent_slug="demo", cron="0 8 * * *")
    user.groups.set(roles)
    answer = Message.objects.create(agent_session=session, ordinal=1000, author=Message.Author.HUMAN)
    owner = OwnerKey(MemoryScope.USER, user_id=user.pk)
    stored = remember(Actor.system("tests"), owner, "I live in Bern.", source=MemorySource.FORM)
    owner = OwnerKey(MemoryScope.SESSION, user_id=user.pk, agent_id=session.agent_id, session_id=session.pk)
    task = add_item(owner, WorkingKind.TASK, "Pack.")
    turn = Turn.objects.get(ordinal=accepted.ordinal, agent_session=session)
    return Mine(user, session, turn, pending_approval(turn), answer, Memory.objects.get(pk=stored.id), task, schedule)


@pytest.fixture
async def demo(transactional_db: None) -> AsyncIterator[None]:
    await in_db_thread(agent)
    yield
    close_hub()
    await sync_to_async(connections.close_all)()


async def send(rest: AsyncRest, call: Call, path: str) -> Any:
    headers = {}
    if call.version:
        present = await rest.get(path)
        headers["If_Match"] = present.get("ETag", '"1"')
    return await rest.call(call.method, path, call.body, **headers)


def test_the_matrix_has_a_line_for_every_route_and_method() -> None:
    routes = set()
    v1: Any = urlpatterns[0]
    for pattern in v1.url_patterns:
        view = pattern.callback.cls
        route = str(pattern.pattern).replace("<str:", "{").replace(">", "}").replace("_id}", "}")
        routes |= {(name.upper(), route) for name in view.http_method_names if hasattr(view, name) and name != "head"}
    assert routes == {(call.method, call.path.partition("?")[0]) for call in CALLS}


@pytest.mark.parametrize("role", [*Role, None])
async def test_each_role_does_what_is_its_own(demo: None, role: Role | None) -> None:
    user = await in_db_thread(person, "ada", *([role] if role else []))
    rest = AsyncRest(await in_db_thread(key_of, user))
    chats = role in {Role.USER, Role.OWNER}
    own = await in_db_thread(mine, user)
    for call in CALLS:
        if call.method == "DELETE" and chats:
            await rest.post(f"turns/{own.turn.pk}/cancel")
            await in_db_thread(cancel_all, own.session)
        answer = await send(rest, call, call.addressed(own))
        if call.needs == "read" or chats:
            assert answer.status_code == call.status, (call, answer.content)
        else:
            problem(answer, 403, "forbidden")
    left = await in_db_thread(lambda: (Message.objects.count(), AgentSession.objects.count()))
    assert left == ((1, 2) if chats else (2, 1)), "its own was deleted by who may, and is whole for who may not"


def cancel_all(session: AgentSession) -> None:
    from agents.sessions import cancel_turn

    for turn in Turn.objects.filter(agent_session=session, status="queued"):
        cancel_turn(user_actor(session.user), turn_id=turn.pk)


async def test_what_is_not_ones_own_is_absent_for_every_role(demo: None) -> None:
    hers = await in_db_thread(lambda: mine(person("ada", Role.USER)))
    before = await in_db_thread(lambda: list(AgentSession.objects.values()))
    for role in Role:
        user = await in_db_thread(person, f"eve-{role}", role)
        rest = AsyncRest(await in_db_thread(key_of, user))
        for call in OBJECTS:
            foreign = await send(rest, call, call.addressed(hers))
            absent = await send(rest, call, call.addressed(None))
            if role in {Role.USER, Role.OWNER} or call.needs == "read":
                seen = problem(foreign, 404, "not_found")
                assert {**seen, "instance": ""} == {**problem(absent, 404, "not_found"), "instance": ""}
            else:
                problem(foreign, 403, "forbidden")
                problem(absent, 403, "forbidden")
    assert await in_db_thread(lambda: list(AgentSession.objects.values())) == before
    assert await in_db_thread(Message.objects.count) == 2


async def test_nobody_gets_nothing_anywhere(demo: None) -> None:
    hers = await in_db_thread(lambda: mine(person("ada", Role.USER)))
    for call in CALLS:
        problem(await send(AsyncRest(), call, call.addressed(hers)), 401, "unauthenticated")
    assert await in_db_thread(AgentSession.objects.count) == 1
