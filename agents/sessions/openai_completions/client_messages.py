"""What a client adds to a session besides its question: earlier messages, and its instructions for the model."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from agents.domain.client_options import client_tool_calls
from agents.domain.message_parts import Part, plain_text, text_part
from agents.journal.locked_writes import append_messages_locked
from agents.models import AgentSession, Message

SuppliedMessage = tuple[str, list[Part]]


def store_client_messages_locked(
    session: AgentSession, *, instructions: str, history: Sequence[SuppliedMessage] = ()
) -> UUID | None:
    """Add the client's `instructions`, unless they are the newest ones already, then `history`, as (author, parts).
    Returns the id of the message with the instructions; None without instructions."""
    existing_id = _find_instructions(session, instructions) if instructions else None
    if not instructions or existing_id is not None:
        _add_locked(session, history)
        return existing_id
    messages = _add_locked(session, [(Message.Author.SYSTEM, [text_part(instructions)]), *history])
    return messages[0].pk


def open_calls(session: AgentSession) -> list[Part]:
    """The tool calls of the session's last answer that its client must run."""
    if session.head_message_id is None:
        return []
    answers = Message.objects.filter(author=Message.Author.AGENT, partial=False)
    head = answers.filter(pk=session.head_message_id).first()
    return client_tool_calls(head.parts) if head else []


def _find_instructions(session: AgentSession, instructions: str) -> UUID | None:
    """The id of the newest message with instructions, if it has these; else None."""
    stored = Message.objects.filter(agent_session=session, author=Message.Author.SYSTEM, supplied_by_client=True)
    newest = stored.order_by("-ordinal").values_list("pk", "parts").first()
    return newest[0] if newest is not None and plain_text(newest[1]) == instructions else None


def _add_locked(session: AgentSession, supplied: Sequence[SuppliedMessage]) -> list[Message]:
    """Add messages, each with the one before as its parent."""
    messages: list[Message] = []
    for author, parts in supplied:
        parent = messages[-1].pk if messages else session.head_message_id
        messages.append(Message(author=author, parts=parts, parent_id=parent, supplied_by_client=True))
    if messages:
        append_messages_locked(session, messages)
    return messages
