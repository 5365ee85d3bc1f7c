"""Fork a session: begin a new one with the messages of another, up to some turn."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.conf import settings
from django.db import transaction

from accounts.actor import Actor, Scope
from accounts.audit import record_audit
from agents.domain.message_tree import Node
from agents.domain.serialization import person_name
from agents.domain.session_purposes import SessionPurpose
from agents.domain.states import TERMINAL
from agents.journal.copy_messages import copy_messages, measure_messages
from agents.models import AgentSession, Turn
from agents.permissions.role_permissions import FORK_SESSION
from agents.permissions.transcripts import require_transcript
from agents.sessions.access import access_session, operate_session
from agents.sessions.messages import load_message_tree
from foundation import strict_json
from foundation.errors import Conflict, InvalidInput, TooLarge, Unauthenticated
from ratelimits import guard_message, guard_storage


def fork_session(actor: Actor, *, session_id: UUID, after_turn: UUID | None = None) -> AgentSession:
    """A new session of the actor with a copy of the conversation that people see, on the same release.

    It ends with the answer of `after_turn`; if that is None, before the first turn that is still open. Other branches,
    turns and feedback are not copied.

    It is listed and does not expire, even if the source is not listed or expires; but a copy of one that tries
    something out does so, too, and is not listed: a copy of a lane of an evaluation is a trial. It counts as one
    message for rate limits, and stores what it copies.
    Raises `NotFound`, `Forbidden`, `RateLimited`, `TooLarge`, `Conflict` while `after_turn` is open, and `InvalidInput`
    when it is no turn of the session.
    """
    actor.require_scope(Scope.CHAT)
    source = access_session(actor=actor, session_id=session_id)
    message_ids = _select_messages(source, after_turn)
    guard_message(
        user_id=source.user_id, key_id=actor.key_id, session_id=None, size_bytes=_measure_copy(source, message_ids)
    )
    with transaction.atomic():
        return _copy_session(source, source.user_id, message_ids)


def fork_any_session(actor: Actor, *, session_id: UUID, after_turn: UUID | None = None) -> AgentSession:
    """Fork any user's session, for operators who may read its transcript; the new one is the operator's.

    Raises `NotFound`, `Forbidden`, `RateLimited`, `TooLarge`, `Conflict` while `after_turn` is open, and `InvalidInput`
    when it is no turn of the session.
    """
    source = operate_session(actor=actor, session_id=session_id, permission=FORK_SESSION)
    # The operator can read the copy.
    require_transcript(actor, source.agent)
    if actor.user_id is None:
        raise Unauthenticated
    message_ids = _select_messages(source, after_turn)
    guard_storage(user_id=actor.user_id, size_bytes=_measure_copy(source, message_ids))
    with transaction.atomic():
        fork = _copy_session(source, actor.user_id, message_ids)
        detail = {"new_session": str(fork.pk)} | ({"after_turn": str(after_turn)} if after_turn else {})
        record_audit(actor, "session.forked", target=source, detail=detail)
    return fork


def _measure_copy(source: AgentSession, message_ids: Sequence[UUID]) -> int:
    """The bytes that a fork copies. Raises `TooLarge` above the limit of one fork."""
    size = measure_messages(message_ids) + len(strict_json.dumps(source.metadata))
    megabytes = settings.BANDSTAND.fork_megabytes
    if size > megabytes * 1024 * 1024:
        raise TooLarge(f"A conversation of more than {megabytes} MB cannot be forked. Fork it after an earlier turn.")
    return size


def _copy_session(source: AgentSession, user_id: int, message_ids: Sequence[UUID]) -> AgentSession:
    # Only its run has the recording of a lane.
    is_lane = source.purpose == SessionPurpose.EVALUATION
    session = AgentSession.objects.create(
        purpose=SessionPurpose.TRIAL if is_lane else source.purpose,
        listed=source.purpose == SessionPurpose.PRODUCTION,
        user_id=user_id,
        agent=source.agent,
        release=source.release,
        title=source.title,
        metadata=source.metadata,
    )
    copy_messages(session, message_ids, by=(person_name(source.user) or "") if user_id != source.user_id else "")
    return session


def _select_messages(source: AgentSession, after_turn: UUID | None) -> Sequence[UUID]:
    """The ids of the messages to copy, in the order of the conversation."""
    tree = load_message_tree(source)
    finished = set(Turn.objects.filter(agent_session=source, status__in=TERMINAL).values_list("pk", flat=True))
    end = source.head_message_id
    if after_turn is not None:
        question = tree.find_question(after_turn)
        if question is None:
            raise InvalidInput("There is no such turn in this session.", pointer="/after_turn")
        if after_turn not in finished:
            raise Conflict("That turn is still open.")
        end = question.id
    nodes: list[Node] = []
    for node in tree.path_to(end):
        if node.turn is not None and node.turn not in finished:
            break
        answer = tree.find_answer(node)
        nodes += [node, answer] if answer else [node]
    return [node.id for node in nodes]
