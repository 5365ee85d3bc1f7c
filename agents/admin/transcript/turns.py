"""What the page of a session shows of each turn: its question, its steps, its answer, and how it stands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db.models import Q

from agents.admin.state_tags import status_badge
from agents.admin.transcript.content import MessageContent, message_contents, part_views
from agents.admin.transcript.steps import StepView, step_view
from agents.admin.turn_actions import TurnAction
from agents.domain.message_tree import Node, Tree
from agents.domain.states import PARKED, TERMINAL, TurnStatus, WaitReason
from agents.journal.locked_writes import visible_parts
from agents.models import AgentSession, Message, Runner, Step, Turn
from console.formatting import format_duration, format_money, format_second, format_tokens

_WAITS: Final = {
    "": "a model to answer again",
    WaitReason.APPROVAL: "an approval",
    WaitReason.CHILDREN: "other agents",
    WaitReason.BUDGET: "money",
}

# Turns on one page of a long session.
TURNS: Final = 20
# Of longer sessions only the neighbours are read, not the whole tree.
WHOLE_TREE: Final = 2_000


@dataclass(slots=True)
class TurnView:
    """A turn, or what was said without one (`turn` None)."""

    ordinal: int
    turn: Turn | None = None
    said: list[MessageContent] = field(default_factory=list)
    steps: list[StepView] = field(default_factory=list)
    runner: str = ""
    branch: str = ""
    waits: str = ""
    waited: str = ""
    lasted: str = ""
    tokens: str = ""
    cost: str = ""
    state: str = ""
    live: bool = False
    forks: bool = False
    deeds: list[TurnAction] = field(default_factory=list)

    @property
    def key(self) -> str:
        return f"turn-{self.turn.pk}" if self.turn else f"message-{self.ordinal}"


@dataclass(frozen=True, slots=True)
class _Rows:
    """What was read for all the turns of a page at once."""

    messages: dict[UUID, list[Message]]
    steps: dict[UUID, list[Step]]
    runners: dict[Any, Runner]
    branches: dict[UUID, str]
    readable: bool
    now: datetime


def turn_views(
    session: AgentSession, turns: Sequence[Turn], *, readable: bool, now: datetime, loose: Iterable[Message] = ()
) -> list[TurnView]:
    """One block per turn and per message without a turn, by ordinal. Without `readable` nothing that was said."""
    messages = _messages(session, turns)
    steps: dict[UUID, list[Step]] = defaultdict(list)
    for step in Step.objects.filter(turn__in=turns).order_by("turn", "number"):
        steps[step.turn_id].append(step)
    runners = Runner.objects.in_bulk([turn.runner_id for turn in turns if turn.runner_id])
    branches = _branches(session, [asked for said in messages.values() for asked in said if asked.author == "user"])
    rows = _Rows(messages, steps, runners, branches, readable, now)
    made = [_block(turn, rows) for turn in turns]
    made += [TurnView(message.ordinal, said=[message_contents(message)] if readable else []) for message in loose]
    return sorted(made, key=lambda block: block.ordinal)


def _messages(session: AgentSession, turns: Sequence[Turn]) -> dict[UUID, list[Message]]:
    found: dict[UUID, list[Message]] = defaultdict(list)
    for message in Message.objects.filter(agent_session=session, turn__in=turns).order_by("ordinal"):
        assert message.turn_id is not None
        found[message.turn_id].append(message)
    return found


def _block(turn: Turn, rows: _Rows) -> TurnView:
    status, messages = TurnStatus(turn.status), rows.messages[turn.pk]
    steps = [
        step_view(step, readable=rows.readable, ended_at=turn.finished_at, now=rows.now) for step in rows.steps[turn.pk]
    ]
    asked = next((message.pk for message in messages if message.author == Message.Author.USER), None)
    runner = rows.runners.get(turn.runner_id)
    return TurnView(
        ordinal=turn.ordinal,
        turn=turn,
        said=_said(turn, messages, steps) if rows.readable else [],
        steps=steps,
        runner=str(runner) if runner else str(turn.runner_id or ""),
        branch=rows.branches.get(asked, "") if asked else "",
        waits=_waits(turn),
        waited=format_duration(turn.queued_at, turn.started_at or turn.finished_at or rows.now),
        lasted=format_duration(turn.started_at, turn.finished_at or rows.now),
        tokens=format_tokens(turn.input_tokens, turn.output_tokens),
        cost=format_money(turn.cost_usd),
        state=status_badge(status),
        live=status not in TERMINAL,
    )


def _waits(turn: Turn) -> str:
    """What a parked turn waits for, and until when at the latest."""
    if turn.status not in PARKED or turn.available_at is None:
        return ""
    return f"{_WAITS[turn.wait_reason]}, until {format_second(turn.available_at)} UTC"


def _said(turn: Turn, messages: Sequence[Message], steps: Sequence[StepView]) -> list[MessageContent]:
    said = [message_contents(message, steps) for message in messages]
    if turn.status not in TERMINAL and (parts := visible_parts(turn)):
        said.append(MessageContent(Message.Author.AGENT, None, part_views(parts, steps, ended=False)))
    return said


def _branches(session: AgentSession, asked: Sequence[Message]) -> dict[UUID, str]:
    """For questions that have others beside them: which of how many, and whether people see it now."""
    if session.next_ordinal <= WHOLE_TREE:
        rows = Message.objects.filter(agent_session=session).order_by()
    else:
        parents = {message.parent_id for message in asked}
        beside = Q(parent__in=[parent for parent in parents if parent]) | (
            Q(parent__isnull=True) if None in parents else Q(pk__in=[])
        )
        rows = Message.objects.filter(beside, agent_session=session).order_by()
    nodes = {
        key: Node(key, ordinal, turn, parent, author == Message.Author.AGENT and turn is not None)
        for key, ordinal, turn, parent, author in rows.values_list("pk", "ordinal", "turn_id", "parent_id", "author")
    }
    tree = Tree(nodes.values())
    line = {node.id for node in tree.path_to(session.head_message_id)} if session.next_ordinal <= WHOLE_TREE else None
    known = [nodes[message.pk] for message in asked if message.pk in nodes]
    return {node.id: words for node in known if (words := _branch(tree, node, line))}


def _branch(tree: Tree, asked: Node, line: set[UUID] | None) -> str:
    beside = tree.branches(asked)
    if len(beside) < 2:
        return ""
    place = beside.index(asked) + 1
    hidden = "" if line is None or asked.id in line else ", not shown in the chat now"
    return f"branch {place} of {len(beside)}{hidden}"
