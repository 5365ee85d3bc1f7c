"""Requests of OpenAI clients, for tests of what becomes of them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any
from uuid import UUID

from accounts.actor import Actor
from accounts.models import User
from agents.domain.client_options import ClientOptions
from agents.domain.message_parts import Part, text_part, tool_call_part, tool_result_part
from agents.domain.model_messages import ToolSpec
from agents.models import Agent
from agents.sessions import AcceptedCompletion, Completion, accept_completion
from tests.support.conversations import Conversation
from tests.support.people import agent

LIGHT = ToolSpec("light", "Switch a light.", {"type": "object", "properties": {"on": {"type": "boolean"}}})
CALL = tool_call_part(call_id="c1", name="light", arguments='{"on": true}')


def client(name: str = "ada", *, slug: str = "demo") -> Actor:
    """Somebody with a client; the person and the agent are made when they do not exist."""
    user = User.objects.filter(username=name).first() or User.objects.create(username=name)
    if not Agent.objects.filter(slug=slug).exists():
        agent(slug, tools=["clock"])
    return Actor.user(user_id=user.pk, name=user.username)


def completion(*said: str | Part, **more: Any) -> Completion:
    """A request with these words or results. Equal arguments make equal bodies."""
    parts = [text_part(one) if isinstance(one, str) else one for one in said or ("Hi",)]
    asked = {field.name for field in fields(ClientOptions)} & set(more)
    options = ClientOptions(**{name: more.pop(name) for name in asked})
    body = repr((parts, options, more.get("history"))).encode()
    return Completion(**{"model": "demo", "parts": parts, "body": body, "options": options, **more})


def complete(actor: Actor, *said: str | Part, **more: Any) -> AcceptedCompletion:
    return accept_completion(actor, completion(*said, **more))


def result(call_id: str = "c1", content: str = "It is on.") -> Part:
    return tool_result_part(call_id=call_id, content=content, is_error=False)


def talk(actor: Actor, session_id: UUID) -> Conversation:
    """The session of a request, to look at."""
    return Conversation(actor, session_id)
