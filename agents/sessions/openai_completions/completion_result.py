"""The state of a turn for its OpenAI client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from accounts.actor import Actor
from agents.domain.client_options import client_tool_calls, parts_behind_results, read_options
from agents.domain.message_parts import CUT_REASONS, Part, plain_text
from agents.domain.serialization import turn_error
from agents.domain.states import TERMINAL, StepKind, TurnStatus, WaitReason
from agents.models import Message, Step, Turn
from agents.sessions.access import access_turn


@dataclass(frozen=True, slots=True)
class CompletionResult:
    """`text` and `calls` are the complete answer once `status` is `completed`; before, they are empty. When JSON was
    requested, the text is only what follows the last result of the agent's own tools.

    `reasoning` is the model's, of all its calls. `calls` are the tool calls that the client must run; `cut` says that
    the model stopped before its answer was complete. `error` is as `agents.domain.serialization.error_shape`.
    `wait_reason` is what a turn that is `waiting` waits for.
    """

    status: TurnStatus
    text: str
    reasoning: str
    calls: Sequence[Part]
    cut: bool
    input_tokens: int
    output_tokens: int
    error: dict[str, Any] | None
    wait_reason: WaitReason | None = None

    @property
    def is_finished(self) -> bool:
        return self.status in TERMINAL


def read_completion_result(actor: Actor, *, turn_id: UUID) -> CompletionResult:
    """The current state of a turn of the actor's. Raises `NotFound`, `Forbidden`, `Unauthenticated`."""
    turn = access_turn(actor=actor, turn_id=turn_id)
    status = TurnStatus(turn.status)
    parts = _answer(turn) if status is TurnStatus.COMPLETED else []
    in_json = read_options(turn.client_options).json is not None
    return CompletionResult(
        status=status,
        text=plain_text(parts_behind_results(parts) if in_json else parts),
        reasoning="".join(part["text"] for part in parts if part["type"] == "reasoning"),
        calls=client_tool_calls(parts),
        cut=bool(parts) and _was_cut(turn),
        input_tokens=turn.input_tokens,
        output_tokens=turn.output_tokens,
        error=turn_error(turn),
        wait_reason=WaitReason(turn.wait_reason) if turn.wait_reason else None,
    )


def _answer(turn: Turn) -> list[Part]:
    parts: list[Part] = Message.objects.get(turn=turn, author=Message.Author.AGENT).parts
    return parts


def _was_cut(turn: Turn) -> bool:
    last = Step.objects.filter(turn=turn, kind=StepKind.MODEL).order_by("-number").values_list("result", flat=True)
    return (last.first() or {}).get("finish_reason") in CUT_REASONS
