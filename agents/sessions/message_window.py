"""The newest part of a conversation, along its branch, for a page that loads earlier parts later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db.models import Func, JSONField, TextField
from django.db.models.functions import MD5, Cast

from accounts.actor import Actor
from agents.domain.message_tree import Node, Tree
from agents.domain.serialization import message_shape, session_shape
from agents.domain.states import TurnStatus
from agents.journal.handoff_writes import handoff_settings
from agents.journal.queries import consistent_snapshot
from agents.models import AgentSession, Handoff, Message, Turn
from agents.sessions.access import access_session
from agents.sessions.messages import load_message_tree, session_messages
from agents.sessions.snapshots import snapshot_handoff, snapshot_turns
from foundation.errors import InvalidInput
from foundation.page_size import count_fitting

Window = dict[str, Any]


def read_window(*, actor: Actor, session_id: UUID, limit: int, cursor: UUID | None = None) -> Window:
    """The last `limit` exchanges on the path to the session's head, or to the message `cursor`, which is excluded; or
    as many as fit into a page.

    `{"seq", "session", "messages", "turns", "branches", "older", "handoff", "offers_handoff"}`: as in a snapshot, and
    of the turns those that are open or did not complete. `branches` has, for each question with siblings, all of them
    as `{"id", "head", "asks"}`, oldest first; setting the session's head to `head` shows that branch, and `asks` is the
    oldest sibling with equal content: siblings that share it are repeats, the others are edits. `older`: there are
    earlier exchanges. `offers_handoff`: the user may ask for a person. A turn that
    ended because a person took over has the `reason` "handoff".

    Raises `NotFound`, and `InvalidInput` when `cursor` is not a message of the session.
    """
    with consistent_snapshot():
        session = access_session(actor=actor, session_id=session_id)
        tree = load_message_tree(session)
        line = tree.path_to(cursor or session.head_message_id)
        if cursor is not None:
            if not line:
                raise InvalidInput("There is no such message in this session.", pointer="?before")
            line.pop()
        nodes = _newest(tree, line[-limit:])
        return {
            "seq": session.next_seq - 1,
            "session": session_shape(session),
            "messages": _messages(session, tree, nodes),
            "turns": _turns(session, {node.turn: node.id for node in nodes}),
            "branches": _branches(session, tree, nodes),
            "older": len(line) > len(nodes),
            "handoff": snapshot_handoff(session),
            "offers_handoff": handoff_settings(session).offered,
        }


def _turns(session: AgentSession, questions: Mapping[UUID | None, UUID]) -> dict[str, Any]:
    turns = snapshot_turns(session, questions)
    if cancelled := [turn_id for turn_id, turn in turns.items() if turn["status"] == TurnStatus.CANCELLED]:
        # Both in one transaction, by the time at which it began.
        taken_over = Handoff.objects.filter(agent_session=session, opened_at__isnull=False).values("opened_at")
        rows = Turn.objects.filter(pk__in=cancelled, finished_at__in=taken_over)
        for turn_id in rows.order_by().values_list("pk", flat=True):
            turns[str(turn_id)]["reason"] = "handoff"
    return turns


def _newest(tree: Tree, line: Sequence[Node]) -> Sequence[Node]:
    """The newest exchanges of `line` that fit into a page."""
    answers = [tree.find_answer(node) for node in line]
    sizes = [node.size + (answer.size if answer else 0) for node, answer in zip(line, answers, strict=True)]
    return line[len(line) - count_fitting(reversed(sizes)) :]


def _messages(session: AgentSession, tree: Tree, nodes: Sequence[Node]) -> list[dict[str, Any]]:
    answers = [answer for node in nodes if (answer := tree.find_answer(node))]
    rows = session_messages(session).filter(pk__in=[node.id for node in (*nodes, *answers)]).order_by("ordinal")
    return [message_shape(message) for message in rows]


def _branches(session: AgentSession, tree: Tree, nodes: Sequence[Node]) -> dict[str, Any]:
    siblings_by_id = {node.id: siblings for node in nodes if len(siblings := tree.branches(node)) > 1}
    digests = _digests(session, [node.id for siblings in siblings_by_id.values() for node in siblings])
    return {
        str(node_id): [
            {
                "id": str(node.id),
                "head": str(tree.newest_descendant(node)),
                "asks": str(_oldest(siblings, digests, node).id),
            }
            for node in siblings
        ]
        for node_id, siblings in siblings_by_id.items()
    }


def _digests(session: AgentSession, ids: Sequence[UUID]) -> dict[UUID, str]:
    """A digest of the content of each message."""
    if not ids:
        return {}
    rows = Message.objects.filter(agent_session=session, pk__in=ids).order_by()
    return dict(rows.values_list("pk", MD5(Cast(_Words("parts"), TextField()))))


class _Words(Func):
    """The parts of a message without the schedule that sent it: whoever asks them again sends the same words."""

    template = "%(expressions)s #- '{0,schedule}'"
    output_field = JSONField()


def _oldest(siblings: Sequence[Node], digests: dict[UUID, str], node: Node) -> Node:
    return next(other for other in siblings if digests[other.id] == digests[node.id])
