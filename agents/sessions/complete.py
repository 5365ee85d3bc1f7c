"""Accept the request of an OpenAI client: in a durable session, or in one that begins with the messages sent."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from agents.access.actor import Actor, Scope
from agents.access.agents import may_use
from agents.journal.admit import NewTurn
from agents.journal.connection import once_more_after_deadlock
from agents.journal.locked import append_locked, lock_session
from agents.limits import guard_message
from agents.models import AgentSession, CompletionRequest, Message, Turn
from agents.rules.client_options import ClientOptions, check_results, handed_out, stored_options
from agents.rules.parts import Part, plain_text, text_part
from agents.rules.states import TERMINAL, Priority
from agents.rules.titles import title_of
from agents.rules.wire import message_shape, session_shape
from agents.sessions.accept import Accepted, accept_locked, check_key, reaching_the_database, replayed, seq_of
from agents.sessions.busy import IdempotencyMismatch
from agents.sessions.life import create_session
from foundation.clock import now
from foundation.errors import InvalidInput, NotFound, Unauthenticated
from foundation.ids import new_id

# For so long a client's own retry finds the turn that its first attempt made.
RETRIES_FOR = timedelta(minutes=10)


class ModelNotFound(NotFound):
    """There is no such model here, or it is not for you. GET /v1/models lists those that you may use."""

    code = "model_not_found"


class SessionNotFound(NotFound):
    """There is no such session here."""

    code = "session_not_found"


@dataclass(frozen=True, slots=True)
class Completion:
    """What is asked: `parts` are results of the client's tools, then the user's words; either may be missing.

    `session_id` None begins a session with `history`, as (author, parts). `body` is what makes two requests equal;
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
    """`turn_id` None: a person answers in this session. The turn's events follow `seq`."""

    session_id: UUID
    turn_id: UUID | None
    seq: int
    replayed: bool


@dataclass(frozen=True, slots=True)
class _Ids:
    """Of what an attempt will write, so that a second one after a lost connection knows it again."""

    session: UUID = field(default_factory=new_id)
    turn: UUID = field(default_factory=new_id)
    message: UUID = field(default_factory=new_id)


def accept_completion(actor: Actor, given: Completion) -> AcceptedCompletion:
    """Store the request and queue the turn that answers it, in one commit; or find the turn that a first one made.

    That is the case for a request with the same `key` (for ever in a session, else for as long as its session is kept),
    and, without one, for the client's own retry of an equal request within ten minutes. Of equal requests that arrive
    at once only one looks at a time.

    Raises `ModelNotFound`, `SessionNotFound`, and as `accept_message`.
    """
    actor.need(Scope.CHAT)
    actor.need(Scope.READ)
    if actor.user_id is None:
        raise Unauthenticated
    if given.key is not None:
        check_key(given.key)
    guard_message(user_id=actor.user_id, key_id=actor.key_id, session_id=given.session_id)
    ids = _Ids()
    return reaching_the_database(lambda: _accept(actor, given, ids))


@once_more_after_deadlock
def _accept(actor: Actor, given: Completion, ids: _Ids) -> AcceptedCompletion:
    with transaction.atomic():
        _take_turns(actor, given)
        if (first := _first(actor, given, ids)) is not None:
            return _attached(first, ids)
        if given.session_id is None:
            session = _begun(actor, given, ids)
        else:
            session = _continued_locked(actor, given, given.session_id)
        new = _new_turn(given, session, ids)
        accepted = replayed(new) if given.session_id is not None else None
        if accepted is None:
            accepted = _store_locked(session, given, new)
            CompletionRequest.objects.create(
                principal=actor.principal,
                fingerprint=given.fingerprint,
                key=given.key if given.session_id is None else None,
                attempt=given.attempt,
                agent_session=session,
                turn_id=ids.turn,
            )
        return AcceptedCompletion(session.pk, accepted.turn_id, accepted.seq, accepted.replayed)


def _store_locked(session: AgentSession, given: Completion, new: NewTurn) -> Accepted:
    _check_tools(session, given.options)
    if given.session_id is not None:
        _prepare_locked(session, given)
    system = _instructions_of(session)[0] if given.options.instructions else None
    options = stored_options(given.options, system=str(system) if system else None)
    return accept_locked(session, replace(new, client_options=options))


def _take_turns(actor: Actor, given: Completion) -> None:
    """Whoever may repeat another's request waits here for that one's commit, as long as the lock timeout lets it.

    First attempts without a key do not wait for each other: a program may ask the same a hundred times at once.
    """
    what = given.key.encode() if given.key is not None else given.fingerprint
    number = int.from_bytes(hashlib.sha256(actor.principal.encode() + b"\n" + what).digest()[:8], signed=True)
    alone = given.key is not None or given.attempt > 0
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_xact_lock{'' if alone else '_shared'}(%s)", [number])


