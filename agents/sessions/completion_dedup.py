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
RETRIES_FOR = timedelta(minutes=10)


def serialize_repeats(actor: Actor, given: Completion) -> None:
    """Whoever may repeat another's request waits here for that one's commit, as long as the lock timeout lets it.

    First attempts without a key do not wait for each other: a program may ask the same a hundred times at once.
    """
    what = given.key.encode() if given.key is not None else given.fingerprint
    lock = LockFamily.REPEAT_COMPLETION.lock(actor.principal.encode() + b"\n" + what)
    advisory_xact_lock(lock, shared=given.key is None and given.attempt == 0)


def find_repeat(actor: Actor, given: Completion, ids: CompletionIds) -> AcceptedCompletion | None:
    """What the request was told that this one repeats, if it does. Raises `IdempotencyMismatch`.

    In a session, the turn's own row is the record of a key: `agents.sessions.accept.find_replay`.
    """
    if given.key is None:
        first = _by_what_it_asks(actor, given, ids)
    else:
        first = _by_key(actor, given) if given.session_id is None else None
    return _told(first, ids) if first is not None else None


def remember_request(actor: Actor, given: Completion, ids: CompletionIds, session: AgentSession) -> None:
    """Keep an accepted request for those that will repeat it."""
    CompletionRequest.objects.create(
        principal=actor.principal,
        fingerprint=given.fingerprint,
        key=given.key if given.session_id is None else None,
        attempt=given.attempt,
        agent_session=session,
        turn_id=ids.turn,
    )


def _by_key(actor: Actor, given: Completion) -> CompletionRequest | None:
    first = CompletionRequest.objects.filter(principal=actor.principal, key=given.key).first()
    if first is not None and bytes(first.fingerprint) != given.fingerprint:
        raise IdempotencyMismatch
    return first


def _by_what_it_asks(actor: Actor, given: Completion, ids: CompletionIds) -> CompletionRequest | None:
    requests = CompletionRequest.objects.filter(principal=actor.principal)
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


def _told(first: CompletionRequest, ids: CompletionIds) -> AcceptedCompletion:
    turn = Turn.objects.filter(pk=first.turn_id).first()
    if turn is None:
        return AcceptedCompletion(first.agent_session_id, None, 0, replayed=True)
    seq = accepted_seq(turn.agent_session_id, EventType.TURN_QUEUED, turn.pk)
    return AcceptedCompletion(turn.agent_session_id, turn.pk, seq, replayed=turn.pk != ids.turn)
