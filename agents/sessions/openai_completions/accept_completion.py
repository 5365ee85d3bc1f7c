"""Accept the request of an OpenAI client: in an existing session, or in a new one with the messages of the request."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from accounts.actor import Actor, Scope
from agents.domain.client_options import ClientOptions, check_results, dump_options
from agents.domain.configuration import AgentConfiguration
from agents.domain.message_parts import plain_text
from agents.domain.states import Priority
from agents.domain.titles import make_title
from agents.journal.admission import NewTurn
from agents.journal.locked_writes import lock_session, name_session_locked
from agents.llm.routes import supports_json_format
from agents.models import AgentSession
from agents.permissions.agents import can_use_agent
from agents.sessions.accept import NOT_STORED, accept_locked, check_key, find_replay
from agents.sessions.budget_checks import exhausted_error, find_exhausted_budget
from agents.sessions.crud import insert_session
from agents.sessions.openai_completions.client_messages import open_calls, store_client_messages_locked
from agents.sessions.openai_completions.completion_dedup import find_repeat, remember_request, serialize_repeats
from agents.sessions.openai_completions.completion_types import (
    AcceptedCompletion,
    Completion,
    CompletionIds,
    ModelNotFound,
    SessionNotFound,
)
from foundation import strict_json
from foundation.clock import now
from foundation.db_retry import retry_after_deadlock, retry_after_lost_connection
from foundation.errors import InvalidInput, NotFound, Unauthenticated
from ratelimits import count_message, refund_message


def accept_completion(actor: Actor, completion: Completion) -> AcceptedCompletion:
    """Store the request and queue the turn that answers it, in one commit; or find the turn of an earlier request.

    An earlier request is one with the same `key` (in a session without time limit, else within two days, or until the
    session that it began is deleted), or, without a key, an equal one within ten minutes of which this is the client's
    retry. Equal requests are serialized.

    Raises `ModelNotFound`, `SessionNotFound`, and what `accept_message` raises.
    """
    actor.require_scope(Scope.CHAT)
    actor.require_scope(Scope.READ)
    if actor.user_id is None:
        raise Unauthenticated
    if completion.key is not None:
        check_key(completion.key)
    ids = CompletionIds()
    with count_message(
        user_id=actor.user_id,
        key_id=actor.key_id,
        session_id=completion.session_id,
        size_bytes=_stored_bytes(completion),
    ):
        accepted = retry_after_lost_connection(lambda: _accept(actor, completion, ids), detail=NOT_STORED)
    if accepted.replayed:
        refund_message(user_id=actor.user_id)
    return accepted


@retry_after_deadlock
def _accept(actor: Actor, completion: Completion, ids: CompletionIds) -> AcceptedCompletion:
    with transaction.atomic():
        serialize_repeats(actor, completion)
        if (repeat := find_repeat(actor, completion, ids)) is not None:
            return repeat
        if completion.session_id is None:
            session = _create_session(actor, completion, ids)
        else:
            session = _lock_session(actor, completion, completion.session_id)
        has_open_turns = session.open_turns > 0
        new = _new_turn(actor, completion, session, ids)
        accepted = find_replay(new) if completion.session_id is not None else None
        if accepted is None:
            if (budget := find_exhausted_budget(new)) is not None:
                raise exhausted_error(budget)
            accepted = accept_locked(session, replace(new, client_options=_prepare_locked(session, completion)))
            remember_request(actor, completion, ids, session)
        return AcceptedCompletion(
            session.pk, accepted.turn_id, accepted.seq, accepted.replayed, accepted.agent_id, has_open_turns
        )


def _stored_bytes(completion: Completion) -> int:
    """About how much the request stores; a session that exists has its own history."""
    if completion.session_id is None:
        return len(completion.body)
    return len(strict_json.dumps(list(completion.parts))) + len(completion.options.instructions.encode())


def _create_session(actor: Actor, completion: Completion, ids: CompletionIds) -> AgentSession:
    try:
        return insert_session(
            actor,
            agent_slug=completion.model,
            metadata=completion.metadata,
            session_id=ids.session,
            listed=False,
            expires_at=_expiry(),
        )
    except InvalidInput as error:
        if error.pointer == "/agent":
            raise ModelNotFound(pointer="/model") from None
        raise


def _lock_session(actor: Actor, completion: Completion, session_id: UUID) -> AgentSession:
    try:
        session = lock_session(session_id)
    except NotFound:
        raise SessionNotFound from None
    if session.user_id != actor.user_id or not can_use_agent(user_id=session.user_id, agent_id=session.agent_id):
        raise SessionNotFound
    if session.agent.slug != completion.model:
        raise InvalidInput(f"This session is one with {session.agent.slug!r}.", pointer="/model")
    return session


def _prepare_locked(session: AgentSession, completion: Completion) -> dict[str, Any] | None:
    """Write what precedes the question in the session, and return the client's options as the turn stores them."""
    _check_options(session, completion.options)
    history = completion.history
    if completion.session_id is not None:
        history = ()  # it has its own
        check_results(open_calls(session), completion.parts)
        _extend_expiry_locked(session)
        # After the user's text, even where the client's instructions become the first message.
        name_session_locked(session, make_title(plain_text(completion.parts)))
    system = store_client_messages_locked(session, instructions=completion.options.instructions, history=history)
    return dump_options(completion.options, system=str(system) if system else None)


def _check_options(session: AgentSession, options: ClientOptions) -> None:
    """Raise `InvalidInput` for options that the release cannot honour. What only the model knows fails the turn
    later."""
    release = AgentConfiguration.parse(session.release.configuration)
    # A call names a tool, and must mean one only.
    if duplicates := options.tool_names & set(release.tools):
        raise InvalidInput(f"The agent has a tool {min(duplicates)!r} of its own.", pointer="/tools")
    if options.json is None or options.json.schema is not None:
        return
    tools = bool(release.tools or options.tools)
    if not all(supports_json_format(route, tools=tools) for route in release.model_chain):
        suffix = " while it has tools" if tools else ""
        raise InvalidInput(
            f"The agent's model cannot be held to JSON without a schema{suffix}: give one, as json_schema.",
            pointer="/response_format/type",
        )


def _extend_expiry_locked(session: AgentSession) -> None:
    if session.expires_at is not None:
        session.expires_at = _expiry()
        session.save(update_fields=["expires_at"])


def _expiry() -> datetime:
    return now() + timedelta(hours=settings.BANDSTAND.client_session_hours)


def _new_turn(actor: Actor, completion: Completion, session: AgentSession, ids: CompletionIds) -> NewTurn:
    return NewTurn(
        session_id=session.pk,
        user_id=session.user_id,
        turn_id=ids.turn,
        message_id=ids.message,
        parts=list(completion.parts),
        fingerprint=completion.fingerprint,
        key=completion.key if completion.key is not None else f"auto-{ids.turn}",
        branch=False,
        parent=None,
        when_busy=None,
        priority=Priority.INTERACTIVE,
        api_key_id=actor.key_id,
    )
