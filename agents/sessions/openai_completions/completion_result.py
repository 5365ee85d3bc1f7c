"""The state of a turn for its OpenAI client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from accounts.actor import Actor
from agents.domain.approvals import ApprovalState
from agents.domain.client_options import client_tool_calls, parts_behind_results, read_options
from agents.domain.events import TERMINAL_EVENTS
from agents.domain.message_parts import CUT_REASONS, Part, plain_text
from agents.domain.serialization import approval_shape, turn_error
from agents.domain.states import TERMINAL, StepKind, TurnStatus, WaitReason
from agents.models import Approval, Event, Message, Step, Turn
from agents.sessions.access import access_turn


@dataclass(frozen=True, slots=True)
class CompletionResult:
    """`text` and `calls` are the complete answer once `status` is `completed`; before, they are empty. When JSON was
    requested, the text is only what follows the last result of the agent's own tools.

    `reasoning` is the model's, of all its calls. `calls` are the tool calls that the client must run; `cut` says that
    the model stopped before its answer was complete. Tokens are None where nobody knows them; cached ones are part of
    the input, reasoning is part of the output. `error` is as `agents.domain.serialization.error_shape`. `wait_reason`
    is what a turn that is `waiting` waits for. `fallback` is what the answer is in place of one of the agent's models.
    `approvals` are the calls of the turn that wait for a person, or of the one that must end before, each as
    `agents.domain.serialization.approval_shape` with its `turn`. `handed_off`: the turn was cancelled since a person
    has taken over the session.
    """

    status: TurnStatus
    text: str
    reasoning: str
    calls: Sequence[Part]
    cut: bool
    input_tokens: int | None
    output_tokens: int | None
    error: dict[str, Any] | None
    wait_reason: WaitReason | None = None
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    fallback: str | None = None
    approvals: Sequence[dict[str, Any]] = ()
    handed_off: bool = False

    @property
    def is_finished(self) -> bool:
        return self.status in TERMINAL


def read_completion_result(actor: Actor, *, turn_id: UUID) -> CompletionResult:
    """The current state of a turn of the actor's. Raises `NotFound`, `Forbidden`, `Unauthenticated`."""
    turn = access_turn(actor=actor, turn_id=turn_id)
    status = TurnStatus(turn.status)
    parts = _answer(turn) if status is TurnStatus.COMPLETED else []
    calls = _model_calls(turn) if parts else []
    in_json = read_options(turn.client_options).json is not None
    return CompletionResult(
        status=status,
        text=plain_text(parts_behind_results(parts) if in_json else parts),
        reasoning="".join(part["text"] for part in parts if part["type"] == "reasoning"),
        calls=client_tool_calls(parts),
        cut=bool(calls) and calls[-1].finish_reason in CUT_REASONS,
        input_tokens=turn.input_tokens,
        output_tokens=turn.output_tokens,
        error=turn_error(turn),
        wait_reason=WaitReason(turn.wait_reason) if turn.wait_reason else None,
        cached_tokens=sum(call.cached_tokens for call in calls),
        reasoning_tokens=sum(call.reasoning_tokens for call in calls),
        fallback=turn.fallback,
        approvals=_open_approvals(turn),
        handed_off=status is TurnStatus.CANCELLED and _is_handed_off(turn),
    )


def _open_approvals(turn: Turn) -> list[dict[str, Any]]:
    if turn.wait_reason == WaitReason.APPROVAL:
        turn_id = turn.pk
    elif turn.status == TurnStatus.QUEUED and getattr(turn, "position", 0) > 0:
        first = Turn.objects.filter(agent_session=turn.agent_session_id, finished_at__isnull=True).order_by("ordinal")
        turn_id, wait_reason = first.values_list("pk", "wait_reason")[0]
        if wait_reason != WaitReason.APPROVAL:
            return []
    else:
        return []
    approvals = Approval.objects.filter(turn=turn_id, state=ApprovalState.PENDING).order_by("step")
    return [{"turn": str(turn_id), **approval_shape(approval)} for approval in approvals]


def _is_handed_off(turn: Turn) -> bool:
    # Ends are found by their turn: see the constraints of the events.
    ends = Event.objects.filter(turn=turn.pk, type__in=sorted(TERMINAL_EVENTS)).values_list("data__reason", flat=True)
    return ends.first() == "handoff"  # see `agents.domain.events.TurnEnded`


def _answer(turn: Turn) -> list[Part]:
    parts: list[Part] = Message.objects.get(turn=turn, author=Message.Author.AGENT).parts
    return parts


@dataclass(frozen=True, slots=True)
class _ModelCall:
    finish_reason: str | None
    cached_tokens: int
    reasoning_tokens: int


def _model_calls(turn: Turn) -> list[_ModelCall]:
    """The model calls of a turn, failed ones included, in their order."""
    steps = Step.objects.filter(turn=turn, kind=StepKind.MODEL).order_by("number")
    return [
        _ModelCall(finish_reason, details.get("cached_tokens", 0), details.get("reasoning_tokens", 0))
        for finish_reason, details in steps.values_list("result__finish_reason", "details")
    ]
