"""Everything a turn needs to know before its first step, read in one go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import orjson
import psycopg

from agents.domain.client_options import NO_OPTIONS, ClientOptions, read_options
from agents.domain.configuration import AgentConfiguration
from agents.domain.prompt import Item, newest_exchanges
from agents.domain.states import StepKind, StepStatus
from agents.domain.steps import StepRecord
from agents.journal import sql
from agents.journal.claims import Claim
from agents.journal.connection import fetch


@dataclass(frozen=True, slots=True)
class TurnContext:
    """`history` is what the release lets the model read of the conversation, oldest first; its last message is the
    question that this turn answers.

    `client` is what the request that made this turn asked for besides.
    """

    claim: Claim
    release: AgentConfiguration
    history: Sequence[Item]
    steps: Sequence[StepRecord]
    client: ClientOptions = NO_OPTIONS

    @property
    def question_id(self) -> UUID:
        """The question."""
        return self.history[-1].message_id


# The claim of a new turn has written this intent.
_FIRST_STEP = StepRecord(1, StepKind.MODEL, StepStatus.INTENT, idempotent=True)

# Releases never change, so a process reads each once. Thousands would fit; nobody has as many.
_releases: dict[UUID, AgentConfiguration] = {}


def load_release(release_id: UUID, *, on: psycopg.Connection | None = None) -> AgentConfiguration:
    """A release's configuration, from memory after its first turn in this process.

    Raises as `AgentConfiguration.parse`.
    """
    if (release := _releases.get(release_id)) is None:
        [(stored,)] = fetch(sql.RELEASE, {"release": release_id}, on=on)
        release = _releases[release_id] = AgentConfiguration.parse(orjson.loads(stored))
    return release


def load_context(claim: Claim, *, on: psycopg.Connection | None = None) -> TurnContext:
    """What `claim` is about: one statement for a new turn, one more for a turn that somebody has begun before."""
    release = load_release(claim.release_id, on=on)
    policy = release.context_policy
    rows = fetch(sql.HISTORY, {"turn": claim.turn_id, "messages": policy.history_messages}, on=on)
    # A client's words for the model come with the turn that they were sent for.
    messages = [Item(key, author, orjson.loads(parts)) for key, author, parts, _ in rows if author != "system"]
    return TurnContext(
        claim=claim,
        release=release,
        history=newest_exchanges(messages, policy.history_characters),
        steps=[_FIRST_STEP] if claim.epoch == 1 else _journal(claim, on),
        client=_client_options(rows[-1][3]),
    )


def _client_options(stored: str | None) -> ClientOptions:
    if stored is None:
        return NO_OPTIONS
    row = orjson.loads(stored)
    return read_options(row["options"], row["system"] or ())


def _journal(claim: Claim, on: psycopg.Connection | None) -> list[StepRecord]:
    rows = fetch(sql.STEPS, {"turn": claim.turn_id}, on=on)
    return [
        StepRecord(
            number,
            StepKind(kind),
            StepStatus(status),
            name,
            call_id,
            idempotent,
            orjson.loads(request),
            orjson.loads(result) if result is not None else None,
            *spent,
        )
        for number, kind, status, name, call_id, idempotent, request, result, *spent in rows
    ]
