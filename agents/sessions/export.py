"""Read a whole conversation in pages, since it may be too large for the memory of a process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Max, Min

from accounts.actor import Actor
from agents.domain.message_tree import Node
from agents.models import AgentSession, Event, Message, Turn
from agents.sessions.access import MODEL_CALLS, access_session
from agents.sessions.messages import load_message_tree, session_messages
from foundation.page_size import count_fitting

# The number of messages in memory at once, at most.
PAGE_SIZE = 50


@dataclass(frozen=True, slots=True)
class Export:
    """What is read first. `visible_pages` are the ids of the messages that people see, in order, in pages; `events` has
    the first and the last seq of each turn's events."""

    session: AgentSession
    turns: Sequence[Turn]
    events: Mapping[UUID, tuple[int, int]]
    visible_pages: Sequence[Sequence[UUID]]


def begin_export(*, actor: Actor, session_id: UUID) -> Export:
    """The session with its turns, to be followed by its messages. Raises `NotFound`, `Forbidden`, `Unauthenticated`."""
    session = access_session(actor=actor, session_id=session_id)
    events = Event.objects.filter(agent_session=session, turn__isnull=False).order_by()
    ranges = events.values_list("turn_id").annotate(first=Min("seq"), last=Max("seq"))
    tree = load_message_tree(session)
    visible: list[Node] = []
    for node in tree.path_to(session.head_message_id):
        answer = tree.find_answer(node)
        visible += [node, answer] if answer else [node]
    return Export(
        session=session,
        turns=list(Turn.objects.filter(agent_session=session).annotate(calls=MODEL_CALLS).order_by("ordinal")),
        events={turn: (first, last) for turn, first, last in ranges},
        visible_pages=list(_pages(visible)),
    )


def _pages(nodes: Sequence[Node]) -> Iterator[Sequence[UUID]]:
    while nodes:
        count = count_fitting(node.size for node in nodes[:PAGE_SIZE])
        yield [node.id for node in nodes[:count]]
        nodes = nodes[count:]


def read_page(session: AgentSession, *, after: int) -> list[Message]:
    """The next messages after ordinal `after`, with their owner's feedback, without those newer than `session`."""
    rows = session_messages(session).filter(ordinal__gt=after, ordinal__lt=session.next_ordinal).order_by("ordinal")
    return list(rows[: count_fitting(rows.values_list("size_bytes", flat=True)[:PAGE_SIZE])])


def read_messages(session: AgentSession, ids: Sequence[UUID]) -> list[Any]:
    """The messages with these ids, in this order."""
    messages = {message.pk: message for message in session_messages(session).filter(pk__in=ids)}
    return [messages[message_id] for message_id in ids if message_id in messages]
