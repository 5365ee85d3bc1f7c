"""Find the turn of an earlier, equal request of an OpenAI client."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from accounts.actor import Actor
from agents.domain.events import EventType
from agents.domain.states import TERMINAL
from agents.models import AgentSession, CompletionRequest, Turn
from agents.sessions.accept import accepted_seq
from agents.sessions.openai_completions.completion_types import AcceptedCompletion, Completion, CompletionIds
from foundation.advisory_locks import LockFamily, advisory_xact_lock
from foundation.errors import IdempotencyMismatch

# A client's own retry within this time finds the turn of its first attempt.
RETRY_WINDOW = timedelta(minutes=10)


def serialize_repeats(actor: Actor, completion: Completion) -> None:
    """Lock out equal requests until the end of the transaction, up to the lock timeout.

    First attempts without a key do not wait for each other: a program may send the same request a hundred times at
    once.
    """
    subject = completion.key.encode() if completion.key is not None else completion.fingerprint
    lock = LockFamily.REPEAT_COMPLETION.lock(actor.principal.encode() + b"\n" + subject)
    advisory_xact_lock(lock, shared=completion.key is None and completion.attempt == 0)


def find_repeat(actor: Actor, completion: Completion, ids: CompletionIds) -> AcceptedCompletion | None:
    """The outcome of the request that this one repeats; None when it repeats none. Raises `IdempotencyMismatch`.

    Keys of requests in a session are in the rows of turns: see `agents.sessions.accept.find_replay`.
    """
    if completion.key is None:
        first = _find_by_fingerprint(actor, completion, ids)
    else:
        first = _find_by_key(actor, completion) if completion.session_id is None else None
    return _load_accepted(first, ids) if first is not None else None


def remember_request(actor: Actor, completion: Completion, ids: CompletionIds, session: AgentSession) -> None:
    """Store an accepted request for later repeats."""
    CompletionRequest.objects.create(
        principal=actor.principal,
        fingerprint=completion.fingerprint,
        key=completion.key if completion.session_id is None else None,
        attempt=completion.attempt,
        agent_session=session,
        turn_id=ids.turn,
    )


def _find_by_key(actor: Actor, completion: Completion) -> CompletionRequest | None:
    first = CompletionRequest.objects.filter(principal=actor.principal, key=completion.key).first()
    if first is not None and bytes(first.fingerprint) != completion.fingerprint:
        raise IdempotencyMismatch
    return first


def _find_by_fingerprint(actor: Actor, completion: Completion, ids: CompletionIds) -> CompletionRequest | None:
    requests = CompletionRequest.objects.filter(principal=actor.principal)
    recent = requests.filter(fingerprint=completion.fingerprint, created_at__gt=Now() - RETRY_WINDOW).order_by("-id")
    if completion.attempt:
        return recent.first()
    # Once a retry's turn has ended, an equal first attempt is a new question, and not the late original.
    open_turn = Turn.objects.filter(pk=OuterRef("turn_id")).exclude(status__in=TERMINAL)
    first = recent.filter(Q(turn_id=ids.turn) | Q(Exists(open_turn), attempt__gte=1)).first()
    if first is None or first.turn_id == ids.turn:
        return first
    # This is the late original of that retry; there is only one.
    return first if requests.filter(pk=first.pk, attempt__gte=1).update(attempt=0) else None


def _load_accepted(first: CompletionRequest, ids: CompletionIds) -> AcceptedCompletion:
    turn = Turn.objects.filter(pk=first.turn_id).first()
    if turn is None:
        return AcceptedCompletion(first.agent_session_id, None, 0, replayed=True)
    seq = accepted_seq(turn.agent_session_id, EventType.TURN_QUEUED, turn.pk)
    return AcceptedCompletion(turn.agent_session_id, turn.pk, seq, replayed=turn.pk != ids.turn, is_behind=True)
