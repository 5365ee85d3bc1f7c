"""The first request of an OpenAI client, found again by those that repeat it."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from accounts.actor import Actor
from agents.domain.events import EventType
from agents.domain.states import TERMINAL
from agents.models import AgentSession, CompletionRequest, Turn
from agents.sessions.accept import accepted_seq
from agents.sessions.completion_types import AcceptedCompletion, Completion, CompletionIds
from foundation.advisory_locks import LockFamily, advisory_xact_lock
from foundation.errors import IdempotencyMismatch

# For so long a client's own retry finds the turn that its first attempt made.
RETRY_WINDOW = timedelta(minutes=10)


def serialize_repeats(actor: Actor, completion: Completion) -> None:
    """Whoever may repeat another's request waits here for that one's commit, as long as the lock timeout lets it.

    First attempts without a key do not wait for each other: a program may ask the same a hundred times at once.
    """
    subject = completion.key.encode() if completion.key is not None else completion.fingerprint
    lock = LockFamily.REPEAT_COMPLETION.lock(actor.principal.encode() + b"\n" + subject)
    advisory_xact_lock(lock, shared=completion.key is None and completion.attempt == 0)


def find_repeat(actor: Actor, completion: Completion, ids: CompletionIds) -> AcceptedCompletion | None:
    """What the request was told that this one repeats, if it does. Raises `IdempotencyMismatch`.

    In a session, the turn's own row is the record of a key: `agents.sessions.accept.find_replay`.
    """
    if completion.key is None:
        first = _find_by_fingerprint(actor, completion, ids)
    else:
        first = _find_by_key(actor, completion) if completion.session_id is None else None
    return _load_accepted(first, ids) if first is not None else None


def remember_request(actor: Actor, completion: Completion, ids: CompletionIds, session: AgentSession) -> None:
    """Keep an accepted request for those that will repeat it."""
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
    # Once a retry's turn has ended, a first attempt with the same words is a new question, and not a late arrival.
    open_turn = Turn.objects.filter(pk=OuterRef("turn_id")).exclude(status__in=TERMINAL)
    first = recent.filter(Q(turn_id=ids.turn) | Q(Exists(open_turn), attempt__gte=1)).first()
    if first is None or first.turn_id == ids.turn:
        return first
    # One was late, and it has come.
    return first if requests.filter(pk=first.pk, attempt__gte=1).update(attempt=0) else None


def _load_accepted(first: CompletionRequest, ids: CompletionIds) -> AcceptedCompletion:
    turn = Turn.objects.filter(pk=first.turn_id).first()
    if turn is None:
        return AcceptedCompletion(first.agent_session_id, None, 0, replayed=True)
    seq = accepted_seq(turn.agent_session_id, EventType.TURN_QUEUED, turn.pk)
    return AcceptedCompletion(turn.agent_session_id, turn.pk, seq, replayed=turn.pk != ids.turn)
