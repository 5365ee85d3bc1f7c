"""The working memory of a session: goals, tasks and notes."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import transaction
from django.http import HttpResponse
from rest_framework.request import Request

from accounts.actor import Actor, Scope
from agents.domain.serialization import moment
from agents.models import AgentSession
from agents.sessions import access_session
from agents.sessions.turn_episodes import hold_session, session_owner
from foundation.errors import NotFound
from memory.enums import TaskState, WorkingKind
from memory.models import WorkingItem
from memory.ownership import OwnerKey
from memory.working_memory import access_item, add_item, list_items, update_item
from ratelimits import guard_storage
from rest.idempotency import IdempotentOperation, run_once
from rest.query_params import read_id, read_query
from rest.request_body import read_body
from rest.responses import json_response
from rest.serializers import ChoiceField, Input, TextField, read_input
from rest.views import ApiView


class NewTask(Input):
    """The body of a new item."""

    text = TextField()
    kind = ChoiceField(choices=[kind.value for kind in WorkingKind], required=False)


class TaskChange(Input):
    """The body that changes an item."""

    state = ChoiceField(choices=[state.value for state in TaskState])


def task_shape(item: WorkingItem, session_id: UUID) -> dict[str, Any]:
    """The JSON of an item of working memory."""
    return {
        "id": str(item.pk),
        "session": str(session_id),
        "kind": item.kind,
        "text": item.text,
        "state": item.state,
        "created_at": moment(item.created_at),
        "updated_at": moment(item.updated_at),
    }


class TasksView(ApiView):
    """`/api/v1/sessions/{id}/tasks`: list and add."""

    def get(self, _request: Request, session_id: str) -> HttpResponse:
        read_query(self.http)
        session = access_session(actor=self.who(), session_id=read_id("session_id", session_id))
        return json_response({"results": [task_shape(item, session.pk) for item in list_items(session.pk)]})

    def post(self, _request: Request, session_id: str) -> HttpResponse:
        read_query(self.http)
        actor, session_uuid, body = self.who(), read_id("session_id", session_id), read_body(self.http)
        data = read_input(NewTask, body)

        def run() -> HttpResponse:
            session = _own_session(actor, session_uuid)
            guard_storage(user_id=session.user_id, size_bytes=len(data["text"].encode()))
            with transaction.atomic():
                if not hold_session(session.pk):
                    raise NotFound
                item = add_item(_owner(session), WorkingKind(data.get("kind", "task")), data["text"])
            return json_response(task_shape(item, session.pk), status=201)

        return run_once(self.http, IdempotentOperation(actor, "create_task", str(session_uuid), body), run)


class TaskView(ApiView):
    """`/api/v1/tasks/{id}`: finish or drop one."""

    def patch(self, _request: Request, task_id: str) -> HttpResponse:
        read_query(self.http)
        item_uuid, data = read_id("task_id", task_id), read_input(TaskChange, read_body(self.http))
        self.who().require_scope(Scope.CHAT)
        session = _own_session(self.who(), access_item(self.who(), item_uuid).owner.session)
        item = update_item(_owner(session), item_uuid, state=TaskState(data["state"]))
        return json_response(task_shape(item, session.pk))


def _own_session(actor: Actor, session_id: UUID | None) -> AgentSession:
    actor.require_scope(Scope.CHAT)
    assert session_id is not None  # a constraint: the owners of items are sessions
    return access_session(actor=actor, session_id=session_id)


def _owner(session: AgentSession) -> OwnerKey:
    return session_owner(user_id=session.user_id, agent_id=session.agent_id, session_id=session.pk)
