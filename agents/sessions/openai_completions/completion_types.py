"""The request of an OpenAI client, and what accepting it returns."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from agents.domain.client_options import ClientOptions
from agents.domain.message_parts import Part
from foundation.errors import NotFound
from foundation.ids import new_id


class ModelNotFound(NotFound):
    """There is no such model here, or it is not for you. GET /v1/models lists those that you may use."""

    code = "model_not_found"


class SessionNotFound(NotFound):
    """There is no such session here."""

    code = "session_not_found"


@dataclass(frozen=True, slots=True)
class Completion:
    """A request: `parts` are results of the client's tools, then the user's text; either may be missing.

    `session_id` None begins a session with `history`, as (author, parts). Requests with equal `body` are equal;
    `attempt` is 0 for a client's first attempt, n for its nth retry.
    """

    model: str
    parts: Sequence[Part]
    body: bytes
    history: Sequence[tuple[str, list[Part]]] = ()
    options: ClientOptions = field(default_factory=ClientOptions)
    metadata: Mapping[str, Any] | None = None
    session_id: UUID | None = None
    key: str | None = None
    attempt: int = 0

    @property
    def fingerprint(self) -> bytes:
        return hashlib.sha256(str(self.session_id or "new").encode() + b"\n" + self.body).digest()


@dataclass(frozen=True, slots=True)
class AcceptedCompletion:
    """An accepted request. `turn_id` None: a person answers in this session. The turn's events follow `seq`. `agent_id`
    is that of whom a new turn asks. `is_behind`: other turns of the session may be open."""

    session_id: UUID
    turn_id: UUID | None
    seq: int
    replayed: bool
    agent_id: UUID | None = field(default=None, compare=False)
    is_behind: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class CompletionIds:
    """The ids of what an attempt writes, so that a second one after a lost connection recognizes it."""

    session: UUID = field(default_factory=new_id)
    turn: UUID = field(default_factory=new_id)
    message: UUID = field(default_factory=new_id)
