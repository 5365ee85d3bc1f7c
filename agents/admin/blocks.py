"""What the page of a session shows of each turn: its question, its steps, its answer, and how it stands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db.models import Q
from django.utils.safestring import SafeString, mark_safe

from agents.admin.telling import money, state_tag, took
from agents.admin.turn_deeds import DeedOnTurn
from agents.journal.locked import shown_parts
from agents.markdown import render
from agents.models import AgentSession, Message, Runner, Step, Turn
from agents.rules.branches import Node, Tree
from agents.rules.parts import Part
from agents.rules.states import TERMINAL, StepKind, StepStatus, TurnStatus

# Turns on one page of a long session.
TURNS: Final = 20
# Of longer sessions only the neighbours are read, not the whole tree.
WHOLE_TREE: Final = 2_000
# A tool may answer at any length; the page of its step has all of it.
SHOWN_CHARACTERS: Final = 4_000


@dataclass(frozen=True, slots=True)
class ShownPart:
    """`kind` is "text", "call", "result" or "error"; a text is HTML, the others are plain."""

    kind: str
    name: str
    content: str


@dataclass(frozen=True, slots=True)
class Said:
    author: str
    at: datetime | None
    parts: list[ShownPart]
    partial: bool = False
    supplied: bool = False


@dataclass(frozen=True, slots=True)
class ShownStep:
    row: Step
    state: SafeString
    lasted: str
    cost: str
    words: str
    request: str
    result: str


@dataclass(slots=True)
class Block:
    """A turn, or what was said without one (`turn` None)."""

    ordinal: int
    turn: Turn | None = None
    said: list[Said] = field(default_factory=list)
    steps: list[ShownStep] = field(default_factory=list)
    runner: str = ""
    branch: str = ""
    waited: str = ""
    lasted: str = ""
    cost: str = ""
    state: str = ""
    live: bool = False
    forks: bool = False
    deeds: list[DeedOnTurn] = field(default_factory=list)

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


def blocks_of(
    session: AgentSession, turns: Sequence[Turn], *, readable: bool, now: datetime, loose: Iterable[Message] = ()
) -> list[Block]:
    """One block per turn and per message without a turn, by ordinal. Without `readable` nothing that was said."""
    messages = _messages(session, turns)
    steps: dict[UUID, list[Step]] = defaultdict(list)
    for step in Step.objects.filter(turn__in=turns).order_by("turn", "number"):
        steps[step.turn_id].append(step)
    runners = Runner.objects.in_bulk([turn.runner_id for turn in turns if turn.runner_id])
    branches = _branches(session, [asked for said in messages.values() for asked in said if asked.author == "user"])
    rows = _Rows(messages, steps, runners, branches, readable, now)
    made = [_block(turn, rows) for turn in turns]
    made += [Block(message.ordinal, said=[_said(message)] if readable else []) for message in loose]
    return sorted(made, key=lambda block: block.ordinal)


def _messages(session: AgentSession, turns: Sequence[Turn]) -> dict[UUID, list[Message]]:
    found: dict[UUID, list[Message]] = defaultdict(list)
    for message in Message.objects.filter(agent_session=session, turn__in=turns).order_by("ordinal"):
        assert message.turn_id is not None
        found[message.turn_id].append(message)
    return found


def _block(turn: Turn, rows: _Rows) -> Block:
    status, messages = TurnStatus(turn.status), rows.messages[turn.pk]
    said = [_said(message) for message in messages] if rows.readable else []
    if rows.readable and status not in TERMINAL and (parts := shown_parts(turn)):
        said.append(Said("agent", None, [_part(part) for part in parts]))
    asked = next((message.pk for message in messages if message.author == Message.Author.USER), None)
    runner = rows.runners.get(turn.runner_id)
    return Block(
        ordinal=turn.ordinal,
        turn=turn,
        said=said,
        steps=[_step(step, rows.readable, turn.finished_at, rows.now) for step in rows.steps[turn.pk]],
        runner=str(runner) if runner else str(turn.runner_id or ""),
        branch=rows.branches.get(asked, "") if asked else "",
        waited=took(turn.queued_at, turn.started_at or turn.finished_at or rows.now),
        lasted=took(turn.started_at, turn.finished_at or rows.now),
        cost=money(turn.cost_usd),
        state=state_tag(status),
        live=status not in TERMINAL,
    )


def _said(message: Message) -> Said:
    parts = [_part(part) for part in message.parts]
    return Said(message.author, message.created_at, parts, message.partial, message.supplied_by_client)


def _part(part: Part) -> ShownPart:
    if part["type"] == "text":
        # The renderer lets only a closed list of tags through; see `agents.markdown`.
        return ShownPart("text", "", mark_safe(render(part["text"])))  # noqa: S308
    if part["type"] == "tool_call":
        return ShownPart("call", part["name"], _short(part["arguments"]))
    if part["type"] == "tool_result":
        return ShownPart("error" if part["is_error"] else "result", "", _short(part["content"]))
    return ShownPart("result", "", f"({part['type']})")


def _step(step: Step, readable: bool, ended_at: datetime | None, now: datetime) -> ShownStep:
    return ShownStep(
        row=step,
        state=state_tag(step.status),
        lasted=took(step.started_at, step.finished_at or ended_at or now),
        cost=money(step.cost_usd),
        words=_step_words(step, ended=ended_at is not None),
        request=_short(step.request) if readable and step.kind == StepKind.TOOL else "",
        result=_short(_result(step)) if readable else "",
    )


def _step_words(step: Step, *, ended: bool) -> str:
    if step.status == StepStatus.UNKNOWN:
        return "It may have taken effect; it was not run again."
    if step.status == StepStatus.INTENT:
        return "Given up with the turn: no outcome is known." if ended else "Begun, no outcome yet."
    if step.kind == StepKind.TOOL:
        return "May run again." if step.idempotent else "Is never run twice."
    return ""


def _result(step: Step) -> Any:
    result = step.result
    if isinstance(result, dict):
        return result.get("content", result.get("text", ""))
    return result or ""


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else "" if value in ({}, None) else str(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + " …"


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
    line = {node.id for node in tree.line(session.head_message_id)} if session.next_ordinal <= WHOLE_TREE else None
    known = [nodes[message.pk] for message in asked if message.pk in nodes]
    return {node.id: words for node in known if (words := _branch(tree, node, line))}


def _branch(tree: Tree, asked: Node, line: set[UUID] | None) -> str:
    beside = tree.branches(asked)
    if len(beside) < 2:
        return ""
    place = beside.index(asked) + 1
    hidden = "" if line is None or asked.id in line else ", not shown in the chat now"
    return f"branch {place} of {len(beside)}{hidden}"
