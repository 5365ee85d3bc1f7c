"""What the transcript page shows of each turn: its question, its steps, its answer and its status."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any, Final
from uuid import UUID

from django.db.models import F, OuterRef, Q, Subquery

from agents.admin.badges import rating_badge, retry_badge, status_badge
from agents.admin.transcript.content import MessageContent, message_contents, part_views
from agents.admin.transcript.steps import TranscriptStep, step_view
from agents.admin.turn_actions import TurnAction
from agents.admin.turn_numbers import turn_numbers
from agents.domain.events import EventType
from agents.domain.failures import parse_error_class
from agents.domain.message_tree import Node, Tree
from agents.domain.serialization import calls_shape
from agents.domain.states import PARKED, TERMINAL, StepKind, StepStatus, TurnStatus, WaitReason
from agents.journal.locked_writes import visible_parts
from agents.models import AgentSession, Event, Feedback, Message, Runner, Step, Turn
from console.formatting import format_duration, format_money, format_second, format_tokens

_WAIT_REASONS: Final = {
    "": "a model to answer again",
    WaitReason.APPROVAL: "an approval",
    WaitReason.CHILDREN: "other agents",
    WaitReason.BUDGET: "money",
}

# Turns on one page of a long session.
TURNS: Final = 20
# The message tree is read whole up to this ordinal; in longer sessions only the siblings are.
MAX_WHOLE_TREE: Final = 2_000


@dataclass(slots=True)
class TranscriptTurn:
    """A turn with its messages and steps, or a message without a turn (`turn` is None).

    `ordinal` is its place in the session, `number` what people count: 1 is the first turn.
    """

    ordinal: int
    turn: Turn | None = None
    number: int | None = None
    messages: list[MessageContent] = field(default_factory=list)
    steps: list[TranscriptStep] = field(default_factory=list)
    runner: str = ""
    branch: str = ""
    waiting_for: str = ""
    # How often it was begun anew. A claim that goes on after a wait is none of them.
    restarts: int = 0
    # The number of its release, if the turn before it ran on another one.
    new_release: int | None = None
    queue_time: str = ""
    duration: str = ""
    tokens: str = ""
    cost: str = ""
    status: str = ""
    retry: str = ""
    rating: str = ""
    remedy: str = ""
    calls: str = ""
    live: bool = False
    can_fork: bool = False
    actions: list[TurnAction] = field(default_factory=list)

    @property
    def key(self) -> str:
        return f"turn-{self.turn.pk}" if self.turn else f"message-{self.ordinal}"


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of all turns of a page, each table read by one query."""

    messages: dict[UUID, list[Message]]
    steps: dict[UUID, list[Step]]
    runners: dict[Any, Runner]
    branches: dict[UUID, str]
    numbers: dict[UUID, int]
    restarts: Mapping[UUID, int]
    # By message.
    ratings: dict[UUID, Feedback]
    readable: bool
    now: datetime


# What says of turns whether their session went to another release with them, for `annotate`.
RELEASES: Final[Mapping[str, Any]] = {
    "release_number": F("release__number"),
    "earlier_release": Subquery(
        Turn.objects.filter(agent_session=OuterRef("agent_session"), ordinal__lt=OuterRef("ordinal"))
        .order_by("-ordinal")
        .values("release")[:1]
    ),
}


def turn_views(
    session: AgentSession, turns: Sequence[Turn], *, readable: bool, now: datetime, unattached: Iterable[Message] = ()
) -> list[TranscriptTurn]:
    """One view per turn and per `unattached` message, by ordinal; without message contents unless `readable`."""
    messages = _messages(session, turns)
    steps: dict[UUID, list[Step]] = defaultdict(list)
    for step in Step.objects.filter(turn__in=turns).order_by("turn", "number"):
        steps[step.turn_id].append(step)
    runners = Runner.objects.in_bulk([turn.runner_id for turn in turns if turn.runner_id])
    branches = _branches(
        session,
        [message for turn_messages in messages.values() for message in turn_messages if message.author == "user"],
    )
    unattached = list(unattached)
    shown = [message.pk for message in (*chain.from_iterable(messages.values()), *unattached)]
    ratings = {rating.message_id: rating for rating in Feedback.objects.filter(message__in=shown)}
    rows = _Rows(
        messages,
        steps,
        runners,
        branches,
        turn_numbers(turns),
        _restarts(session, turns),
        ratings,
        readable,
        now,
    )
    views = [_turn_view(turn, rows) for turn in turns]
    views += [
        TranscriptTurn(
            message.ordinal,
            messages=[message_contents(message, rating=ratings.get(message.pk))] if readable else [],
        )
        for message in unattached
    ]
    return sorted(views, key=lambda view: view.ordinal)


def _restarts(session: AgentSession, turns: Sequence[Turn]) -> Mapping[UUID, int]:
    """How often each of `turns` was begun anew. Nothing is read unless one of them had a second claim."""
    reclaimed_ids = [turn.pk for turn in turns if turn.epoch > 1]
    if not reclaimed_ids:
        return {}
    log = Event.objects.filter(agent_session=session, turn__in=reclaimed_ids, type=EventType.TURN_RESTARTED)
    return Counter(log.order_by().values_list("turn_id", flat=True))


