"""Admission: the message, its turn and their first events, in one commit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from agents.domain.message_parts import Part
from agents.domain.states import Priority, WhenBusy
from agents.journal import sql
from agents.journal.queries import fetch


@dataclass(frozen=True, slots=True)
class NewTurn:
    """A message to accept and the turn that will answer it. `parent` is used only when `branch` is set: None then means
    the root of the conversation.

    `for_agent`: it is refused while a person controls the session, since only the agent should answer it.
    `client_options` is what `agents.domain.client_options.dump_options` returns; `api_key_id` is the key that asks, if
    any: its budgets are drawn on.
    """

    session_id: UUID
    user_id: int
    turn_id: UUID
    message_id: UUID
    parts: list[Part]
    fingerprint: bytes
    key: str | None
    branch: bool
    parent: UUID | None
    when_busy: WhenBusy | None
    priority: Priority
    title: str = ""
    client_options: dict[str, Any] | None = None
    api_key_id: UUID | None = None
    for_agent: bool = False


@dataclass(frozen=True, slots=True)
class Admitted:
    """The accepted message: its ordinal, the seq of the last event written, and the agent who answers it."""

    seq: int
    ordinal: int
    agent_id: UUID


def admit(new: NewTurn, *, depth: int, deadline_seconds: int) -> Admitted | None:
    """Write the message and its turn; None, and nothing is written, when the session does not accept it at the moment.

    `depth` is the largest number of open turns of a session; the turn expires after `deadline_seconds`.
    Raises `IntegrityError` when a turn with this key or these ids exists.
    """
    rows = fetch(
        sql.ACCEPT,
        {
            "session": new.session_id,
            "user": new.user_id,
            "turn": new.turn_id,
            "message": new.message_id,
            "parts": orjson.dumps(new.parts).decode(),
            "fingerprint": new.fingerprint,
            "key": new.key,
            "branch": new.branch,
            "parent": new.parent,
            "when_busy": new.when_busy.value if new.when_busy else None,
            "priority": new.priority.value,
            "priority_name": new.priority.wire_name,
            "title": new.title,
            "depth": depth,
            "deadline_seconds": deadline_seconds,
            "client_options": orjson.dumps(new.client_options).decode() if new.client_options else None,
            "api_key": new.api_key_id,
        },
    )
    return Admitted(*rows[0][:3]) if rows else None