def _first(actor: Actor, given: Completion, ids: _Ids) -> CompletionRequest | None:
    """The request that this one repeats. Raises `IdempotencyMismatch`."""
    requests = CompletionRequest.objects.filter(principal=actor.principal)
    if given.key is not None:
        if given.session_id is not None:
            return None  # the turn's own row is the record
        first = requests.filter(key=given.key).first()
        if first is not None and bytes(first.fingerprint) != given.fingerprint:
            raise IdempotencyMismatch
        return first
    recent = requests.filter(fingerprint=given.fingerprint, created_at__gt=Now() - RETRIES_FOR).order_by("-id")
    if given.attempt:
        return recent.first()
    # Once a retry's turn has ended, a first attempt with the same words is a new question, and not a late arrival.
    open_turn = Turn.objects.filter(pk=OuterRef("turn_id")).exclude(status__in=TERMINAL)
    first = recent.filter(Q(turn_id=ids.turn) | Q(Exists(open_turn), attempt__gte=1)).first()
    if first is None or first.turn_id == ids.turn:
        return first
    # One was late, and it has come.
    return first if requests.filter(pk=first.pk, attempt__gte=1).update(attempt=0) else None


def _attached(first: CompletionRequest, ids: _Ids) -> AcceptedCompletion:
    turn = Turn.objects.filter(pk=first.turn_id).first()
    if turn is None:
        return AcceptedCompletion(first.agent_session_id, None, 0, replayed=True)
    seq = seq_of(turn.agent_session_id, "turn.queued", turn.pk)
    return AcceptedCompletion(turn.agent_session_id, turn.pk, seq, replayed=turn.pk != ids.turn)


def _begun(actor: Actor, given: Completion, ids: _Ids) -> AgentSession:
    """A session that holds what the client says was said before."""
    try:
        session = create_session(
            actor,
            agent_slug=given.model,
            metadata=given.metadata,
            session_id=ids.session,
            listed=False,
            expires_at=_expiry(),
        )
    except InvalidInput as error:
        if error.pointer == "/agent":
            raise ModelNotFound(pointer="/model") from None
        raise
    words = given.options.instructions
    _add_locked(session, [*([("system", [text_part(words)])] if words else []), *given.history])
    return session


def _expiry() -> datetime:
    return now() + timedelta(hours=settings.BANDSTAND.client_session_hours)


def _continued_locked(actor: Actor, given: Completion, session_id: UUID) -> AgentSession:
    session = lock_session(session_id)
    if session is None or session.user_id != actor.user_id:
        raise SessionNotFound
    if not may_use(user_id=session.user_id, agent_id=session.agent_id):
        raise SessionNotFound
    if session.agent.slug != given.model:
        raise InvalidInput(f"This session is one with {session.agent.slug!r}.", pointer="/model")
    return session


def _prepare_locked(session: AgentSession, given: Completion) -> None:
    """What a durable session needs before it takes the request."""
    check_results(_open_calls(session), given.parts)
    if session.expires_at is not None:
        session.expires_at = _expiry()
        session.save(update_fields=["expires_at"])
    _name_locked(session, given.parts)
    words = given.options.instructions
    if words and words != plain_text(_instructions_of(session)[1]):
        _add_locked(session, [("system", [text_part(words)])])


def _name_locked(session: AgentSession, parts: Sequence[Part]) -> None:
    """A chat is called after its first words, even where a client's instructions stand before them."""
    title = title_of(plain_text(parts))
    if session.next_ordinal == 1 and session.listed and not session.title and title:
        session.title = title
        session.save(update_fields=["title"])
        append_locked(session, [("session.updated", {"session": session_shape(session)})])


def _open_calls(session: AgentSession) -> list[Part]:
    """The calls that the session's last answer has handed to its client."""
    if session.head_message_id is None:
        return []
    answers = Message.objects.filter(author=Message.Author.AGENT, partial=False)
    head = answers.filter(pk=session.head_message_id).first()
    return handed_out(head.parts) if head else []


def _instructions_of(session: AgentSession) -> tuple[UUID | None, list[Part]]:
    """The client's words for the model that stand in the session, newest first, and the id of their message."""
    said = Message.objects.filter(agent_session=session, author=Message.Author.SYSTEM, supplied_by_client=True)
    newest = said.order_by("-ordinal").values_list("pk", "parts").first()
    return newest or (None, [])


def _add_locked(session: AgentSession, said: Sequence[tuple[str, list[Part]]]) -> None:
    """Add messages that the client supplies, each behind the one before."""
    messages = []
    for author, parts in said:
        messages.append(
            Message(
                agent_session=session,
                ordinal=session.next_ordinal,
                author=author,
                parts=parts,
                parent_id=session.head_message_id,
                supplied_by_client=True,
            )
        )
        session.next_ordinal += 1
        session.head_message_id = messages[-1].pk
    if messages:
        Message.objects.bulk_create(messages)
        session.save(update_fields=["next_ordinal", "head_message_id"])
        append_locked(session, [("message.created", {"message": message_shape(message)}) for message in messages])


def _new_turn(given: Completion, session: AgentSession, ids: _Ids) -> NewTurn:
    return NewTurn(
        session_id=session.pk,
        user_id=session.user_id,
        turn_id=ids.turn,
        message_id=ids.message,
        parts=list(given.parts),
        fingerprint=given.fingerprint,
        key=given.key if given.key is not None else f"auto-{ids.turn}",
        branch=False,
        parent=None,
        when_busy=None,
        priority=Priority.INTERACTIVE,
    )


def _check_tools(session: AgentSession, options: ClientOptions) -> None:
    # The name alone says whose tool a call means.
    if ours := options.tool_names & set(session.release.tools):
        raise InvalidInput(f"The agent has a tool {min(ours)!r} of its own.", pointer="/tools")