def _messages(session: AgentSession, turns: Sequence[Turn]) -> dict[UUID, list[Message]]:
    by_turn: dict[UUID, list[Message]] = defaultdict(list)
    for message in Message.objects.filter(agent_session=session, turn__in=turns).order_by("ordinal"):
        assert message.turn_id is not None
        by_turn[message.turn_id].append(message)
    return by_turn


def _new_release(turn: Any) -> int | None:
    """The number of the release of a turn that was read with `RELEASES`, if the turn before it had another one."""
    earlier = getattr(turn, "earlier_release", None)
    return None if earlier in (None, turn.release_id) else turn.release_number


def _turn_view(turn: Turn, rows: _Rows) -> TranscriptTurn:
    status, messages = TurnStatus(turn.status), rows.messages[turn.pk]
    steps = [
        step_view(step, readable=rows.readable, ended_at=turn.finished_at, now=rows.now) for step in rows.steps[turn.pk]
    ]
    question_id = next((message.pk for message in messages if message.author == Message.Author.USER), None)
    rating = next((rows.ratings[message.pk] for message in messages if message.pk in rows.ratings), None)
    runner = rows.runners.get(turn.runner_id)
    error_class = parse_error_class(turn.error_class)
    return TranscriptTurn(
        ordinal=turn.ordinal,
        turn=turn,
        number=rows.numbers.get(turn.pk),
        messages=_message_contents(turn, messages, steps, rows.ratings) if rows.readable else [],
        steps=steps,
        runner=str(runner) if runner else str(turn.runner_id or ""),
        branch=rows.branches.get(question_id, "") if question_id else "",
        waiting_for=_waiting_for(turn),
        restarts=rows.restarts.get(turn.pk, 0),
        new_release=_new_release(turn),
        queue_time=format_duration(turn.queued_at, turn.started_at or turn.finished_at or rows.now),
        duration=format_duration(turn.started_at, turn.finished_at or rows.now),
        tokens=format_tokens(turn.input_tokens, turn.output_tokens),
        cost=format_money(turn.cost_usd),
        status=status_badge(status),
        retry=retry_badge(turn) or "",
        rating=rating_badge(rating.value) if rating else "",
        remedy=error_class.failure.remedy if error_class else "",
        calls=_describe_calls(turn, rows.steps[turn.pk]),
        live=status not in TERMINAL,
    )


def _describe_calls(turn: Turn, steps: Sequence[Step]) -> str:
    """Who answered, where calls of models had failed before or the agent's first one was passed by; else empty."""
    calls = [step for step in steps if step.kind == StepKind.MODEL and step.status != StepStatus.INTENT and step.name]
    failed = sum(step.status == StepStatus.FAILED for step in calls)
    shape = calls_shape(
        [{"route": step.name, "answered": step.status == StepStatus.DONE} for step in calls],
        completed=turn.status == TurnStatus.COMPLETED,
        fallback=turn.fallback,
    )
    if not failed and not any("fallback" in step.details for step in calls):
        return ""
    by = f"answered by {shape['answered_by']}" if shape["answered_by"] else ""
    of = f"{failed} of {shape['attempts']} calls of models failed" if failed else ""
    return ", ".join(filter(None, (by, of)))


def _waiting_for(turn: Turn) -> str:
    """What a parked turn waits for, and its latest end; empty for other turns."""
    if turn.status not in PARKED or turn.available_at is None:
        return ""
    return f"{_WAIT_REASONS[turn.wait_reason]}, until {format_second(turn.available_at)} UTC"


def _message_contents(
    turn: Turn, messages: Sequence[Message], steps: Sequence[TranscriptStep], ratings: Mapping[UUID, Feedback]
) -> list[MessageContent]:
    contents = [message_contents(message, steps, ratings.get(message.pk)) for message in messages]
    if turn.status not in TERMINAL and (parts := visible_parts(turn)):
        contents.append(MessageContent(Message.Author.AGENT, None, part_views(parts, steps, finished=False)))
    return contents


def _branches(session: AgentSession, questions: Sequence[Message]) -> dict[UUID, str]:
    """Labels by id of the questions that have siblings: which branch of how many, and whether the chat shows it."""
    if session.next_ordinal <= MAX_WHOLE_TREE:
        rows = Message.objects.filter(agent_session=session).order_by()
    else:
        parents = {message.parent_id for message in questions}
        siblings = Q(parent__in=[parent for parent in parents if parent]) | (
            Q(parent__isnull=True) if None in parents else Q(pk__in=[])
        )
        rows = Message.objects.filter(siblings, agent_session=session).order_by()
    nodes = {
        key: Node(key, ordinal, turn, parent, author == Message.Author.AGENT and turn is not None)
        for key, ordinal, turn, parent, author in rows.values_list("pk", "ordinal", "turn_id", "parent_id", "author")
    }
    tree = Tree(nodes.values())
    shown_line = (
        {node.id for node in tree.path_to(session.head_message_id)} if session.next_ordinal <= MAX_WHOLE_TREE else None
    )
    question_nodes = [nodes[message.pk] for message in questions if message.pk in nodes]
    return {node.id: label for node in question_nodes if (label := _branch(tree, node, shown_line))}


def _branch(tree: Tree, question: Node, shown_line: set[UUID] | None) -> str:
    siblings = tree.branches(question)
    if len(siblings) < 2:
        return ""
    position = siblings.index(question) + 1
    hidden = "" if shown_line is None or question.id in shown_line else ", not shown in the chat now"
    return f"branch {position} of {len(siblings)}{hidden}"
